"""The attack corpus: every way an archive can be wrong, and the refusal that each must meet."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import stat
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from prism_cli.registry import container
from prism_cli.registry.archive import read_archive, read_manifest
from prism_cli.registry.manifest import Manifest, MemberRecord
from prism_cli.registry.refusals import (
    ArchiveRefused,
    BadLayout,
    CompressedMember,
    DuplicateMember,
    EncryptedMember,
    HashMismatch,
    ManifestRefused,
    MissingMember,
    NewerFormat,
    NotAFile,
    NotAnArchive,
    PreviewRefused,
    TensorsRefused,
    TooLarge,
    UnknownMember,
    UnlistedMember,
    UnsafeName,
)
from tests.registry.samples import (
    COMPOSED,
    COMPOSED_MEMBERS,
    MANIFEST,
    MEMBERS,
    composition,
    png,
    safetensors,
    sample,
    with_header,
)

Tweak = Callable[[zipfile.ZipFile], None]


def manifest_json(members: Mapping[str, bytes] = MEMBERS, manifest: Manifest = MANIFEST) -> bytes:
    """The manifest that lists `members`, whether or not they fit it."""
    records = {
        name: MemberRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        for name, data in members.items()
    }
    return dataclasses.replace(manifest, members=records).to_json()


GOOD = [("manifest.json", manifest_json()), *MEMBERS.items()]


def zipped(
    members: Iterable[tuple[str, bytes]] = tuple(GOOD),
    tweak: Tweak = lambda archive: None,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """A ZIP of any members; `tweak` edits its directory just before that is written."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compression)
        tweak(archive)
    return buffer.getvalue()


def with_info(name: str, **changes: int) -> bytes:
    """The sample, with fields of one directory entry changed."""

    def tweak(archive: zipfile.ZipFile) -> None:
        for field, value in changes.items():
            setattr(archive.getinfo(name), field, value)

    return zipped(tweak=tweak)


def with_name(name: bytes) -> bytes:
    """The sample and one more member, of a name that `zipfile` itself would not write."""
    return zipped([*GOOD, ("@" * len(name), b"x")]).replace(b"@" * len(name), name)


def with_gap(after: int) -> bytes:
    """The sample, with four bytes that belong to nothing after so many members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i, (name, data) in enumerate(GOOD, start=1):
            archive.writestr(zipfile.ZipInfo(name), data)
            if i == after:
                buffer.write(b"gap!")
                archive.start_dir = buffer.tell()
    return buffer.getvalue()


def beyond_its_end() -> bytes:
    """The sample with a member that claims a million bytes more, and the next one after those."""

    def tweak(archive: zipfile.ZipFile) -> None:
        grown, *later = archive.infolist()[3:]
        grown.file_size += 10**6
        grown.compress_size += 10**6
        for info in later:
            info.header_offset += 10**6

    return zipped(tweak=tweak)


def with_zip64(directory_size: int | None = None) -> bytes:
    """The sample with the end records of a ZIP over 4 GiB, and any size of directory in them."""
    good = sample()
    *_, size, offset, _ = struct.unpack("<4s4H2LH", good[-22:])
    size = directory_size or size
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 5, 5, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(good) - 22, 1)
    return good[:-22] + record + locator + good[-22:]


def prefixed() -> bytes:
    """A ZIP appended to a script, with offsets that count the script."""
    buffer = io.BytesIO(b"#!/bin/sh\n")
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, data in GOOD:
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def commented() -> bytes:
    """The sample with a ZIP comment."""
    return zipped(tweak=lambda archive: setattr(archive, "comment", b"hello"))


def without(name: str) -> bytes:
    """The sample without a member that its manifest lists."""
    return zipped([(n, data) for n, data in GOOD if n != name])


def swapped(name: str, data: bytes) -> bytes:
    """The sample with a member that is not the one its manifest lists."""
    return zipped([(n, data if n == name else old) for n, old in GOOD])


def forged(name: str, data: bytes | None, **manifest: object) -> bytes:
    """An archive whose manifest lists its members truly, though they are not what it describes."""
    members = {n: d for n, d in {**MEMBERS, name: data}.items() if d is not None}
    changed = dataclasses.replace(MANIFEST, **manifest)  # type: ignore[arg-type]
    return container.write({"manifest.json": manifest_json(members, changed), **members})


def with_manifest(text: bytes) -> bytes:
    """The sample's members under any manifest."""
    return zipped([("manifest.json", text), *MEMBERS.items()])


def from_the_future() -> bytes:
    """A later format, with a member and a compression that this one does not allow."""
    document = json.loads(manifest_json()) | {"format": 2, "mood": "new"}
    members = [("manifest.json", json.dumps(document).encode()), ("mood.bin", bytes(99))]
    buffer = io.BytesIO(zipped(members[:1]))
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(*members[1])
    return buffer.getvalue()


def mode(bits: int) -> int:
    """The directory's form of a Unix mode."""
    return bits << 16


ZIPS: dict[str, tuple[Callable[[], bytes], type[ArchiveRefused], str]] = {
    "empty": (lambda: b"", NotAnArchive, "not a .prism archive"),
    "text": (lambda: b"hello\n" * 99, NotAnArchive, "not a .prism archive"),
    "a pickle": (lambda: b"\x80\x04K\x01.", NotAnArchive, "not a .prism archive"),
    "six bytes": (lambda: b"PK\5\6\0\0", NotAnArchive, "cut short"),
    "half": (lambda: sample()[: len(sample()) // 2], NotAnArchive, "cut short"),
    "a byte short": (lambda: sample()[:-1], BadLayout, "something after its end"),
    "first byte lost": (lambda: sample()[1:], NotAnArchive, "its beginning is cut off"),
    "only the end": (lambda: sample()[-22:], NotAnArchive, "ZIP structure is damaged"),
    "no members": (lambda: zipped([]), MissingMember, "no manifest.json"),
    "script before": (lambda: b"#!/bin/sh\n" + sample(), BadLayout, "before manifest.json"),
    "script before, counted": (prefixed, BadLayout, "before manifest.json"),
    "bytes after": (lambda: sample() + b"tail", BadLayout, "after its end"),
    "many bytes after": (lambda: sample() + bytes(999), NotAnArchive, "cut short"),
    "comment": (commented, BadLayout, "after its end"),
    "gap between members": (lambda: with_gap(2), BadLayout, "before residuals.safetensors"),
    "gap before directory": (lambda: with_gap(5), BadLayout, "its last member and its directory"),
    "overlap": (lambda: with_info("preview.png", header_offset=0), BadLayout, "overlaps"),
    "beyond its end": (beyond_its_end, NotAnArchive, "preview.png is cut short"),
    "directory bomb": (
        lambda: zipped((f"{i:04}", b"") for i in range(2000)),
        TooLarge,
        "its directory is 100000 bytes",
    ),
    "ZIP64 directory bomb": (
        lambda: with_zip64(2**40),
        TooLarge,
        "its directory is 1099511627776 bytes",
    ),
    "newer format": (from_the_future, NewerFormat, "archive format 2"),
    "absolute": (lambda: with_name(b"/etc/passwd"), UnsafeName, "'/etc/passwd' would be written"),
    "parent": (lambda: with_name(b"../../evil"), UnsafeName, "'../../evil' would"),
    "parent inside": (lambda: with_name(b"a/../../evil"), UnsafeName, "outside the folder"),
    "backslash": (lambda: with_name(b"a\\evil"), UnsafeName, "outside the folder"),
    "drive": (lambda: with_name(b"C:evil"), UnsafeName, "'C:evil' would"),
    "NUL": (lambda: with_name(b"preview.png\0.exe"), UnsafeName, r"'preview.png\x00.exe' would"),
    "nested": (lambda: with_name(b"a/preview.png"), UnknownMember, "'a/preview.png' is not"),
    "pickle member": (lambda: with_name(b"model.pkl"), UnknownMember, "'model.pkl' is not"),
    "zip in zip": (lambda: with_name(b"more.zip"), UnknownMember, "'more.zip' is not"),
    "not UTF-8": (lambda: with_name(b"\xff\xfe"), UnknownMember, "is not a member"),
    "link": (
        lambda: with_info("preview.png", external_attr=mode(stat.S_IFLNK | 0o777)),
        NotAFile,
        "preview.png is a link",
    ),
    "pipe": (
        lambda: with_info("tokens.safetensors", external_attr=mode(stat.S_IFIFO | 0o644)),
        NotAFile,
        "tokens.safetensors is a link, a folder or a device",
    ),
    "folder": (lambda: with_info("preview.png", external_attr=0x10), NotAFile, "preview.png is"),
    "manifest link": (
        lambda: with_info("manifest.json", external_attr=mode(stat.S_IFLNK)),
        NotAFile,
        "manifest.json is a link",
    ),
    "duplicate": (
        lambda: with_name(b"tokens.safetensors"),
        DuplicateMember,
        "'tokens.safetensors'",
    ),
    "two manifests": (
        lambda: with_name(b"manifest.json"),
        DuplicateMember,
        "manifest.json 2 times",
    ),
    "case": (
        lambda: zipped([*GOOD, ("Preview.PNG", png())]),
        DuplicateMember,
        "called 'Preview.PNG', capitals aside",
    ),
    "encrypted": (lambda: with_info("lora.safetensors", flag_bits=1), EncryptedMember, "lora"),
    "strongly encrypted": (
        lambda: with_info("manifest.json", flag_bits=0x40),
        EncryptedMember,
        "manifest.json is encrypted",
    ),
    "deflated": (lambda: zipped(compression=zipfile.ZIP_DEFLATED), CompressedMember, "manifest"),
    "bomb": (
        lambda: with_info("preview.png", compress_type=zipfile.ZIP_DEFLATED, file_size=10**7),
        CompressedMember,
        "preview.png is compressed",
    ),
    "lzma": (lambda: zipped(compression=zipfile.ZIP_LZMA), CompressedMember, "is compressed"),
    "two descriptions": (
        lambda: with_info("preview.png", flag_bits=0x800),
        BadLayout,
        "preview.png is described in two ways",
    ),
    "stored size differs": (
        lambda: with_info("preview.png", file_size=9),
        NotAnArchive,
        "preview.png is stored in",
    ),
    "checksum": (lambda: with_info("preview.png", CRC=1), NotAnArchive, "Bad CRC-32"),
    "flipped byte": (
        lambda: sample().replace(b'"n', b'"m', 1),
        NotAnArchive,
        "Bad CRC-32 for file 'manifest.json'",
    ),
    "no manifest": (lambda: without("manifest.json"), MissingMember, "no manifest.json"),
    "no tokens": (
        lambda: forged("tokens.safetensors", None),
        MissingMember,
        "no member 'tokens.safetensors'",
    ),
    "listed, missing": (lambda: without("preview.png"), MissingMember, "'preview.png'"),
    "unlisted": (
        lambda: zipped([("manifest.json", manifest_json(dict(GOOD[1:4]))), *GOOD[1:]]),
        UnlistedMember,
        "does not list preview.png",
    ),
    "other size": (
        lambda: swapped("preview.png", png() + b"more"),
        HashMismatch,
        "preview.png is 72 bytes, and the manifest lists 68",
    ),
    "other content": (
        lambda: swapped("preview.png", png()[:-1] + b"!"),
        HashMismatch,
        "preview.png is not the one that the manifest lists",
    ),
    "manifest not JSON": (lambda: with_manifest(b"PK"), ManifestRefused, "it is not JSON"),
    "manifest too deep": (lambda: with_manifest(b"[" * 99), ManifestRefused, "16 levels deep"),
    "manifest wrong": (lambda: with_manifest(b'{"format": 1}'), ManifestRefused, "name is missing"),
    **{
        f"{name} over its cap": (
            lambda name=name, size=size: with_info(name, file_size=size, compress_size=size),
            TooLarge,
            f"{name} is {size} bytes, and {size - 1} is the most allowed",
        )
        for name, size in {
            "manifest.json": 4 * 2**20 + 1,
            "tokens.safetensors": 64 * 2**20 + 1,
            "residuals.safetensors": 256 * 2**20 + 1,
            "preview.png": 16 * 2**20 + 1,
        }.items()
    },
}


def check_refusal(path: Path, kind: type[ArchiveRefused], text: str) -> None:
    """`path` is refused for exactly that cause, with the path and a way out."""
    with pytest.raises(ArchiveRefused) as refusal:
        read_archive(path)

    assert type(refusal.value) is kind
    assert text in refusal.value.message
    assert refusal.value.message.startswith(f"cannot use {path}: ")
    assert refusal.value.hint


@pytest.mark.parametrize("case", ZIPS)
def test_a_malformed_zip_is_refused(case: str, tmp_path: Path) -> None:
    """Each malformed container meets its own refusal, which names what is wrong."""
    build, kind, text = ZIPS[case]
    path = tmp_path / "bad.prism"
    path.write_bytes(build())

    check_refusal(path, kind, text)


def tokens(**tensors: tuple[str, tuple[int, ...]]) -> bytes:
    """A token file of the sample's targets, with some changed."""
    good = {"clip_l": ("F32", (2, 3)), "t5": ("F32", (2, 5))}
    return safetensors({f"target.{name}": each for name, each in {**good, **tensors}.items()})


def described(**changes: object) -> bytes:
    """A token file of one target whose description is edited."""
    tensor = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24], **changes}
    return with_header({"target.clip_l": tensor}, bytes(24))


def residuals(lengths: Mapping[str, tuple[int, ...]], **tensors: tuple[int, ...]) -> bytes:
    """A residual file with tensors ``residual_0_clip_l`` of any shape, and those of `lengths`."""
    shapes: dict[str, tuple[int, ...]] = {
        f"residual.{i}.{encoder}": (length, {"clip_l": 3, "t5": 5}.get(encoder, 1))
        for encoder, each in lengths.items()
        for i, length in enumerate(each)
    }
    shapes |= {name.replace("_", ".", 2): shape for name, shape in tensors.items()}
    return safetensors({name: ("F32", shape) for name, shape in shapes.items()})


def lora(**tensors: tuple[str, tuple[int, ...]]) -> bytes:
    """A LoRA file; ``unet__to_q__lora_A__weight`` is a key with dots."""
    return safetensors({name.replace("__", "."): each for name, each in tensors.items()})


KEPT = MANIFEST.residual_lengths
PAIR = {
    "unet__q__lora_A__weight": ("F16", (4, 6)),
    "unet__q__lora_B__weight": ("F16", (7, 4)),
}

TENSORS: dict[str, tuple[str, bytes, str]] = {
    "tokens: fp16": ("tokens", tokens(t5=("F16", (2, 5))), "'target.t5' is F16, not F32"),
    "tokens: int64": ("tokens", tokens(t5=("I64", (2, 5))), "'target.t5' is of dtype 'I64'"),
    "tokens: other n": ("tokens", tokens(t5=("F32", (3, 5))), "[3, 5], not [2, d]"),
    "tokens: one axis": ("tokens", tokens(t5=("F32", (2,))), "[2], not [2, d]"),
    "tokens: no width": ("tokens", tokens(t5=("F32", (2, 0))), "[2, 0], not [2, d]"),
    "tokens: other key": (
        "tokens",
        safetensors({"emb": ("F32", (2, 3))}),
        "'emb' is not the target",
    ),
    "tokens: no encoder": ("tokens", safetensors({"target.": ("F32", (2, 3))}), "'target.' is not"),
    "tokens: none": ("tokens", safetensors({}), "it has no target"),
    "header: cut": ("tokens", b"\x08\0\0", "it is cut short"),
    "header: length lies": ("tokens", struct.pack("<Q", 2**63), "it is 9223372036854775808 bytes"),
    "header: not JSON": ("tokens", struct.pack("<Q", 2) + b"{]", "it is not JSON"),
    "header: a list": ("tokens", with_header([]), "its header is not a JSON object"),
    "header: padded before": ("tokens", struct.pack("<Q", 3) + b" {}", "not a JSON object"),
    "header: deep": ("tokens", struct.pack("<Q", 99) + b"[" * 99, "more than 16 levels"),
    "header: metadata": ("tokens", with_header({"__metadata__": {"a": 1}}), "metadata is not text"),
    "tensor: a number": ("tokens", with_header({"target.a": 1}), "'target.a' is not described"),
    "tensor: more keys": ("tokens", described(more=1), "is not described by"),
    "tensor: dtype a list": ("tokens", described(dtype=[]), "is of dtype []"),
    "tensor: negative": ("tokens", described(shape=[-2, -3]), "has no shape"),
    "tensor: true": ("tokens", described(shape=[True, 6]), "has no shape"),
    "tensor: fractions": ("tokens", described(shape=[2.0, 3.0]), "has no shape"),
    "tensor: many axes": ("tokens", described(shape=[1] * 9), "has no shape"),
    "tensor: overflow": ("tokens", described(shape=[2**62, 4]), "24 bytes for F32"),
    "tensor: short": ("tokens", described(shape=[2, 2]), "24 bytes for F32 [2, 2]"),
    "tensor: offsets": ("tokens", described(data_offsets=[0]), "has no offsets"),
    "tensor: reversed": ("tokens", described(data_offsets=[24, 0]), "has -24 bytes"),
    "tensor: gap": ("tokens", described(data_offsets=[8, 32]), "starts at byte 8, not 0"),
    "tensor: tail": ("tokens", tokens() + b"tail", "end at byte 64, and it has 68"),
    "tensor: beyond": ("tokens", tokens()[:-1], "end at byte 64, and it has 63"),
    "residuals: one less": (
        "residuals",
        residuals({**KEPT, "t5": (2,)}),
        "'residual.1.t5' is missing",
    ),
    "residuals: one more": (
        "residuals",
        residuals({**KEPT, "t5": (2, 2, 2)}),
        "'residual.2.t5' is unknown",
    ),
    "residuals: encoder": (
        "residuals",
        residuals({**KEPT, "x": (1,)}),
        "'residual.0.x' is unknown",
    ),
    "residuals: length": ("residuals", residuals(KEPT, residual_0_t5=(1, 5)), "[1, 5], not [2, d]"),
    "residuals: width": (
        "residuals",
        residuals(KEPT, residual_0_t5=(2, 4)),
        "'residual.0.t5' is 4 wide, and its target 5",
    ),
    "lora: rank": (
        "lora",
        lora(**{**PAIR, "unet__q__lora_B__weight": ("F16", (7, 3))}),
        "'unet.q.lora_B.weight' is [7, 3], which is not of rank 4",
    ),
    "lora: transposed": (
        "lora",
        lora(**{**PAIR, "unet__q__lora_A__weight": ("F16", (6, 4))}),
        "'unet.q.lora_A.weight' is [6, 4], which is not of rank 4",
    ),
    "lora: half": ("lora", lora(unet__q__lora_A__weight=("F16", (4, 6))), "only half of its LoRA"),
    "lora: other key": ("lora", lora(**PAIR, unet__q__alpha=("F32", ())), "'unet.q.alpha' is not"),
    "lora: two models": (
        "lora",
        lora(**PAIR, **{name.replace("unet", "transformer"): each for name, each in PAIR.items()}),
        "one unet or one transformer",
    ),
    "lora: none": ("lora", lora(), "one unet or one transformer"),
    "lora: int64": ("lora", lora(unet__q__lora_A__weight=("I64", (4, 6))), "of dtype 'I64'"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_wrong_tensors_are_refused(case: str, tmp_path: Path) -> None:
    """Tensors that hash as listed are still refused if they are not what was described."""
    member, data, text = TENSORS[case]
    path = tmp_path / "bad.prism"
    path.write_bytes(forged(f"{member}.safetensors", data))

    check_refusal(path, TensorsRefused, text)


CAT = {"target.cat.clip_l": ("F32", (1, 3)), "target.cat.t5": ("F32", (1, 5))}
INK = {"target.ink.clip_l": ("F32", (2, 3)), "target.ink.t5": ("F32", (2, 5))}


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ({}, "it has no target"),
        (CAT, "'target.ink.clip_l' is missing"),
        ({**CAT, **INK, "target.dog.t5": ("F32", (1, 5))}, "'target.dog.t5' is not a parent's"),
        ({**CAT, **INK, "target.clip_l": ("F32", (1, 3))}, "'target.clip_l' is not a parent's"),
        ({**CAT, **INK, "residual.cat.t5": ("F32", (1, 5))}, "'residual.cat.t5' is not a parent's"),
        ({**CAT, **INK, "target.cat.T5/": ("F32", (1, 5))}, "'target.cat.T5/' is not a parent's"),
        ({**CAT, **INK, "target.ink.t5": ("F32", (2, 4))}, "the targets of 't5' differ in width"),
        ({**CAT, **INK, "target.ink.t5": ("F32", (1, 5))}, "'target.ink.t5' is [1, 5], not [2, d]"),
        ({**CAT, **INK, "target.ink.t5": ("F16", (2, 5))}, "'target.ink.t5' is F16, not F32"),
    ],
)
def test_wrong_targets_of_a_composition_are_refused(
    tensors: dict[str, tuple[str, tuple[int, ...]]], text: str, tmp_path: Path
) -> None:
    """A composition has every parent's target in every encoder, and nothing else."""
    path = tmp_path / "bad.prism"
    members = {**COMPOSED_MEMBERS, "tokens.safetensors": safetensors(tensors)}
    manifest = manifest_json(members, COMPOSED)
    path.write_bytes(container.write({"manifest.json": manifest, **members}))

    check_refusal(path, TensorsRefused, text)


def test_a_composition_is_read(tmp_path: Path) -> None:
    """The same archive with nothing wrong is taken."""
    path = tmp_path / "good.prism"
    path.write_bytes(composition())

    assert read_archive(path).manifest.parents == COMPOSED.parents


@pytest.mark.parametrize(
    ("name", "data", "manifest", "text"),
    [
        ("lora", None, {}, "whether there is a LoRA"),
        ("lora", MEMBERS["lora.safetensors"], {"lora": None}, "whether there is a LoRA"),
        ("residuals", None, {}, "whether residuals are kept"),
        (
            "residuals",
            MEMBERS["residuals.safetensors"],
            {"residual_lengths": {}},
            "whether residuals are kept",
        ),
        (
            "residuals",
            residuals({"t5": (2, 2)}),
            {"residual_lengths": {"t5": (2, 2)}},
            "its encoders are not those of tokens.safetensors",
        ),
    ],
)
def test_manifest_and_members_agree(
    name: str, data: bytes | None, manifest: dict[str, object], text: str, tmp_path: Path
) -> None:
    """What the manifest describes is there, and what is there the manifest describes."""
    path = tmp_path / "bad.prism"
    path.write_bytes(forged(f"{name}.safetensors", data, **manifest))

    check_refusal(path, TensorsRefused, text)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "preview.png is not a PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(60), "preview.png is not a PNG"),
        (png().replace(b"IHDR", b"IDAT"), "preview.png is not a PNG"),
        (png(8193, 1), "8193x1 px, and 8192 a side is the most allowed"),
        (png(1, 2**31), "1x2147483648 px"),
        (png(0, 1), "0x1 px"),
    ],
)
def test_a_wrong_preview_is_refused(data: bytes, text: str, tmp_path: Path) -> None:
    """The preview is a PNG of a size that can be shown."""
    path = tmp_path / "bad.prism"
    path.write_bytes(forged("preview.png", data))

    check_refusal(path, PreviewRefused, text)


def test_zip64_records_are_read(tmp_path: Path) -> None:
    """A LoRA of several GB needs them, so an archive with them is as good as one without."""
    path = tmp_path / "mydog.prism"
    path.write_bytes(with_zip64())

    assert read_archive(path).members == MEMBERS


def test_a_listing_makes_the_cheap_checks(tmp_path: Path) -> None:
    """Reading a manifest alone refuses a bad directory, and does not read the other members."""
    path = tmp_path / "bad.prism"
    path.write_bytes(with_name(b"../../evil"))
    with pytest.raises(UnsafeName):
        read_manifest(path)

    path.write_bytes(swapped("preview.png", png()[:-1] + b"!"))
    assert read_manifest(path).name == "mydog"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder with an archive's name is told as that."""
    check_refusal(tmp_path, NotAnArchive, "it is not a regular file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    """Opening a pipe would block until something wrote to it."""
    path = tmp_path / "pipe.prism"
    os.mkfifo(path)

    check_refusal(path, NotAnArchive, "it is not a regular file")


def test_a_link_to_an_archive_is_read(tmp_path: Path) -> None:
    """Outside an archive a link is only another path."""
    (tmp_path / "real").write_bytes(sample())
    path = tmp_path / "link.prism"
    path.symlink_to("real")

    assert read_archive(path).members == MEMBERS

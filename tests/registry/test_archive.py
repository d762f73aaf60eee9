"""The archive: the same bytes for the same content, and the same content back."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import zipfile
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings

from prism_cli.errors import FileMissing
from prism_cli.registry.archive import Archive, pack, read_archive, read_manifest
from prism_cli.registry.container import CAPS
from prism_cli.registry.manifest import Manifest
from prism_cli.registry.refusals import (
    ArchiveRefused,
    ManifestRefused,
    MissingMember,
    NotAnArchive,
    PreviewRefused,
    TensorsRefused,
    TooLarge,
    UnknownMember,
)
from tests.registry.samples import MANIFEST, MEMBERS, png, safetensors, sample
from tests.strategies import concepts

# Format 1 is frozen: if this changes, archives that are out there no longer have equal hashes.
SHA256_V1 = "238d273574a8fc99acfc2c3b765cc6808e352d6d84fddf6b88b78dcf9b3b6744"


def test_format_1_is_frozen() -> None:
    """The sample concept packs to the bytes it packed to when format 1 was released."""
    assert hashlib.sha256(sample()).hexdigest() == SHA256_V1


def test_the_zip_is_plain() -> None:
    """Members are stored in the format's order, with one time, one mode and nothing extra."""
    with zipfile.ZipFile(io.BytesIO(sample())) as archive:
        infos = archive.infolist()

    assert [info.filename for info in infos] == ["manifest.json", *MEMBERS]
    for info in infos:
        assert (info.compress_type, info.flag_bits, info.extra, info.comment) == (0, 0, b"", b"")
        assert (info.date_time, info.create_system) == ((1980, 1, 1, 0, 0, 0), 3)
        assert info.external_attr >> 16 == 0o100644


def test_the_manifest_lists_every_other_member() -> None:
    """Packing fills in the size and the SHA-256 of each member."""
    with zipfile.ZipFile(io.BytesIO(sample())) as archive:
        manifest = Manifest.from_json(archive.read("manifest.json"))

    assert {name: (record.sha256, record.size) for name, record in manifest.members.items()} == {
        name: (hashlib.sha256(data).hexdigest(), len(data)) for name, data in MEMBERS.items()
    }


@given(concepts())
@settings(max_examples=60, deadline=None)
def test_a_concept_survives_its_archive(
    tmp_path_factory: pytest.TempPathFactory, concept: tuple[Manifest, dict[str, bytes]]
) -> None:
    """Packed and read, a concept is the same, whatever the order of its members."""
    manifest, members = concept
    path = tmp_path_factory.mktemp("archive") / "any.prism"
    path.write_bytes(pack(manifest, members))

    archive = read_archive(path)

    assert archive.members == members
    assert dataclasses.replace(archive.manifest, members={}) == manifest
    assert read_manifest(path) == archive.manifest
    backwards = dict(reversed(members.items()))
    assert pack(archive.manifest, backwards) == path.read_bytes()


def test_another_zip_tool_may_have_stored_it(tmp_path: Path) -> None:
    """Order, times and extra fields are the writer's habit, not the reader's demand."""
    path = tmp_path / "mydog.prism"
    with zipfile.ZipFile(io.BytesIO(sample())) as ours, zipfile.ZipFile(path, "w") as theirs:
        for info in reversed(ours.infolist()):
            other = zipfile.ZipInfo(info.filename, (2026, 1, 31, 12, 0, 0))
            other.extra = b"UT\5\0\1\0\0\0\0"
            theirs.writestr(other, ours.read(info))

    assert read_archive(path).members == MEMBERS


def test_the_safetensors_library_agrees(tmp_path: Path) -> None:
    """Tensors saved by the library itself, padding and metadata included, are accepted."""
    numpy = pytest.importorskip("numpy")
    save = pytest.importorskip("safetensors.numpy").save
    rows = {
        "target.clip": numpy.ones((2, 3), "float32"),
        "target.t5": numpy.ones((2, 5), "float32"),
    }
    manifest = dataclasses.replace(MANIFEST, residual_lengths={}, lora=None)
    path = tmp_path / "mydog.prism"
    path.write_bytes(pack(manifest, {"tokens.safetensors": save(rows, {"format": "pt"})}))

    assert isinstance(read_archive(path), Archive)


@pytest.mark.parametrize(
    ("members", "kind", "text"),
    [
        ({"../x": b""}, UnknownMember, "'../x' is not a member"),
        ({"manifest.json": b"{}"}, UnknownMember, "'manifest.json' is not a member"),
        ({"tokens.safetensors": None}, MissingMember, "no tokens.safetensors"),
        ({"lora.safetensors": None}, TensorsRefused, "differ on whether there is a LoRA"),
        ({"tokens.safetensors": safetensors({})}, TensorsRefused, "has no target"),
        ({"preview.png": b"GIF89a"}, PreviewRefused, "not a PNG"),
    ],
)
def test_what_could_not_be_read_is_not_packed(
    members: dict[str, bytes | None], kind: type[ArchiveRefused], text: str
) -> None:
    """A concept that its own reader would refuse never becomes a file."""
    wanted = {name: data for name, data in {**MEMBERS, **members}.items() if data is not None}

    with pytest.raises(kind, match=text):
        pack(MANIFEST, wanted)


def test_what_is_too_large_is_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caps hold for the writer as well."""
    monkeypatch.setitem(cast(dict[str, int], CAPS), "preview.png", 10)

    with pytest.raises(TooLarge, match=r"preview.png is 68 bytes, and 10 is the most allowed"):
        pack(MANIFEST, MEMBERS)


def test_bytes_are_counted_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that turns out longer than the directory says is refused, whatever decoded it."""
    path = tmp_path / "mydog.prism"
    path.write_bytes(sample())
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda stream, n: bytes(n))

    with pytest.raises(NotAnArchive, match=r"manifest.json is \d+ bytes, not \d+"):
        read_archive(path)


def test_a_wrong_manifest_is_not_packed() -> None:
    """The manifest is read back before it is packed."""
    with pytest.raises(ManifestRefused, match="kind is 'mood'"):
        pack(dataclasses.replace(MANIFEST, kind="mood"), MEMBERS)


def test_optional_members_may_be_left_out(tmp_path: Path) -> None:
    """Tokens alone make a concept."""
    path = tmp_path / "mydog.prism"
    manifest = dataclasses.replace(MANIFEST, residual_lengths={}, lora=None)
    tokens = {"tokens.safetensors": MEMBERS["tokens.safetensors"]}
    path.write_bytes(pack(manifest, tokens))

    assert read_archive(path).members == tokens


def test_the_largest_preview_is_accepted(tmp_path: Path) -> None:
    """A cap is the last size that passes."""
    path = tmp_path / "mydog.prism"
    path.write_bytes(pack(MANIFEST, {**MEMBERS, "preview.png": png(8192, 8192)}))

    assert read_archive(path).manifest.name == "mydog"


def test_no_file(tmp_path: Path) -> None:
    """A path with nothing there is told as that, with the status of a missing thing."""
    with pytest.raises(FileMissing, match=r"there is no file .*mydog.prism") as error:
        read_archive(tmp_path / "mydog.prism")

    assert error.value.exit_status == 3


def test_a_refusal_names_the_file_once(tmp_path: Path) -> None:
    """The message names the path; the reason alone is kept for a listing."""
    path = tmp_path / "mydog.prism"
    path.write_bytes(b"not a zip")

    with pytest.raises(NotAnArchive) as error:
        read_archive(path)

    assert error.value.message == f"cannot use {path}: {error.value.reason}"
    assert error.value.reason == "it is not a .prism archive, or it was cut short"
    assert error.value.exit_status == 4

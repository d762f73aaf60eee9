"""The manifest of an archive: what was learned, from what, how, and what the other members are.

Format 1. A reader refuses every format above its own before it looks at anything else, and brings
every format below its own up to it with one numbered function each.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from prism_cli import placeholders
from prism_cli.errors import PromptRefused
from prism_cli.names import is_name
from prism_cli.registry import strict_json
from prism_cli.registry.fields import Fields, Scalar, is_integer
from prism_cli.registry.refusals import ManifestRefused, NewerFormat

FORMAT = 1
MAX_BYTES = 4 * 2**20

LEARNED_KINDS = ("subject", "style", "action")
COMPOSITION = "composition"
KINDS = (*LEARNED_KINDS, COMPOSITION)
PARAMETERIZATIONS = ("eps", "v", "flow")
OPTION_SOURCES = ("flag", "file", "default")

ENCODER = r"[a-z0-9][a-z0-9_]*"  # a text encoder's name, also part of a tensor's
_SHA256 = r"[0-9a-f]{64}"
_LEARNED = r"[0-9a-f]{12}"  # a digest of what was learned, as pictures carry it
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"

_TENSORS = ".safetensors"  # suffix of the members that hold what was learned

Document = dict[str, object]

# format -> what turns a document of that format into one of the next
_UPGRADES: Mapping[int, Callable[[Document], Document]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRef:
    """The base a concept belongs to; revision is a fingerprint of its files."""

    id: str
    revision: str
    parameterization: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSpec:
    """The shape of the LoRA: alpha equals rank, since other tools ignore alpha."""

    rank: int
    alpha: int
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionValue:
    """One setting of the training, and whether a flag, a file or the default gave it."""

    value: Scalar
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoRecord:
    """A reference: the SHA-256 of its file, and the caption its residual started from."""

    sha256: str
    caption: str
    caption_source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A concept that this one was composed from.

    learned: a digest of its tensors. weight: of its LoRA in the sum. rank: how many of the merged
    LoRA's rows are its own; 0 where it has none, or where no parent's can be told apart any more.
    token_length: rows of its target in each encoder.
    """

    name: str
    learned: str
    weight: float
    rank: int
    kind: str
    token_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRecord:
    """What another member of the archive must be, in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything about a concept but its tensors and its picture.

    created: UTC, as ``2026-01-31T12:00:00Z``. token_length: n, rows of the target in each encoder.
    residual_lengths: encoder -> m_i, one per photo; empty where no residuals are kept.
    phrase: what a composition's own name stands for in a prompt; empty for what was learned.
    parents: of a composition, in the order of their names, which is that of their rows in the LoRA.
    members: filled when the archive is packed.
    """

    name: str
    kind: str
    created: str
    prism_version: str
    base: BaseRef
    token_length: int
    residual_lengths: Mapping[str, tuple[int, ...]]
    lora: LoraSpec | None
    options: Mapping[str, OptionValue]
    seed: int
    photos: tuple[PhotoRecord, ...]
    metrics: Mapping[str, float | int | str]
    phrase: str = ""
    parents: tuple[Parent, ...] = ()
    members: Mapping[str, MemberRecord] = field(default_factory=dict)

    @property
    def learned(self) -> str:
        """Changes when the packed tensors do; a rename leaves it."""
        hashes = [self.members[n].sha256 for n in sorted(self.members) if n.endswith(_TENSORS)]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()[:12]

    def to_json(self) -> bytes:
        """Return the same bytes for the same content: sorted keys, UTF-8, a final newline."""
        document = {"format": FORMAT, **dataclasses.asdict(self)}
        try:
            text = json.dumps(
                document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False
            )
        except ValueError:
            raise ManifestRefused("manifest.json: a number in it is not finite") from None
        return (text + "\n").encode("utf-8", errors="backslashreplace")

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Read a manifest; `NewerFormat`, or `ManifestRefused` with every problem in it."""
        return from_document(read_document(data))


def read_document(data: bytes) -> Document:
    """Read the JSON object in `data`, in the current format; only its format is checked yet."""
    try:
        document = strict_json.parse(data, MAX_BYTES)
    except ValueError as error:
        raise ManifestRefused(f"manifest.json: {error}") from None
    if not isinstance(document, dict):
        raise ManifestRefused("manifest.json: it is not a JSON object")
    version = document.get("format")
    if not isinstance(version, int) or not is_integer(version) or version < 1:
        raise ManifestRefused("manifest.json: it has no format number")
    if version > FORMAT:
        raise NewerFormat(f"it is in archive format {version}, and this prism reads up to {FORMAT}")
    for older in range(version, FORMAT):
        document = _UPGRADES[older](document)
    return document


def from_document(document: Document) -> Manifest:
    """Read the manifest that `document` holds; `ManifestRefused` with every problem in it."""
    problems: list[str] = []
    fields = Fields.of(document, (), problems, {"format", *_keys(Manifest)})
    manifest = Manifest(
        name=fields.text("name", is_name, "a name a concept can have"),
        kind=fields.one_of("kind", KINDS),
        created=fields.text("created", _is_time, "a time as 2026-01-31T12:00:00Z"),
        prism_version=fields.text("prism_version", bool, "a version"),
        base=_base(fields),
        token_length=fields.integer("token_length", least=1),
        residual_lengths=_residual_lengths(fields),
        lora=_lora(fields),
        options=_options(fields),
        seed=fields.integer("seed", least=0),
        photos=_photos(fields),
        metrics=_metrics(fields),
        phrase=fields.text("phrase"),
        parents=_parents(fields),
        members=_members(fields),
    )
    if not problems:
        problems.extend(_contradictions(manifest))
    fields.finish()
    return manifest


def _keys(record: type) -> set[str]:
    return {each.name for each in dataclasses.fields(record)}


def _base(fields: Fields) -> BaseRef:
    base = fields.nested("base", _keys(BaseRef))
    return BaseRef(
        id=base.text("id", bool, "the id of a base"),
        revision=base.text("revision"),
        parameterization=base.one_of("parameterization", PARAMETERIZATIONS),
    )


def _residual_lengths(fields: Fields) -> dict[str, tuple[int, ...]]:
    encoders = fields.nested("residual_lengths")
    lengths = {encoder: encoders.array(encoder) for encoder in encoders.values}
    return {
        encoder: tuple(each.integer(photo, least=1) for photo in each.values)
        for encoder, each in lengths.items()
    }


def _lora(fields: Fields) -> LoraSpec | None:
    if fields.is_null("lora"):
        return None
    lora = fields.nested("lora", _keys(LoraSpec))
    targets = lora.array("targets")
    return LoraSpec(
        rank=lora.integer("rank", least=1),
        alpha=lora.integer("alpha", least=1),
        targets=tuple(targets.text(i, bool, "a layer's name") for i in targets.values),
    )


def _options(fields: Fields) -> dict[str, OptionValue]:
    options = fields.nested("options")
    return {
        name: OptionValue(value=each.scalar("value"), source=each.one_of("source", OPTION_SOURCES))
        for name, each in options.objects(_keys(OptionValue))
    }


def _photos(fields: Fields) -> tuple[PhotoRecord, ...]:
    photos = fields.array("photos")
    return tuple(
        PhotoRecord(
            sha256=each.text("sha256", _is_sha256, "a SHA-256"),
            caption=each.text("caption"),
            caption_source=each.text("caption_source"),
        )
        for _, each in photos.objects(_keys(PhotoRecord))
    )


def _metrics(fields: Fields) -> dict[str, float | int | str]:
    metrics = fields.nested("metrics")
    return {name: metrics.measure(name) for name in metrics.values}


def _parents(fields: Fields) -> tuple[Parent, ...]:
    parents = fields.array("parents")
    return tuple(
        Parent(
            name=each.text("name", is_name, "a name a concept can have"),
            learned=each.text("learned", _is_learned, "a digest of 12 hexadecimal digits"),
            weight=each.number("weight"),
            rank=each.integer("rank", least=0),
            kind=each.one_of("kind", LEARNED_KINDS),
            token_length=each.integer("token_length", least=1),
        )
        for _, each in parents.objects(_keys(Parent))
    )


def _members(fields: Fields) -> dict[str, MemberRecord]:
    members = fields.nested("members")
    return {
        name: MemberRecord(
            sha256=each.text("sha256", _is_sha256, "a SHA-256"), size=each.integer("size", least=0)
        )
        for name, each in members.objects(_keys(MemberRecord))
    }


def _contradictions(manifest: Manifest) -> list[str]:
    """Find what is wrong with fields that are each of the right type."""
    found: list[str] = []
    if manifest.residual_lengths and not manifest.photos:
        found.append("residual_lengths are of photos, and there are none")
    for encoder, lengths in manifest.residual_lengths.items():
        if not re.fullmatch(ENCODER, encoder):
            found.append(f"residual_lengths names {encoder[:40]!r}, which cannot name an encoder")
        if len(lengths) != len(manifest.photos):
            found.append(
                f"residual_lengths of {encoder[:40]!r} has {len(lengths)} lengths"
                f" for {len(manifest.photos)} photos"
            )
    if manifest.lora is not None and manifest.lora.alpha != manifest.lora.rank:
        found.append(f"lora.alpha is {manifest.lora.alpha}, not its rank {manifest.lora.rank}")
    return found + (_miscomposed(manifest) if manifest.parents else _not_composed(manifest))


def _not_composed(manifest: Manifest) -> list[str]:
    """Find what only a composition may have."""
    found = []
    if manifest.kind == COMPOSITION:
        found.append("kind is 'composition', and there are no parents")
    if manifest.phrase:
        found.append("phrase is of a composition, and there are no parents")
    return found


def _miscomposed(manifest: Manifest) -> list[str]:
    """Find what parents and the rest of a composition's manifest contradict."""
    parents, found = manifest.parents, []
    names = [parent.name for parent in parents]
    if manifest.kind != COMPOSITION:
        found.append(f"kind is {manifest.kind!r}, and there are parents")
    if names != sorted(set(names)):
        found.append("parents are not in the order of their names, or one is there twice")
    if manifest.residual_lengths:
        found.append("residual_lengths are of photos, and a composition has none")
    if manifest.token_length != sum(parent.token_length for parent in parents):
        found.append(f"token_length is {manifest.token_length}, not the sum of its parents'")
    rank = manifest.lora.rank if manifest.lora else 0
    if sum(parent.rank for parent in parents) not in {0, rank}:
        found.append(f"the parents' ranks do not add up to the LoRA's {rank}")
    try:
        named = placeholders.parse(manifest.phrase)
    except PromptRefused as error:
        return [*found, f"phrase cannot be read: {error.message}"]
    mentions = [piece for piece in named if not isinstance(piece, str)]
    if not mentions or any(piece != placeholders.Mention(piece.name) for piece in mentions):
        found.append("phrase does not name parents by their names alone")
    for name in sorted({piece.name for piece in mentions} - set(names)):
        found.append(f"phrase names {name!r}, which is no parent")
    return found


def _is_sha256(text: str) -> bool:
    return re.fullmatch(_SHA256, text) is not None


def _is_learned(text: str) -> bool:
    return re.fullmatch(_LEARNED, text) is not None


def _is_time(text: str) -> bool:
    if not re.fullmatch(_TIME, text):
        return False
    try:
        datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        return False
    return True

"""Between what was learned and the archive's bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from safetensors.torch import load, save
from torch import Tensor

from prism_cli import __version__
from prism_cli.backbones.base import Backbone, Rows, Slot
from prism_cli.errors import BaseMismatch
from prism_cli.method.conditions import TEMPLATE, is_template
from prism_cli.method.tokens import ConceptTokens
from prism_cli.registry.archive import Archive, pack
from prism_cli.registry.container import LORA, PREVIEW, RESIDUALS, TOKENS
from prism_cli.registry.manifest import BaseRef, LoraSpec, Manifest, OptionValue, PhotoRecord
from prism_cli.registry.refusals import TensorsRefused
from prism_cli.settings import CROPS

if TYPE_CHECKING:  # drawing unpacks concepts, and need not load what reads photos
    from prism_cli.services.prepare import Prepared
    from prism_cli.services.training_run import Trained

_TEMPLATE = "template"  # an option of the manifest
CURVE_POINTS = 64  # of a stage's loss, at most; a manifest is small


def pack_concept(
    prepared: Prepared, trained: Trained, created: str, targets: tuple[str, ...], preview: bytes
) -> bytes:
    """The archive of a finished training."""
    tokens, recipe = trained.tokens, prepared.settings.recipe
    manifest = Manifest(
        name=prepared.name,
        kind=prepared.request.kind,
        created=created,
        prism_version=__version__,
        base=BaseRef(
            id=prepared.entry.id,
            revision=prepared.entry.revision,
            parameterization=prepared.entry.parameterization,
        ),
        token_length=recipe.tokens.length,
        residual_lengths={
            encoder: tuple(len(rows[encoder]) for rows in tokens.residuals)
            for encoder in tokens.target
        },
        lora=LoraSpec(rank=recipe.finetuning.rank, alpha=recipe.finetuning.rank, targets=targets)
        if trained.lora
        else None,
        options=_options(prepared),
        seed=prepared.request.seed,
        photos=tuple(
            PhotoRecord(sha256=photo.sha256, caption=caption.text, caption_source=caption.source)
            for photo, caption in zip(prepared.intake.photos, prepared.captions, strict=True)
        ),
        metrics={
            f"{stage}.{key}": written_curve(value) if key == "curve" else value
            for stage, outcome in trained.outcomes.items()
            for key, value in asdict(outcome).items()
        },
    )
    members = {
        TOKENS: save({f"target.{e}": rows for e, rows in tokens.target.items()}),
        RESIDUALS: save(
            {
                f"residual.{i}.{encoder}": rows
                for i, residual in enumerate(tokens.residuals)
                for encoder, rows in residual.items()
            }
        ),
        PREVIEW: preview,
    }
    if trained.lora:
        members[LORA] = save(trained.lora)
    return pack(manifest, members)


def written_curve(curve: Sequence[float]) -> str:
    """A loss curve as the archive keeps it: numbers with a space between, each of four digits.

    A longer one than `CURVE_POINTS` is thinned evenly; its first and last points stay.
    """
    count = min(len(curve), CURVE_POINTS)
    picked = [round(k * (len(curve) - 1) / max(count - 1, 1)) for k in range(count)]
    return " ".join(f"{curve[k]:.4g}" for k in picked)


def read_curve(text: object) -> tuple[float, ...]:
    """The points of a written curve; none of what is not one, as another program may write."""
    try:
        points = tuple(float(point) for point in str(text).split())
    except ValueError:
        return ()
    return points if all(map(math.isfinite, points)) else ()


def unpack_tokens(archive: Archive) -> ConceptTokens:
    """The learned rows of an archive that was read, hence verified; not of a composition.

    Raises TensorsRefused where they are no finite numbers.
    """
    target, residuals = _tensors(archive, TOKENS), _tensors(archive, RESIDUALS)
    encoders = [key.removeprefix("target.") for key in target]
    return ConceptTokens(
        archive.manifest.name,
        {encoder: target[f"target.{encoder}"] for encoder in encoders},
        tuple(
            {encoder: residuals[f"residual.{i}.{encoder}"] for encoder in encoders}
            for i in range(len(residuals) // len(encoders))
        ),
        _template(archive.manifest),
    )


def unpack_rows(archive: Archive) -> Rows:
    """The learned rows under the slots that stand for them; of a composition, each parent's.

    Raises TensorsRefused where they are no finite numbers.
    """
    if not archive.manifest.parents:
        return unpack_tokens(archive).rows()
    name, rows = archive.manifest.name, dict[Slot, dict[str, Tensor]]()
    for key, matrix in _tensors(archive, TOKENS).items():
        _, concept, encoder = key.split(".", 2)
        rows.setdefault(part_slot(name, concept), {})[encoder] = matrix
    return rows


def part_slot(composition: str, parent: str) -> Slot:
    """The place of one parent's target in a prompt: ``[composition:parent]``."""
    return Slot(composition, f"target.{parent}")


def check_rows_fit(concept: str, rows: Rows, backbone: Backbone) -> None:
    """Raise BaseMismatch unless the rows belong to the base's encoders and have their widths."""
    vocabulary = backbone.vocabulary()
    for each in rows.values():
        widths = {encoder: matrix.shape[1] for encoder, matrix in each.items()}
        if widths != {encoder: words.shape[1] for encoder, words in vocabulary.items()}:
            raise BaseMismatch(
                f"the tokens of {concept!r} do not fit this base's text encoders",
                hint="get the archive again from where it came, or train the concept again",
            )


def unpack_lora(archive: Archive) -> dict[str, Tensor]:
    """The LoRA of an archive under diffusers' keys; empty where there is none.

    Raises TensorsRefused where it has what is no finite number.
    """
    return _tensors(archive, LORA)


def _tensors(archive: Archive, member: str) -> dict[str, Tensor]:
    """A member's tensors, none where it is not there. What they hold is not seen before this."""
    data = archive.members.get(member)
    tensors = load(data) if data is not None else {}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise TensorsRefused(
                f"{archive.manifest.name!r} cannot be used: {name!r} of its {member} holds what is"
                " no finite number"
            )
    return tensors


def _options(prepared: Prepared) -> dict[str, OptionValue]:
    """Every setting and where it came from: the recipe's, and those of the photos."""
    request, settings = prepared.request, prepared.settings
    options = {
        name: OptionValue(value=value, source=settings.sources[name])
        for name, value in settings.recipe.flat().items()
    }
    outside = {
        "class": (request.class_word, None),
        "crop": (request.crop, "center"),
        "crops": (request.crops, CROPS),
        "keep_similar": (request.keep_similar, False),
        "hold_out": (request.hold_out, 0),
    }
    for name, (value, default) in outside.items():
        options[name] = OptionValue(value=value, source="default" if value == default else "flag")
    options["start"] = OptionValue(value=prepared.start, source="default")
    options[_TEMPLATE] = OptionValue(value=prepared.template, source="default")
    return options


def _template(manifest: Manifest) -> str:
    """How its tokens stood together when they were learned; as the paper has it where none says.

    Older archives do not, and what another program wrote may be no template.
    """
    option = manifest.options.get(_TEMPLATE)
    text = str(option.value) if option else TEMPLATE
    return text if is_template(text) else TEMPLATE

"""What Hypothesis draws from: manifests, and whole concepts whose members fit their manifest."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from hypothesis import strategies as st

from prism_cli.method.composition import Factors
from prism_cli.placeholders import is_part
from prism_cli.registry.manifest import (
    COMPOSITION,
    LEARNED_KINDS,
    OPTION_SOURCES,
    PARAMETERIZATIONS,
    BaseRef,
    LoraSpec,
    Manifest,
    OptionValue,
    Parent,
    PhotoRecord,
)
from tests.registry.samples import png, safetensors

names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)  # Cs: lone surrogates
labels = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
numbers = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63)
encoders = st.sampled_from([("clip",), ("clip_l", "clip_g"), ("clip_l", "t5")])

photos = st.builds(PhotoRecord, sha256=hashes, caption=texts, caption_source=texts)
options = st.builds(
    OptionValue,
    value=st.none() | st.booleans() | integers | numbers | texts,
    source=st.sampled_from(OPTION_SOURCES),
)
bases = st.builds(
    BaseRef, id=labels, revision=texts, parameterization=st.sampled_from(PARAMETERIZATIONS)
)
loras = st.builds(
    lambda rank, targets: LoraSpec(rank=rank, alpha=rank, targets=tuple(targets)),
    st.integers(1, 4),
    st.lists(labels, max_size=3),
)
times = st.datetimes().map(lambda moment: f"{moment.replace(microsecond=0).isoformat()}Z")


parents = st.builds(
    Parent,
    name=names.filter(is_part),
    learned=st.binary(min_size=6, max_size=6).map(bytes.hex),
    weight=numbers,
    rank=st.integers(0, 2),
    kind=st.sampled_from(LEARNED_KINDS),
    token_length=st.integers(1, 2),
)


@st.composite
def some_loras(
    draw: st.DrawFn, shapes: Mapping[str, tuple[int, int]], all_layers: bool = False
) -> dict[str, Factors]:
    """fp64 factors of one rank on some or all of the layers, of (out, in) each."""
    rank, seed = draw(st.integers(1, 4)), draw(st.integers(0, 999))
    rng = torch.Generator().manual_seed(seed)
    taken = [layer for layer in shapes if all_layers or draw(st.booleans())]
    return {
        layer: Factors(
            torch.randn(rank, shapes[layer][1], generator=rng, dtype=torch.float64),
            torch.randn(shapes[layer][0], rank, generator=rng, dtype=torch.float64),
        )
        for layer in taken
    }


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """A manifest of any content, a third of a composition; `members` is not filled in."""
    if draw(st.integers(0, 2)) == 0:
        return draw(compositions())
    taken = draw(st.lists(photos, max_size=3))
    lengths = st.tuples(*[st.integers(1, 3) for _ in taken])
    kept = draw(encoders) if taken and draw(st.booleans()) else ()
    return Manifest(
        name=draw(names),
        kind=draw(st.sampled_from(LEARNED_KINDS)),
        created=draw(times),
        prism_version=draw(labels),
        base=draw(bases),
        token_length=draw(st.integers(1, 3)),
        residual_lengths={encoder: draw(lengths) for encoder in kept},
        lora=draw(st.none() | loras),
        options=draw(st.dictionaries(texts, options, max_size=3)),
        seed=draw(st.integers(0, 2**64 - 1)),
        photos=tuple(taken),
        metrics=draw(st.dictionaries(texts, numbers | integers | texts, max_size=3)),
    )


@st.composite
def compositions(draw: st.DrawFn) -> Manifest:
    """The manifest of a composition, whose LoRA is in its parents' blocks or is not."""
    taken = draw(st.lists(parents, min_size=1, max_size=3, unique_by=lambda each: each.name))
    rank = sum(parent.rank for parent in taken)
    return Manifest(
        name=draw(names),
        kind=COMPOSITION,
        created=draw(times),
        prism_version=draw(labels),
        base=draw(bases),
        token_length=sum(parent.token_length for parent in taken),
        residual_lengths={},
        lora=LoraSpec(rank=rank, alpha=rank, targets=("to_q",))
        if rank
        else draw(st.none() | loras),
        options={},
        seed=0,
        photos=(),
        metrics={},
        phrase=" with ".join(f"[{parent.name}]" for parent in taken),
        parents=tuple(sorted(taken, key=lambda each: each.name)),
    )


@st.composite
def concepts(draw: st.DrawFn) -> tuple[Manifest, dict[str, bytes]]:
    """A manifest and the members that it describes, in any order."""
    manifest = draw(manifests())
    kept = tuple(manifest.residual_lengths) or draw(encoders)
    widths = {encoder: draw(st.integers(1, 4)) for encoder in kept}
    members = {
        "tokens.safetensors": safetensors(
            {
                f"target.{p.name}.{e}": ("F32", (p.token_length, widths[e]))
                for p in manifest.parents
                for e in kept
            }
            or {f"target.{e}": ("F32", (manifest.token_length, widths[e])) for e in kept}
        )
    }
    if manifest.residual_lengths:
        members["residuals.safetensors"] = safetensors(
            {
                f"residual.{i}.{encoder}": ("F32", (length, widths[encoder]))
                for encoder, lengths in manifest.residual_lengths.items()
                for i, length in enumerate(lengths)
            }
        )
    if manifest.lora is not None:
        dtype, rank = draw(st.sampled_from(["F32", "F16", "BF16"])), manifest.lora.rank
        prefix = draw(st.sampled_from(["unet", "transformer"]))
        members["lora.safetensors"] = safetensors(
            {
                f"{prefix}.mid.attn.to_q.lora_A.weight": (dtype, (rank, 3)),
                f"{prefix}.mid.attn.to_q.lora_B.weight": (dtype, (2, rank)),
            }
        )
    if draw(st.booleans()):
        members["preview.png"] = png()
    return manifest, dict(draw(st.permutations(list(members.items()))))

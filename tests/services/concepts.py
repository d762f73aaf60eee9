"""Concepts on the embedded base, made without a training."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import torch
from safetensors.torch import save

from prism_cli import paths
from prism_cli.backbones import catalog
from prism_cli.method.tokens import ConceptTokens, init_tokens
from prism_cli.registry.archive import pack
from prism_cli.registry.manifest import BaseRef, LoraSpec
from prism_cli.registry.store import Registry
from tests.bases import fresh_mini, mini, seeded
from tests.registry.samples import MANIFEST, png

RANK = 2


@cache
def random_lora(seed: int) -> dict[str, torch.Tensor]:
    """Factors whose effect is seen in a picture."""
    base = fresh_mini()
    rng = seeded(seed)
    for factor in base.add_lora(RANK, rng):
        with torch.no_grad():
            factor.copy_(torch.randn(factor.shape, generator=rng) * 0.2)
    return base.lora_state()


def tokens_of(name: str, seed: int) -> ConceptTokens:
    """A target of a row and the residuals of two photos."""
    return init_tokens(
        mini(),
        name,
        ["a dog in the snow", "a cat at night"],
        length=1,
        word=None,
        residual_length=None,
        rng=seeded(seed),
    ).detached()


def archive(
    name: str,
    seed: int = 0,
    *,
    base: str = "mini",
    revision: str | None = None,
    lora: bool = False,
    kind: str = MANIFEST.kind,
) -> bytes:
    """An archive of a concept that was "trained" on mini, or on another revision of it."""
    entry, tokens = catalog.resolve("mini"), tokens_of(name, seed)
    lengths = {"clip_l": tuple(len(rows["clip_l"]) for rows in tokens.residuals)}
    manifest = dataclasses.replace(
        MANIFEST,
        name=name,
        kind=kind,
        base=BaseRef(
            id=base,
            revision=entry.revision if revision is None else revision,
            parameterization=entry.parameterization,
        ),
        token_length=1,
        residual_lengths=lengths,
        lora=LoraSpec(rank=RANK, alpha=RANK, targets=mini().lora_targets()) if lora else None,
    )
    members = {
        "tokens.safetensors": save({"target.clip_l": tokens.target["clip_l"]}),
        "residuals.safetensors": save(
            {f"residual.{i}.clip_l": rows["clip_l"] for i, rows in enumerate(tokens.residuals)}
        ),
        "preview.png": png(),
    }
    if lora:
        members["lora.safetensors"] = save(random_lora(seed))
    return pack(manifest, members)


def keep(name: str, seed: int = 0, **options: Any) -> None:
    """Put such a concept into the registry; options: of `archive`."""
    Registry(paths.concepts_dir()).add(archive(name, seed, **options), name, replace=True)

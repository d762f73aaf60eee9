"""Text encoders are let go between the stages, and nothing that is learned or drawn knows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prism_cli.backbones import catalog
from prism_cli.backbones.base import Backbone
from prism_cli.backbones.footprint import Footprint
from prism_cli.services.events import ignore
from prism_cli.services.preview import draw_preview, preview_prompts
from prism_cli.services.training_run import Trained, TrainingRun
from prism_cli.settings import DrawingOptions, FinetuneOptions, Recipe, TokenOptions
from tests.bases import CPU, fresh_mini
from tests.tiny_flux import save_tiny_flux
from tests.tiny_pipeline import FAMILY

RECIPE = Recipe(
    tokens=TokenOptions(steps=2, batch=1, anchors=1, evaluation_times=1),
    finetuning=FinetuneOptions(steps=2, batch=2, evaluation_times=1),
    drawing=DrawingOptions(steps=2, guidance=2.0),
)
BASES = {**{kind: FAMILY[kind] for kind in ("sd15", "sdxl")}, "flux": save_tiny_flux}


def learned(kind: str, place: Path) -> tuple[Trained, bytes]:
    """A training of two steps a stage and its preview."""
    base: Backbone
    if kind == "mini":
        entry, base = catalog.resolve("mini"), fresh_mini()
    else:
        entry = catalog.resolve(str(BASES[kind](place / "base")))
        base = catalog.load(entry, CPU)
    entry = replace(entry, recipe=RECIPE, size=4 * Footprint(entry.folder).size_multiple())
    run = TrainingRun(
        backbone=base,
        z_0=base.initial_noise((entry.size, entry.size), [1, 2])[:, None],
        name="x",
        captions=["a red dog", "a cat on snow"],
        start=None,
        recipe=RECIPE,
        seed=0,
        lora_seed=1,
        checkpoint_path=place / "checkpoint",
        created="2026-01-31T12:00:00Z",
        on_event=ignore,
        previews=preview_prompts(entry, "x"),
    )
    trained = run.run()
    return trained, draw_preview(base, trained.previews, entry, ignore)


@pytest.mark.parametrize("kind", [*BASES, "mini"])
def test_releasing_text_encoders_changes_no_bit(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses, tokens, factors and pictures are those of a run that keeps them."""
    released, picture = learned(kind, tmp_path / "released")
    for adapter in ("unet.UNetBackbone", "flux.FluxBackbone"):
        name = f"prism_cli.backbones.{adapter}.release_text_encoders"
        monkeypatch.setattr(name, lambda self: None)

    kept, same = learned(kind, tmp_path / "kept")

    assert released.outcomes == kept.outcomes
    for ours, theirs in zip(released.tokens.parameters(), kept.tokens.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert released.lora.keys() == kept.lora.keys()
    assert all(torch.equal(released.lora[key], kept.lora[key]) for key in kept.lora)
    assert picture == same

"""Archives and words from elsewhere, well formed, that do not fit: sentences, no crashes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from prism_cli import paths
from prism_cli.backbones import catalog
from prism_cli.errors import BaseMismatch, BaseNotFound, PromptRefused
from prism_cli.registry.archive import pack
from prism_cli.registry.manifest import BaseRef, LoraSpec, Manifest
from prism_cli.registry.refusals import TensorsRefused
from prism_cli.registry.store import Registry
from prism_cli.services.concept_archive import unpack_lora, unpack_rows
from prism_cli.services.generate import DrawRequest, generate
from tests.bases import fresh_mini
from tests.registry.samples import MANIFEST

LAYER = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture(autouse=True)
def _base_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "load", lambda entry, run: fresh_mini())


def stranger(encoder: str = "clip_l", width: int = 256, **changes: object) -> Manifest:
    """Keep a concept called "x" with a target of that encoder and width; return its manifest."""
    entry = catalog.resolve("mini")
    manifest = dataclasses.replace(
        MANIFEST,
        **{
            "name": "x",
            "base": BaseRef(id="mini", revision=entry.revision, parameterization="v"),
            "token_length": 1,
            "residual_lengths": {},
            "lora": None,
            **changes,
        },
    )
    members = {"tokens.safetensors": save({f"target.{encoder}": torch.zeros(1, width)})}
    if manifest.lora:
        rank = manifest.lora.rank
        members["lora.safetensors"] = save(
            {
                f"{LAYER}.lora_A.weight": torch.zeros(rank, 3),
                f"{LAYER}.lora_B.weight": torch.zeros(5, rank),
            }
        )
    Registry(paths.concepts_dir()).add(pack(manifest, members), "x", replace=True)
    return manifest


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("member", ["tokens.safetensors", "lora.safetensors"])
def test_what_is_no_number_is_refused(member: str, value: float) -> None:
    """Wherever tensors are read: an SVD or a picture of them would end in a traceback."""
    stranger(lora=LoraSpec(rank=2, alpha=2, targets=(LAYER,)))
    archive = Registry(paths.concepts_dir()).load("x")
    tensors = load(archive.members[member])
    next(iter(tensors.values()))[0, 0] = value
    bad = dataclasses.replace(archive, members={**archive.members, member: save(tensors)})

    read = unpack_lora if member.startswith("lora") else unpack_rows
    read(archive)
    with pytest.raises(TensorsRefused, match=f"'x' cannot be used: .* of its {member} holds"):
        read(bad)


@pytest.mark.parametrize(("encoder", "width"), [("clip_l", 4), ("t5", 256)])
def test_tokens_of_another_model_are_refused(encoder: str, width: int) -> None:
    """A manifest that names this base does not make its rows fit."""
    stranger(encoder, width)

    with pytest.raises(BaseMismatch, match="tokens of 'x' do not fit"):
        generate(DrawRequest(prompt="a [x]", steps=1))


def test_factors_of_another_model_are_refused() -> None:
    """A LoRA for layers of another width is a sentence, not torch's size mismatch."""
    stranger(lora=dataclasses.replace(MANIFEST.lora, rank=2, alpha=2))

    with pytest.raises(BaseMismatch, match="LoRA of 'x' does not fit"):
        generate(DrawRequest(prompt="a [x]", steps=1))


@pytest.mark.parametrize("revision", ["/etc/hostname", "../../secret", "", "0123456789ab"])
def test_a_revision_never_names_a_file(revision: str, tmp_path: Path) -> None:
    """Only what prism itself has noted about a revision is read."""
    with pytest.raises(BaseNotFound, match="is not where it was"):
        catalog.resolve_trained("local:sd", revision)


def test_a_note_in_the_folder_does_not_change_the_base(tmp_path: Path) -> None:
    """The revision is that of the files a pipeline is loaded from."""
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "unet" / "config.json").write_text("{}")
    before = catalog.fingerprint(tmp_path)

    (tmp_path / "notes.txt").write_text("my favourite")
    noted = catalog.fingerprint(tmp_path)
    (tmp_path / "unet" / "config.json").write_text("{ }")

    assert noted == before
    assert catalog.fingerprint(tmp_path) != before


def test_bytes_that_are_no_text_are_refused() -> None:
    """What a shell passes on from a file in another encoding reaches no tokenizer."""
    with pytest.raises(PromptRefused, match="not UTF-8"):
        generate(DrawRequest(prompt="a \udcff box", steps=1))


def test_what_is_drawn_is_kept_when_the_rest_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch is on disk before the next begins."""
    from prism_cli.services import generate as module

    drawing = module.draw

    def draw_once(*args: object, **kwargs: object) -> Iterator[object]:
        yield from drawing(*args, **kwargs)  # type: ignore[arg-type]
        monkeypatch.setattr(module, "draw", stopped)

    def stopped(*args: object, **kwargs: object) -> Iterator[object]:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "draw", draw_once)
    with pytest.raises(KeyboardInterrupt):
        generate(DrawRequest(prompt="a box", steps=1, count=5, seed=1))

    assert sorted(p.name for p in Path().glob("*.png")) == [f"picture-{k}.png" for k in range(1, 5)]


def test_a_stage_with_a_plateau_has_room_for_it() -> None:
    """The rule can fire before the cap; a ratio of 0 is none."""
    for recipe in (catalog.MINI_RECIPE, catalog.Recipe()):
        for stage in (recipe.tokens, recipe.finetuning):
            looks = stage.steps // stage.evaluate_every
            assert stage.plateau_ratio == 0 or 2 * stage.plateau_window <= looks

"""What each learner of the truth table does with its updates, on the practice base."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from benchmarks.peers.budget import Updates
from benchmarks.peers.learners import BARE, LEARNERS, NAMED, OWN, RARE, WORD, Lesson
from prism_cli.backbones import catalog
from prism_cli.backbones.base import Conditioning, Prompt, Rows
from prism_cli.backbones.unet import UNetBackbone
from prism_cli.runtime import detect, generator
from prism_cli.settings import FinetuneOptions, Recipe, TokenOptions

PHOTOS = 2
RECIPE = Recipe(
    tokens=TokenOptions(batch=2, anchors=1, lr=0.01), finetuning=FinetuneOptions(preservation=0.3)
)
LESSON = Lesson(
    z_0=torch.randn(PHOTOS, 1, 8, 16, 16, generator=generator(0)),
    captions={OWN: ["in the city", "in a field"], NAMED: ["a cat", "a cat"], BARE: ["a photo"] * 2},
    nouns=["cat", "cat"],
    noun="cat",
)
STYLE = replace(LESSON, nouns=["cat", "dog"], noun=None, template="* picture of {}")


@pytest.fixture(scope="module")
def mini() -> UNetBackbone:
    base = catalog.load(catalog.resolve("mini"), detect())
    assert isinstance(base, UNetBackbone)
    return base


@pytest.mark.parametrize("lesson", [LESSON, STYLE], ids=["subject", "style"])
@pytest.mark.parametrize("name", LEARNERS)
def test_updates_go_where_the_method_has_them(
    mini: UNetBackbone, name: str, lesson: Lesson
) -> None:
    """Into the words, the LoRA, or both; and the prompt has what was learned in it."""
    learner, base = LEARNERS[name], copy.deepcopy(mini)
    given = Updates(2 if learner.stages.words else 0, 1 if learner.stages.lora else 0)

    learned = learner.learn(base, lesson, RECIPE, given, 0)

    assert learned.steps == given.total
    assert bool(learned.rows) == bool(given.words)
    assert any("lora" in part for part, _ in base.unet.named_modules()) == bool(given.lora)
    prompt = learned.prompt("a * box")
    assert prompt == ("a ", learned.word, " box")
    assert learned.word == WORD if given.words else str(learned.word).startswith(RARE)
    with torch.no_grad():
        base.encode_text([prompt], learned.rows)


@pytest.mark.parametrize("name", ["Textual Inversion", "prism, no residuals", "pivotal tuning"])
def test_words_are_left_at_their_average(mini: UNetBackbone, name: str) -> None:
    """After two updates, of which an average of nearly all decays slowly, not at the last."""
    averaged = replace(RECIPE, tokens=replace(RECIPE.tokens, ema_decay=0.98))
    last, mean = (
        LEARNERS[name].learn(copy.deepcopy(mini), LESSON, recipe, Updates(2, 0), 0).rows[WORD]
        for recipe in (RECIPE, averaged)
    )
    for encoder, rows in last.items():
        assert not torch.equal(rows, mean[encoder])
        assert torch.dist(rows, mean[encoder]) < 0.1


@pytest.mark.parametrize("name", sorted({*LEARNERS} - {"prism, no residuals"}))
def test_a_style_is_said_as_the_base_says_styles(
    mini: UNetBackbone, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a picture, of a thing where the learner is told of one; and no photo "of a" style."""
    read: list[str] = []
    encode = UNetBackbone.encode_text

    def record(self: UNetBackbone, prompts: Sequence[Prompt], rows: Rows) -> Conditioning:
        read.extend("".join(p if isinstance(p, str) else p.part for p in each) for each in prompts)
        return encode(self, prompts, rows)

    monkeypatch.setattr(UNetBackbone, "encode_text", record)
    LEARNERS[name].learn(copy.deepcopy(mini), STYLE, RECIPE, Updates(1, 1), 0)

    said = {text for text in read if text.startswith(("target", RARE))}
    assert said and all(
        text.removeprefix("target").removeprefix(RARE).split()[0] in ("picture", "drawing", "photo")
        for text in said
    )
    assert {text for text in read if not text.startswith("residual")} <= {*said, ""}


def test_captions_are_what_residuals_start_from(mini: UNetBackbone) -> None:
    """So that the objective before the first update is another."""
    first = {
        name: LEARNERS[name].learn(copy.deepcopy(mini), LESSON, RECIPE, Updates(1, 0), 0).first_loss
        for name in ("prism", "prism, no captions", "prism, whole captions")
    }
    assert len(set(first.values())) == len(first)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("prism", True),
        ("prism, gamma = 0", True),
        ("prism, beta = 0", True),
        ("prism, random start", False),
        ("prism, no captions", True),
        ("prism, whole captions", True),
        ("prism, no residuals", True),
        ("pivotal tuning", True),
        ("Textual Inversion", True),
    ],
)
def test_a_look_is_what_the_target_starts_as(mini: UNetBackbone, name: str, told: bool) -> None:
    """Where the learner is told it: an update away from its words' rows, at a row's norm."""
    worn = replace(LESSON, noun=None, look="golden tartan")
    learned = LEARNERS[name].learn(copy.deepcopy(mini), worn, RECIPE, Updates(1, 0), 0)
    step = 1.01 * RECIPE.tokens.lr
    for encoder, rows in mini.word_rows("golden tartan").items():
        start = rows.float().mean(0, keepdim=True)
        start *= rows.float().norm(dim=1).mean() / start.norm()
        near = torch.allclose(learned.rows[WORD][encoder].float(), start, rtol=0, atol=step)
        assert near == told

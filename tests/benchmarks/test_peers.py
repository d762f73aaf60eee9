"""The truth table's concepts, budget and judge, on a world of plain shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.peers.budget import BUDGET, HELD, LORA, Stages, Updates, unheld
from benchmarks.peers.concepts import REFERENCES, Concept, concepts
from benchmarks.peers.judging import Judge
from benchmarks.peers.learners import ASKED_FOR, LEARNERS
from benchmarks.peers.learners import COSTS as LEARNER_COSTS
from benchmarks.truth_table import TRUE, WORDS, Bench, said, tables
from mini.vocabulary import NOUNS
from mini.world import World
from prism_cli.backbones import catalog
from prism_cli.encoders.scorer import Scorer
from prism_cli.settings import Recipe, resolve
from tests.mini.drawings import icons


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(icons(tmp_path_factory.mktemp("artwork"), len(NOUNS)))


@pytest.fixture(scope="module")
def judge(world: World) -> Judge:
    """The real scorer; small pictures for a second opinion."""

    def thumbnails(pictures: np.ndarray) -> Tensor:
        x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
        return torch.nn.functional.avg_pool2d(x, 4).flatten(1)

    scorer = Scorer.load(catalog.resolve("mini").folder / "scorer")
    return Judge(world, scorer, thumbnails)


def of_kind(world: World, kind: str) -> Concept:
    return next(concept for concept in concepts(world) if concept.kind == kind)


@pytest.mark.parametrize("trial", [False, True])
def test_concepts_ask_for_what_no_reference_shows(world: World, trial: bool) -> None:
    for concept in concepts(world, trial=trial):
        shown = {picture.ground.words() for picture in concept.references}
        assert len(concept.prompts) == 25 and len(shown) == REFERENCES
        assert all(asked.truth.ground.words() not in shown for asked in concept.prompts)
        assert all("*" in asked.template and asked.words for asked in concept.prompts)
        if concept.noun is None:
            learned = {picture.thing.noun for picture in concept.references if picture.thing}
            asked_for = {a.truth.thing.noun for a in concept.prompts if a.truth.thing}
            assert len(asked_for) == 25 and not asked_for & learned


def test_a_style_may_be_said_elsewhere(world: World) -> None:
    """Around the thing that was asked for; a subject is asked for as ever."""
    style = of_kind(world, "style")
    asked = [each.template for each in said(style, "{} in * style").prompts]

    for before, after, noun in zip(
        (each.template for each in style.prompts),
        asked,
        (each.truth.thing.noun for each in style.prompts if each.truth.thing),
        strict=True,
    ):
        assert after == before.replace("* ", "").replace(noun, f"{noun} in * style", 1)
    cat = of_kind(world, "subject")
    assert said(cat, "{} in * style") == cat


def test_nothing_is_tried_out_on_what_is_reported(world: World) -> None:
    """Neither a drawing nor a style nor a cloth."""
    reported, tried = (
        {(c.kind, c.noun or c.name) for c in concepts(world, trial=trial)}
        for trial in (False, True)
    )
    assert not reported & tried


RECIPE = Recipe()  # 200 and 200
COSTS = {"tokens": 0.3, "word": 0.1, LORA: 0.1, HELD: 0.15}
BOTH, PLAIN, WORD, ALONE = (
    Stages("tokens", HELD), Stages("word", LORA), Stages("word", None), Stages(None, LORA)
)  # fmt: skip


class TestBudget:
    """Twice as dear, half as many."""

    @pytest.mark.parametrize("stages", [BOTH, PLAIN, WORD, ALONE])
    def test_equal_seconds(self, stages: Stages) -> None:
        budget = BOTH.price(RECIPE, COSTS)
        given = stages.share(RECIPE, COSTS, budget=budget)
        words = COSTS[stages.words] if stages.words else 0.0
        lora = COSTS[stages.lora] if stages.lora else 0.0
        assert budget == pytest.approx(90)
        assert given.words * words + given.lora * lora == pytest.approx(90)
        assert given.words == given.lora or not (given.words and given.lora)

    def test_equal_updates(self) -> None:
        budget = BOTH.price(RECIPE, None)
        shares = [each.share(RECIPE, None, budget=budget) for each in (BOTH, ALONE)]
        assert [each.total for each in shares] == [400, 400]
        assert shares[0].words == 200

    def test_a_lora_that_nothing_holds(self) -> None:
        """It has half the rate and takes as long; where none is held it is the recipe's own."""
        held = resolve(RECIPE, flags={"finetuning.preservation": 0.3, "finetuning.steps": 300})
        plain = unheld(held.recipe).finetuning
        assert (plain.preservation, plain.steps) == (0.0, 400)
        assert plain.lr == held.recipe.finetuning.lr / 2
        assert unheld(RECIPE) == RECIPE

    def test_what_each_learner_is_given(self) -> None:
        """Prism its recipe; a LoRA that nothing holds the other, as many as the price buys."""
        nothing: Any = None
        held = resolve(RECIPE, flags={"finetuning.preservation": 0.3, "finetuning.steps": 150})
        bench = Bench(held.recipe, unheld(held.recipe), 64, *[nothing] * 5, 1, 1)

        stages = [each.stages for each in LEARNERS.values()]
        assert {name for s in stages for name in (s.words, s.lora) if name} == {*LEARNER_COSTS}
        costs = COSTS | {BUDGET: 82.5}  # of the whole recipe
        assert bench.given("prism", costs) == (held.recipe, Updates(200, 150))
        assert bench.given("prism, gamma = 0", costs) == (bench.plain, Updates(206, 206))
        assert bench.given("pivotal tuning", None) == (bench.plain, Updates(175, 175))


@pytest.mark.parametrize("kind", ["subject", "palette"])
class TestJudge:
    """Both ends of the scale are where they should be."""

    def test_the_true_pictures_are_one(self, world: World, judge: Judge, kind: str) -> None:
        concept = of_kind(world, kind)
        again = judge.verdict(concept, np.stack(judge.truth(concept, seed=1).right))

        assert again.fidelity == pytest.approx(1, abs=0.1)
        assert again.fidelity_net == pytest.approx(1, abs=0.1)
        assert 0 < again.found <= 1

    def test_other_designs_are_nought(self, world: World, judge: Judge, kind: str) -> None:
        concept = of_kind(world, kind)
        others = iter(judge.truth(concept, seed=1).other)
        pictures = [
            next(others) if asked.known else np.zeros((1, 64, 64, 3), np.uint8)
            for asked in concept.prompts
        ]
        least = min(len(each) for each in pictures if len(each) > 1)
        drawn = np.stack([each[np.arange(least) % len(each)] for each in pictures])
        other = judge.verdict(concept, drawn)

        assert abs(other.fidelity) < 0.15 and abs(other.fidelity_net) < 0.15

    def test_a_references_ground_leaks(self, world: World, judge: Judge, kind: str) -> None:
        concept = of_kind(world, kind)
        rng = np.random.default_rng(0)
        pink = world.draw(concept.references[0], rng)
        assert judge.verdict(concept, np.tile(pink, (25, 1, 1, 1, 1))).leakage == 1
        clean = judge.truth(concept).right
        assert judge.verdict(concept, np.stack(clean)).leakage < 0.2


def test_the_tables_compare_what_every_learner_has() -> None:
    """Concepts that one of them lacks are left out; differences are concept by concept.

    A peer is compared with prism, an ablation with what it is an ablation of.
    """
    numbers = dict.fromkeys(("fidelity", "fidelity_net", "alignment", "steps", "seconds"), 1.0)
    rows = [
        {"learner": learner, "concept": c, "kind": "subject", "seed": 0}
        | {"harmonic": h, "leakage": 0.25}
        | numbers
        for learner, found in {
            "prism": {"a": 0.5, "b": 0.7, "c": 0.0},
            "prism, gamma = 0": {"a": 0.5, "b": 0.5},
            "prism, beta = 0": {"a": 0.2, "b": 0.2},
            "pivotal tuning": {"a": 0.4, "b": 0.6},
        }.items()
        for c, h in found.items()
    ]
    lines = list(tables(rows, [*LEARNERS]))

    assert lines[0] == "\nall, 2 concepts, 1 seed\n" and not any(
        "Textual" in line for line in lines
    )
    mean = {line.split(" | ")[0]: line.split(" | ")[4:] for line in lines[1:6]}
    assert mean["| prism"] == ["0.60 (0.50 to 0.70)", "0.25 (0.25 to 0.25)", "", " |"]
    assert mean["| pivotal tuning"][2] == "-0.10 (-0.10 to -0.10)"
    ablation = [line for line in lines if line.startswith("| prism, beta = 0 |")]
    assert "| -0.30 (-0.30 to -0.30) |" in ablation[0]
    again = [row | {"seed": 1, "harmonic": 0.0} for row in rows if row["learner"] == "prism"]
    assert list(tables(rows + again, [*LEARNERS])) == lines  # of a seed that one alone has
    beside = [row | {"seed": 1} for row in rows if row["learner"] != "prism, beta = 0"]
    seeds = [line.strip() for line in tables(rows + beside, [*LEARNERS]) if "all," in line]
    assert seeds == ["all, 2 concepts, 2 seeds", "all, 2 concepts, 1 seed"]  # of the ablations
    begun = [row for row in beside if row["concept"] == "a"]
    assert list(tables(rows + begun, [*LEARNERS])) == lines  # of a seed that is under way
    assert list(tables([], [*LEARNERS])) == []
    true = [rows[0] | {"learner": TRUE, "harmonic": 1.0}]
    later = [row | {"seed": 1} for row in rows if row["learner"] == "prism"]
    seen = list(tables(true + later, [*LEARNERS, TRUE]))
    assert any(line.startswith(f"| {TRUE} | 1.00 | ") for line in seen)


def test_the_results_page_has_what_was_found() -> None:
    """Every line of every table of what all learners have."""
    root = Path(__file__).parents[2]
    lines = (root / "benchmarks/findings/truth_table.jsonl").read_text("utf-8").splitlines()
    records = (record for line in lines[1:] for record in json.loads(line).values())
    page = (root / "docs/results.md").read_text("utf-8").splitlines()

    printed = tables(
        [row for row in records if "learner" in row],
        [TRUE, WORDS, *(name for name in LEARNERS if name not in ASKED_FOR)],
    )
    assert [line for line in printed if line.startswith("|") and line not in page] == []

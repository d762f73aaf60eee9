"""A training that is stopped and goes on, against one that is not: equal in every bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prism_cli.backbones.base import Backbone
from prism_cli.errors import TrainingDiverged
from prism_cli.services import checkpoint, training_run
from prism_cli.services.checkpoint import CheckpointDamaged
from prism_cli.services.events import Event, Note, StageBegan, StageEnded, StageMoved, ignore
from prism_cli.services.training_run import LORA, TOKENS, Trained, TrainingRun
from prism_cli.settings import FinetuneOptions, Recipe, TokenOptions
from tests.bases import fresh_mini, seeded
from tests.toy import SHAPE, toy

STEPS = 6
RECIPE = Recipe(
    tokens=TokenOptions(
        steps=STEPS,
        batch=2,
        lr=0.05,
        ema_decay=0.9,
        evaluate_every=2,
        plateau_ratio=0.0,
        residual_length=1,
    ),
    finetuning=FinetuneOptions(
        steps=STEPS, batch=2, lr=0.05, rank=2, evaluate_every=2, plateau_ratio=0.0
    ),
)
PLATEAUS = replace(  # each stage ends by the rule, at its fourth evaluation
    RECIPE,
    tokens=replace(RECIPE.tokens, steps=99, plateau_window=2, plateau_ratio=1.0),
    finetuning=replace(RECIPE.finetuning, steps=99, plateau_window=2, plateau_ratio=1.0),
)


class _Stopped(BaseException):
    """What Ctrl-C is to a run."""


def toy_base() -> Backbone:
    return toy((0.8, 0.5, 0.2))


def a_run(
    path: Path,
    on_event: Callable[[Event], None] = ignore,
    recipe: Recipe = RECIPE,
    base: Callable[[], Backbone] = toy_base,
    captions: tuple[str, ...] = ("red", "dog", "box"),
    shape: tuple[int, ...] = SHAPE,
) -> TrainingRun:
    """A run in a process of its own: everything is made anew but what lies at `path`."""
    return TrainingRun(
        backbone=base(),
        z_0=torch.randn(len(captions), 1, *shape, generator=seeded(8)),
        name="x",
        captions=captions,
        start=None,
        recipe=recipe,
        seed=4,
        lora_seed=5,
        checkpoint_path=path,
        created="2026-01-31T12:00:00Z",
        on_event=on_event,
    )


def save_every_step(patch: pytest.MonkeyPatch) -> None:
    """However long a checkpoint takes to write."""
    patch.setattr(training_run, "CHECKPOINT_SECONDS", -1.0)
    patch.setattr(training_run, "CHECKPOINT_SHARE", 0)


def stopped_at(stage: str, step: int) -> Callable[[Event], None]:
    """A sink that raises once `step` of `stage` is reported."""

    def on_event(event: Event) -> None:
        if isinstance(event, StageMoved) and (event.stage, event.step) == (stage, step):
            raise _Stopped

    return on_event


def same(one: Trained, other: Trained) -> bool:
    """Whether two trainings have learned the same bits and tell the same of it."""
    rows = zip(one.tokens.parameters(), other.tokens.parameters(), strict=True)
    return (
        all(a.equal(b) for a, b in rows)
        and one.lora.keys() == other.lora.keys()
        and all(one.lora[key].equal(other.lora[key]) for key in one.lora)
        and one.outcomes == other.outcomes
    )


@pytest.fixture(params=[0.0, 1e9], ids=["checkpoint at every step", "checkpoint at the start"])
def _saving(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are as fresh as can be, or as old: only those at the start of a stage."""
    if request.param:
        monkeypatch.setattr(training_run, "CHECKPOINT_SECONDS", request.param)
    else:
        save_every_step(monkeypatch)


@pytest.mark.usefixtures("_saving")
@pytest.mark.parametrize("recipe", [RECIPE, PLATEAUS], ids=["cap", "plateau"])
@pytest.mark.parametrize("stage", [TOKENS, LORA])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_stopped_run_goes_on_bit_for_bit(
    stage: str, step: int, recipe: Recipe, tmp_path: Path
) -> None:
    """Tokens, LoRA, curves' ends and step counts, whichever step it was stopped after."""
    uninterrupted = a_run(tmp_path / "a", recipe=recipe).run()

    with pytest.raises(_Stopped):
        a_run(tmp_path / "b", stopped_at(stage, step), recipe).run()
    again = a_run(tmp_path / "b", recipe=recipe).run()

    assert same(uninterrupted, again)


def test_the_plateaus_of_these_tests_are_plateaus(tmp_path: Path) -> None:
    """What the test above calls a plateau does end both stages before their caps."""
    outcomes = a_run(tmp_path / "a", recipe=PLATEAUS).run().outcomes

    assert {k: (o.ended, o.steps) for k, o in outcomes.items()} == {
        TOKENS: ("plateau", STEPS),
        LORA: ("plateau", STEPS),
    }


def test_a_run_stopped_after_every_step_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve processes, one step each, make what one process makes."""
    save_every_step(monkeypatch)
    uninterrupted = a_run(tmp_path / "a").run()

    for stage in (TOKENS, LORA):
        for step in range(2, STEPS + 1):  # of step k the checkpoint is written once it is reported
            with pytest.raises(_Stopped):
                a_run(tmp_path / "b", stopped_at(stage, step)).run()

    assert same(uninterrupted, a_run(tmp_path / "b").run())


def test_a_run_on_the_embedded_base_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same on a real model: stopped once in each stage."""
    save_every_step(monkeypatch)
    recipe = replace(
        RECIPE,
        tokens=replace(RECIPE.tokens, steps=2, evaluation_times=1, residual_length=0),
        finetuning=replace(RECIPE.finetuning, steps=2, evaluation_times=1),
    )

    def run(path: Path, on_event: Callable[[Event], None] = ignore) -> Trained:
        captions = ("a red dog in the snow at night", "a cat")
        return a_run(path, on_event, recipe, fresh_mini, captions, (8, 16, 16)).run()

    uninterrupted = run(tmp_path / "a")
    for stage in (TOKENS, LORA):
        with pytest.raises(_Stopped):
            run(tmp_path / "b", stopped_at(stage, 2))

    assert same(uninterrupted, run(tmp_path / "b"))


def test_it_goes_on_where_the_checkpoint_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step is made twice that a checkpoint holds, and the stages say where they begin."""
    save_every_step(monkeypatch)
    with pytest.raises(_Stopped):
        a_run(tmp_path / "b", stopped_at(LORA, 4)).run()
    events: list[Event] = []

    a_run(tmp_path / "b", events.append).run()

    assert [e for e in events if isinstance(e, StageBegan)] == [StageBegan(LORA, STEPS, 3)]
    assert [e.step for e in events if isinstance(e, StageMoved)] == [4, 5, 6]
    assert [e for e in events if isinstance(e, StageEnded)] == [StageEnded(LORA, STEPS, "cap")]


def test_a_run_reports_both_stages(tmp_path: Path) -> None:
    """Begun, each step with its losses, ended."""
    events: list[Event] = []

    a_run(tmp_path / "a", events.append).run()

    moved = [e for e in events if isinstance(e, StageMoved)]
    assert [(e.stage, e.step) for e in moved] == [
        (stage, step) for stage in (TOKENS, LORA) for step in range(1, STEPS + 1)
    ]
    assert {frozenset(e.losses) for e in moved} == {frozenset({"rec", "excl"}), frozenset({"loss"})}


def test_no_steps_of_the_second_stage_make_no_lora(tmp_path: Path) -> None:
    """finetuning.steps = 0: the tokens are all that is learned, and nothing is injected."""
    recipe = replace(RECIPE, finetuning=replace(RECIPE.finetuning, steps=0))
    base = toy_base()

    trained = a_run(tmp_path / "a", recipe=recipe, base=lambda: base).run()

    assert trained.lora == {}
    assert trained.outcomes.keys() == {TOKENS}
    assert base.lora_state.__self__._factors == []


def test_the_time_of_the_first_start_is_kept(tmp_path: Path) -> None:
    """The archive says when the training first began, not when it was taken up again."""
    with pytest.raises(_Stopped):
        a_run(tmp_path / "b", stopped_at(TOKENS, 2)).run()
    later = a_run(tmp_path / "b")
    later.created = "2027-01-01T00:00:00Z"

    later.run()

    assert later.created == "2026-01-31T12:00:00Z"


@pytest.mark.parametrize(
    ("cost", "seconds", "saved_at"),
    [
        (0.0, 2.0, [0, 3, 6, 9, 12]),  # five seconds
        (0.5, 2.0, [0, 6, 12]),  # ten, twenty times what a write takes
        (1e4, 100.0, [0, 4, 8, 12]),  # five minutes at most
    ],
)
def test_checkpoints_are_written_as_time_passes(
    cost: float,
    seconds: float,
    saved_at: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps of so many seconds each: every five, and rarer where a large one takes its time."""
    now, steps = [0.0], list[int]()
    monkeypatch.setattr(training_run.time, "monotonic", lambda: now[0])

    def tick(event: Event) -> None:
        now[0] += seconds * isinstance(event, StageMoved)

    def count(path: Path, saved: checkpoint.Checkpoint) -> None:
        steps.append(saved.facts["step"])
        now[0] += cost

    monkeypatch.setattr(checkpoint, "write", count)
    recipe = replace(
        RECIPE,
        tokens=replace(RECIPE.tokens, steps=13),
        finetuning=replace(RECIPE.finetuning, steps=0),
    )

    a_run(tmp_path / "a", tick, recipe).run()

    assert steps == saved_at


def test_it_goes_on_when_the_base_is_fitted_otherwise(tmp_path: Path) -> None:
    """Less memory is free than as it began: nothing is lost, and it is said."""
    with pytest.raises(_Stopped):
        a_run(tmp_path / "b", stopped_at(TOKENS, 2)).run()
    events: list[Event] = []
    again = a_run(tmp_path / "b", events.append)
    again.fitting = ["torch.float32", "2", "False"]

    again.run()

    assert [e.text for e in events if isinstance(e, Note)] == [
        "the memory that is free has changed, which moves the result a little"
    ]


def test_a_damaged_checkpoint_is_not_started_over_in_silence(tmp_path: Path) -> None:
    """The user is told, and decides."""
    with pytest.raises(_Stopped):
        a_run(tmp_path / "b", stopped_at(TOKENS, 2)).run()
    path = tmp_path / "b"
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(CheckpointDamaged, match="is damaged") as caught:
        a_run(path).run()

    assert "rm" in caught.value.hint


def test_another_seed_learns_something_else(tmp_path: Path) -> None:
    """The seed is what chance depends on."""
    other = a_run(tmp_path / "b")
    other.seed = 5

    assert not same(a_run(tmp_path / "a").run(), other.run())


def test_a_loss_that_is_no_number_ends_the_run_with_what_to_change(tmp_path: Path) -> None:
    """A diverged training is not carried on to its end, let alone kept."""
    run = a_run(tmp_path / "x.safetensors")
    run.z_0 = run.z_0 * float("nan")

    with pytest.raises(TrainingDiverged, match="'tokens' is not a number after 1 steps") as error:
        run.run()

    assert "--token-lr" in error.value.hint

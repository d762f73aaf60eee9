"""`prism ablate`: real trainings of a few steps, in a results file that goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from prism_cli import paths
from prism_cli.backbones import catalog
from prism_cli.errors import (
    DiskFull,
    OptionRefused,
    PhotosRefused,
    Refused,
    StorageBusy,
    StorageFailed,
)
from prism_cli.evaluation_prompts import EvaluationPrompt, PromptList
from prism_cli.files import PARTIAL
from prism_cli.registry.store import Registry
from prism_cli.services import checkpoint, evaluation_draws
from prism_cli.services.ablate import ablate, plan_ablation
from prism_cli.services.ablation_rows import Row, add_row, read_rows
from prism_cli.services.ablation_study import AblateRequest
from prism_cli.services.events import Event, Note
from tests import gemini as api
from tests.gemini import FakeGemini

EXAMPLES = Path(__file__).parents[2] / "examples"
SHORT = {
    **{f"{stage}.steps": 1 for stage in ("tokens", "finetuning", "drawing")},
    **{f"{stage}.batch": 1 for stage in ("tokens", "finetuning")},
    **{f"{stage}.evaluation_times": 1 for stage in ("tokens", "finetuning")},
}
PROMPTS = PromptList("test", (EvaluationPrompt("a *", "a dog", "a dog"),))


@pytest.fixture
def request_() -> AblateRequest:
    """Two concepts of two photos, at one length."""
    for concept in ("zuzu", "harlequin"):
        Path(concept).mkdir()
        for name in ("01.png", "01.txt", "02.png", "02.txt"):
            shutil.copy(EXAMPLES / concept / name, concept)
    return AblateRequest(
        folders=(Path("zuzu"), Path("harlequin")),
        lengths=(2,),
        betas=(),
        file=SHORT,
        prompts=PROMPTS,
        count=1,
        steps=1,
    )


def test_it_goes_on_where_it_was_stopped(
    request_: AblateRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished cell is never done again; the table is the mean over concepts; nothing is kept."""

    def stop(event: Event) -> None:
        if isinstance(event, Note) and event.text.startswith("cell 2 of 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ablate(request_, stop)
    first = request_.out.read_text()
    plan = plan_ablation(request_)
    assert (len(plan.cells), len(plan.missing)) == (2, 1)

    found = ablate(request_)

    rows = [json.loads(line) for line in request_.out.read_text().splitlines()]
    assert request_.out.read_text().startswith(first) and len(first.splitlines()) == 1
    assert [(row["concept"], row["length"]) for row in rows] == [
        ("zuzu", 2),
        ("harlequin", 2),
    ]
    (table,) = found.tables
    assert (table.symbol, table.values) == ("n", (2,))
    assert set(table.scores) == {
        "image-text by mini's scorer",
        "design by mini's scorer, design half",
    }
    for score, intervals in table.scores.items():
        both = [row["scores"][score] for row in rows]
        assert intervals[0].mean == pytest.approx(sum(both) / 2)
        assert intervals[0].low == pytest.approx(min(both))
        assert intervals[0].high == pytest.approx(max(both))
    assert Registry(paths.concepts_dir()).names() == []

    assert ablate(request_) == found  # and no cell is left to do
    other = replace(request_, count=2)
    assert len(plan_ablation(other).missing) == 2  # another protocol's rows do not count
    monkeypatch.setattr("prism_cli.services.ablation_study.__version__", "99.0")
    assert len(plan_ablation(request_).missing) == 2  # nor do another version's


def test_another_folder_redoes_no_cell(request_: AblateRequest) -> None:
    """A cell hangs on its own folder's photos and captions, and on the settings of all."""
    both = plan_ablation(request_)
    alone = ablate(replace(request_, folders=(Path("zuzu"),)))
    line = request_.out.read_text()

    plan = plan_ablation(request_)

    assert (alone.cells, len(both.missing)) == (1, 2)
    assert [cell.concept for cell in plan.missing] == ["harlequin"]
    assert [
        cell.concept
        for cell in plan_ablation(
            replace(request_, folders=(Path("harlequin"), Path("zuzu")))
        ).missing
    ] == ["harlequin"]

    Path("harlequin/01.txt").write_text("something else", "utf-8")
    assert [cell.concept for cell in plan_ablation(request_).missing] == ["harlequin"]
    Path("zuzu/01.txt").write_text("something else", "utf-8")
    assert [cell.concept for cell in plan_ablation(request_).missing] == ["zuzu", "harlequin"]
    assert request_.out.read_text() == line


def test_machines_share_a_study(request_: AblateRequest) -> None:
    """What another kind of machine has finished is not trained again; that they differ is said."""
    ablate(request_)
    first, second = map(json.loads, request_.out.read_text().splitlines())
    assert first["machine"] == second["machine"] and first["machine"].startswith("cpu, ")
    second["machine"] = "cuda, torch.bfloat16"
    request_.out.write_text("".join(f"{json.dumps(row)}\n" for row in (first, second)))
    said: list[Event] = []

    assert plan_ablation(request_).missing == ()
    ablate(request_, said.append)
    ablate(replace(request_, folders=(Path("harlequin"),)), said.append)

    warnings = [e.text for e in said if isinstance(e, Note) and e.level == "warning"]
    assert warnings == [
        "the cells were trained on 2 kinds of machine, which may differ by rounding"
    ]


def row(concept: str, protocol: str, seed: int = 0, score: float = 0.5) -> Row:
    return Row(
        concept=concept,
        length=1,
        beta=0.5,
        seed=seed,
        protocol=protocol,
        machine="cpu",
        scores={"design": score},
        seconds=1.0,
    )


def test_a_row_leaves_every_other_alone() -> None:
    """Of other protocols, of other concepts, and of another process with the same protocol."""
    path = Path("rows.jsonl")
    old = [row("dog", "a"), row("vase", "b"), row("dog", "b")]
    for each in old:
        add_row(path, each)
    assert read_rows(path, {"dog": "a"}) == [old[0]]
    assert read_rows(path, {"dog": "b", "vase": "b"}) == old[1:]

    new = row("dog", "b", seed=1)
    add_row(path, new)
    add_row(path, replace(old[2], scores={"design": 0.7}))  # the same cell again

    assert read_rows(path, {"dog": "b"}) == [new, replace(old[2], scores={"design": 0.7})]
    assert read_rows(path, {"dog": "a", "vase": "b"}) == old[:2]


def test_rows_are_written_by_one_process_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that comes meanwhile waits: the file is read and written in one go."""
    path = Path("rows.jsonl")
    add_row(path, row("dog", "a"))
    monkeypatch.setattr("prism_cli.files.LOCK_TIMEOUT", 0.05)

    with FileLock(".rows.jsonl.lock"), pytest.raises(StorageBusy, match=r"rows\.jsonl"):
        add_row(path, row("dog", "a", seed=1))

    assert read_rows(path, {"dog": "a"}) == [row("dog", "a")]


def test_a_checkpoint_goes_when_its_row_is_kept(
    request_: AblateRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before, and not another ablation's, whose trainings have the same name."""
    alone = replace(request_, folders=(Path("zuzu"),))
    other = checkpoint.path_for("prism-ablation", "a" * 64)
    other.parent.mkdir(parents=True)
    other.touch()
    killed = other.with_name(f".{other.name}.x1{PARTIAL}")
    killed.touch()

    def full(*args: object) -> None:
        raise DiskFull("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("prism_cli.services.ablate.add_row", full)
        with pytest.raises(DiskFull):
            ablate(alone)
    assert len(list(other.parent.iterdir())) == 3
    said: list[Event] = []

    ablate(alone, said.append)

    assert any(isinstance(e, Note) and "going on" in e.text for e in said)
    assert sorted(other.parent.iterdir()) == sorted([other, killed])


def test_processes_share_the_cells(request_: AblateRequest) -> None:
    """What another one finishes meanwhile is not done again; what it is at comes last."""
    said: list[str] = []

    def other(event: Event) -> None:
        if isinstance(event, Note):
            said.append(event.text)
            if event.text.startswith("cell 1 of 2: zuzu") and not request_.out.read_text():
                ablate(replace(request_, folders=(Path("harlequin"),)))

    ablate(request_, other)

    assert [json.loads(line)["concept"] for line in request_.out.read_text().splitlines()] == [
        "harlequin",
        "zuzu",
    ]
    assert not any(text.startswith("cell 2") for text in said)


def test_a_cell_that_another_process_is_at_comes_last(request_: AblateRequest) -> None:
    """And is done where that one ends without it."""
    locks: list[FileLock] = []

    def stop(event: Event) -> None:
        if isinstance(event, Note) and event.text.startswith("cell 1 of 2"):
            locks.extend(map(FileLock, Path().glob(f".{request_.out}.*.lock")))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ablate(request_, stop)
    (lock,) = locks
    lock.acquire()
    said: list[str] = []

    def end(event: Event) -> None:
        if isinstance(event, Note) and event.text.startswith("cell "):
            said.append(event.text)
            if event.text.startswith("cell 2"):
                lock.release()

    ablate(request_, end)

    assert said == [
        "cell 1 of 2: another prism is at it",
        "cell 2 of 2: harlequin, n = 2, beta = 0.1, seed 0",
        "cell 1 of 2: zuzu, n = 2, beta = 0.1, seed 0",
    ]
    assert plan_ablation(request_).missing == ()
    assert not list(Path().glob(f".{request_.out}.*.lock"))  # of cells


def test_what_becomes_of_the_photos_meanwhile_changes_no_cell(request_: AblateRequest) -> None:
    """All cells of a run are of what it read when it began."""

    def lose(event: Event) -> None:
        if isinstance(event, Note) and event.text.startswith("cell 1 of 2"):
            Path("harlequin").rename("gone")

    found = ablate(request_, lose)

    Path("gone").rename("harlequin")
    assert found.cells == 2 and plan_ablation(request_).missing == ()


def test_no_two_seeds_share_a_noise(
    request_: AblateRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each training of a setting is drawn from seeds of its own."""
    drawn: list[list[int]] = []
    real = evaluation_draws.draw

    def record(*args: Any) -> Any:
        drawn.append(list(args[3]))
        return real(*args)

    monkeypatch.setattr(evaluation_draws, "draw", record)

    ablate(replace(request_, folders=(Path("zuzu"),), seeds=2, count=2))

    assert drawn == [[0, 1], [2, 3]]


def test_what_decides_the_pictures_makes_other_cells(request_: AblateRequest) -> None:
    """Guidance, once it is given; what photos are used is told by the photos."""
    ablate(request_)

    assert plan_ablation(request_).missing == ()
    guided = plan_ablation(replace(request_, guidance=2.0))
    assert (len(guided.missing), guided.sampling.guidance) == (2, 2.0)
    similar = plan_ablation(replace(request_, keep_similar=True))
    assert similar.training.keep_similar and similar.missing == ()


def test_the_studies_share_their_common_cell(request_: AblateRequest) -> None:
    """n = 1 at the usual beta is in both tables, and trained once."""
    usual = catalog.resolve("mini").recipe.tokens.beta
    both = replace(request_, lengths=(1, 2), betas=(0.0, usual), seeds=2)

    cells = plan_ablation(both).cells

    assert len(cells) == (2 + 2 - 1) * 2 * 2
    assert len({cell.key for cell in cells}) == len(cells)


def test_a_style_is_asked_as_one(request_: AblateRequest) -> None:
    """By the prompts that `prism eval` has for its kind; a subject's cells are others."""
    subjects = replace(request_, prompts=None, folders=(Path("zuzu"),))
    ablate(replace(subjects, kind="style"))

    assert plan_ablation(replace(subjects, kind="style")).training.kind == "style"
    assert plan_ablation(replace(subjects, kind="style")).missing == ()
    assert len(plan_ablation(subjects).missing) == 1
    with pytest.raises(OptionRefused, match="learned as style"):
        plan_ablation(replace(subjects, kind="style", live=True))


def test_photos_leave_with_a_word_and_in_no_rehearsal(
    request_: AblateRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every folder; --dry-run sends none."""
    for text in (*Path("zuzu").glob("*.txt"), *Path("harlequin").glob("*.txt")):
        text.unlink()
    asking = replace(request_, file={**SHORT, "captions.source": "gemini"})
    said: list[Event] = []

    with api.connected(FakeGemini(), monkeypatch) as gemini:
        assert len(plan_ablation(asking).missing) == 2
        assert gemini.asked == []
        ablate(asking, said.append)

    assert sum(isinstance(e, Note) and "leave this machine" in e.text for e in said) == 2
    assert plan_ablation(asking).missing == ()  # what was answered is kept


def never(event: Event) -> None:
    """No cell is begun."""
    assert not (isinstance(event, Note) and event.text.startswith("cell "))


def test_refusals(request_: AblateRequest) -> None:
    """Two folders of one name, nothing to vary, no place, few photos, a file of something else."""
    with pytest.raises(OptionRefused, match="same name"):
        ablate(replace(request_, folders=(Path("zuzu"), Path("x/../zuzu"))))
    with pytest.raises(OptionRefused, match="nothing to vary"):
        ablate(replace(request_, lengths=()))
    with pytest.raises(OptionRefused, match=r"tokens\.length"):
        ablate(replace(request_, lengths=(99,)))
    nowhere = replace(request_, out=Path("zuzu/01.png/rows.jsonl"))
    with pytest.raises(StorageFailed, match=r"rows\.jsonl"):
        ablate(nowhere, never)
    good = asdict(replace(row("zuzu", "a"), scores={}))
    bad = [
        json.dumps({**good, **other}).encode()
        for other in ({"concept": ["x"]}, {"scores": None}, {"length": "1"}, {"length": True})
    ]
    for notes in (b"my notes\n", b'{"concept": "\xff"}\n', *bad):
        request_.out.write_bytes(notes)
        with pytest.raises(Refused, match="not a results file"):
            ablate(request_)
        assert request_.out.read_bytes() == notes
    Path("harlequin/02.png").unlink()
    without = {**SHORT, "tokens.beta": 0.0}  # which one photo is enough for, and others need two
    with pytest.raises(PhotosRefused, match="at least 2"):
        ablate(replace(request_, betas=(0.1,), file=without), never)

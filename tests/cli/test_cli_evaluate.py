"""`prism eval` and `prism report` as they are typed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prism_cli.cli import measured, render
from prism_cli.method.bootstrap import Interval
from prism_cli.services.ablate import Ablation, Table
from tests import gemini as api
from tests.cli import worlds
from tests.cli.running import call
from tests.gemini import FakeGemini
from tests.services import concepts

Golden = Callable[[str, str], None]
FIT = re.compile(r"^base +mini.*\n(.*\n)*?time +.*\n", re.MULTILINE)  # as the machine has it
QUICK = ("--prompts", "p.txt", "-n", "1", "--steps", "1", "--guidance", "1")


@pytest.fixture
def prompts() -> None:
    Path("p.txt").write_text("a * in the snow\n", "utf-8")


def test_evaluate_and_report(home: Path, prompts: None, golden: Golden) -> None:
    """Measured in a pipe, then shown on a page: what is printed, and what is written."""
    lines = []
    for line in (
        f"eval mydog --photos photos {' '.join(QUICK)}",
        f"eval mydog --photos photos {' '.join(QUICK)} --dry-run",
        "report mydog --photos photos",
        "report mydog --markdown -o card.md",
    ):
        ran = call(*line.split())
        assert ran.status == 0, ran.stderr
        lines += [f"$ prism {line}", ran.stdout + "[stderr]", ran.stderr.rstrip("\n")]
    text = FIT.sub("", "\n".join(lines))
    golden("evaluate-session", re.sub(r" +-?[0-9]\.[0-9]{3}\b", "  N", text))

    page, card = Path("mydog-report.html").read_text("utf-8"), Path("card.md").read_text("utf-8")
    assert page.count("<img") == 1 + 2 + 1 + 2 * 3 + 2 and "Training" in page
    assert page.count("<polyline") == 2  # the archive holds both stages' losses
    assert "(card-drawn.png)" in card and Path("card-drawn.png").is_file()


@pytest.fixture
def gemini(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGemini]:
    """Gemini's server, which is satisfied with everything."""
    with api.connected(FakeGemini(), monkeypatch) as fake:
        fake.otherwise = lambda asked: api.answers(satisfied=True)
        yield fake


def test_a_judge(home: Path, prompts: None, gemini: FakeGemini, golden: Golden) -> None:
    """What is sent is said first; a picture without an answer last, and in the exit status."""
    lines = []
    for line, reply, status in (
        (f"eval mydog {' '.join(QUICK)} --judge gemini --photos photos --dry-run", None, 0),
        (f"eval mydog {' '.join(QUICK)} --judge gemini --photos photos", None, 0),
        (f"eval mydog {' '.join(QUICK)} --judge gemini --judge-model other", api.blocked(), 1),
        ("report mydog --markdown -o card.md", None, 0),
    ):
        gemini.replies = [reply] if reply else []
        ran = call(*line.split())
        assert ran.status == status, ran.stderr
        lines += [f"$ prism {line}", ran.stdout + "[stderr]", ran.stderr.rstrip("\n")]
    assert len(gemini.asked) == 3 + 1
    text = re.sub(
        r"((?:image-text|design|surroundings(?:, residuals)?|residual gap) .*)",
        _numbers,
        "\n".join(lines),
    )
    golden("judge-session", FIT.sub("", text))
    assert "| Text Alignment | 0 of 0 |  |  | 1 |" in Path("card.md").read_text("utf-8")


def _numbers(row: re.Match[str]) -> str:
    """A row of scores, which differ from machine to machine, without its numbers."""
    return re.sub(r" +-?[0-9]\.[0-9]{3}\b", "  N", row[0])


def test_a_judge_in_json(prompts: None, gemini: FakeGemini) -> None:
    """Rates and each answer; a wrong key is an error that does not hold it, and loses nothing."""
    concepts.keep("mydog")
    gemini.otherwise = lambda asked: api.FORBIDDEN
    refused = call("eval", "mydog", *QUICK, "--judge", "gemini", "--json")
    report = json.loads(call("report", "mydog", "--json").stdout)
    gemini.otherwise = lambda asked: api.answers(satisfied=False)
    done = call("eval", "mydog", *QUICK, "--judge", "gemini", "--json")

    assert refused.status == 1 and "refuses the key" in json.loads(refused.stdout)["error"]["cause"]
    assert report["evaluated"]
    found = json.loads(done.stdout)["evaluation"]["satisfaction"]
    [rate], [verdict] = found["rates"], found["verdicts"]
    assert (rate["criterion"], rate["satisfied"], rate["answered"]) == ("Text Alignment", 0, 1)
    assert (rate["low"], rate["high"]) == (0.0, pytest.approx(0.7935, abs=5e-5))
    assert verdict["satisfied"] is False and verdict["picture"].endswith("concept-00-0.png")
    for ran in (refused, done):
        assert api.KEY not in ran.stdout + ran.stderr


def test_pictures_leave_only_when_asked(prompts: None, gemini: FakeGemini) -> None:
    """A key in the environment is no permission; quiet says it too."""
    concepts.keep("mydog")
    call("eval", "mydog", *QUICK)
    assert gemini.asked == []

    ran = call("eval", "mydog", *QUICK, "--judge", "gemini", "-q")

    assert len(gemini.asked) == 1
    assert ran.stderr.count("leaves this machine for Google") == 1


def test_in_json_and_quiet(prompts: None) -> None:
    """One document, or one path."""
    concepts.keep("mydog")
    found = json.loads(call("eval", "mydog", *QUICK, "--json").stdout)
    plan = json.loads(call("eval", "mydog", *QUICK, "--dry-run", "--json").stdout)
    again = call("eval", "mydog", *QUICK, "-q")
    report = json.loads(call("report", "mydog", "--json").stdout)

    assert found["evaluation"]["scores"][0]["name"] == "image-text"
    assert (
        plan["plan"].items()
        >= {
            "concept": "mydog",
            "folder": found["folder"],
            "prompts": 1,
            "pictures": 1 + 1 + 1 + 1 + 2 + 2,
            "missing": 0,
            "with_concept": 1 + 1 + 1 + 2 + 2,
            "by_base": 1,
            "steps": 1,
            "guidance": 1.0,
            "judge": None,
            "questions": 0,
        }.items()
    )
    assert plan["plan"]["fit"] is None
    other = json.loads(call("eval", "mydog", *QUICK, "--seed", "1", "--dry-run", "--json").stdout)[
        "plan"
    ]
    assert other["missing"] == other["pictures"]
    assert other["fit"]["seconds"] > 0 and other["fit"]["memory"] > 2**20
    assert again.stdout == f"{found['folder']}\n"
    assert call("eval", "mydog", *QUICK, "--dry-run", "-q").stdout == again.stdout
    assert (report["path"], report["evaluated"]) == ("mydog-report.html", True)


def test_a_report_needs_no_evaluation() -> None:
    """And no base: an archive of any origin has one."""
    worlds.keep("mydog")

    ran = call("report", "mydog", "-q")

    assert (ran.status, ran.stdout) == (0, "mydog-report.html\n")
    assert "prism eval mydog" in Path("mydog-report.html").read_text("utf-8")


def test_an_ablation_is_planned() -> None:
    """--dry-run says how many trainings it would be, and how long they take."""
    worlds.photos(Path(), 2)

    plan = json.loads(call("ablate", "photos", "--dry-run", "--json").stdout)["plan"]

    # n = 1 at mini's own beta, 0.1, is in both tables.
    assert (plan["cells"], plan["missing"], plan["pictures"]) == (4 + 5 - 1, 8, 8 * 100)
    assert plan["seconds"] > plan["missing"] * plan["fit"]["seconds"] > 0
    assert call("ablate", "photos", "--dry-run", "--kind", "style", "--live").status == 4
    assert call("ablate", "photos", "--dry-run", "-q").stdout == "ablation.jsonl\n"
    said = call("ablate", "photos", "--dry-run").stdout
    assert re.search(r"^time +at least [\d.]+ (s|min|h) for all", said, re.MULTILINE)


def test_a_finished_ablation_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to do, and nothing is trained to find out how long that takes."""

    def never(*args: object) -> None:
        pytest.fail("a training was timed")

    worlds.photos(Path(), 2)
    line = ("ablate", "photos", "--lengths", "1", "--betas", "", "--steps", "1", "-n", "1")
    Path("short.toml").write_text("[tokens]\nsteps = 1\n[finetuning]\nsteps = 1\n", "utf-8")
    assert call(*line, "--config", "short.toml").status == 0
    for planned in ("rehearse", "rehearse_shots"):
        monkeypatch.setattr(f"prism_cli.services.rehearsal.{planned}", never)

    said = call(*line, "--config", "short.toml", "--dry-run")

    lines = [line.rstrip() for line in said.stdout.splitlines()]
    assert said.status == 0
    assert lines == ["cells    1, none of them to do", "results  ablation.jsonl"]


def test_an_ablation_that_is_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the results are, and no table."""
    means = {"design": (Interval(0.5, None, None),)}
    table = Table(title="T", symbol="n", values=(1,), scores=means)
    monkeypatch.setattr(render, "_style", render.Style(quiet=True))

    measured.ablated(Ablation(tables=(table,), concepts=1, seeds=1, cells=1, out=Path("a.jsonl")))

    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("a.jsonl\n", "")

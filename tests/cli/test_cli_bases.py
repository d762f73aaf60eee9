"""`prism bases`, and a base that is not here yet when it is named."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from prism_cli import paths
from prism_cli.backbones import catalog
from prism_cli.errors import BaseNotDownloaded
from prism_cli.services import bases
from tests.cli import worlds
from tests.cli.running import PRISM, Terminal, call, environment, spawn
from tests.cli.test_cli_output import terminals
from tests.hub import Hub, connected, serving
from tests.tiny_pipeline import save_tiny_pipeline

Golden = Callable[[str, str], None]

TINY = "tiny/sd"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with one repository, an empty cache, and no GPU."""
    monkeypatch.setattr(bases, "gpu_memory", lambda: None)
    with serving(Hub()) as hub:
        hub.commit(TINY, save_tiny_pipeline(tmp_path / "tiny"))
        with connected(hub, tmp_path / "hf", monkeypatch):
            yield hub


def online(hub: Hub, cache: Path) -> dict[str, str | None]:
    """The environment of a process that downloads from `hub`."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(cache),
        "HF_HUB_OFFLINE": None,
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "*",
    }


def test_listing(hub: Hub, golden: Golden) -> None:
    """What there is, what is here, and the default with its reason."""
    call("bases", "pull", TINY)

    ran = call("bases")

    shown = re.sub(r"[0-9]+\.[0-9] MB(?= +Apache)", "   N MB", ran.stdout)  # the package's own
    golden("table-bases", f"$ prism bases\n{shown}[stderr]\n{ran.stderr}")
    assert call("bases", "-q").stdout.split() == ["mini", "sd15", "sd21", "sdxl", "flux", TINY]


def test_listing_in_json(hub: Hub) -> None:
    """One document, with a row for each base and the default."""
    document = json.loads(call("bases", "--json").stdout)

    assert document.keys() == {"format", "command", "bases", "default"}
    assert document["default"]["name"] == "mini" and document["default"]["why"]
    rows = {row["name"]: row for row in document["bases"]}
    assert [name for name, row in rows.items() if row["default"]] == ["mini"]
    assert [name for name, row in rows.items() if row["here"]] == ["mini"]
    flux = rows["flux"]
    assert (flux["id"], flux["gated"]) == ("black-forest-labs/FLUX.1-dev", True)
    assert flux["page"] == "https://huggingface.co/black-forest-labs/FLUX.1-dev"


def test_pull(hub: Hub, golden: Golden) -> None:
    """In a pipe: a log on stderr, the facts on stdout; the second time nothing is fetched."""
    lines = []
    for line in (f"bases pull {TINY}", f"bases pull {TINY}", f"bases pull {TINY} -q"):
        ran = call(*line.split())
        lines += [f"$ prism {line}", ran.stdout + "[stderr]", ran.stderr.rstrip("\n")]
        assert ran.status == 0
    commit = hub.branches[TINY]["main"]
    golden("bases-session", "\n".join(lines).replace(commit, "COMMIT"))

    document = json.loads(call("bases", "pull", TINY, "--revision", "main", "--json").stdout)
    assert document["command"] == "bases pull"
    assert (document["revision"], document["downloaded"]) == (commit, 0)
    assert json.loads(call("bases", "--json", "pull", TINY).stdout) == document
    assert call("bases", "-q", "pull", TINY).stdout == f"{document['folder']}\n"


def test_pull_in_a_process_of_its_own(hub: Hub, tmp_path: Path) -> None:
    """With nothing but the Hub's own variables; no word about this machine is sent."""
    pulled = spawn("bases", "pull", TINY, "--json", **online(hub, tmp_path / "other"))

    assert pulled.status == 0, pulled.stderr
    assert json.loads(pulled.stdout)["folder"].startswith(str(tmp_path / "other" / "hub"))
    events = [json.loads(line) for line in pulled.stderr.splitlines()]
    assert [e["event"] for e in events][:2] == ["StageBegan", "StageMoved"]
    assert events[0]["unit"] == "MB"
    assert {request.path.split("/")[1] for request in hub.requests} == {"api", "tiny"}
    assert not any("harness" in request.path for request in hub.requests)


def test_a_base_that_is_not_here_is_downloaded_with_yes(hub: Hub) -> None:
    """Off a terminal --yes says so, and without it nothing is fetched."""
    draw = ["gen", "a dog", "--base", TINY, "--steps", "1", "--seed", "1"]

    refused = call(*draw)
    asked = len(hub.requests)
    drawn = call(*draw, "--yes")

    assert refused.status == 3 and asked == 0
    assert f"get it: prism bases pull {TINY}, or add --yes" in refused.stderr
    assert drawn.status == 0 and Path("picture-1.png").is_file()
    assert f"base: {TINY} at 16 px" in drawn.stderr


@pytest.fixture
def older(hub: Hub, tmp_path: Path) -> str:
    """The commit that two concepts were trained on; only a newer one is here, and is used now."""
    worlds.photos(Path())
    call("bases", "pull", TINY)
    for name in ("mydog", "mycat"):
        short = ["--token-steps", "1", "--lora-steps", "1"]
        trained = call("train", "photos", "--name", name, "--base", TINY, *short)
        assert trained.status == 0, trained.stderr
    first = catalog.resolve(TINY)
    hub.commit(TINY, tmp_path / "tiny", {"scheduler/more.json": b"{}"})
    call("bases", "pull", TINY, "--revision", "main")
    shutil.rmtree(first.folder)
    hub.requests.clear()
    return first.revision


@pytest.mark.parametrize(
    "line",
    [
        "gen [mydog] --steps 1",
        "inspect mydog --steps 1",
        "transfer mydog box --weights 1 --count 1 --steps 1",
        "compose mydog mycat --preview --steps 1",
    ],
)
def test_the_base_of_a_concept_is_downloaded_with_yes(hub: Hub, older: str, line: str) -> None:
    """At the revision it was trained on; a name goes on meaning the one that it meant."""
    used = catalog.resolve(TINY).revision

    refused = call(*line.split())
    asked = len(hub.requests)
    done = call(*line.split(), "--yes")

    assert refused.status == 3 and asked == 0
    assert f"prism bases pull {TINY} --revision {older}, or add --yes" in refused.stderr
    assert done.status == 0, done.stderr
    assert catalog.resolve_trained(TINY, older).revision == older
    assert catalog.resolve(TINY).revision == used != older


def test_an_evaluation_asks_for_the_base_first(hub: Hub, older: str) -> None:
    """And only then for the encoders, which are on this Hub as little as elsewhere."""
    refused = call("eval", "mydog")
    asked = len(hub.requests)
    tried = call("eval", "mydog", "--yes")

    assert refused.status == 3 and asked == 0
    assert f"prism bases pull {TINY} --revision {older}, or add --yes" in refused.stderr
    assert tried.status == 3 and "openai/clip" in tried.stderr
    assert catalog.resolve_trained(TINY, older).revision == older


def test_what_came_for_a_concept_is_not_pinned(hub: Hub, older: str) -> None:
    """Where a name meant nothing yet, it goes on to mean nothing."""
    shutil.rmtree(paths.bases_dir())

    drawn = call("gen", "[mydog]", "--steps", "1", "--yes")

    assert drawn.status == 0, drawn.stderr
    with pytest.raises(BaseNotDownloaded):
        catalog.resolve(TINY)


def test_a_revision_that_is_gone(hub: Hub, older: str) -> None:
    """No other will do for the concept, so none is named."""
    del hub.contents[older]

    drawn = call("gen", "[mydog]", "--yes")

    assert drawn.status == 3 and f"{TINY} has no revision '{older}'" in drawn.stderr
    assert "--revision main" not in drawn.stderr


def test_a_composition_needs_a_base_only_to_draw(hub: Hub, older: str) -> None:
    """The archives have all that is merged, and nothing is drawn unless asked for."""
    planned = call("compose", "mydog", "mycat", "--dry-run", "--yes")
    made = call("compose", "mydog", "mycat", "--yes")

    assert planned.status == made.status == 0 and hub.requests == []


def test_a_dry_run_plans_the_base_of_a_concept(hub: Hub, older: str) -> None:
    """From the configs of its own revision."""
    planned = call("gen", "[mydog]", "--dry-run", "--json")

    assert planned.status == 0, planned.stderr
    fit = json.loads(planned.stdout)["plan"]["fit"]
    assert 0 < fit["download"] < fit["disk"]
    assert not any(name.endswith(".safetensors") for name in hub.fetched())
    with pytest.raises(BaseNotDownloaded):
        catalog.resolve_trained(TINY, older)


@pytest.mark.parametrize(
    "line",
    [
        "train typo",
        "train photos/01.png",
        "train photos --name mydog",
        "train photos --config missing.toml",
        "train photos --rank 999",
        "train photos --class \udcff",
        "eval mydog --class \udcff",
        "ablate photos --class \udcff",
        "gen [nobody]",
        "gen dog --negative [nobody]",
        "gen [mydog",
        "gen cat --out photos/01.png",
        "gen cat --out cat.jpg",
        "gen cat --steps 0",
        "gen cat --guidance 0.5",
        "gen cat --size big",
        "gen --from photos/01.png",
        "eval nobody",
        "eval mydog --photos typo",
        "eval mydog --prompts missing.txt",
        "eval mydog --prompts photos/01.txt --live",
        "eval mydog --judge-model gemini-flash-latest",
        "eval mydog --guidance 999",
        "ablate photos typo",
        "ablate photos --betas much",
        "ablate photos --config missing.toml",
        "ablate photos --prompts missing.txt",
        "ablate photos --prompts photos/01.txt --live",
        "ablate photos photos",
        "ablate photos --lengths 99",
        "ablate photos --lengths= --betas=",
        "ablate photos --guidance 999",
        "ablate photos --live --kind style",
        "ablate photos --config wrong.toml",
    ],
)
def test_nothing_is_downloaded_for_what_is_refused(hub: Hub, line: str) -> None:
    """What can be told from the command line and the disk is told first, whatever --yes says."""
    worlds.photos(Path())
    worlds.keep("mydog")
    Path("wrong.toml").write_text("[tokens]\nsteps = -1\n", "utf-8")

    ran = call(*line.split(), "--base", TINY, "--yes")

    assert ran.status in {2, 3, 4}
    assert hub.requests == []


@pytest.mark.parametrize(
    "line", ["train photos --base tiny/sd --dry-run", "gen cat --base tiny/sd --dry-run"]
)
def test_a_dry_run_plans_a_base_that_is_not_here(
    hub: Hub, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its configs, with the size of the download; without a network it is only refused."""
    worlds.photos(Path())

    planned = call(*line.split(), "--json")
    shown = call(*line.split())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = call(*line.split())

    fit = json.loads(planned.stdout)["plan"]["fit"]
    assert fit["base"] == TINY and fit["memory"] > 0
    assert 0 < fit["download"] < fit["disk"]
    assert "are to be downloaded first" in " ".join(shown.stdout.split())
    assert "tiny/sd is not here: its configs were fetched to plan with" in shown.stderr
    assert not any(name.endswith(".safetensors") for name in hub.fetched())
    assert offline.status == 3 and "get it: prism bases pull tiny/sd" in offline.stderr


def test_quantizing_without_a_gpu(hub: Hub) -> None:
    """A sentence and a hint, before anything is asked of the Hub."""
    ran = call("bases", "pull", "flux", "--quantize", "nf4")

    assert ran.status == 4 and hub.requests == []
    assert "--quantize takes an NVIDIA GPU, and none was found" in ran.stderr
    assert "prism bases pull flux" in ran.stderr


def test_a_large_base_is_warned_of_first(hub: Hub) -> None:
    """FLUX without a GPU: a note, before the refusal."""
    worlds.photos(Path())

    ran = call("train", "photos", "--base", "flux")

    note, _, error = ran.stderr.partition("error:")
    assert ran.status == 3 and hub.requests == []
    assert "flux wants an NVIDIA GPU" in note and "prism bases pull flux" in error


@terminals
def test_a_question_on_a_terminal(hub: Hub, tmp_path: Path) -> None:
    """A no fetches nothing and fails."""
    worlds.photos(Path())
    argv = [*PRISM, "train", "photos", "--base", TINY]
    terminal = Terminal(argv, environment(**online(hub, tmp_path / "other")))

    assert terminal.wait_for(f"{TINY} is not on this machine. Download it? [y/N]")
    terminal.type("n\n")
    shown = terminal.finish()

    assert "nothing was downloaded" in shown and "Traceback" not in shown
    assert terminal.process.returncode == 1
    assert hub.requests == []

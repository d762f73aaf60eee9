"""What is printed, and where: help, tables, JSON, quiet, pipes and terminals."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from prism_cli import __version__
from prism_cli.cli import terminal_picture
from prism_cli.registry.archive import pack
from prism_cli.registry.manifest import OptionValue, PhotoRecord
from prism_cli.registry.store import Registry
from tests.cli import worlds
from tests.cli.running import PATIENCE, PRISM, Ran, Terminal, call, environment, on_terminal, spawn
from tests.registry.samples import MANIFEST, MEMBERS, composition, png

Golden = Callable[[str, str], None]

COMMANDS = (
    *("train", "gen", "generate", "caption", "compose", "transfer", "inspect"),
    *("eval", "report", "ablate", "list", "show", "rm"),
    *("rename", "export", "import", "verify", "bases", "bases pull", "completion"),
)
ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CELLS = re.compile("[\u2580\u2584\u2588]")  # the half blocks that pictures are made of

terminals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")


@pytest.fixture
def three() -> None:
    """A good concept, an older and smaller one, and a damaged one; every order of them differs."""
    worlds.keep("mydog")
    older = dataclasses.replace(MANIFEST, name="zebra", created="2025-12-01T08:30:00Z")
    members = {**MEMBERS, "preview.png": worlds.png(9, 9)}
    worlds.keep("zebra", pack(dataclasses.replace(older, lora=None), without_lora(members)))
    worlds.keep("broken", b"garbage" * 999)


def without_lora(members: dict[str, bytes]) -> dict[str, bytes]:
    """The members of a concept that has tokens only."""
    return {name: data for name, data in members.items() if name != "lora.safetensors"}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command: str, golden: Golden) -> None:
    """The help of the application and of every command reads as it was reviewed."""
    ran = call(*command.split(), "--help")

    assert (ran.status, ran.stderr) == (0, "")
    golden(f"help-{command.replace(' ', '-') or 'prism'}", ran.stdout)


def test_no_command_shows_the_help() -> None:
    """`prism` alone is a wrong command line, and says what there is."""
    ran = call()

    assert (ran.status, ran.stderr) == (2, "")
    assert ran.stdout.strip() == call("--help").stdout.strip()


def test_the_package_runs_as_a_module() -> None:
    """``python -m prism_cli`` is the same program, under the same name."""
    assert spawn("--version") == Ran(0, f"{__version__}\n", "")
    assert "Usage: prism " in spawn("--help").stdout


@pytest.mark.parametrize(
    "line",
    [
        *("list", "list -q", "list --json", "list --sort created", "list --sort size"),
        *("show mydog", "show zebra", "show mydog -q", "show mydog --json"),
        *("verify", "verify -q", "verify --json", "verify mydog zebra", "verify broken --json"),
    ],
)
def test_tables_and_documents(line: str, three: None, golden: Golden) -> None:
    """A registry is listed, shown and verified as it was reviewed."""
    ran = call(*line.split())

    parts = [f"$ prism {line}", ran.stdout.rstrip("\n"), "[stderr]", ran.stderr.rstrip("\n")]
    golden("table-" + line.replace("--", "").replace(" ", "-"), "\n".join(parts))
    assert ran.status == (4 if line.startswith("verify") and "mydog" not in line else 0)
    if "--json" in line:
        assert json.loads(ran.stdout)["format"] == 1


def test_a_composition_says_what_it_is_of(golden: Golden) -> None:
    """In a listing and when it is shown."""
    worlds.keep("catink", composition())

    listed, shown = call("list"), call("show", "catink")

    assert (listed.status, shown.status) == (0, 0)
    golden("table-composition", f"$ prism list\n{listed.stdout}$ prism show catink\n{shown.stdout}")


def test_an_empty_registry() -> None:
    """Where there is no concept, a listing is empty and says how to begin."""
    assert call("list") == Ran(
        0, "", "no concepts yet: prism train PHOTOS --name NAME learns one\n"
    )
    assert call("list", "-q") == Ran(0, "", "")
    assert json.loads(call("list", "--json").stdout)["concepts"] == []
    assert call("verify") == Ran(0, "", "no concepts to verify\n")


def test_an_archive_writes_no_line_of_a_listing() -> None:
    """Nor turns round what follows: whatever base it says it is of."""
    worlds.keep("mydog", worlds.on_base("mydog", "mini\nrex  subject\u202e"))

    ran = call("list")
    assert r"mini\x0arex  subject\u202e" in ran.stdout
    assert not any(line.startswith("rex") for line in ran.stdout.splitlines())
    ran = call("gen", "a [mydog]")
    assert ran.status == 3 and len(ran.stderr.splitlines()) == 2


def test_a_pipe_gets_whole_lines(three: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off a terminal nothing is wrapped or cut to a width."""
    monkeypatch.setenv("COLUMNS", "20")

    shown = call("show", "mydog").stdout.splitlines()

    assert sum(line.startswith("file") and "mydog.prism (" in line for line in shown) == 1


def test_a_strangers_text_does_not_steer_the_terminal() -> None:
    """Control characters in an archive are printed as escapes; brackets are no markup."""
    photo = PhotoRecord(
        sha256="a" * 64, caption=r"[red]a \[ \x1b" + "\x1b[2J\x9b1m", caption_source="x"
    )
    nasty = dataclasses.replace(MANIFEST, photos=(photo, *MANIFEST.photos[1:]))
    worlds.keep("mydog", pack(nasty, MEMBERS))

    shown = call("show", "mydog").stdout

    assert r"[red]a \[ \x1b\x1b[2J\x9b1m" in shown


def test_metrics_of_another_program_are_shown_as_far_as_they_go() -> None:
    """An archive may have any metrics, or a time that no local clock has."""
    odd = dataclasses.replace(
        MANIFEST, created="0001-01-01T00:00:00Z", metrics={"tokens.steps": "5", "lora.first": "x"}
    )
    worlds.keep("mydog", pack(odd, MEMBERS))

    assert "tokens ended after 5 steps\n" in re.sub(" +\n", "\n", call("show", "mydog").stdout)
    assert call("list").status == 0


@pytest.mark.parametrize(
    ("start", "said"),
    [("purple tartan", "2 vectors, started as 'purple tartan'"), (None, "2 vectors")],
)
def test_what_the_target_started_as_is_shown(start: str | None, said: str) -> None:
    """Where it was a word."""
    started = {"start": OptionValue(value=start, source="default")}
    worlds.keep("mydog", pack(dataclasses.replace(MANIFEST, options=started), MEMBERS))

    assert f"target    {said}\n" in re.sub(" +\n", "\n", call("show", "mydog").stdout)


def test_an_encoding_without_the_letters_gets_escapes() -> None:
    """A caption that stdout cannot encode is escaped, not fatal."""
    worlds.keep("mydog")

    ran = spawn("show", "mydog", PYTHONIOENCODING="ascii", PYTHONUTF8="0")

    assert ran.status == 0
    assert r"pr\xe8s d'un arbre" in ran.stdout


def test_a_reader_that_leaves_early_is_no_error(three: None) -> None:
    """`prism list | head -0` ends without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*PRISM, "list"], env=environment(), stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)

    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's")
@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("show mydog >&-", 0, ""),
        ("rm mydog <&-", 4, "there is no terminal to ask on"),
        ("gen x --base sd15 <&-", 3, "the base sd15 is not on this machine"),
        ("show mydog --json > /dev/full", 1, '"cause": "cannot use the output'),
        ("list > /dev/full", 1, "error: cannot use the output: no space left"),
    ],
)
def test_a_stream_that_is_closed_or_full(command: str, status: int, said: str) -> None:
    """Some supervisors start processes so."""
    worlds.keep("mydog")
    line = f"{shlex.join(PRISM)} {command}"

    done = subprocess.run(
        ["sh", "-c", line],
        env=environment(PYTHONUNBUFFERED=None),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )

    assert done.returncode == status, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "MPS backend out of memory (MPS allocated: 9.00 GB)",
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory",
        "unable to mmap 9 bytes from file <a.safetensors>: Cannot allocate memory (12)",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_no_memory_is_a_sentence(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever of torch's devices says it; any other RuntimeError is a bug."""

    def entries(registry: Registry) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(Registry, "entries", entries)

    ran = call("list")
    assert ran.status == 1 and ran.stderr.startswith("error: there is not enough free memory")
    words = "sizes of tensors must match"
    with pytest.raises(RuntimeError):
        call("list")


def test_removing_and_renaming(golden: Golden) -> None:
    """What changes the registry says so on stderr, and names given twice count once."""
    worlds.keep("mydog")
    worlds.keep("cat")

    lines = []
    for line in (
        "rename mydog rex",
        "export rex",
        "rm rex rex --yes",
        "import rex.prism",
        "rm cat -yq",
    ):
        ran = call(*line.split())
        lines += [f"$ prism {line}", ran.stdout + "[stderr]", ran.stderr.rstrip("\n")]
        assert ran.status == 0
    golden("registry-session", "\n".join(lines))
    assert call("list", "-q").stdout == "rex\n"


@terminals
def test_a_question_on_a_terminal() -> None:
    """Asked on a terminal, a no keeps the concept and fails; a yes deletes it."""
    worlds.keep("mydog")
    for answer, status in (("n", 1), ("^C", 130), ("y", 0)):
        terminal = Terminal([*PRISM, "rm", "mydog"], environment())
        assert terminal.wait_for("Delete mydog? [y/N]")
        if answer == "^C":
            terminal.interrupt()
        else:
            terminal.type(f"{answer}\n")
        shown = terminal.finish()
        assert terminal.process.returncode == status
        assert "Traceback" not in shown
        assert call("list", "-q").stdout == ("" if status == 0 else "mydog\n")


@terminals
def test_pictures_only_on_a_terminal(three: None) -> None:
    """`list --pictures` draws each usable concept's preview, and nothing in a pipe."""
    shown = on_terminal("list", "--pictures")
    piped = call("list", "--pictures")

    assert len(CELLS.findall(shown)) > 20
    assert not CELLS.search(piped.stdout) and ESCAPE not in piped.stdout
    assert "Traceback" not in shown and piped.stdout == call("list").stdout


@terminals
def test_no_color(three: None) -> None:
    """A terminal has colours, unless NO_COLOR is set."""
    assert COLOUR.search(on_terminal("list"))
    assert not COLOUR.search(on_terminal("list", NO_COLOR="1"))


def test_train_reports(learned: tuple[Ran, Path], golden: Golden) -> None:
    """A training in a pipe: its log on stderr, the facts on stdout, no escape codes."""
    ran, _ = learned
    number = r"-?[0-9]+\.[0-9]+"
    text = re.sub(
        rf"{number} [kM]B|[0-9]+ s, {number} [MG]B", "N", f"{ran.stdout}[stderr]\n{ran.stderr}"
    )
    text = re.sub(r"\S*/(?=mydog\.prism)", "HOME/", re.sub(number, "N", text))

    assert ran.status == 0 and ESCAPE not in text
    golden("train", text)


def test_train_and_gen_in_json(home: Path) -> None:
    """With --json stdout is one document, and each line of stderr an event."""
    short = ["--config", "short.toml", "--token-steps", "1", "--lora-steps", "1"]
    trained = call("train", "photos", "--name", "cat", *short, "--json")
    planned = call("train", "photos", "--name", "bird", *short, "--dry-run", "--json")
    drawn = call("gen", "A [cat] box", "--steps", "1", "--seed", "3", "-n", "2", "--json")

    document = json.loads(trained.stdout)
    assert document["command"] == "train" and Path(document["path"]).is_file()
    assert document["outcomes"]["tokens"]["steps"] == 1
    assert json.loads(planned.stdout)["plan"]["steps"] == {"tokens": 1, "lora": 1}
    assert call("list", "-q").stdout == "cat\nmydog\n"  # a rehearsal keeps nothing
    pictures = json.loads(drawn.stdout)["pictures"]
    assert pictures == [{"path": f"cat-{k}.png", "seed": k} for k in (3, 4)]
    kinds = [
        [json.loads(line)["event"] for line in ran.stderr.splitlines()] for ran in (trained, drawn)
    ]
    assert {"Note", "PhotoNote", "StageBegan", "StageMoved", "StageEnded"} == set(kinds[0])
    assert {"Note", "StageBegan", "StageMoved", "StageEnded"} == set(kinds[1])


def test_quiet_prints_paths_only(home: Path) -> None:
    """With -q stdout has the path of what was made, and stderr nothing."""
    short = ["--config", "short.toml", "--token-steps", "1", "--lora-steps", "0"]

    assert call("train", "photos", "--name", "cat", *short, "-q") == Ran(
        0, f"{home}/concepts/cat.prism\n", ""
    )
    drawn = call("gen", "A [mydog] box", "--steps", "1", "--seed", "3", "-n", "2", "-q")
    assert drawn == Ran(0, "mydog-3.png\nmydog-4.png\n", "")
    for line, paths in (
        ("train photos --name bird --config short.toml", f"{home}/concepts/bird.prism\n"),
        ("gen bird --seed 3 -n 2", "picture-3.png\npicture-4.png\n"),
        ("inspect mydog", "mydog-inspect-0.png\nmydog-leakage-0.png\n"),
        ("transfer mydog box --weights 1", "mydog-transfer-1-0.png\n"),
    ):
        assert call(*line.split(), "--dry-run", "-q") == Ran(0, paths, "")


def test_gen_in_a_pipe(home: Path) -> None:
    """Paths on stdout, the choice of base and the progress on stderr, and no picture."""
    ran = call("gen", "A [mydog] box", "--steps", "2", "--seed", "3", "--show")

    assert (ran.status, ran.stdout) == (0, "mydog-3.png\n")
    assert "(mydog was trained on it)" in ran.stderr and "drawing 2/2" in ran.stderr
    assert ESCAPE not in ran.stderr and not CELLS.search(ran.stderr)


def test_generate_is_gen(home: Path) -> None:
    """The long name draws the same picture."""
    for command in ("gen", "generate"):
        call(command, "A [mydog] box", "--steps", "1", "--seed", "3", "--out", f"{command}.png")

    assert Path("gen.png").read_bytes() == Path("generate.png").read_bytes()


def test_force_keeps_the_old_until_the_new_is_whole(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training with --force whose archive cannot be written leaves the old one."""
    archive = home / "concepts" / "mydog.prism"
    old = archive.read_bytes()
    again = [
        "train",
        "photos",
        "--name",
        "mydog",
        "--force",
        "--lora-steps",
        "1",
        "--token-steps",
        "1",
    ]

    with monkeypatch.context() as patch:
        worlds.full_disk(patch, "mydog.prism")
        failed = call(*again, "--config", "short.toml")
    kept = archive.read_bytes()
    succeeded = call(*again, "--config", "short.toml")

    assert failed.status == 1 and "the disk is full" in failed.stderr
    assert kept == old
    assert succeeded.status == 0 and archive.read_bytes() != old


# Both in one process, since most of the time would go to importing torch twice.
TRAIN_AND_GEN = """
import sys
from prism_cli.cli.main import main
for line in ("train photos --name cat --config short.toml", "gen [cat] --steps 2 --seed 3 --show"):
    sys.argv = ["prism", *line.split()]
    try:
        main()
    except SystemExit as end:
        print("STATUS", end.code)
"""


@terminals
def test_train_and_gen_on_a_terminal(home: Path) -> None:
    """A bar has the stage, the step, the time left and the losses; then pictures are shown."""
    environ = environment(TERM="xterm-256color", NO_COLOR=None)
    shown = Terminal([sys.executable, "-c", TRAIN_AND_GEN], environ).finish()
    trained, drawn, _ = COLOUR.sub("", shown).split("STATUS 0")

    assert re.search(r"tokens .*3/3 .*eta .*[0-9]:[0-9]{2}.* rec [0-9.]+  excl [0-9.]+", trained)
    assert re.search(r"lora .*3/3 .*eta .* loss [0-9.]+", trained)
    assert "done: cat is learned" in trained and len(CELLS.findall(trained)) > 50
    assert "cat-3.png" in drawn and len(CELLS.findall(drawn)) > 50


def test_kinds(home: Path) -> None:
    """--kind is kept, and its preview is drawn from the prompts of its kind."""
    short = ["--config", "short.toml", "--token-steps", "1", "--lora-steps", "0", "-q"]
    for kind in ("style", "action"):
        assert call("train", "photos", "--name", kind, "--kind", kind, *short).status == 0

    kept = [json.loads(call("show", kind, "--json").stdout) for kind in ("style", "action")]
    assert [each["manifest"]["kind"] for each in kept] == ["style", "action"]
    previews = [each["manifest"]["members"]["preview.png"]["sha256"] for each in kept]
    assert previews[0] != previews[1]
    assert (home / "photos").is_dir()  # where they lay, for prism inspect


def test_a_picture_that_cannot_be_decoded_is_said_to_be_damaged() -> None:
    """Whatever its damage makes of the decoder: here the profile behind its pixels is cut."""
    printed = io.StringIO()

    terminal_picture.show(Console(file=printed), png(2, 1, (b"iCCP", b"name\0")), height=3)

    assert printed.getvalue() == "(the preview is damaged)\n"

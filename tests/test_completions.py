"""Completion in bash, zsh and fish: the scripts, the protocol, and the shells themselves."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prism_cli.cli.main import app
from tests.cli import worlds
from tests.cli.running import Terminal, call, environment
from tests.registry.samples import composition

SCRIPTS = Path(__file__).parents[1] / "completions"
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
LINES = {
    "prism show my": "mydog",
    'prism gen "A [my': "A [mydog]",
    "prism gen A": "",
    "prism ren": "rename",
    "prism inspect my": "mydog",
    'prism gen "A [catink:i': "A [catink:ink]",
}


def protocol(shell: str, line: str) -> dict[str, str]:
    """The variables by which a shell's script asks how `line` may go on."""
    if shell == "bash":
        words = shlex.split(line + ('"' if line.count('"') % 2 else ""))
        asked = {"COMP_WORDS": line.replace(" ", "\n", 2), "COMP_CWORD": str(len(words) - 1)}
    else:
        asked = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    return {"_PRISM_COMPLETE": f"complete_{shell}", **asked}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_kept_script_is_the_printed_one(shell: str) -> None:
    """completions/ holds what `prism completion SHELL` prints."""
    ran = call("completion", shell)

    assert (ran.status, ran.stderr) == (0, "")
    assert ran.stdout == (SCRIPTS / f"prism.{shell}").read_text("utf-8")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line", LINES)
def test_the_protocol(shell: str, line: str) -> None:
    """Asked as a script asks, prism offers the registry's names, bracketed inside a prompt."""
    worlds.keep("mydog")
    worlds.keep("cat")
    worlds.keep("catink", composition())

    answer = CliRunner().invoke(app, [], env=protocol(shell, line), prog_name="prism").stdout

    assert LINES[line] in answer.replace("\\", "")  # zsh has its colons escaped
    assert "[cat]" not in answer and "cat\n" not in answer


def test_a_registry_that_cannot_be_read_offers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A completion never fails: it has nowhere to say why."""
    home = Path(os.environ["PRISM_HOME"])
    home.mkdir()
    (home / "concepts").write_bytes(b"a file")

    ran = CliRunner().invoke(app, [], env=protocol("bash", "prism show my"), prog_name="prism")

    assert (ran.exit_code, ran.stdout.strip(), ran.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_completes(shell: str, tmp_path: Path) -> None:
    """Typed in the shell itself, TAB completes a name, and one inside a quoted prompt."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on this machine")
    worlds.keep("mydog")
    script = tmp_path / "bin" / "prism"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m prism_cli "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    looks = {"TERM": "xterm", "PS1": "> ", "HOME": str(tmp_path), "PATH": path}
    terminal = Terminal(SHELLS[shell], environment(**looks))
    try:
        if shell == "zsh":
            terminal.type("autoload -Uz compinit; compinit -u -D\n")
        terminal.type(f"source {SCRIPTS}/prism.{shell}; echo rea''dy\n")
        assert terminal.wait_for("ready")
        terminal.type("prism show my\t")
        assert terminal.wait_for("mydog"), terminal.seen
        terminal.type('\x15prism gen "A [my\t')
        assert terminal.wait_for("[mydog]"), terminal.seen
    finally:
        terminal.close()

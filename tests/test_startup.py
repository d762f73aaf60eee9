"""Commands that only look at the registry start without a heavy module."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli import worlds
from tests.cli.running import environment

HEAVY = {
    *("torch", "diffusers", "transformers", "peft", "numpy", "PIL", "scipy"),
    *("google.genai", "huggingface_hub", "safetensors", "textual_image", "imagehash"),
}
LISTED = """
import sys
sys.argv = ["prism", *sys.argv[1:]]
from prism_cli.cli.main import main
try:
    main()
finally:
    print("LOADED", *sys.modules, file=sys.stderr)
"""


def loaded(*args: str, **changes: str) -> tuple[str, set[str]]:
    """What a command prints, and the modules it has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", LISTED, *args],
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout, set(done.stderr.rpartition("LOADED")[2].split())


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("--help", "Learn a concept"),
        ("--version", "."),
        ("train --help", "FOLDER"),
        ("gen --help", "PROMPT"),
        ("caption --help", "FOLDER"),
        ("eval --help", "NAME"),
        ("ablate --help", "FOLDER"),
        ("compose --help", "NAME..."),
        ("transfer --help", "NOUN..."),
        ("inspect --help", "residual"),
        ("list", "mydog"),
        ("list --pictures", "mydog"),
        ("show mydog", "A dog on a sofa."),
        ("verify", "mydog: whole"),
        ("rename mydog rex -q", ""),
        ("export mydog", "mydog.prism"),
        ("rm --yes mydog", ""),
        ("bases", "Stable Diffusion XL"),
        ("bases --json", '"default"'),
        ("bases pull --help", "NAME"),
        ("completion bash", "_PRISM_COMPLETE"),
    ],
)
def test_a_light_command(line: str, printed: str) -> None:
    """It does its work, and none of the heavy modules was imported for it."""
    worlds.keep("mydog")

    stdout, modules = loaded(*line.split())

    assert printed in stdout
    assert "prism_cli.cli.main" in modules
    assert not HEAVY & modules


def test_a_completion() -> None:
    """TAB answers without a heavy module, too."""
    worlds.keep("mydog")

    stdout, modules = loaded(
        _PRISM_COMPLETE="complete_bash", COMP_WORDS="prism show my", COMP_CWORD="2"
    )

    assert stdout == "mydog\n"
    assert not HEAVY & modules


WAITING = """
import os
import sys
from prism_cli.cli.main import main
sys.argv = ["prism", "--version"]
try:
    main()
finally:
    print("WAITS", os.environ["OMP_WAIT_POLICY"], os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({"OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": None}, "passive 2000"),
        ({"OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": "7"}, "passive 7"),
        ({"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": None}, "active None"),
    ],
)
def test_how_threads_wait(changes: dict[str, str | None], waits: str) -> None:
    """They spin for a moment and then sleep, unless the user has said how."""
    done = subprocess.run(
        [sys.executable, "-c", WAITING],
        env=environment(**changes),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert f"WAITS {waits}" in done.stdout

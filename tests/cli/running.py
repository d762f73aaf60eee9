"""Run prism in this process, in another, or in another on a pseudo-terminal."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from prism_cli.cli.main import app

ROOT = Path(__file__).parents[2]
PRISM = (sys.executable, "-m", "prism_cli")
PATIENCE = 120.0  # seconds; a loaded machine is slow, and no test should hang it


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    status: int
    stdout: str
    stderr: str


def call(*args: str, stdin: str = "") -> Ran:
    """Run a command in this process, off a terminal. A bug in it is raised here."""
    result = CliRunner().invoke(app, list(args), input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def environment(**changes: str | None) -> dict[str, str]:
    """The environment, able to import prism from anywhere; None takes a variable out."""
    both = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **changes}
    return {name: value for name, value in both.items() if value is not None}


def spawn(*args: str, **changes: str | None) -> Ran:
    """Run a command in a process of its own, off a terminal."""
    done = subprocess.run(
        [*PRISM, *args],
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


class Terminal:
    """A program on a pseudo-terminal of 100 columns and 40 lines."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 1000, 800))
        self.seen = ""
        # The first terminal that the leader of a new session opens becomes its own.
        opened = ["/bin/sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(theirs), *argv]
        self.process = subprocess.Popen(opened, env=dict(env), start_new_session=True)
        time.sleep(0.05)
        self.theirs = theirs

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.ours, keys.encode())

    def wait_for(self, text: str, seconds: float = 20.0) -> bool:
        """Read until `text` has been shown since the last call; False if it never is."""
        seen, end = "", time.monotonic() + seconds
        while text not in seen and time.monotonic() < end:
            new = self._read()
            if new is None:
                break
            seen += new
        self.seen += seen
        return text in seen

    def interrupt(self) -> None:
        """Press ^C until the program ends.

        Python does not notice one that comes between its last look and the read of a line: it waits
        for the next key.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            self.type("\x03")
            self.wait_for("never shown", seconds=5.0)

    def finish(self) -> str:
        """Read to the end, for as long as anyone is patient; return everything that was shown."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and (new := self._read()) is not None:
            self.seen += new
        try:
            self.process.wait(timeout=1)
        finally:
            self.close()
        return self.seen

    def close(self) -> None:
        """End the program, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=PATIENCE)
        os.close(self.ours)
        os.close(self.theirs)

    def _read(self) -> str | None:
        ready, _, _ = select.select([self.ours], [], [], 0.2)
        if not ready:
            return "" if self.process.poll() is None else None
        try:
            return os.read(self.ours, 1 << 16).decode(errors="replace") or None
        except OSError:  # Linux's way to say that the other end is closed
            return None


def on_terminal(*args: str, **changes: str | None) -> str:
    """Run a command on a colour terminal and return what it showed."""
    looks = {"TERM": "xterm-256color", "NO_COLOR": None, **changes}
    return Terminal([*PRISM, *args], environment(**looks)).finish()

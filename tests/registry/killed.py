"""Run one act on copies of a registry, killed with no warning at its 1st system call, its 2nd, ...

    python -m tests.registry.killed ACT TEMPLATE OUT

OUT/001, OUT/002, ... are what each kill left; the last of them is of the run that was not killed.
"""

from __future__ import annotations

import io
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import filelock  # noqa: F401  imported once here, not once in every fork

from prism_cli.registry.store import Registry
from tests.registry.samples import concept

CALLS = ("open", "write", "fsync", "ftruncate", "replace", "rename", "unlink", "mkdir", "chmod")

ACTS: dict[str, Callable[[Registry, Path], object]] = {
    "add": lambda registry, _: registry.add(concept("bird"), "bird"),
    "replace": lambda registry, _: registry.add(concept("mydog", 8), "mydog", replace=True),
    "rename": lambda registry, _: registry.rename("mydog", "rex"),
    "import": lambda registry, place: registry.import_file(place / "in.prism", "bird"),
    "remove": lambda registry, _: registry.remove("mydog"),
    "export": lambda registry, place: registry.export("cat", place / "out.prism", replace=True),
}


class TornFile:
    """A file whose writes reach the disk in two halves, with a system call between them."""

    def __init__(self, file: io.BufferedWriter, step: Callable[[], None]) -> None:
        self.file, self.step = file, step
        self.flush, self.fileno = file.flush, file.fileno

    def write(self, data: bytes) -> int:
        middle = len(data) // 2
        self.file.write(data[:middle])
        self.file.flush()
        self.step()
        self.file.write(data[middle:])
        return len(data)

    def __enter__(self) -> TornFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


def die_at(last: int) -> None:
    """Make this process kill itself in place of its `last` system call that touches a file."""
    counter = itertools.count(1)

    def step() -> None:
        if next(counter) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            step()
            return real(*args, **kwargs)

        return call

    fdopen = os.fdopen
    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    io.open = counted(io.open)  # type: ignore[assignment]
    os.fdopen = lambda *args: TornFile(fdopen(*args), step)  # type: ignore[arg-type,assignment]


def main(act: str, template: Path, out: Path) -> None:
    """Run `act` until it is not killed any more."""
    for last in itertools.count(1):
        place = out / f"{last:03}"
        shutil.copytree(template, place)
        child = os.fork()
        if child == 0:
            try:
                die_at(last)
                ACTS[act](Registry(place / "concepts"), place)
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            sys.exit(f"{act} failed by itself at step {last}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))

"""Train in forks of one warm process, each stopped by a signal, the last one left alone.

    python -m tests.cli.stopped OTHER MARK:SIGNAL ... -- TRAIN-ARGUMENTS

In each fork a training is sent SIGNAL when a line of its stderr begins with MARK. Then one runs to
its end, and one more in OTHER, a home in which none was stopped. For each a line of JSON: its exit
status, its stderr, and the digests of the registry's archives after it.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys

import diffusers  # noqa: F401  imported once here, not once in every fork

from prism_cli import paths
from prism_cli.backbones import unet  # noqa: F401
from prism_cli.cli.main import main
from prism_cli.registry.store import Registry
from prism_cli.services import train  # noqa: F401


def run(arguments: list[str], mark: str = "", number: int = 0) -> tuple[int, str]:
    """Run prism in a fork, and send it the signal when it has said `mark`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.close(writer)  # only stderr holds the pipe open
        sys.argv = ["prism", *arguments]
        main()
    os.close(writer)
    said = ""
    with open(reader, encoding="utf-8") as stderr:  # noqa: PTH123 (a descriptor has no path)
        for line in stderr:
            said += line
            if mark and line.startswith(mark):
                os.kill(child, number)
                mark = ""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def digests() -> dict[str, str]:
    """The SHA-256 of each archive in the registry."""
    archives = Registry(paths.concepts_dir()).entries()
    return {each.name: hashlib.sha256(each.path.read_bytes()).hexdigest() for each in archives}


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    end = sys.argv.index("--")
    alone, stops, arguments = sys.argv[1], sys.argv[2:end], sys.argv[end + 1 :]
    for stop in [*stops, "", alone]:
        at, _, sent = stop.partition(":") if stop in stops else ("", "", "")
        if stop == alone:
            os.environ["PRISM_HOME"] = alone
        status, stderr = run(arguments, at, int(sent) if at else 0)
        print(json.dumps({"status": status, "stderr": stderr, "concepts": digests()}), flush=True)

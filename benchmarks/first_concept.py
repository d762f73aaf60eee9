"""From command to archive, and from command to four pictures, on the practice base.

    python benchmarks/first_concept.py

Runs `prism train examples/zuzu` and `prism gen ... -n 4` as whole processes, `RUNS` times each, and
prints the median, least and most; then where the time of the last training went, from its events.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

RUNS = 3
ROOT = Path(__file__).parents[1]
PRISM = str(Path(sys.executable).with_name("prism"))


def timed(command: list[str], environment: Mapping[str, str]) -> tuple[float, dict[str, float]]:
    """Seconds of a whole process, and how many of them had passed at the end of each stage."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [PRISM, *command, "--json"],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    marks: dict[str, float] = {}
    for line in process.stderr or ():
        event = json.loads(line)
        if event["event"] in {"StageBegan", "StageEnded"}:
            marks[f"{event['stage']} {event['event'][5:].lower()}"] = time.perf_counter() - began
    if process.wait():
        raise SystemExit(f"prism {' '.join(command)} failed")
    return time.perf_counter() - began, marks


def summary(title: str, seconds: list[float]) -> str:
    """One line of the table."""
    return (
        f"{title:34} median {statistics.median(seconds):5.1f} s  "
        f"({min(seconds):.1f} to {max(seconds):.1f}, {len(seconds)} runs)"
    )


def main() -> None:
    """Time both commands."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PRISM_HOME": folder}
        train = ["train", str(ROOT / "examples" / "zuzu"), "--name", "zuzu", "--force"]
        gen = ["gen", "a [zuzu] on a yellow background", "-n", "4", "--out", folder]
        trainings = [timed(train, environment) for _ in range(RUNS)]
        drawings = [timed(gen, environment)[0] for _ in range(RUNS)]
    print(summary("prism train, 5 pictures", [seconds for seconds, _ in trainings]))
    print(summary("prism gen, 4 pictures of 30 steps", drawings))
    total, marks = trainings[-1]
    print("where the last training's time went:")
    before = 0.0
    for mark, seconds in [*marks.items(), ("archive written and verified", total)]:
        print(f"  {seconds - before:6.1f} s  until {mark}")
        before = seconds


if __name__ == "__main__":
    main()

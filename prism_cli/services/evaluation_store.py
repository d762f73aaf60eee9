"""Where evaluations are kept: `<data>/evaluations/<what was learned>/`, pictures and numbers.

A concept that is renamed keeps its evaluation, and one that is trained again has none.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prism_cli import paths
from prism_cli.errors import StorageBusy, StorageFailed, storage
from prism_cli.files import locked, unlink_lock, write_whole
from prism_cli.registry.archive import Archive
from prism_cli.reports.model import Evaluation, PromptResult, Rate, Satisfaction, Score, Verdict

_RESULT = "evaluation.json"


@dataclass(frozen=True, slots=True)
class EvaluationStore:
    """The folder of one concept's evaluation."""

    folder: Path

    @classmethod
    def of(cls, archive: Archive) -> EvaluationStore:
        """That of the concept in `archive`, whether there is one or not."""
        return cls(paths.evaluations_dir() / archive.manifest.learned)

    def pictures(self, plan: Mapping[str, Any]) -> Path:
        """The folder for the pictures of an evaluation with this plan, there or not.

        What an earlier one with the same plan has drawn is there already.
        """
        text = json.dumps(plan, sort_keys=True)
        return self.folder / f"drawn-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def held(self, pictures: Path, timeout: float | None = None) -> AbstractContextManager[None]:
        """Keep other processes from drawing the same, and from deleting it. Raises StorageBusy."""
        with storage("write", pictures):
            pictures.mkdir(parents=True, exist_ok=True)  # where `idle` finds it
        return locked(self._lock(pictures), pictures, timeout)

    def alone(self) -> AbstractContextManager[None]:
        """Keep other evaluations from putting numbers and a sheet here. Raises StorageBusy."""
        return locked(self.folder / ".lock", self.folder)

    def replace(self, evaluation: Evaluation, pictures: Path) -> None:
        """Write the numbers, and delete what the evaluation before them had drawn.

        What others have drawn stays: they were stopped, or are still at it.
        """
        earlier = [folder for folder in self._drawn() if folder != pictures]
        self.keep(evaluation)
        for folder in earlier:
            with (
                suppress(StorageBusy),  # one with its plan is under way again
                self.held(folder, timeout=0),
                storage("delete the earlier pictures in", self.folder),
            ):
                shutil.rmtree(folder)
                unlink_lock(self._lock(folder))

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Keep others from drawing what has been begun; StorageBusy where a process is at it."""
        with ExitStack() as stack:
            for folder in self.folder.glob("drawn-*"):
                stack.enter_context(self.held(folder, timeout=0))
            yield

    def remove(self) -> None:
        """Delete it, whatever has been drawn; while it is `idle`."""
        with storage("delete", self.folder):
            if self.folder.is_dir():
                shutil.rmtree(self.folder)
            for lock in self.folder.parent.glob(f".{self.folder.name}-drawn-*.lock"):
                unlink_lock(lock)

    def _lock(self, pictures: Path) -> Path:
        """Beside the folder: on Windows one with an open file in it cannot be deleted."""
        return self.folder.with_name(f".{self.folder.name}-{pictures.name}.lock")

    def _drawn(self) -> list[Path]:
        """Where the pictures are that the kept evaluation names; nowhere, if it is damaged."""
        kept = None
        with suppress(StorageFailed):
            kept = self.read()
        named = {str(name) for each in (kept.prompts if kept else ()) for name in each.pictures}
        folders = {name.partition("/")[0] for name in named}
        return [folder for folder in self.folder.glob("drawn-*") if folder.name in folders]

    @property
    def result(self) -> Path:
        """The file with the numbers."""
        return self.folder / _RESULT

    def picture(self, name: str) -> Path:
        """The file of a picture that an evaluation names."""
        return self.folder / name

    def keep(self, evaluation: Evaluation) -> None:
        """Write the numbers."""
        write_whole(self.result, f"{json.dumps(asdict(evaluation), indent=1)}\n".encode())

    def read(self) -> Evaluation | None:
        """The evaluation that is kept; None where there is none. StorageFailed if it is damaged."""
        with storage("read", self.result):
            data = self.result.read_bytes() if self.result.is_file() else None
        if data is None:
            return None
        try:
            content = json.loads(data.decode("utf-8"))
            content["scores"] = tuple(Score(**each) for each in content["scores"])
            content["prompts"] = tuple(_prompt(each) for each in content["prompts"])
            for name in ("target", "residuals", "both"):
                content[name] = tuple(content[name])
            if len(content["residuals"]) != len(content["both"]):
                raise ValueError("not as many residuals as pictures with both")
            content["satisfaction"] = _satisfaction(content.get("satisfaction"))
            content["leakage"] = matrix_of(content.get("leakage"))
            return Evaluation(**content)
        except (ValueError, KeyError, TypeError) as error:
            raise StorageFailed(
                f"{self.result} is damaged ({error})", hint="evaluate again: prism eval NAME"
            ) from error


def damaged(path: Path, reason: object) -> StorageFailed:
    """What is said of a file among the pictures: once it is deleted, it alone is made again."""
    return StorageFailed(
        f"{path} is damaged ({reason})",
        hint=f"delete it and evaluate again: rm {shlex.quote(str(path))}",
    )


def _prompt(content: dict[str, Any]) -> PromptResult:
    for name in ("pictures", "base_pictures"):
        content[name] = tuple(content[name])
        if not content[name]:
            raise ValueError("a prompt without pictures")
    return PromptResult(**content)


def matrix_of(content: Any) -> tuple[tuple[float, ...], ...] | None:
    """A matrix out of JSON; None where there is none, ValueError where it is not a square one."""
    if content is None:
        return None
    matrix = tuple(tuple(float(value) for value in row) for row in content)
    if not matrix or any(len(row) != len(matrix) for row in matrix):
        raise ValueError("the leakage matrix is not square")
    return matrix


def _satisfaction(content: dict[str, Any] | None) -> Satisfaction | None:
    """None where no judge was asked, or the evaluation is older than judges."""
    if content is None:
        return None
    return Satisfaction(
        judge=content["judge"],
        rates=tuple(Rate(**each) for each in content["rates"]),
        verdicts=tuple(Verdict(**each) for each in content["verdicts"]),
    )

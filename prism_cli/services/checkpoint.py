"""A training that was stopped: everything its next step depends on, in one safetensors file.

Written whole or not at all, so that a kill at any moment leaves the previous checkpoint. Nothing is
pickled: the optimizer's state and the generator's are tensors, the rest is JSON in the header.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Generator, Tensor

from prism_cli import paths
from prism_cli.errors import PrismError
from prism_cli.files import PARTIAL, held, write_whole

_ABANDONED = 24 * 3600.0  # seconds; a training that runs writes its checkpoint every few minutes


class CheckpointDamaged(PrismError):
    """A checkpoint that cannot be read."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """tensors by name, and facts that are not tensors."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under `prefix`, without it."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


def path_for(name: str, fingerprint: str) -> Path:
    """Where the checkpoint of one training lies: another training of that name has another file."""
    return paths.unfinished_dir() / f"{name}-{fingerprint[:16]}.safetensors"


def alone(path: Path, *, wait: bool = False) -> AbstractContextManager[bool]:
    """Whether no other process is at the training of the checkpoint at `path`; see `files.held`."""
    return held(path.with_name(f".{path.name}.lock"), path, wait=wait)


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Put `checkpoint` in the place of the last one."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in checkpoint.tensors.items()}
    write_whole(path, save(tensors, metadata={"facts": json.dumps(dict(checkpoint.facts))}))


def read(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`, or None where there is none.

    Raises CheckpointDamaged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            # Copied: Windows does not replace a file that is mapped into memory.
            tensors = {
                key: file.get_tensor(key).clone()
                for key in file.keys()  # noqa: SIM118 (not a dict)
            }
            facts = json.loads(file.metadata()["facts"])
        if not isinstance(facts, dict):
            raise TypeError("the facts are not an object")
        return Checkpoint(tensors, facts)
    except (
        SafetensorError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
    ) as error:
        raise CheckpointDamaged(
            f"the unfinished training {path} is damaged",
            hint=f"delete it to start over: rm {shlex.quote(str(path))}",
        ) from error


def discard(path: Path) -> None:
    """Delete the checkpoint at `path`, killed writes of it included."""
    for own in (path, *path.parent.glob(f".{path.name}.*{PARTIAL}")):
        own.unlink(missing_ok=True)


def discard_abandoned(name: str) -> None:
    """Delete what other trainings of `name` have left, but for what one may still be writing."""
    for path, checkpoint in _files(name):
        with suppress(FileNotFoundError):  # another process has just finished with it
            if time.time() - path.stat().st_mtime > _ABANDONED:
                with alone(checkpoint) as mine:
                    if mine:
                        path.unlink(missing_ok=True)


def others(path: Path, name: str) -> bool:
    """Whether trainings of `name` were stopped, and none where `path` is: it begins anew."""
    return not path.is_file() and any(file == found for file, found in _files(name))


def _files(name: str) -> Iterator[tuple[Path, Path]]:
    """What trainings of `name` have left, killed writes and locks too, each with its checkpoint."""
    own = re.compile(rf"\.?({re.escape(name)}-[0-9a-f]{{16}}\.safetensors)(\..*)?")
    for path in paths.unfinished_dir().glob(f"*{name}-*"):
        if found := own.fullmatch(path.name):
            yield path, path.with_name(found[1])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's state as ``<parameter>.<quantity>``; parameters it has not touched have none."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value for index, values in state.items() for key, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def restore_values(parameters: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    """Copy `values` into `parameters`, pair by pair."""
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


def restore_generator(rng: Generator, state: Tensor) -> None:
    """Put a generator back to where it was."""
    rng.set_state(state)

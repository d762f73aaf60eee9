"""The file of an unfinished training: exact, whole, and refused when damaged."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from prism_cli import files, paths
from prism_cli.errors import DiskFull
from prism_cli.services import checkpoint
from prism_cli.services.checkpoint import Checkpoint, CheckpointDamaged
from tests.bases import seeded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Application Support" / "x.safetensors"


def sample(value: float = 0.1) -> Checkpoint:
    tensors = {"a": torch.randn(3, generator=seeded(0)), "rng": seeded(5).get_state()}
    return Checkpoint(tensors, {"stage": "tokens", "curve": [value, 1e-300, 2.0**-1074], "step": 3})


def test_a_checkpoint_comes_back_bit_for_bit(path: Path) -> None:
    """Tensors, a generator's state and floats of any size survive the file."""
    checkpoint.write(path, sample())

    read = checkpoint.read(path)

    assert read is not None
    assert read.facts == sample().facts
    assert read.tensors.keys() == sample().tensors.keys()
    for name, tensor in sample().tensors.items():
        assert torch.equal(read.tensors[name], tensor)
        assert read.tensors[name].dtype == tensor.dtype


def test_there_may_be_none(path: Path) -> None:
    """No file is no checkpoint, not an error."""
    assert checkpoint.read(path) is None


def test_a_part_is_what_lies_under_a_prefix() -> None:
    """The names lose the prefix that they were found by."""
    both = Checkpoint({"a.0": torch.zeros(1), "a.1": torch.ones(1), "b.0": torch.ones(1)}, {})

    assert sorted(both.part("a.")) == ["0", "1"]


def test_an_optimizer_goes_on_bit_for_bit() -> None:
    """AdamW with its moments restored takes the very step that the old one takes."""

    def three_rows() -> tuple[list[nn.Parameter], torch.optim.AdamW]:
        rows = [nn.Parameter(torch.randn(4, generator=seeded(k))) for k in range(3)]
        return rows, torch.optim.AdamW(rows, lr=0.1)

    def step(rows: list[nn.Parameter], optimizer: torch.optim.AdamW) -> None:
        optimizer.zero_grad()
        (rows[0].square().sum() + rows[2].exp().sum()).backward()  # row 1 has never a gradient
        optimizer.step()

    rows, optimizer = three_rows()
    step(rows, optimizer)
    kept = {k: v.clone() for k, v in checkpoint.optimizer_tensors(optimizer).items()}
    restored, other = three_rows()

    checkpoint.restore_optimizer(other, kept)
    checkpoint.restore_values(restored, [row.detach().clone() for row in rows])
    step(rows, optimizer)
    step(restored, other)

    assert {name.split(".")[0] for name in kept} == {"0", "2"}
    assert all(a.equal(b) for a, b in zip(rows, restored, strict=True))


def test_a_generator_goes_on_where_it_was(path: Path) -> None:
    """Its next draws are those that it would have made."""
    rng = seeded(3)
    torch.randn(7, generator=rng)
    state = rng.get_state()
    expected = torch.randn(9, generator=rng)
    other = seeded(0)

    checkpoint.restore_generator(other, state)

    assert torch.equal(torch.randn(9, generator=other), expected)


class _Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_while_writing_leaves_the_last_one(
    path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its bytes are on disk, or before it takes its place: the old one is still there."""

    def die(*args: object) -> None:
        raise _Killed

    checkpoint.write(path, sample(1.0))
    monkeypatch.setattr(*((files.os, "fsync") if moment == "fsync" else (Path, "replace")), die)

    with pytest.raises(_Killed):
        checkpoint.write(path, sample(2.0))

    read = checkpoint.read(path)
    assert read is not None and read.facts["curve"][0] == 1.0


def test_a_full_disk_leaves_the_last_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the user's to understand, and the training can go on from what there is."""

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    checkpoint.write(path, sample(1.0))
    monkeypatch.setattr(files.os, "fsync", full)

    with pytest.raises(DiskFull):
        checkpoint.write(path, sample(2.0))

    read = checkpoint.read(path)
    assert read is not None and read.facts["curve"][0] == 1.0


WHOLE = save(dict(sample().tensors), metadata={"facts": "{}"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        b"garbage" * 99,
        WHOLE[:-1],
        WHOLE[:40],
        WHOLE + b"\0",
        save({"a": torch.zeros(1)}),
        save({"a": torch.zeros(1)}, metadata={"other": "{}"}),
        save({"a": torch.zeros(1)}, metadata={"facts": "{"}),
        save({"a": torch.zeros(1)}, metadata={"facts": "[" * 100_000}),
        save({"a": torch.zeros(1)}, metadata={"facts": "3"}),
    ],
    ids=[
        "empty",
        "zeros",
        "garbage",
        "cut short",
        "cut in the header",
        "too long",
        "no metadata",
        "no facts",
        "facts that are no JSON",
        "facts too deep",
        "facts that are no object",
    ],
)
def test_a_damaged_checkpoint_is_refused(path: Path, data: bytes) -> None:
    """One sentence that names the file, and the command that starts over."""
    path.parent.mkdir(parents=True)
    path.write_bytes(data)

    with pytest.raises(CheckpointDamaged, match=str(path)) as caught:
        checkpoint.read(path)

    assert caught.value.hint == f"delete it to start over: rm '{path}'"


DAY = 24 * 3600


def left(name: str, character: str = "a", age: float = 0.0) -> list[Path]:
    """A checkpoint, and a write of it that was killed, both of that age in seconds."""
    path = checkpoint.path_for(name, character * 64)
    path.parent.mkdir(parents=True, exist_ok=True)
    both = [path, path.with_name(f".{path.name}.x1y2z3{files.PARTIAL}")]
    for each in both:
        each.touch()
        os.utime(each, (time.time() - age,) * 2)
    return both


def test_a_finished_training_leaves_nothing() -> None:
    """discard takes its checkpoint, killed writes included, and no other training's."""
    mine, others = left("dog"), [*left("dog", "b"), *left("dog-2")]

    checkpoint.discard(mine[0])

    assert sorted(paths.unfinished_dir().iterdir()) == sorted(others)


def test_what_others_of_a_name_have_abandoned_goes() -> None:
    """What was written of late may be that of a training which runs; another name's stays."""
    left("dog", "a", 2 * DAY)
    running = left("dog", "b", DAY - 600)
    others = [path for name in ("dog-2", "do", "my-dog") for path in left(name, age=2 * DAY)]

    checkpoint.discard_abandoned("dog")

    assert sorted(paths.unfinished_dir().iterdir()) == sorted([*running, *others])


def test_a_training_that_is_not_gone_on_with() -> None:
    """Of this name, and not where this one would go on."""
    mine, other = (checkpoint.path_for("dog", digit * 16) for digit in "ab")
    assert not checkpoint.others(mine, "dog")
    checkpoint.write(checkpoint.path_for("dog-2", "c" * 16), sample())
    assert not checkpoint.others(mine, "dog")
    checkpoint.write(other, sample())
    assert checkpoint.others(mine, "dog")
    checkpoint.write(mine, sample())
    assert not checkpoint.others(mine, "dog")


def test_a_name_that_looks_like_a_pattern_is_only_itself() -> None:
    """The checkpoint of "dog" is not one of "dog-<sixteen hexadecimal digits>", nor the reverse."""
    longer = left("dog-" + "a" * 16, "b", 2 * DAY)

    checkpoint.discard_abandoned("dog")

    assert all(path.exists() for path in longer)

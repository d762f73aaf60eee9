"""A training that is left and taken up again is the training that was not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mini import training
from mini.muon import Muon, orthogonal
from mini.training import Average, Run, adamw, muon, rate


def run_of(module: nn.Module, path: Path) -> Run:
    return Run(module, [*adamw(module, 0.05)], path, steps=40, minutes=1.0)


def trained(path: Path, stops: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A line fitted in 40 steps, in runs that end at each of `stops`."""
    run = None
    for stop in stops:
        torch.manual_seed(0)
        run = run_of(nn.Linear(2, 1), path)
        for step in run.steps_left(lambda: ""):
            x = torch.randn(8, 2, generator=torch.Generator().manual_seed(step))
            run.update((run.module(x) - x.sum(1, keepdim=True)).square().mean())
            if step + 1 == stop:
                monkeypatch.setattr(run, "_minutes", 0.0)
    assert run is not None
    return run


def test_a_resumed_training_ends_where_an_unbroken_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(tmp_path / "whole.pt", (40,), monkeypatch)
    broken = trained(tmp_path / "broken.pt", (13, 40), monkeypatch)

    assert whole.step == broken.step == 40
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, broken.module.state_dict()[name]), name
        assert torch.equal(whole.average.values[name], broken.average.values[name]), name


def test_a_finished_training_does_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = trained(tmp_path / "run.pt", (40,), monkeypatch)

    again = run_of(nn.Linear(2, 1), tmp_path / "run.pt")

    assert not list(again.steps_left(lambda: ""))
    assert torch.equal(again.module.weight, done.module.weight)


def test_the_average_follows_and_is_what_is_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tmp_path / "run.pt", (40,), monkeypatch)
    average = {name: value.clone() for name, value in run.average.values.items()}

    module = run.averaged()

    assert not module.training
    for name, value in module.named_parameters():
        assert torch.equal(value, average[name])


def test_an_average_starts_short_and_grows_long() -> None:
    module, average = nn.Linear(1, 1, bias=False), Average(0.9)
    nn.init.zeros_(module.weight)
    average.update(module, 0)
    nn.init.ones_(module.weight)

    average.update(module, 1)
    assert average.values["weight"].item() == pytest.approx(1 - 2 / 11)
    before = average.values["weight"].item()
    average.update(module, 10_000)
    assert average.values["weight"].item() == pytest.approx(before + 0.1 * (1 - before))


def test_the_rate_rises_stays_and_falls() -> None:
    rates = [rate(step, step / 1000) for step in range(1000)]

    assert rates[0] == pytest.approx(1 / 200) and rates[199] == 1.0
    assert rates[200:600] == [1.0] * 400
    assert rates[600:] == sorted(rates[600:], reverse=True)
    assert rates[-1] == pytest.approx(0.01, abs=1e-4)


def test_a_run_under_muon_is_taken_up_again_too(tmp_path: Path) -> None:
    def run(until: int) -> Run:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 4, 1))
        made = Run(net, muon(net, 1e-3), tmp_path / f"{name}.pt", steps=10, minutes=1.0)
        for step in made.steps_left(lambda: ""):
            x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(step))
            made.update(made.module(x).square().mean())
            if step + 1 == until:
                made._minutes = 0.0
        return made

    name = "whole"
    whole = run(10)
    name = "broken"
    run(4)
    broken = run(10)

    for key, value in whole.module.state_dict().items():
        assert torch.equal(value, broken.module.state_dict()[key]), key


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (16, 16)])
def test_muon_makes_matrices_nearly_orthogonal(shape: tuple[int, int]) -> None:
    """Against the singular value decomposition: the same directions, at strengths near one."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)

    found = orthogonal(matrix, 5, torch.float32)

    strengths = torch.linalg.svdvals(found)
    assert strengths.min() > 0.6 and strengths.max() < 1.3
    rotated = u.T @ found @ v.T
    assert (rotated - torch.diag(rotated.diagonal())).abs().max() < 1e-3


def test_muon_takes_what_lies_within_and_adamw_the_ends() -> None:
    net = nn.ModuleDict(
        {
            "conv_in": nn.Conv2d(2, 8, 3), "conv_out": nn.Conv2d(8, 2, 3),
            "middle": nn.Conv2d(8, 8, 3), "linear": nn.Linear(8, 8),
            "token_embedding": nn.Embedding(5, 8),
        }
    )  # fmt: skip

    rest, within = ([p for g in each.param_groups for p in g["params"]] for each in muon(net, 1.0))

    assert {id(p) for p in within} == {id(net["middle"].weight), id(net["linear"].weight)}
    assert len(rest) + len(within) == len(list(net.parameters()))


def test_muon_does_the_same_to_a_kernel_however_it_lies_in_memory() -> None:
    """Whether its gradient lies likewise or not."""
    start, gradient = torch.randn(2, 4, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    moved = []
    for weight, pull in (
        (torch.contiguous_format, torch.contiguous_format),
        (torch.channels_last, torch.channels_last),
        (torch.channels_last, torch.contiguous_format),
    ):
        p = nn.Parameter(start.clone(memory_format=weight))
        p.grad = gradient.clone(memory_format=pull)
        Muon([p], lr=0.1, dtype=torch.float32).step()
        moved.append(p.detach())

    assert not torch.allclose(moved[0], start)
    for other in moved[1:]:
        assert torch.allclose(other, moved[0], atol=1e-6)


def test_muon_does_the_same_to_matrices_together_as_to_each_alone() -> None:
    stack = torch.randn(3, 8, 30, generator=torch.Generator().manual_seed(0))

    together = orthogonal(stack, 3, torch.float32)

    for one, alone in zip(together, stack, strict=True):
        torch.testing.assert_close(one, orthogonal(alone, 3, torch.float32))


def test_a_rate_by_the_clock_falls_and_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten steps a minute, for 100 minutes; what is there already is not gone on with."""
    now = 0.0
    monkeypatch.setattr(training.time, "monotonic", lambda: now)
    net = nn.Linear(2, 1)
    run = Run(net, adamw(net, 1.0), tmp_path / "run.pt", steps=0, minutes=100.0)
    rates = []

    for _ in run.steps_left(lambda: ""):
        rates.append(run.optimizers[0].param_groups[0]["lr"])
        now += 6.0

    assert len(rates) == 1000
    assert rates[:600] == [rate(step, 0.0) for step in range(600)]
    assert rates[600:] == sorted(rates[600:], reverse=True) and rates[-1] < 0.02
    with pytest.raises(SystemExit, match=r"run\.pt is there"):
        Run(net, adamw(net, 1.0), tmp_path / "run.pt", steps=0, minutes=100.0)


def test_what_is_drawn_follows_a_number_that_changes() -> None:
    plain = torch.tensor(0.25)
    drawn = iter(training.Drawn(lambda rng, share: (rng.random(), share), 3, plain))

    first, _ = next(drawn), plain.fill_(0.5)
    second = next(drawn)

    assert (first[1], second[1]) == (0.25, 0.5) and first[0] != second[0]


def test_workers_draw_different_things() -> None:
    found = training.Drawn(_a_number, 3, torch.tensor(0.0)).loaded(workers=2)

    values = [value for value, _ in zip(found, range(4), strict=False)]

    assert len(set(values)) == 4


def _a_number(rng: np.random.Generator, plain: float) -> float:
    return rng.random()

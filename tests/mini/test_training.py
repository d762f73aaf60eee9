"""A training that is left and taken up again is the training that was not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mini.training import Average, Run, rate


def trained(path: Path, stops: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A line fitted in 40 steps, in runs that end at each of `stops`."""
    run = None
    for stop in stops:
        torch.manual_seed(0)
        run = Run(nn.Linear(2, 1), path, lr=0.05, steps=40, minutes=1.0)
        for step in run.steps_left(lambda: ""):
            x = torch.randn(8, 2, generator=torch.Generator().manual_seed(step))
            run.update((run.module(x) - x.sum(1, keepdim=True)).square().mean())
            if step + 1 == stop:
                monkeypatch.setattr(run, "_until", 0.0)
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

    again = Run(nn.Linear(2, 1), tmp_path / "run.pt", lr=0.05, steps=40, minutes=1.0)

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
    rates = [rate(step, 1000) for step in range(1000)]

    assert rates[0] == pytest.approx(1 / 200) and rates[199] == 1.0
    assert rates[200:600] == [1.0] * 400
    assert rates[600:] == sorted(rates[600:], reverse=True)
    assert rates[-1] == pytest.approx(0.01, abs=1e-4)

"""The merged delta: a weighted sum, whatever the ranks, signs, weights and order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from prism_cli.backbones import merging
from prism_cli.method.composition import (
    Factors,
    factorized,
    factors_of,
    rank_of,
    rows_of,
    state_of,
    truncated,
    weighted_sum,
)
from tests.strategies import some_loras

FP64_SUM = 1e-12  # a dozen terms of order 1
SHAPES = {"unet.a.to_q": (6, 5), "unet.b.to_k": (4, 7)}  # out, in

weights = st.floats(-2, 2, allow_subnormal=False)


def naive(loras: list[dict[str, Factors]], scales: list[float], layer: str) -> Tensor:
    """The sum of full matrices, a loop over every element's terms."""
    out, width = SHAPES[layer]
    total = torch.zeros(out, width, dtype=torch.float64)
    for lora, w in zip(loras, scales, strict=True):
        if layer in lora:
            for k in range(lora[layer].rank):
                total += w * torch.outer(lora[layer].B[:, k], lora[layer].A[k])
    return total


@given(st.lists(some_loras(SHAPES), min_size=1, max_size=4), st.data())
@settings(max_examples=60, deadline=None)
def test_the_sum_is_the_sum_of_the_weighted_deltas(
    loras: list[dict[str, Factors]], data: st.DataObject
) -> None:
    """For any ranks, also mixed ones and layers that some lack, and weights of any sign."""
    scales = [data.draw(weights) for _ in loras]

    merged = weighted_sum(loras, scales)

    assert rank_of(merged) in {0, sum(rank_of(x) for x, w in zip(loras, scales, strict=True) if w)}
    for layer in SHAPES:
        expected = naive(loras, scales, layer)
        found = merged[layer].delta if layer in merged else torch.zeros_like(expected)
        torch.testing.assert_close(found, expected, atol=FP64_SUM, rtol=0)


@given(some_loras(SHAPES), some_loras(SHAPES))
@settings(max_examples=20, deadline=None)
def test_weight_zero_leaves_the_other_as_it_is(
    one: dict[str, Factors], other: dict[str, Factors]
) -> None:
    """Bit for bit, since it leaves no rows."""
    merged = weighted_sum([one, other], [1.0, 0.0])

    assert merged.keys() == one.keys()
    for layer in one:
        assert torch.equal(merged[layer].A, one[layer].A)
        assert torch.equal(merged[layer].B, one[layer].B)


@given(some_loras(SHAPES, all_layers=True), some_loras(SHAPES, all_layers=True))
@settings(max_examples=20, deadline=None)
def test_parts_are_found_again(one: dict[str, Factors], other: dict[str, Factors]) -> None:
    """Each part's rows are together, in order."""
    merged = weighted_sum([one, other], [2.0, -0.5])

    back = rows_of(merged, rank_of(one), rank_of(other))

    for layer in other:
        assert torch.equal(back[layer].A, other[layer].A)
        assert torch.equal(back[layer].B, -0.5 * other[layer].B)


@given(some_loras(SHAPES, all_layers=True), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_truncation_is_the_svd_of_the_full_matrix(lora: dict[str, Factors], rank: int) -> None:
    """Through QR of the factors it comes to what numpy's textbook way gives, and its energy."""
    cut, energy = truncated(lora, rank)
    same, same_energy = factorized({k: f.delta for k, f in lora.items()}, rank)

    kept = total = 0.0
    for layer, factors in lora.items():
        S = torch.linalg.svdvals(factors.delta)
        kept, total = kept + float(S[:rank].square().sum()), total + float(S.square().sum())
        assert cut[layer].rank == rank
        error = float((cut[layer].delta - factors.delta).square().sum())
        assert error == pytest.approx(float(S[rank:].square().sum()), abs=1e-9)
        torch.testing.assert_close(cut[layer].delta, same[layer].delta, atol=1e-6, rtol=0)
    assert energy == pytest.approx(kept / total if total else 1.0, abs=1e-9)
    assert same_energy == pytest.approx(energy, abs=1e-9)


def test_a_state_survives_its_factors() -> None:
    """diffusers' keys in, diffusers' keys out."""
    state = {
        "unet.a.to_q.lora_A.weight": torch.randn(2, 5),
        "unet.a.to_q.lora_B.weight": torch.randn(6, 2),
    }

    back = state_of(factors_of(state))

    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


def test_ties_by_hand() -> None:
    """Half of each delta's elements stay, and where signs differ the stronger wins."""
    one = torch.tensor([[4.0, -3.0], [0.1, 0.2]])
    other = torch.tensor([[-1.0, -5.0], [2.0, 0.3]])

    found = merging.merged([one, other], [1.0, 1.0], "ties", 0.5, seed=0)

    # kept: [4, -3, 0, 0] and [0, -5, 2, 0]; signs agree; each mean is over those that are kept
    assert found.tolist() == [[4.0, -4.0], [2.0, 0.0]]


def test_a_light_concept_outvotes_nobody() -> None:
    """The sign is that of the weighted sum, as in TIES-Merging's own election."""
    heavy, light = torch.tensor([[0.6, 0.5, 0, 0]]), torch.tensor([[-1.0, -0.9, 0, 0]])

    found = merging.merged([heavy, light], [1.0, 0.1], "ties", 0.5, seed=0)

    torch.testing.assert_close(found, heavy, rtol=0, atol=1e-6)


def test_dare_is_its_seeds_alone() -> None:
    """Kept elements are doubled at density 0.5; another seed keeps others; chance is left alone."""
    delta = torch.ones(8, 8)
    torch.manual_seed(3)
    before = torch.get_rng_state()

    a, b, c = (merging.merged([delta], [1.0], "dare", 0.5, seed=s) for s in (1, 1, 2))

    assert torch.equal(a, b) and not torch.equal(a, c)
    assert set(a.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(torch.get_rng_state(), before)

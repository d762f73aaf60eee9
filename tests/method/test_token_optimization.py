"""Algorithm 1: what each branch sees, what moves, and where it ends on a base solved by hand."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from prism_cli.backbones.base import Backbone
from prism_cli.backbones.corruption import corrupt
from prism_cli.method.conditions import NULL
from prism_cli.method.draws import Draw, draw_batch
from prism_cli.method.token_optimization import (
    WARM_UP,
    TokenTraining,
    optimize_tokens,
    token_losses,
)
from prism_cli.method.tokens import ConceptTokens, init_tokens
from prism_cli.settings import TokenOptions
from tests.bases import fresh_mini, mini, seeded
from tests.toy import ENCODER, SHAPE, recording, toy

N = 4
LAST_STEP = 1e-3  # the learning rate at the end of `optimum`; the way there is about three long
NEVER_FLAT = TokenOptions(plateau_ratio=0.0, weight_decay=0.0)


def photos(n: int = N, views: int = 1) -> Tensor:
    return torch.randn(n, views, *SHAPE, generator=seeded(8))


def tokens_of(backbone: Backbone, n: int = N, seed: int = 0) -> ConceptTokens:
    return init_tokens(
        backbone,
        "x",
        ["red", "dog", "box", "a photo"][:n],
        length=1,
        word=None,
        residual_length=1,
        rng=seeded(seed),
    )


def run(z_0: Tensor, options: TokenOptions, seed: int = 0) -> TokenTraining:
    """A whole training on the toy."""
    backbone = toy()
    state = TokenTraining.start(tokens_of(backbone, len(z_0), seed), options, seeded(seed))
    deque(optimize_tokens(backbone, z_0, state, options), maxlen=0)
    return state


def optimum(z_0: Tensor, beta: float, seed: int = 0) -> TokenTraining:
    """Where Algorithm 1 ends on the toy: whole batches, and steps that become small at the end."""
    state = run(z_0, replace(NEVER_FLAT, steps=0, beta=beta), seed)
    for lr, steps in ((0.1, 200), (0.01, 500), (0.001, 800)):
        options = replace(NEVER_FLAT, steps=steps, batch=N, beta=beta, evaluate_every=800)
        state.optimizer.param_groups[0]["lr"] = lr
        deque(optimize_tokens(toy(), z_0, state, options), maxlen=0)
    return state


class TestBranches:
    """What is predicted in one step, on a toy of three noise levels and photos of two views."""

    B, J = 3, 2

    @pytest.fixture
    def seen(self) -> tuple[Draw, Tensor, list]:
        backbone, calls = recording(toy((0.9, 0.6, 0.3)))
        z_0 = photos(views=2)
        draw = draw_batch(backbone, z_0, batch=self.B, negatives=self.J, rng=seeded(2))
        null = backbone.encode_text([NULL], {})
        token_losses(backbone, z_0, draw, tokens_of(backbone), null)
        return draw, z_0, calls

    def test_both_exclusion_branches_see_the_same_noisy_latents_and_times(self, seen) -> None:
        """Line 13 compares two prompts, not two noises or two times."""
        _, _, (learned, null) = seen

        assert torch.equal(learned.z_t[self.B :], null.z_t)
        assert torch.equal(learned.t[self.B :], null.t)

    def test_an_anchor_is_corrupted_with_the_noise_and_time_of_its_sample(self, seen) -> None:
        """z_t^(j) is photo j under the eps and t of line 5, which were drawn for photo i."""
        draw, z_0, (_, null) = seen
        level = toy((0.9, 0.6, 0.3)).noise_level

        for b in range(self.B):
            for k in range(self.J):
                j, at = draw.anchors[b, k], slice(b, b + 1)
                x = z_0[j, draw.view[b]][None]
                expected = corrupt(x, draw.eps[at], level(draw.t[at]))
                assert torch.equal(null.z_t[b * self.J + k][None], expected)
                assert null.t[b * self.J + k] == draw.t[b]

    def test_the_reconstruction_branch_sees_photo_i(self, seen) -> None:
        """The first B of the batched forward are the photos themselves."""
        draw, z_0, (learned, _) = seen
        level = toy((0.9, 0.6, 0.3)).noise_level(draw.t)

        expected = corrupt(z_0[draw.i, draw.view], draw.eps, level)

        assert torch.equal(learned.z_t[: self.B], expected)
        assert torch.equal(learned.t[: self.B], draw.t)

    def test_only_the_learned_branch_records_gradients(self, seen) -> None:
        """The null prediction is made without a graph."""
        _, _, (learned, null) = seen

        assert learned.with_gradient
        assert not null.with_gradient

    def test_each_branch_is_conditioned_on_its_own_prompt(self, seen) -> None:
        """target + residual i, then residual i once for each anchor, then nothing."""
        draw, _, (learned, null) = seen
        tokens = tokens_of(toy())
        target = tokens.target[ENCODER].sum(0)
        residual = torch.stack([tokens.residuals[i][ENCODER].sum(0) for i in draw.i.tolist()])

        given = learned.cond.tensors["sum"]

        torch.testing.assert_close(given[: self.B], target + residual)
        assert torch.equal(given[self.B :], residual.repeat_interleave(self.J, 0))
        assert not null.cond.tensors["sum"].any()


def test_without_anchors_the_exclusion_branch_is_not_predicted() -> None:
    """One photo, or beta 0: one forward for the step, and a loss of zero."""
    backbone, calls = recording(toy())
    z_0 = photos(1)
    draw = draw_batch(backbone, z_0, batch=2, negatives=3, rng=seeded(2))

    losses = token_losses(
        backbone, z_0, draw, tokens_of(backbone, 1), backbone.encode_text([NULL], {})
    )

    assert len(calls) == 1
    assert len(calls[0].z_t) == 2
    assert losses.excl.tolist() == [0, 0]


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_algorithm_1_gives_the_target_what_all_photos_share(beta: float) -> None:
    """On the toy, where a prediction is the sum of its rows, the optimum has a closed form.

    Write t for the target, r_i for the residuals, a_i for what the model ought to predict for photo
    i, D for the number of elements. The null prediction is 0 and the prediction for residual i is
    r_i on every anchor, so a mean over anchors leaves

        L = 1/N sum_i ( ||t + r_i - a_i||^2 + beta ||r_i||^2 ) / D.

    dL/dr_i = 0 gives (t + r_i - a_i) + beta r_i = 0, that is r_i = (a_i - t) / (1 + beta), and
    dL/dt = 0 gives sum_i (t + r_i - a_i) = 0. Put the first into the second: beta sum_i r_i = 0,
    so for any beta > 0 the residuals add up to zero and

        t = mean of the a_i,    r_i = (a_i - mean) / (1 + c)    with c = beta.

    (Summed over |J| anchors, as Algorithm 1 can be read, c would be beta |J|.)
    """
    z_0 = photos()
    a = -z_0[:, 0].flatten(1)  # a v model's target at pure noise

    state = optimum(z_0, beta)

    mean = a.mean(0)
    target, *residuals = (rows.detach().sum(0) for rows in state.tokens.parameters())
    torch.testing.assert_close(target, mean, atol=LAST_STEP, rtol=0)
    for residual, a_i in zip(residuals, a, strict=True):
        torch.testing.assert_close(residual, (a_i - mean) / (1 + beta), atol=LAST_STEP, rtol=0)


def test_without_exclusion_the_target_is_undetermined() -> None:
    """At beta = 0 only the sums t + r_i are: two starts end at the same loss with other targets."""
    z_0 = photos()

    one, other = (optimum(z_0, 0.0, seed) for seed in (0, 1))

    assert max(one.curve[-1], other.curve[-1]) < 1e-6
    apart = (one.tokens.target[ENCODER] - other.tokens.target[ENCODER]).norm()
    assert apart > 100 * LAST_STEP


def test_a_step_moves_the_target_and_one_residual() -> None:
    """With B = 1, rows outside the batch keep their bits, though Adam remembers them."""
    options = replace(NEVER_FLAT, steps=20, batch=1, weight_decay=0.01)
    backbone = toy()
    state = TokenTraining.start(tokens_of(backbone), options, seeded(0))
    before = [p.detach().clone() for p in state.tokens.parameters()]
    trained = set()

    for _ in optimize_tokens(backbone, photos(), state, options):
        after = [p.detach().clone() for p in state.tokens.parameters()]
        moved = [k for k, (a, b) in enumerate(zip(before, after, strict=True)) if not a.equal(b)]
        assert moved[0] == 0 and len(moved) == 2
        trained.add(moved[1])
        before = after

    assert trained == {1, 2, 3, 4}


def test_the_exclusion_loss_says_nothing_to_the_target() -> None:
    """Line 13 names the residual alone: its loss has no gradient for t_target."""
    backbone, z_0 = toy(), photos()
    tokens = tokens_of(backbone)
    draw = draw_batch(backbone, z_0, batch=2, negatives=1, rng=seeded(0))

    token_losses(
        backbone, z_0, draw, tokens, backbone.encode_text([NULL], {})
    ).excl.sum().backward()

    assert tokens.target[ENCODER].grad is None or not tokens.target[ENCODER].grad.any()
    assert all(tokens.residuals[i][ENCODER].grad is not None for i in draw.i.tolist())


def test_beta_zero_makes_no_second_forward() -> None:
    """The exclusion branch is idle at beta = 0, in the steps and in the evaluation."""
    options = replace(NEVER_FLAT, steps=2, batch=2, beta=0.0)
    backbone, calls = recording(toy())
    state = TokenTraining.start(tokens_of(backbone), options, seeded(0))

    steps = list(optimize_tokens(backbone, photos(), state, options))

    assert [step.excl for step in steps] == [0, 0]
    assert len(calls) == 2 + 2  # two steps, an evaluation before and one after


def test_it_ends_at_the_cap_with_an_evaluation_at_both_ends() -> None:
    """12 steps, evaluated every 5: at 0, 5, 10 and 12."""
    state = run(photos(), replace(NEVER_FLAT, steps=12, evaluate_every=5))

    assert state.step == 12
    assert len(state.curve) == 4
    assert state.curve[-1] < state.curve[0]


def test_it_ends_before_the_cap_when_the_curve_is_flat() -> None:
    """The plateau rule stops a training that has come to rest, right at an evaluation."""
    options = replace(
        NEVER_FLAT,
        steps=5000,
        batch=N,
        lr=5e-2,
        beta=1.0,
        evaluate_every=10,
        plateau_window=4,
        plateau_ratio=0.01,
    )

    state = run(photos(), options)

    assert 0 < state.step < 500
    assert state.step % 10 == 0
    assert len(state.curve) == state.step // 10 + 1


def test_no_steps_leave_the_tokens_as_they_start() -> None:
    """A cap of zero evaluates once and changes nothing."""
    state = run(photos(), replace(NEVER_FLAT, steps=0))

    assert len(state.curve) == 1
    for row, start in zip(state.tokens.parameters(), tokens_of(toy()).parameters(), strict=True):
        assert torch.equal(row, start)


def test_the_tokens_end_as_the_average_of_their_steps() -> None:
    """At a large decay the warm-up says how much each step counts; at 0 the last one is kept."""
    options = replace(NEVER_FLAT, steps=4)
    last = run(photos(), options)
    backbone = toy()
    state = TokenTraining.start(tokens_of(backbone), options, seeded(0))
    mean = state.tokens.target[ENCODER].detach().clone()

    averaged = replace(options, ema_decay=0.999)
    for step in optimize_tokens(backbone, photos(), state, averaged):
        kept = step.step / (step.step + WARM_UP)
        mean = kept * mean + (1 - kept) * state.tokens.target[ENCODER].detach()
        raw = state.tokens.target[ENCODER].detach().clone()

    assert torch.equal(raw, last.tokens.target[ENCODER])  # the steps themselves are the same
    assert torch.allclose(state.tokens.target[ENCODER], mean) and not torch.allclose(raw, mean)


def test_the_curve_needs_no_luck() -> None:
    """Evaluations draw from their own generator: looking more often does not change a step."""
    rarely = run(photos(), replace(NEVER_FLAT, steps=20, evaluate_every=20))
    often = run(photos(), replace(NEVER_FLAT, steps=20, evaluate_every=1))

    assert torch.equal(rarely.tokens.target[ENCODER], often.tokens.target[ENCODER])
    assert rarely.curve == [often.curve[0], often.curve[-1]]


def test_the_base_is_bit_identical_afterwards() -> None:
    """Encoder with its vocabulary, UNet and autoencoder keep every bit through Algorithm 1."""
    base = fresh_mini()
    state = TokenTraining.start(
        init_tokens(
            base, "x", ["a dog", "a cat"], length=1, word=None, residual_length=None, rng=seeded(0)
        ),
        replace(NEVER_FLAT, steps=2, lr=0.1),
        seeded(0),
    )
    z_0 = torch.randn(2, 1, 8, 16, 16, generator=seeded(1))

    steps = list(optimize_tokens(base, z_0, state, replace(NEVER_FLAT, steps=2, lr=0.1)))

    assert len(steps) == 2
    for part in ("text_encoder", "unet", "vae"):
        original = getattr(mini(), part).state_dict()
        for name, weight in getattr(base, part).state_dict().items():
            assert torch.equal(weight, original[name]), f"{part}.{name}"
        assert all(p.grad is None for p in getattr(base, part).parameters())

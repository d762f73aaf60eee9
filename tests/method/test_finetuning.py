"""Algorithm 2: what it trains, what it leaves alone, and what it conditions on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from prism_cli.backbones.base import Backbone
from prism_cli.backbones.corruption import corrupt
from prism_cli.method.draws import draw_batch
from prism_cli.method.finetuning import (
    Finetuning,
    encode_conditions,
    finetune,
    finetune_losses,
)
from prism_cli.method.tokens import ConceptTokens, init_tokens
from prism_cli.settings import FinetuneOptions
from tests.bases import fresh_mini, mini, seeded
from tests.toy import ENCODER, SHAPE, recording, toy

OPTIONS = FinetuneOptions(steps=3, batch=2, lr=1e-2, plateau_ratio=0.0)


def photos(n: int = 3) -> Tensor:
    return torch.randn(n, 1, *SHAPE, generator=seeded(8))


def tokens_of(backbone: Backbone, *captions: str) -> ConceptTokens:
    return init_tokens(
        backbone, "x", captions, length=1, word=None, residual_length=1, rng=seeded(0)
    )


def run(
    backbone: Backbone, z_0: Tensor, tokens: ConceptTokens, options: FinetuneOptions
) -> Finetuning:
    state = Finetuning.start(backbone, options, seeded(1))
    conditions = encode_conditions(backbone, tokens, preserved=options.preserved)
    list(finetune(backbone, z_0, conditions, state, options))
    return state


def test_the_model_starts_as_it_was() -> None:
    """Line 2: B is zero, so that fresh factors change no prediction."""
    base = fresh_mini()
    z_t, t = torch.randn(2, 8, 16, 16, generator=seeded(0)), torch.tensor([10, 900])
    cond = base.encode_text([("a dog",), ("a cat",)], {})
    before = base.predict(z_t, t, cond)

    base.add_lora(4, seeded(1))

    assert torch.equal(base.predict(z_t, t, cond).detach(), before)


def test_fresh_factors_come_from_the_generator() -> None:
    """A ~ N(0, 1/r^2) from the given generator, whatever the global one is at."""
    torch.manual_seed(1)
    one = fresh_mini().add_lora(4, seeded(5))
    torch.manual_seed(2)
    other = fresh_mini().add_lora(4, seeded(5))

    assert all(a.equal(b) for a, b in zip(one, other, strict=True))
    down = torch.cat([f.detach().flatten() for f in one if f.shape[0] == 4])
    torch.testing.assert_close(down.std(), torch.tensor(0.25), atol=0.005, rtol=0)
    assert {f.dtype for f in one} == {torch.float32}


def test_the_base_and_the_tokens_are_bit_identical_afterwards() -> None:
    """Only the factors move: encoder, vocabulary, autoencoder, the UNet's own weights, the rows."""
    base = fresh_mini()
    tokens = tokens_of(base, "a red dog", "a cat")
    rows = [row.detach().clone() for row in tokens.parameters()]

    state = run(base, torch.randn(2, 1, 8, 16, 16, generator=seeded(3)), tokens, OPTIONS)

    for part in ("text_encoder", "unet", "vae"):
        original = getattr(mini(), part).state_dict()
        after = {
            name.replace(".base_layer.", "."): weight
            for name, weight in getattr(base, part).state_dict().items()
            if ".lora_" not in name
        }
        assert after.keys() == original.keys()
        for name, weight in after.items():
            assert torch.equal(weight, original[name]), f"{part}.{name}"
    assert all(row.equal(old) for row, old in zip(tokens.parameters(), rows, strict=True))
    assert all(factor.any() for factor in state.factors)  # and these did move: B was zero


def test_every_attention_projection_takes_factors_and_nothing_else() -> None:
    """Line 2 names the attention layers: q, k, v and out of every block, self and cross."""
    base = fresh_mini()
    base.add_lora(2, seeded(0))

    adapted = {name.rsplit(".lora_", 1)[0] for name in base.lora_state()}

    layers = {
        f"unet.{name}"
        for name, module in mini().unet.named_modules()
        if ".attn" in name and isinstance(module, torch.nn.Linear)
    }
    assert adapted == layers
    assert len(layers) == 56


def test_a_sample_is_reconstructed_under_its_own_condition() -> None:
    """Lines 5-8: photo i, corrupted, under Gamma(target with residual i)."""
    backbone, calls = recording(toy((0.8, 0.2)))
    z_0, tokens = photos(), tokens_of(toy(), "red", "dog", "box")
    draw = draw_batch(backbone, z_0, batch=2, negatives=0, rng=seeded(4))

    losses = finetune_losses(backbone, z_0, draw, encode_conditions(backbone, tokens))

    (call,) = calls
    level = backbone.noise_level(draw.t)
    assert torch.equal(call.z_t, corrupt(z_0[draw.i, draw.view], draw.eps, level))
    sums = [(tokens.target[ENCODER] + tokens.residuals[i][ENCODER]).sum(0) for i in draw.i.tolist()]
    torch.testing.assert_close(call.cond.tensors["sum"], torch.stack(sums).detach())
    alpha, sigma = (part[:, None, None, None] for part in level)
    v = alpha * draw.eps - sigma * z_0[draw.i, 0]
    predicted = torch.stack(sums).detach().view(-1, *SHAPE)
    torch.testing.assert_close(losses.rec, (predicted - v).square().mean((1, 2, 3)))
    assert losses.keep.shape == (0,) and losses.objective(9.0) == losses.rec.mean()


def test_without_the_target_the_model_is_held_to_what_it_was() -> None:
    """L_keep: the first samples as they are, under their residual alone, with and without LoRA."""
    backbone, calls = recording(toy((0.8, 0.2)))
    _, up = backbone.add_lora(2, seeded(2))
    z_0, tokens = photos(), tokens_of(toy(), "red", "dog", "box")
    conditions = encode_conditions(backbone, tokens, preserved=2)
    draw = draw_batch(backbone, z_0, batch=3, negatives=0, rng=seeded(4))

    same = finetune_losses(backbone, z_0, draw, conditions, preserved=2)
    with torch.no_grad():
        up.fill_(0.1)
    moved = finetune_losses(backbone, z_0, draw, conditions, preserved=2)

    learned, before = calls[-2:]
    assert (learned.with_gradient, before.with_gradient) == (True, False)
    assert torch.equal(learned.z_t[3:], learned.z_t[:2]) and torch.equal(
        before.z_t, learned.z_t[:2]
    )
    assert torch.equal(learned.t[3:], draw.t[:2]) and torch.equal(before.t, draw.t[:2])
    alone = torch.stack([tokens.residuals[i][ENCODER].sum(0) for i in draw.i.tolist()[:2]])
    for call in (learned.cond.tensors["sum"][3:], before.cond.tensors["sum"]):
        torch.testing.assert_close(call, alone.detach())
    assert torch.equal(same.keep, torch.zeros(2))
    difference = learned.z_t[:2].flatten(1) @ backbone.lora_state()["unet.denoiser.lora_A.weight"].T
    expected = (difference.sum(1, keepdim=True) * 0.1).square().squeeze(1)
    torch.testing.assert_close(moved.keep, expected)
    torch.testing.assert_close(moved.objective(0.5), moved.rec.mean() + 0.5 * expected.mean())


def test_preservation_holds_the_base_where_the_target_is_not() -> None:
    """Mini's UNet, trained with and without: what it draws of a residual alone moves less."""
    z_0 = torch.randn(2, 1, 8, 16, 16, generator=seeded(3))
    z_t, t = torch.randn(2, 8, 16, 16, generator=seeded(0)), torch.tensor([300, 700])
    moved = []
    for preservation in (0.0, 10.0):
        base = fresh_mini()
        tokens = tokens_of(base, "a red dog", "a cat")
        alone = encode_conditions(base, tokens, preserved=1).take([2, 3])
        before = base.predict(z_t, t, alone).detach()
        run(base, z_0, tokens, replace(OPTIONS, steps=6, preservation=preservation))
        after = base.predict(z_t, t, alone).detach()
        with torch.no_grad(), base.without_lora():
            torch.testing.assert_close(base.predict(z_t, t, alone), before)
        moved.append((after - before).square().mean().item())

    assert 0 < moved[1] < 0.7 * moved[0]


def test_conditions_are_encoded_once() -> None:
    """The tokens being final, no text is encoded within a step."""
    backbone = toy()
    state = Finetuning.start(backbone, OPTIONS, seeded(1))
    conditions = encode_conditions(backbone, tokens_of(backbone, "red", "dog", "box"))

    def encode(*args: object) -> None:
        raise AssertionError("a step encoded text")

    backbone.encode_text = encode  # type: ignore[method-assign,assignment]
    assert len(list(finetune(backbone, photos(), conditions, state, OPTIONS))) == 3


def test_finetuning_lowers_the_fixed_loss_and_ends_at_the_cap() -> None:
    """30 steps on the toy, evaluated every 10: four values, and the last is lower."""
    tokens = tokens_of(toy(), "red", "dog", "box")

    state = run(toy((0.8, 0.2)), photos(), tokens, replace(OPTIONS, steps=30))

    assert state.step == 30
    assert len(state.curve) == 4
    assert state.curve[-1] < state.curve[0]


def test_finetuning_ends_before_the_cap_when_the_curve_is_flat() -> None:
    """The plateau rule is that of Algorithm 1."""
    tokens = tokens_of(toy(), "red", "dog", "box")
    options = replace(OPTIONS, steps=5000, plateau_window=3, plateau_ratio=0.5, evaluate_every=5)

    state = run(toy((0.8, 0.2)), photos(), tokens, options)

    assert 0 < state.step < 5000
    assert state.step % 5 == 0

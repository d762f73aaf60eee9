"""LoRAs that act only where their own tokens attend."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from prism_cli.backbones import catalog
from prism_cli.backbones.base import Conditioning, Slot
from prism_cli.errors import OptionRefused
from prism_cli.method.conditions import NULL
from tests.bases import CPU, fresh_mini, seeded
from tests.services.concepts import random_lora, tokens_of
from tests.tiny_flux import save_tiny_flux
from tests.tiny_pipeline import FAMILY

DOG, CAT = Slot("dog"), Slot("cat")
ROWS = {**tokens_of("dog", 1).rows(), **tokens_of("cat", 2).rows()}
LORAS = {"dog": (random_lora(1), 1.0), "cat": (random_lora(2), 1.0)}
WHERE = {"dog": (DOG,), "cat": (CAT,)}


def asked(base: object, cond: Conditioning) -> Tensor:
    z_t = torch.randn(1, *base.initial_noise((64, 64), [1]).shape[1:], generator=seeded(1))  # type: ignore[attr-defined]
    with torch.no_grad():
        return base.predict(z_t, torch.tensor([500]), cond)  # type: ignore[attr-defined,no-any-return]


def test_a_prompt_without_a_token_knows_no_lora() -> None:
    """The null prompt is predicted bit for bit as without any LoRA."""
    base = fresh_mini()
    plain = asked(base, base.encode_text([NULL], ROWS))
    base.attach_loras(LORAS, WHERE)

    assert torch.equal(asked(base, base.encode_text([NULL], ROWS)), plain)


def test_a_lora_is_felt_at_its_own_token_only() -> None:
    """With one concept in the prompt the other's LoRA changes nothing, and its own does."""
    base, prompt = fresh_mini(), ("a ", DOG, " box")
    plain = asked(base, base.encode_text([prompt], ROWS))
    base.attach_loras(LORAS, WHERE)
    both = asked(base, base.encode_text([prompt], ROWS))
    base.attach_loras({"dog": LORAS["dog"]}, {"dog": (DOG,)})
    alone = asked(base, base.encode_text([prompt], ROWS))

    torch.testing.assert_close(both, alone, atol=1e-5, rtol=0)
    assert (both - plain).abs().max() > 1e-2


def test_it_is_not_the_sum() -> None:
    """Two concepts in a prompt: another prediction than with both LoRAs everywhere."""
    base, prompt = fresh_mini(), (DOG, " next to ", CAT)
    base.attach_loras(LORAS)
    summed = asked(base, base.encode_text([prompt], ROWS))
    base.attach_loras(LORAS, WHERE)
    confined = asked(base, base.encode_text([prompt], ROWS))

    assert (confined - summed).abs().max() > 1e-2


def test_shares_of_the_picture_add_up_to_one() -> None:
    """At every place, among the concepts that the prompt names; none for those it does not."""
    base = fresh_mini()
    base.attach_loras(LORAS, WHERE)
    confined = base._confined
    assert confined is not None

    for prompt, total in ((("a ", DOG, " and a ", CAT), 1.0), ((DOG,), 1.0), (NULL, 0.0)):
        asked(base, base.encode_text([prompt], ROWS))
        shares = confined._shares.sum(1)
        torch.testing.assert_close(shares, torch.full_like(shares, total), atol=1e-5, rtol=0)


def test_the_prompts_layers_change_the_tokens_rows_only() -> None:
    """What ``attn2.to_k`` gives differs from the base's at the token's own position."""
    base, seen = fresh_mini(), {}
    base.attach_loras(LORAS, WHERE)
    layer = base.unet.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn2.to_k")

    def keep(module: object, args: tuple[Tensor, ...], output: Tensor) -> None:
        seen["gap"] = output - layer.base_layer(args[0])

    layer.register_forward_hook(keep)
    cond = base.encode_text([("a ", DOG, " and a ", CAT)], ROWS)
    asked(base, cond)

    felt = seen["gap"][0].abs().amax(-1) > 0  # (L,)
    assert torch.equal(felt, cond.tensors["places"][0].any(0))
    assert int(felt.sum()) == 2


def test_attaching_again_takes_the_masks_off() -> None:
    """LoRAs take the place of those before, confined or not, and none leaves the base as it was."""
    base, prompt = fresh_mini(), ("a ", DOG)
    plain = asked(base, base.encode_text([prompt], ROWS))
    other = fresh_mini()
    other.attach_loras({"dog": LORAS["dog"]})
    expected = asked(other, other.encode_text([prompt], ROWS))

    base.attach_loras(LORAS, WHERE)
    base.attach_loras({"dog": LORAS["dog"]})
    assert torch.equal(asked(base, base.encode_text([prompt], ROWS)), expected)
    base.attach_loras({})
    assert torch.equal(asked(base, base.encode_text([prompt], ROWS)), plain)


def test_two_text_encoders(tmp_path: Path) -> None:
    """SDXL's prompts are confined as well, and its null prompt stays free of LoRAs."""
    base = catalog.load(catalog.resolve(str(FAMILY["sdxl"](tmp_path))), CPU)
    factors = base.add_lora(2, seeded(1))
    for factor in factors:
        torch.nn.init.normal_(factor, std=0.5, generator=seeded(2))
    state = base.lora_state()
    base = catalog.load(catalog.resolve(str(tmp_path)), CPU)
    rows = {DOG: {name: words[:1].clone() for name, words in base.vocabulary().items()}}
    plain = [asked(base, base.encode_text([p], rows)) for p in (NULL, ("a ", DOG))]

    base.attach_loras({"dog": (state, 1.0)}, {"dog": (DOG,)})
    confined = [asked(base, base.encode_text([p], rows)) for p in (NULL, ("a ", DOG))]

    assert torch.equal(confined[0], plain[0])
    assert not torch.allclose(confined[1], plain[1])


def test_flux_refuses(tmp_path: Path) -> None:
    """The reason is in the error, and in what is known of the base before it is loaded."""
    entry = catalog.resolve(str(save_tiny_flux(tmp_path)))
    base = catalog.load(entry, CPU)

    with pytest.raises(OptionRefused, match="words and picture together") as caught:
        base.attach_loras({}, {})
    assert entry.mixed in caught.value.message and "--method sum" in caught.value.hint

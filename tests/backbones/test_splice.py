"""Learned rows among a prompt's words."""

from __future__ import annotations

import pytest
import torch

from prism_cli.backbones.base import Slot
from prism_cli.backbones.splice import RowAt, end_positions, lay_out
from prism_cli.errors import PromptRefused
from tests.bases import mini, seeded
from tests.tiny_pipeline import CONTEXT, tiny_tokenizer

DOG, CAT = Slot("dog"), Slot("cat", "residual.1")
ROWS = {
    DOG: {"clip_l": torch.randn(2, 256, generator=seeded(0))},
    CAT: {"clip_l": torch.randn(3, 256, generator=seeded(1))},
}


def ids(text: str) -> list[int]:
    return mini().tokenizer(text, add_special_tokens=False).input_ids


def test_rows_stand_where_their_slot_is() -> None:
    """Begin, words and rows in order, the end right after the last, then padding to the context."""
    tokenizer = mini().tokenizer
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id

    layout = lay_out(tokenizer, ("a red ", DOG, " and ", CAT), ROWS, "clip_l")

    content = [
        *ids("a red"),
        RowAt(DOG, 0),
        RowAt(DOG, 1),
        *ids("and"),
        *(RowAt(CAT, k) for k in range(3)),
    ]
    assert layout[: 1 + len(content) + 1] == [begin, *content, end]
    assert layout[len(content) + 2 :] == [tokenizer.pad_token_id] * (32 - len(content) - 2)


def test_plain_words_are_laid_out_as_the_tokenizer_does() -> None:
    """A prompt without slots gives exactly the ids that every other program feeds the encoder."""
    tokenizer = mini().tokenizer

    layout = lay_out(tokenizer, ("A Red dog, at night!",), {}, "clip_l")

    assert (
        layout == tokenizer("A Red dog, at night!", padding="max_length", max_length=32).input_ids
    )


@pytest.mark.parametrize("prompt", ["a red dog", "dog!", "!!", ""])
def test_padding_is_the_tokenizers(prompt: str) -> None:
    """SD 2.1 and SDXL's second tokenizer pad with "!", the first with the end-of-text."""
    tokenizer = tiny_tokenizer(pad="!")

    layout = lay_out(tokenizer, (prompt,), {}, "clip_g")

    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert layout == tokenizer(prompt, padding="max_length", max_length=CONTEXT).input_ids


@pytest.mark.parametrize("end_first", [False, True])
@pytest.mark.parametrize("pad", ["<|endoftext|>", "!"])
def test_the_end_is_right_after_the_last_row(pad: str, end_first: bool) -> None:
    """Whatever pads, and whether or not the end-of-text has the largest id."""
    tokenizer = tiny_tokenizer(pad=pad, end_first=end_first)
    prompts = [("a ", DOG, " box"), (CAT,), ("a box!",), ("",)]

    layouts = [lay_out(tokenizer, prompt, ROWS, "clip_l") for prompt in prompts]

    assert end_positions(layouts, tokenizer.eos_token_id).tolist() == [5, 4, 4, 1]


def test_a_full_prompt_fits() -> None:
    """30 tokens between begin and end are the most that a context of 32 holds."""
    layout = lay_out(mini().tokenizer, ("dog " * 28, DOG), ROWS, "clip_l")

    assert len(layout) == 32
    assert layout[-1] == mini().tokenizer.eos_token_id


def test_a_prompt_too_long_says_what_falls_off() -> None:
    """One token over: the count, the room, and the words that do not fit."""
    with pytest.raises(PromptRefused, match="31 tokens long and this base reads 30") as caught:
        lay_out(mini().tokenizer, (DOG, "dog " * 28, "box"), ROWS, "clip_l")

    assert "'box'" in caught.value.hint


def test_only_the_slots_places_change() -> None:
    """Other prompts of the batch, and words before the slot, are read as without it."""
    base = mini()
    plain = base.encode_text([("a red dog",), ("a red dog",)], {}).tensors["embeds"]

    spliced = base.encode_text([("a red dog",), ("a red ", DOG)], ROWS).tensors["embeds"]

    assert torch.equal(spliced[0], plain[0])
    torch.testing.assert_close(spliced[1, :3], plain[1, :3], rtol=0, atol=1e-6)  # causal
    assert not torch.allclose(spliced[1, 3], plain[1, 3], atol=0.1)


def test_gradients_reach_the_rows_and_stop_there() -> None:
    """Each place of a row adds to its gradient; the vocabulary gets none."""
    base = mini()
    row = torch.randn(1, 256, generator=seeded(2), requires_grad=True)
    unused = torch.randn(1, 256, generator=seeded(3), requires_grad=True)
    rows = {DOG: {"clip_l": row}, CAT: {"clip_l": unused}}

    base.encode_text([(DOG, " and ", DOG)], rows).tensors["embeds"].square().sum().backward()

    assert row.grad is not None and row.grad.any()
    assert unused.grad is None
    assert base.text_encoder.get_input_embeddings().weight.grad is None


def test_the_encoder_reads_as_before_once_a_prompt_is_encoded() -> None:
    """No hook stays behind, not even after a prompt that failed."""
    base = mini()
    base.encode_text([(DOG,)], ROWS)
    with pytest.raises(KeyError):
        base.encode_text([("a ", Slot("absent"))], ROWS)

    assert not base.text_encoder.get_input_embeddings()._forward_hooks

"""Learned rows among a prompt's words: the layout of tokens, and the rows put in their places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from prism_cli.backbones.base import EncoderRows, Prompt, Rows, Slot
from prism_cli.errors import PromptRefused


class RowAt(NamedTuple):
    """One row of what `slot` stands for."""

    slot: Slot
    row: int


Layout = list[int | RowAt]
"""A prompt as the encoder reads it: word-piece ids and learned rows, special tokens included."""


def lay_out(tokenizer: Any, prompt: Prompt, rows: Rows, encoder: str) -> Layout:
    """Begin, content, end and padding, exactly as long as the encoder's context.

    The end-of-text token follows the last word, so that what pools there reads the whole prompt.
    Raises PromptRefused when the content does not fit, with the words that fall off.
    """
    room = text_room(tokenizer)
    content = words_and_rows(tokenizer, prompt, rows, encoder, room)
    pads = [tokenizer.pad_token_id] * (room - len(content))
    return [tokenizer.bos_token_id, *content, tokenizer.eos_token_id, *pads]


def words_and_rows(tokenizer: Any, prompt: Prompt, rows: Rows, encoder: str, room: int) -> Layout:
    """The prompt's content, without special tokens.

    Raises PromptRefused when it is longer than `room`, with the words that fall off.
    """
    content: Layout = []
    for piece in prompt:
        if isinstance(piece, Slot):
            content += [RowAt(piece, k) for k in range(len(rows[piece][encoder]))]
        else:
            content += word_ids(tokenizer, piece)
    if len(content) > room:
        lost = tokenizer.decode([t for t in content[room:] if isinstance(t, int)]).strip()
        raise PromptRefused(
            f"the prompt is {len(content)} tokens long and this base reads {room}",
            hint=f"shorten it; what does not fit: {lost!r}" if lost else "shorten it",
        )
    return content


def word_ids(tokenizer: Any, text: str) -> list[int]:
    """The word-piece ids of `text`, without special tokens."""
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def text_room(tokenizer: Any) -> int:
    """How many tokens fit between begin and end."""
    return int(tokenizer.model_max_length) - 2


def input_ids(layouts: Sequence[Layout], filler: int) -> Tensor:
    """(B, L) ids, with `filler` where a learned row will stand."""
    return torch.tensor([[t if isinstance(t, int) else filler for t in line] for line in layouts])


def end_positions(layouts: Sequence[Layout], end: int) -> Tensor:
    """(B,) positions of each prompt's end-of-text, the first token with the id `end`.

    Whatever pads after it: Stable Diffusion 1.5 repeats the end itself, SD 2.1 and SDXL's second
    tokenizer pad with "!".
    """
    return torch.tensor([line.index(end) for line in layouts])


@contextmanager
def rows_spliced(
    embedding: nn.Module, layouts: Sequence[Layout], rows: Mapping[Slot, EncoderRows], encoder: str
) -> Iterator[None]:
    """While open, the frozen embedding layer's output carries the learned rows in their places.

    The vocabulary itself is never touched: the rows are written into the layer's output, through
    which gradients reach them.
    """
    places = [
        (b, position, token)
        for b, line in enumerate(layouts)
        for position, token in enumerate(line)
        if isinstance(token, RowAt)
    ]

    def splice(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        if not places:
            return output
        batch, position, tokens = zip(*places, strict=True)
        learned = torch.stack([rows[token.slot][encoder][token.row] for token in tokens])
        at = (torch.tensor(batch), torch.tensor(position))
        return output.index_put(at, learned.to(output))  # (B, L, d)

    handle = embedding.register_forward_hook(splice)
    try:
        yield
    finally:
        handle.remove()

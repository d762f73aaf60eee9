"""The embedded base's tokenizer, as it ships."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from mini.tokenizer import LENGTH, words
from prism_cli.backbones import catalog


@cache
def shipped() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(catalog.resolve("mini").folder / "tokenizer")


def test_every_word_of_the_world_is_one_token() -> None:
    assert [word for word in words() if len(shipped().tokenize(word)) != 1] == []


def test_no_special_token_has_the_id_that_pools_wrongly() -> None:
    """transformers pools at the largest id where `eos_token_id` is 2: a bug kept for old models."""
    assert 2 not in {shipped().bos_token_id, shipped().eos_token_id, shipped().pad_token_id}
    assert shipped().model_max_length == LENGTH


@given(st.text(max_size=40))
def test_any_text_encodes(text: str) -> None:
    """Nothing is unknown: the inner ids hold no special token, whatever the text."""
    ids = shipped()(text, truncation=True).input_ids

    assert ids[0] == shipped().bos_token_id and ids[-1] == shipped().eos_token_id
    assert len(ids) <= LENGTH


@pytest.mark.parametrize("text", ["a red dog at night", "an owl on a striped teal background"])
def test_text_survives_the_round_trip(text: str) -> None:
    assert shipped().decode(shipped()(text).input_ids, skip_special_tokens=True).strip() == text

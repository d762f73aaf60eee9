"""The embedded base's tokenizer, made from the world's words and a few names of emoji."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from mini.tokenizer import LENGTH, tokenizer, words

NAMES = ("dog face", "hot beverage", "sunglasses", "water wave", "colorful kite")


@cache
def made() -> CLIPTokenizer:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "names.json"
        path.write_text(json.dumps({str(k): {"name": name} for k, name in enumerate(NAMES)}))
        return tokenizer(path)


def test_every_word_of_the_world_is_one_token() -> None:
    assert [word for word in words() if len(made().tokenize(word)) != 1] == []


def test_words_from_elsewhere_are_few_pieces() -> None:
    assert 1 < len(made().tokenize("watercolor")) < len("watercolor")


def test_no_special_token_has_the_id_that_pools_wrongly() -> None:
    """transformers pools at the largest id where `eos_token_id` is 2: a bug kept for old models."""
    assert 2 not in {made().bos_token_id, made().eos_token_id, made().pad_token_id}
    assert made().model_max_length == LENGTH


@given(st.text(max_size=40))
def test_any_text_encodes(text: str) -> None:
    ids = made()(text, truncation=True).input_ids

    assert ids[0] == made().bos_token_id and ids[-1] == made().eos_token_id
    assert len(ids) <= LENGTH


@pytest.mark.parametrize("text", ["a red dog at night", "an owl on a striped teal background"])
def test_text_survives_the_round_trip(text: str) -> None:
    assert made().decode(made()(text).input_ids, skip_special_tokens=True).strip() == text


def test_it_is_the_same_in_every_process(tmp_path: Path) -> None:
    """A training that goes on elsewhere must find its words under the same ids."""
    path = tmp_path / "names.json"
    path.write_text(json.dumps({str(k): {"name": name} for k, name in enumerate(NAMES)}))
    script = (
        "import sys; from pathlib import Path; from mini.tokenizer import tokenizer;"
        "print(sorted(tokenizer(Path(sys.argv[1])).get_vocab().items()))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )

    assert ast.literal_eval(told.stdout) == sorted(made().get_vocab().items())


def test_it_survives_being_saved(tmp_path: Path) -> None:
    made().save_pretrained(tmp_path)
    loaded = CLIPTokenizer.from_pretrained(tmp_path)

    text = "a small polka dot teapot next to a watercolor"
    assert loaded(text).input_ids == made()(text).input_ids

"""The practice base as it ships: small, in half precision, without pickles, with its card."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open

from mini.tokenizer import LENGTH
from mini.vocabulary import COLOURS, NOUNS, PATTERNS, STYLE_WORDS
from prism_cli.backbones import catalog

MINI = catalog.resolve("mini").folder


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def test_it_is_small_enough_to_ship() -> None:
    assert megabytes(MINI) - megabytes(MINI / "scorer") <= 40
    assert megabytes(MINI / "scorer") <= 10


def test_its_weights_are_in_half_precision_and_safe() -> None:
    weights = list(MINI.rglob("*.safetensors"))

    assert len(weights) == 4  # text encoder, UNet, autoencoder, scorer
    assert not [*MINI.rglob("*.bin"), *MINI.rglob("*.pt"), *MINI.rglob("*.ckpt")]
    for path in weights:
        with safe_open(path, "pt") as file:
            kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
        assert kinds <= {"F16", "I64"}, path  # I64: the eyes' count of batches


def test_every_word_of_its_world_is_one_token() -> None:
    from transformers import CLIPTokenizer

    tokens = CLIPTokenizer.from_pretrained(MINI / "tokenizer")
    styles = {words[0] for words in STYLE_WORDS.values()}
    words = {*(n.word for n in NOUNS), *styles, *COLOURS, *PATTERNS}

    for word in (part for phrase in words for part in phrase.split()):
        assert len(tokens(word).input_ids) == 3, word  # with start and end
    assert tokens.model_max_length == LENGTH
    assert 2 not in {tokens.bos_token_id, tokens.eos_token_id, tokens.pad_token_id}


def test_its_card_names_its_words_and_its_sources() -> None:
    card = (MINI / "README.md").read_text("utf-8")

    styles = (words[0] for words in STYLE_WORDS.values())
    for word in (*(n.word for n in NOUNS), *styles, *COLOURS, *PATTERNS):
        assert word in card, word
    drawings = ("Noto Emoji", "Fluent Emoji", "Twemoji", "EmojiOne 2", "FxEmojis")
    for source in (*drawings, "MobileNetV2", "lomiri-wallpapers"):
        assert source in card, source

"""The embedded base's own byte-pair encoding: every word of its world is one token.

English beyond that world falls apart into pieces learned from the names of all emoji (CLDR's, by
way of `unicode-emoji-json`, MIT), and at worst into bytes: any text encodes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from mini.vocabulary import (
    COLOUR_SYNONYMS,
    COLOURS,
    NOUNS,
    PATTERNS,
    SCENES,
    SIZE_SYNONYMS,
    STYLE_WORDS,
    TEXTURES,
)

LENGTH = 32  # tokens of a prompt
MERGES = 1200
_GRAMMAR = (
    "a an on in of at to with and next beside nothing that is the background style drawing "
    "picture photo painting painted like looks shape made from"
)


def words() -> list[str]:
    """Every word that captions use, in a fixed order."""
    phrases: list[str] = [_GRAMMAR, *SCENES.values(), *TEXTURES]
    for noun in NOUNS:
        phrases += [noun.word, *noun.synonyms]
    for table in (STYLE_WORDS, PATTERNS, SIZE_SYNONYMS, COLOUR_SYNONYMS):
        phrases += [synonym for synonyms in table.values() for synonym in synonyms]
    phrases += list(COLOURS)
    return list(dict.fromkeys(re.findall(r"[a-z]+", " ".join(phrases))))


def tokenizer(code_points: Path) -> CLIPTokenizer:
    """The tokenizer, built anew: the same every time.

    code_points: `data-by-emoji.json` of `unicode-emoji-json`.
    """
    names = " ".join(entry["name"] for entry in json.loads(code_points.read_text()).values())
    counts = Counter(re.findall(r"[a-z]+", names.lower()))
    pieces = _merges(dict.fromkeys(words(), 1)) + _merges(counts, MERGES)
    merges = list(dict.fromkeys(pieces))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = [*alphabet, *(f"{char}</w>" for char in alphabet), *("".join(m) for m in merges)]
    entries = [*dict.fromkeys(entries), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={entry: index for index, entry in enumerate(entries)},
        merges=merges,
        model_max_length=LENGTH,
    )


def _merges(counts: Mapping[str, int], most: int = 100_000) -> list[tuple[str, str]]:
    """The merges that byte-pair encoding learns from weighted words, at most `most`."""
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    letters = sorted({letter for word in counts for letter in word})
    trainer = trainers.BpeTrainer(
        vocab_size=most, end_of_word_suffix="</w>", show_progress=False, min_frequency=1,
        # Every start has its place in the vocabulary: ties between pairs are decided by it, and
        # the learner would number what it meets in the order of a hash that differs by process.
        special_tokens=[*letters, *(f"{letter}</w>" for letter in letters)],
    )  # fmt: skip
    corpus = (word for word, count in counts.items() for _ in range(count))
    learner.train_from_iterator(corpus, trainer)
    return [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]

"""Captions of pictures of the practice base's world, by its scorer, in that world's words.

They are worded as the base's own captions are, and leave out every word that the scorer is not
sure of, so that what is said is true; and what most of the photos share, which is the concept's:
of a look, it is what the target starts as.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import multimode

import numpy as np
import transformers
from PIL import Image, ImageOps
from torch import Tensor

from prism_cli.captioners.base import Picture
from prism_cli.encoders.scorer import PLAIN, SIDE, Scorer, half

SOURCE = "mini"
# Least probability at which a word is said. On 2000 pictures of one thing in the three hands that
# the scorer never saw, this share of what is said is true, and this share of what is there is said:
# nouns 92 and 58 %, colours 93 and 93, patterns 98 and 99, sizes 99 and 99, grounds 100 and 100
# (`python -m benchmarks.caption_thresholds --artwork FILE`). A style is never said: at 0.99 a
# fifth of the drawings in an unknown hand would still get the name of one that it knows.
THRESHOLDS = {"noun": 0.9, "colour": 0.99, "pattern": 0.65, "size": 0.5, "ground": 0.5}
# Likewise of the halves of a picture of a pair. Of what is said of them 89 % (left) and 92 %
# (right) of the nouns are true, and 97 % of the patterns; a fifth of the colours would be wrong at
# any threshold.
PAIRED = {"noun": 0.9, "pattern": 0.9}
# In photos of a thing a pair is a picture of which one half has a noun at CERTAIN or more that the
# other has at ABSENT or less: so 69 % of the pairs are told, and 1.6 % of single things taken for
# one. Of different things it is one of which both halves have nouns, each its own: 43 and 1.4 %
# (by either rule: 73 and 2.5 %; without a command, as these 2000 are taken for photos of a thing).
CERTAIN, ABSENT = 0.99, 0.01
UNSAID = {"colour": PLAIN, "pattern": PLAIN, "size": "medium"}  # what goes without saying
LOOKS = ("size", "colour", "pattern", "noun")  # in the order in which they are said
_PLURALS = ("grapes", "cherries")


class WorldCaptioner:
    """Reads the squares that are learned from, all at once, and says what they do not share.

    folder: of the scorer. pictures: all that it will be asked about.
    """

    prompt = ""
    source = SOURCE
    shared = ""

    def __init__(self, folder: Path, pictures: Sequence[Picture]) -> None:
        self._folder, self._pictures = folder, pictures
        self._said: dict[Path, str] = {}

    def connect(self) -> None:
        """Read the pictures with the scorer."""
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        squares = np.stack([_square(picture.image) for picture in self._pictures])
        read = sure(Scorer.load(self._folder), squares)
        paths = [picture.path for picture in self._pictures]
        self._said = {path: worded(seen) for path, seen in zip(paths, unshared(read), strict=True)}
        self.shared = look(read)

    def describe(self, picture: Picture, earlier: str = "") -> str:
        """See `Captioner.describe`."""
        return self._said[picture.path]

    def stop(self) -> None:
        """See `Captioner.stop`: nothing waits."""

    def close(self) -> None:
        """See `Captioner.close`: nothing is held."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is in a picture, as far as is sure: each thing's words by attribute, and the ground."""

    things: tuple[Mapping[str, str], ...]
    ground: str = ""


def sure(scorer: Scorer, pictures: np.ndarray) -> list[Seen]:
    """What the scorer is sure of in each photo (n, SIDE, SIDE, 3) uint8: a thing, or a pair.

    A noun beside something unknown tells a pair, except in photos of different things: there the
    unknown one has their look, and a caption that named the other alone would give it that.
    """
    whole, left, right = (
        _chances(scorer, part)
        for part in (pictures, half(pictures, "left"), half(pictures, "right"))
    )
    singles = _words(scorer, whole, THRESHOLDS)
    grounds = [one.pop("ground", "") for one in singles]
    halves = list(zip(_words(scorer, left, PAIRED), _words(scorer, right, PAIRED), strict=True))

    def seen(paired: Sequence[bool]) -> list[Seen]:
        things = [
            _pair(one, pair) if two else (one,)
            for one, pair, two in zip(singles, halves, paired, strict=True)
        ]
        return [Seen(*each) for each in zip(things, grounds, strict=True)]

    # A thing that fills the picture reads the same on both sides, if anything.
    by_both = seen([len({one["noun"] for one in pair if "noun" in one}) == 2 for pair in halves])
    if _differ(by_both):
        return by_both
    alone = _alone(left["noun"], right["noun"]) | _alone(right["noun"], left["noun"])
    return seen(alone.tolist())


def _pair(whole: Mapping[str, str], halves: Sequence[dict[str, str]]) -> tuple[dict[str, str], ...]:
    """The words of both things; one without a noun has the colour and pattern of the whole."""
    unnamed = {name: word for name, word in whole.items() if name in ("colour", "pattern")}
    return tuple(thing if "noun" in thing else unnamed for thing in halves)


def _chances(scorer: Scorer, pictures: np.ndarray) -> dict[str, Tensor]:
    """How probable each word is in each picture, by attribute: (n, words)."""
    logits, _ = scorer.read(pictures)
    return {attribute: of_words.softmax(-1) for attribute, of_words in logits.items()}


def _alone(here: Tensor, there: Tensor) -> Tensor:
    """Whether a noun is sure here that is ruled out there: (n,) bool, of (n, words) each."""
    return ((here >= CERTAIN) & (there <= ABSENT)).any(-1)


def _words(
    scorer: Scorer, chances: Mapping[str, Tensor], thresholds: Mapping[str, float]
) -> list[dict[str, str]]:
    """Of each picture, the words that are sure, by attribute."""
    found: list[dict[str, str]] = [{} for _ in chances["noun"]]
    for attribute, least in thresholds.items():
        words = list(scorer.texts[attribute])
        chance, best = chances[attribute].max(dim=-1)
        for k, (p, index) in enumerate(zip(chance.tolist(), best.tolist(), strict=True)):
            if p >= least and words[index] != UNSAID.get(attribute):
                found[k][attribute] = words[index]
    return found


def unshared(found: Sequence[Seen]) -> list[Seen]:
    """Each picture without those words of its things that half of the pictures or more share.

    They are the concept, and a residual that starts with them keeps it from the target
    (`prism, whole captions` in benchmarks/ is without this). The ground is what a residual is for,
    and stays. Pictures of different things share a colour or a pattern, and two that have one say
    as much.
    """
    common = _common(found)

    def own(thing: Mapping[str, str]) -> dict[str, str]:
        return {name: word for name, word in thing.items() if (name, word) not in common}

    return [replace(seen, things=tuple(own(thing) for thing in seen.things)) for seen in found]


def look(found: Sequence[Seen]) -> str:
    """The colour and the pattern that pictures of different things share: "purple tartan", or "".

    They are what `unshared` leaves out of those; of two that it leaves out equally often neither is
    meant.
    """
    if not _differ(found):
        return ""
    common, words = _common(found), list[str]()
    for name in ("colour", "pattern"):
        counts = Counter({word: n for (what, word), n in common.items() if what == name})
        commonest = multimode(counts.elements())
        words += commonest if len(commonest) == 1 else []
    return " ".join(words)


def _items(found: Sequence[Seen]) -> list[set[tuple[str, str]]]:
    """What is said of each picture's things, (attribute, word)."""
    return [{item for thing in seen.things for item in thing.items()} for seen in found]


def _common(found: Sequence[Seen]) -> dict[tuple[str, str], int]:
    """What of their things the pictures share, (attribute, word), and how many of them have it."""
    least = dict.fromkeys(LOOKS, max(2, len(found) / 2))
    if _differ(found):
        least |= {"colour": 2, "pattern": 2}
    counts = Counter(item for items in _items(found) for item in items)
    return {item: n for item, n in counts.items() if n >= least[item[0]]}


def _differ(found: Sequence[Seen]) -> bool:
    """Whether more than half of the pictures have nouns, each its own.

    One that has a thing without a noun has none: what is known there is what stands beside it.
    """
    nouns = [{thing.get("noun") for thing in seen.things} for seen in found]
    known = [each for each in nouns if each and None not in each]
    counts = Counter(noun for each in known for noun in each)
    return len(known) > len(found) / 2 and max(counts.values()) == 1


def worded(seen: Seen) -> str:
    """The words as the base's captions have them: "a small golden owl on the beach".

    Without a noun there is nothing that could be golden: the other thing and the place are named.
    """
    things = [_phrase(thing) for thing in seen.things if "noun" in thing]
    if not things:
        return seen.ground.removeprefix("on ")
    return f"{' next to '.join(things)} {seen.ground}".strip()


def _phrase(thing: Mapping[str, str]) -> str:
    return _article(" ".join(thing[name] for name in LOOKS if name in thing))


def _article(phrase: str) -> str:
    if phrase.endswith(_PLURALS):
        return phrase
    return f"{'an' if phrase[0] in 'aeiou' and not phrase.startswith('uni') else 'a'} {phrase}"


def _square(image: Image.Image) -> np.ndarray:
    return np.asarray(ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.LANCZOS))

"""What an evaluation draws. DreamBench's two lists are facts of its protocol; the others are ours.

DreamBench: github.com/google/dreambooth, ``dataset/prompts_and_classes.txt``, "a {token} {class} in
the jungle" and so on. Here * is the concept, and no class noun stands behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prism_cli.errors import FileMissing, PromptRefused, storage

IMAGES = 4  # pictures of each prompt (DreamBooth, section 4.1)
CONCEPT = "*"


@dataclass(frozen=True, slots=True)
class EvaluationPrompt:
    """A prompt to draw. template: with * where the concept stands.

    without: what is drawn in its place by the base alone, where no class word is known. asked: what
    a picture is compared with; None for the prompt with the class word in it, or else `without`.
    """

    template: str
    without: str
    asked: str | None = None

    def plain(self, word: str | None) -> str:
        """The prompt for the base alone: with `word` for the concept, where one is known."""
        return worded(self.template, word) if word else self.without

    def text(self, word: str | None) -> str:
        """What a picture of this prompt should show besides the concept, in words."""
        return self.asked or self.plain(word)


@dataclass(frozen=True, slots=True)
class PromptList:
    """Prompts under the name by which results call them."""

    name: str
    prompts: tuple[EvaluationPrompt, ...]


_PLACES = (
    "a * in the jungle",
    "a * in the snow",
    "a * on the beach",
    "a * on a cobblestone street",
    "a * on top of pink fabric",
    "a * on top of a wooden floor",
    "a * with a city in the background",
    "a * with a mountain in the background",
    "a * with a blue house in the background",
    "a * on top of a purple rug in a forest",
)
_LOOKS = ("a red *", "a purple *", "a shiny *", "a wet *", "a cube shaped *")
_OBJECTS = (
    *_PLACES,
    "a * with a wheat field in the background",
    "a * with a tree and autumn leaves in the background",
    "a * with the Eiffel Tower in the background",
    "a * floating on top of water",
    "a * floating in an ocean of milk",
    "a * on top of green grass with sunflowers around it",
    "a * on top of a mirror",
    "a * on top of the sidewalk in a crowded street",
    "a * on top of a dirt road",
    "a * on top of a white rug",
    *_LOOKS,
)
_LIVE = (
    *_PLACES,
    "a * wearing a red hat",
    "a * wearing a santa hat",
    "a * wearing a rainbow scarf",
    "a * wearing a black top hat and a monocle",
    "a * in a chef outfit",
    "a * in a firefighter outfit",
    "a * in a police outfit",
    "a * wearing pink glasses",
    "a * wearing a yellow shirt",
    "a * in a purple wizard outfit",
    *_LOOKS,
)

# Ten places, five colours, two sizes, four neighbours and four nouns that the concept is moved to,
# in mini's own words; `asked` is as the scorer beside it was taught to answer.
_MINI = (
    *(
        EvaluationPrompt(f"a * {place}", place, place)
        for place in (
            *("on a red background", "on a blue background", "on a white background"),
            *("on a striped green background", "on a dotted yellow background"),
            *("in the desert", "on the beach", "in the forest", "at night", "in the snow"),
        )
    ),
    *(
        EvaluationPrompt(f"a {colour} *", f"a {colour} drawing", f"something {colour}")
        for colour in ("red", "green", "blue", "purple", "golden")
    ),
    *(
        EvaluationPrompt(f"a {size} *", f"a {size} drawing", f"something {size}")
        for size in ("small", "large")
    ),
    *(
        EvaluationPrompt(f"a * next to a {noun}", f"a {noun}", f"a {noun}")
        for noun in ("dog", "tent", "rose", "robot")
    ),
    *(
        EvaluationPrompt(f"a * {noun}", f"a {noun}", f"a {noun}")
        for noun in ("box", "book", "house", "shirt")
    ),
)

# What a style is shown on and an action is done by, where the protocol has no list: nouns that
# every base knows, mini too.
_THINGS = (
    *("cat", "dog", "lion", "rabbit", "owl", "fish", "butterfly", "turtle"),
    *("house", "castle", "boat", "car", "bicycle", "airplane", "rocket"),
    *("sunflower", "mushroom", "pear", "cake", "teapot"),
    *("chair", "guitar", "camera", "clock", "crown"),
)
_BEINGS = (
    *("cat", "dog", "wolf", "fox", "bear", "panda", "rabbit", "lion", "tiger", "cow", "pig"),
    *("frog", "penguin", "chicken", "duck", "fish", "whale", "turtle", "snail", "butterfly"),
    *("snake", "crab", "ghost", "robot", "snowman"),
)


def worded(template: str, word: str, place: str = CONCEPT) -> str:
    """The template with `word` in its place, and the article that goes with it."""
    if word[:1].lower() in "aeiou":
        template = re.sub(rf"\b([Aa]) (?={re.escape(place)})", r"\1n ", template)
    return template.replace(place, word)


def _published(templates: tuple[str, ...], word: str) -> tuple[EvaluationPrompt, ...]:
    return tuple(EvaluationPrompt(each, worded(each, word)) for each in templates)


OBJECTS = PromptList("DreamBench, objects", _published(_OBJECTS, "object"))
LIVE = PromptList("DreamBench, live subjects", _published(_LIVE, "animal"))
MINI = PromptList("mini's words", _MINI)


def of_kind(kind: str, in_style: str) -> PromptList | None:
    """25 prompts for a style or an action; None for a subject. in_style: "{} in the style of *"."""
    if kind == "style":
        return PromptList("things in the style", _about(_THINGS, in_style))
    if kind == "action":
        return PromptList("beings that do it", _about(_BEINGS, f"{{}} {CONCEPT}"))
    return None


def _about(nouns: tuple[str, ...], said: str) -> tuple[EvaluationPrompt, ...]:
    """Each noun for {} beside the concept; the base alone draws the noun, or with the word."""
    things = [worded(f"a {CONCEPT}", noun) for noun in nouns]
    return tuple(EvaluationPrompt(said.replace("{}", thing), thing, thing) for thing in things)


def read_prompts(path: Path) -> PromptList:
    """The prompts in a text file: one a line, * for the concept; empty lines and # are passed over.

    Raises FileMissing, PromptRefused (a line without *, or no lines) or StorageFailed.
    """
    if not path.exists():
        raise FileMissing(f"there is no file {path}", hint="give a text file with a prompt a line")
    with storage("read", path):
        data = path.read_bytes()
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise PromptRefused(f"{path} is not text in UTF-8", hint="save it as UTF-8") from None
    templates = list(_templates(path, lines))
    if not templates:
        raise PromptRefused(
            f"{path} has no prompts", hint='write one a line, * for the concept: "a * in the snow"'
        )
    return PromptList(path.name, _published(tuple(templates), "thing"))


def _templates(path: Path, lines: list[str]) -> Iterator[str]:
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        if line.count(CONCEPT) != 1 or "[" in line:
            raise PromptRefused(
                f"line {number} of {path} does not say once where the concept stands",
                hint='write * there, as in "a * in the snow"',
            )
        yield line

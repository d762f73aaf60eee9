"""What a composition's name stands for, and how kinds are asked for, on each base."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prism_cli import evaluation_prompts
from prism_cli.backbones import catalog
from prism_cli.backbones.families import FAMILIES
from prism_cli.placeholders import mentioned, parse
from prism_cli.registry.manifest import KINDS
from prism_cli.services.first_prompt import first_prompt
from prism_cli.services.parts import Part, phrase_of

MINI = catalog.resolve("mini")
SD = FAMILIES["StableDiffusionPipeline"]
ELSEWHERE = replace(MINI, in_style=SD.in_style, style_alone=SD.style_alone)


def part(name: str, kind: str) -> Part:
    return Part(name=name, learned="", kind=kind, weight=1, scale=1, target={}, lora={})


DOG, CAT = part("dog", "subject"), part("cat", "subject")
RUN, INK, WASH = part("run", "action"), part("ink", "style"), part("wash", "style")


@pytest.mark.parametrize(
    ("parts", "on_mini", "elsewhere"),
    [
        ((CAT, DOG), "[dog] next to [cat]", "[dog] next to [cat]"),
        ((DOG, RUN), "[dog] [run]", "[dog] [run]"),
        ((DOG, INK), "[ink] picture of [dog]", "[dog] in the style of [ink]"),
        ((INK, RUN), "[ink] picture of [run]", "[run] in the style of [ink]"),
        ((DOG, INK, RUN), "[ink] picture of [dog] [run]", "[dog] [run] in the style of [ink]"),
        ((INK, WASH), "[ink] and [wash] picture", "a picture in the style of [ink] and [wash]"),
    ],
)
def test_a_phrase_says_subjects_actions_and_styles(
    parts: tuple[Part, ...], on_mini: str, elsewhere: str
) -> None:
    order = ("dog", "cat", "run", "ink", "wash")
    assert phrase_of(parts, order, "mini") == on_mini
    assert phrase_of(parts, order, "owner/sd") == elsewhere


@pytest.mark.parametrize(
    ("entry", "first"), [(MINI, "* picture of a cat"), (ELSEWHERE, "a cat in the style of *")]
)
def test_a_style_is_evaluated_as_its_base_says_it(entry: catalog.BaseEntry, first: str) -> None:
    prompts = evaluation_prompts.of_kind("style", entry.in_style)
    assert prompts is not None and prompts.prompts[0].template == first
    beings = evaluation_prompts.of_kind("action", entry.in_style)
    assert beings is not None and beings.prompts[0].template == "a cat *"


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_prompt_is_one_of_the_concept(kind: str) -> None:
    assert mentioned(parse(first_prompt("mydog", kind, "mini"))) == ["mydog"]


def test_a_first_prompt_shows_a_style_on_something_else() -> None:
    assert first_prompt("ink", "style", "mini") == "[ink] picture of a cat"
    assert first_prompt("ink", "style", "sd15") == "a cat in the style of [ink]"
    assert first_prompt("mydog", "subject", "mini") == "A [mydog] box"
    assert first_prompt("catink", "composition", "mini") == "[catink]"

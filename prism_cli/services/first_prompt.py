"""A prompt to try a concept with."""

from __future__ import annotations

from prism_cli.backbones.families import in_style_on

_PROMPTS = {"subject": "A * box", "action": "a dog *"}  # a composition stands for a phrase


def first_prompt(name: str, kind: str, base: str) -> str:
    """What suits a concept of this kind, as its base has a style said."""
    styled = {"style": in_style_on(base).replace("{}", "a cat")}
    return (_PROMPTS | styled).get(kind, "*").replace("*", f"[{name}]")

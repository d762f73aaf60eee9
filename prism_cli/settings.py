"""Every setting, with its limits and the source of its default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from prism_cli.errors import OptionRefused
from prism_cli.names import nearest

CROPS = 4  # of each photo, where they are random and nobody says how many


def _setting(default: Any, low: float, high: float) -> Any:
    return field(default=default, metadata={"limits": (low, high)})


def _text(default: str, pattern: str, said: str) -> Any:
    return field(default=default, metadata={"pattern": re.compile(pattern, re.ASCII), "said": said})


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOptions:
    """Stage 1, Algorithm 1. Defaults for the Stable Diffusion family.

    [OC] marks what the supplement leaves open and the paper's published code fixes.
    """

    steps: int = _setting(200, 0, 1_000_000)  # cap on updates [OC]
    batch: int = _setting(1, 1, 1024)  # B, samples per update (Algorithm 1, line 4)
    lr: float = _setting(5e-4, 0.0, 1.0)  # [OC]
    beta: float = _setting(0.05, 0.0, 1000.0)  # weight of L_excl (supplement, Table 6)
    anchors: int = _setting(3, 1, 64)  # |J| (Algorithm 1, line 10)
    length: int = _setting(1, 1, 16)  # n, rows per target (supplement, Table 5)
    residual_length: int = _setting(0, 0, 64)  # m; 0: as long as the caption
    weight_decay: float = _setting(1e-2, 0.0, 1.0)  # AdamW's [OC]
    clip: float = _setting(1.0, 0.0, 1e6)  # norm of the gradient [OC]
    ema_decay: float = _setting(0.0, 0.0, 0.9999)  # of the average that is kept; 0: the last rows
    evaluate_every: int = _setting(10, 1, 10_000)  # updates between two looks at the fixed batch
    evaluation_times: int = _setting(2, 1, 64)  # samples per photo in the fixed batch
    plateau_window: int = _setting(6, 2, 1000)  # evaluations; docs/method.md, "While not converged"
    plateau_ratio: float = _setting(0.01, 0.0, 1.0)  # likewise; 0 never stops early


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneOptions:
    """Stage 2, Algorithm 2. Defaults for the Stable Diffusion family."""

    steps: int = _setting(200, 0, 1_000_000)  # cap on updates [OC]; 0: tokens only, no LoRA
    batch: int = _setting(4, 1, 1024)  # [OC] accumulates 4 samples
    lr: float = _setting(4e-4, 0.0, 1.0)  # [OC]
    rank: int = _setting(4, 1, 256)  # r = alpha [OC]
    preservation: float = _setting(0.0, 0.0, 1000.0)  # weight of L_keep; 0: the paper's L_ft alone
    weight_decay: float = _setting(1e-2, 0.0, 1.0)  # AdamW's [OC]
    clip: float = _setting(1.0, 0.0, 1e6)  # norm of the gradient [OC]
    evaluate_every: int = _setting(10, 1, 10_000)
    evaluation_times: int = _setting(2, 1, 64)
    plateau_window: int = _setting(6, 2, 1000)
    plateau_ratio: float = _setting(0.01, 0.0, 1.0)

    @property
    def preserved(self) -> int:
        """Samples of an update that show the model without the target, beside the batch."""
        return -(-self.batch // 4) if self.preservation else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingOptions:
    """How pictures are drawn, unless a command says otherwise."""

    steps: int = _setting(25, 1, 1000)  # [OC]
    guidance: float = _setting(7.5, 1.0, 100.0)  # [OC]
    batch: int = _setting(4, 1, 256)  # pictures drawn at once


GEMINI_MODEL = r"[A-Za-z0-9][\w.-]*"  # the pattern of an id
CAPTION_SOURCES = ("auto", "files", "gemini", "local", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionOptions:
    """Where the words come from that residual tokens start as."""

    source: str = _text("auto", "|".join(CAPTION_SOURCES), f"one of {', '.join(CAPTION_SOURCES)}")
    # The paper's Gemini 2.5 Flash (supplement, section 10) is no longer served; this is the stable
    # Flash of https://ai.google.dev/gemini-api/docs/deprecations with no end announced.
    model: str = _text("gemini-3.8-flash", GEMINI_MODEL, "the id of a Gemini model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All settings of a training; a base has its own defaults (`backbones.catalog`)."""

    tokens: TokenOptions = field(default_factory=TokenOptions)
    finetuning: FinetuneOptions = field(default_factory=FinetuneOptions)
    drawing: DrawingOptions = field(default_factory=DrawingOptions)
    captions: CaptionOptions = field(default_factory=CaptionOptions)

    def flat(self) -> dict[str, Any]:
        """Every setting under its dotted name, such as ``tokens.lr``."""
        return {
            f"{section.name}.{option.name}": getattr(getattr(self, section.name), option.name)
            for section in fields(self)
            for option in fields(getattr(self, section.name))
        }


SECTIONS = {
    "tokens": TokenOptions,
    "finetuning": FinetuneOptions,
    "drawing": DrawingOptions,
    "captions": CaptionOptions,
}


@dataclass(frozen=True, slots=True)
class Resolved:
    """A recipe, and for each dotted name which layer decided it: flag, file or default."""

    recipe: Recipe
    sources: Mapping[str, str]


def resolve(
    defaults: Recipe, file: Mapping[str, Any] | None = None, flags: Mapping[str, Any] | None = None
) -> Resolved:
    """Flag over file over default. Names are dotted; a flag that is None was not given.

    Raises OptionRefused with every unknown name, wrong type and value out of range at once.
    """
    given = {
        "file": dict(file or {}),
        "flag": {k: v for k, v in (flags or {}).items() if v is not None},
    }
    sources = dict.fromkeys(defaults.flat(), "default")
    values: dict[str, Any] = {}
    problems: list[str] = []
    for source, layer in given.items():
        for name, value in layer.items():
            try:
                values[name] = checked(name, value)
                sources[name] = source
            except OptionRefused as error:
                problems.append(error.message)
    if problems:
        raise OptionRefused(
            "; ".join(problems),
            hint="`prism train --help` has the flags and their limits, docs/reference.md"
            " all settings",
        )
    changed = {
        section: replace(
            getattr(defaults, section),
            **{k.split(".")[1]: v for k, v in values.items() if k.startswith(f"{section}.")},
        )
        for section in SECTIONS
    }
    return Resolved(Recipe(**changed), sources)


def limits(name: str) -> tuple[float, float]:
    """The least and the most that the setting called `name` may be."""
    section, _, option = name.partition(".")
    known = {f.name: f for f in fields(SECTIONS[section])}
    low, high = known[option].metadata["limits"]
    return low, high


def checked(name: str, value: Any) -> Any:
    """`value` as the type that setting `name` has, or OptionRefused."""
    section, _, option = name.partition(".")
    if section not in SECTIONS:
        raise OptionRefused(f"unknown section {section!r} (there are {', '.join(SECTIONS)})")
    known = {f.name: f for f in fields(SECTIONS[section])}
    if option not in known:
        close = nearest(name, Recipe().flat())
        raise OptionRefused(
            f"unknown setting {name!r}" + (f" (did you mean {close!r}?)" if close else "")
        )
    if known[option].type == "str":
        return _checked_text(name, value, known[option].metadata)
    kind = int if known[option].type == "int" else float
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (whole or (kind is float and isinstance(value, float))):
        raise OptionRefused(
            f"{name} takes a{'n integer' if kind is int else ' number'}, not {value!r}"
        )
    low, high = limits(name)
    if not low <= value <= high:
        raise OptionRefused(
            f"{name} must be between {low:g} and {high:g}" + _not(value),
            hint="choose a value there",
        )
    return kind(value)


def _not(value: float) -> str:
    """What was given, unless Python would not write it (`sys.set_int_max_str_digits`)."""
    return f", not {value}" if abs(value) < _WRITTEN else ""


_WRITTEN = 10**30


def _checked_text(name: str, value: Any, metadata: Mapping[str, Any]) -> str:
    if not isinstance(value, str) or not metadata["pattern"].fullmatch(value):
        raise OptionRefused(f"{name} takes {metadata['said']}, not {value!r}")
    return value

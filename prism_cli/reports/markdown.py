"""A report as Markdown, for a model card: no pictures but the one that is named."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from urllib.parse import quote

from prism_cli.reports.model import Evaluation, Interference, Report, Satisfaction

_SPECIAL = re.compile(r"([\\`*_\[\]|#~])")


def render_markdown(report: Report, picture: str | None = None) -> str:
    """The text of `report`: the same one for the same report. picture: a file beside it."""
    blocks = [
        f"# {_plain(report.name)}",
        f"{'Composed' if report.composed else f'Learned as {_plain(report.kind)}'} by prism "
        f"{_plain(report.prism_version)} on "
        f"{_plain(report.base)} (revision {_plain(report.revision)}), {_plain(report.created)}.",
        *([f"![What {_plain(report.name)} draws]({_address(picture)})"] if picture else []),
        _table(("", ""), [(name, value) for name, value in report.facts.items()]),
        "## Use it",
        *(f"{_plain(what)}\n\n    {command}" for command, what in report.use),
    ]
    if not report.composed:
        blocks += ["## Scores", *_scores(report)]
    if report.interference:
        blocks += ["## Interference", *_interference(report.interference)]
    if report.leakage:
        matrix = report.leakage
        rows = [
            (label, *(f"{value:.3g}" for value in row))
            for label, row in zip(matrix.labels, matrix.values, strict=True)
        ]
        blocks += ["## Leakage", _plain(matrix.note), _table(("", *matrix.labels), rows)]
    if report.evaluation:
        blocks += ["## Prompts", _prompts(report.evaluation)]
    if report.curves:
        blocks += ["## Training", _training(report)]
    captions = [(each.photo, each.text, each.source) for each in report.captions]
    if captions:
        blocks += ["## Captions", _table(("photo", "caption", "from"), captions)]
    settings = [(each.name, each.value, each.source) for each in report.settings]
    blocks += ["## Settings", _table(("setting", "value", "from"), settings)]
    return "\n\n".join(blocks) + "\n"


def _scores(report: Report) -> list[str]:
    found = report.evaluation
    if found is None:
        return [f"Not evaluated yet: `prism eval {report.name}`."]
    instead = f", which drew “{_plain(found.word)}” in the concept's place" if found.word else ""
    blocks = [
        f"{len(found.prompts)} prompts ({_plain(found.prompt_list)}), {found.count} pictures of "
        f"each, seed {found.seed}, {found.steps} steps at guidance {found.guidance:g}; measured "
        f"{_plain(found.created)} beside {found.compared}. A number means something only beside "
        f"that of the base alone{instead}.",
        _table(
            ("score", "by", "concept", "base alone", "held-out photos", "what it is"),
            [
                (
                    score.name,
                    score.encoder,
                    _number(score.value),
                    _number(score.base),
                    _number(score.held_out),
                    f"{score.meaning}; wanted: {score.wanted}",
                )
                for score in found.scores
            ],
        ),
    ]
    if found.satisfaction:
        blocks += _satisfaction(found.satisfaction)
    return blocks


def _satisfaction(found: Satisfaction) -> list[str]:
    rows = [
        (
            rate.criterion,
            f"{rate.satisfied} of {rate.answered}",
            _number(rate.share),
            f"{_number(rate.low)} to {_number(rate.high)}" if rate.answered else "",
            str(rate.unanswered),
        )
        for rate in found.rates
    ]
    return [
        f"What {_plain(found.judge)} answered about the first picture of each prompt.",
        _table(("criterion", "satisfied", "share", "95 %", "unanswered"), rows),
    ]


def _interference(found: Interference) -> list[str]:
    pairs = [
        (
            f"{pair.one} and {pair.other}",
            _number(pair.cosine),
            ", ".join(f"{name} {_number(cosine)}" for name, cosine in sorted(pair.tokens.items())),
            f"{pair.clashes} of {pair.changed}",
        )
        for pair in found.pairs
    ]
    likeness = [
        (each.name, each.measure, _number(each.alone), _number(each.composed))
        for each in found.likeness
    ]
    return [
        _table(("pair", "cosine of the LoRAs", "of the tokens", "layers that clash"), pairs),
        *([_table(("concept", "likeness by", "alone", "composed"), likeness)] if likeness else []),
        *(_plain(sentence) for sentence in found.advice),
    ]


def _prompts(found: Evaluation) -> str:
    return _table(
        ("prompt", "prompt to picture", "base alone"),
        [
            (each.prompt, _number(each.alignment), _number(each.base_alignment))
            for each in found.prompts
        ],
    )


def _training(report: Report) -> str:
    return _table(
        ("stage", "ended", "steps", "loss at first", "at last"),
        [
            (
                curve.stage,
                curve.ended,
                str(curve.points[-1][0]) if curve.points else "",
                _number(curve.points[0][1] if curve.points else None),
                _number(curve.points[-1][1] if curve.points else None),
            )
            for curve in report.curves
        ],
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(text: str) -> str:
    """`text` on one line, as itself: neither Markdown nor HTML in it means anything."""
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _address(name: str) -> str:
    """The address of a file beside the report, of any name: a space or a bracket would end it."""
    return quote(name, safe="", errors="surrogateescape")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

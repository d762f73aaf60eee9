"""How compositions, inspections and transfers are printed: as facts, as JSON, or as bare paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from prism_cli.cli import render

if TYPE_CHECKING:
    from prism_cli.services.compose import ComposeResult
    from prism_cli.services.inspect import InspectPlan, InspectResult
    from prism_cli.services.interference import InterferenceReport
    from prism_cli.services.rehearsal import Fit
    from prism_cli.services.transfer import TransferPlan, TransferResult

_SHOWN = 3  # layers of a pair that are named


def composition(result: ComposeResult) -> None:
    """Print what was composed, how the parts interfere, and what next."""
    if render.style().json:
        content = {k: v for k, v in asdict(result).items() if k != "preview"}
        pairs = content["interference"]["pairs"]
        for shown, pair in zip(pairs, result.interference.pairs, strict=True):
            shown["clashes"] = [layer.layer for layer in pair.clashes]
        render.document("compose", content)
        return
    if render.style().quiet:
        if result.path is not None:
            render.result(str(result.path))
        return
    if result.preview:
        render.picture(result.preview)
    where = f"{result.path} ({render.size(result.size)})" if result.path else "nothing was written"
    kept = "" if result.energy == 1 else f", which keeps {result.energy:.1%} of its energy"
    parts = [
        f"{parent.name} at weight {parent.weight:g}"
        + (f", rank {parent.rank}" if parent.rank else "")
        for parent in result.parents
    ]
    render.facts(
        {
            "concept": f"[{result.name}], which stands for {result.phrase}",
            "archive": where,
            "base": result.base,
            "of": "\n".join(parts),
            "LoRA": f"rank {result.rank} by {result.method}{kept}" if result.rank else "none",
            **_interference(result.interference),
        }
    )
    for sentence in result.interference.advice:
        render.hint(sentence)
    if result.path is None:
        render.hint("nothing was written; the same command without --dry-run does it")
    else:
        render.done(f"{result.name} is composed", f'prism gen "[{result.name}]" -n 4')


def inspection(result: InspectResult, show: bool) -> None:
    """Print where the pictures are and what leaks."""
    if render.style().json:
        render.document("inspect", asdict(result))
        return
    if render.style().quiet:
        render.result(str(result.sheet))
        render.result(str(result.heat_map))
        return
    i, j = result.worst
    rows = ["  ".join(f"{value:.3f}" for value in row) for row in result.matrix]
    render.facts(
        {
            "sheet": str(result.sheet),
            "heat map": str(result.heat_map),
            "measured on": result.measured_on,
            "leakage": "\n".join(rows),
            "own": f"{result.own:.3f}, what a residual says of its own photo (the diagonal)",
            "leaked": f"{result.leaked:.3f}, what it says of the others"
            + (f"; most: residual {i} of photo {j}" if len(rows) > 1 else ""),
        }
    )
    if show:
        render.picture(result.sheet.read_bytes())


def transferred(result: TransferResult, show: bool) -> None:
    """Print where the grids are, the trade at each weight, and which was picked."""
    if render.style().json:
        render.document("transfer", asdict(result))
        return
    if render.style().quiet:
        for path in result.grids:
            render.result(str(path))
        return
    trades = [
        f"weight {score.weight:g}, {score.noun}: concept {score.likeness:.2f}, "
        f"noun {score.presence:.2f}"
        for score in result.scores
    ]
    picked = f"{'none' if result.scores else 'not scored'}: {result.unscored}"
    if result.picked is not None:
        picked = (
            f"weight {result.picked:g}: concept {result.likeness:.2f}, noun {result.presence:.2f}, "
            f"by {result.judge}"
        )
    kept = {"kept": str(result.kept)} if result.kept else {}
    grids = "\n".join(map(str, result.grids))
    scores = {"scores": "\n".join(trades)} if trades else {}
    render.facts({"grids": grids, **scores, "pick": picked, **kept})
    if show:
        at = result.weights.index(result.picked) if result.picked is not None else 0
        render.picture(result.grids[at].read_bytes())


def transfer_plan(plan: TransferPlan, fit: Fit) -> None:
    """Print what would be drawn, and what it would take."""
    _plan("transfer", plan.grids, plan.pictures, fit)


def inspection_plan(plan: InspectPlan, fit: Fit) -> None:
    """Print what would be drawn, and what it would take."""
    _plan("inspect", (plan.sheet, plan.leakage), plan.pictures, fit)


def _plan(command: str, paths: Sequence[Path], pictures: int, fit: Fit) -> None:
    if render.style().json:
        content = {"paths": paths, "pictures": pictures, "fit": asdict(fit)}
        render.document(command, {"plan": content})
        return
    if render.style().quiet:
        for path in paths:
            render.result(str(path))
        return
    files = "\n".join(map(str, paths))
    render.facts({"files": files, "pictures": str(pictures), **render.fit_facts(fit)})
    render.hint("nothing was written; the same command without --dry-run does it")


def _interference(report: InterferenceReport) -> dict[str, str]:
    """The cosines of each pair and its worst layers, and what each concept keeps."""
    facts = {}
    for pair in report.pairs:
        tokens = ", ".join(f"{encoder} {c:+.2f}" for encoder, c in pair.tokens.items())
        lines = [f"deltas {pair.cosine:+.3f}, tokens {tokens}"]
        lines += [
            f"{layer.layer} {layer.cosine:+.3f}, reads {layer.reads:.2f}, writes {layer.writes:.2f}"
            + (" (clash)" if layer.clashes else "")
            for layer in pair.layers[:_SHOWN]
        ]
        facts[f"{pair.one} and {pair.other}"] = "\n".join(lines)
    scored = [
        f"{each.name} {each.alone:.2f} alone, {each.composed:.2f} composed "
        f"({each.measure}, by the base's scorer)"
        for each in report.fidelity
    ]
    facts["likeness"] = "\n".join(scored) or f"not scored: {report.unscored}"
    return facts

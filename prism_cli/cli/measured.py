"""How evaluations are printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from prism_cli.cli import listing, render

if TYPE_CHECKING:
    from prism_cli.services.ablate import Ablation
    from prism_cli.services.ablation_study import AblationPlan
    from prism_cli.services.evaluate import EvalPlan, EvalResult
    from prism_cli.services.evaluation_draws import Group
    from prism_cli.services.rehearsal import Fit
    from prism_cli.services.report import ReportResult


def evaluated(found: EvalResult) -> None:
    """Print the scores beside what they are to be compared with; only the folder when quiet."""
    if render.style().json:
        render.document("eval", asdict(found))
        return
    if render.style().quiet:
        render.result(str(found.folder))
        return
    evaluation = found.evaluation
    head = ("score", f"[{found.name}]", "base alone", "held-out photos", "seen by")
    rows = [
        (
            score.name,
            number(score.value),
            number(score.base),
            number(score.held_out),
            score.encoder,
        )
        for score in evaluation.scores
    ]
    for line in listing.table([head, *rows], right=head[1:4]):
        render.result(line)
    _judged(found)
    prompts = f"{len(evaluation.prompts)} prompt" + ("s" if len(evaluation.prompts) > 1 else "")
    drawn = f"{prompts} ({evaluation.prompt_list}) x {evaluation.count}"
    render.hint(f"{drawn} on {evaluation.base}, beside {evaluation.compared}")
    render.hint(f"the pictures: {found.sheet}")
    render.done(f"{found.name} is measured", f"prism report {found.name}")


def _judged(found: EvalResult) -> None:
    """Print the share of pictures that satisfy each criterion, where a judge was asked."""
    judged = found.evaluation.satisfaction
    if judged is None:
        return
    head = ("criterion", "satisfied", "share", "95 %", "unanswered", "judged by")
    rows = [
        (
            rate.criterion,
            f"{rate.satisfied} of {rate.answered}",
            number(rate.share),
            f"{number(rate.low)}..{number(rate.high)}" if rate.answered else "",
            str(rate.unanswered),
            judged.judge,
        )
        for rate in judged.rates
    ]
    render.result("")
    for line in listing.table([head, *rows], right=head[1:5]):
        render.result(line)


def reported(written: ReportResult) -> None:
    """Print where a report is."""
    if render.style().json:
        render.document("report", asdict(written))
        return
    render.result(str(written.path))
    if written.picture is not None:
        render.result(str(written.picture))


def plan(planned: EvalPlan, fit: Fit | None) -> None:
    """Print what an evaluation would draw, and what it would take; only the folder when quiet.

    fit: None where everything is drawn.
    """
    groups, prompts, sampling = planned.groups, planned.prompts, planned.sampling
    learned, alone = _count(groups.learned), _count(groups.alone)
    if render.style().json:
        content = {
            "concept": planned.request.name,
            "folder": planned.store.folder,
            "prompts": len(prompts.prompts),
            "prompt_list": prompts.name,
            "pictures": groups.total,
            "missing": planned.missing,
            "with_concept": learned,
            "by_base": alone,
            "steps": sampling.steps,
            "guidance": sampling.guidance,
            "judge": planned.judge,
            "questions": planned.questions,
            "fit": asdict(fit) if fit else None,
        }
        render.document("eval", {"plan": content})
        return
    if render.style().quiet:
        render.result(str(planned.store.folder))
        return
    facts = {
        "concept": f"[{planned.request.name}]",
        "prompts": f"{len(prompts.prompts)} ({prompts.name})",
        "pictures": f"{groups.total}: {learned} with the concept, {alone} by the base alone; "
        f"{planned.missing} of them to draw",
        "steps": f"{sampling.steps} at guidance {sampling.guidance:g}",
    }
    if planned.judging:
        facts["judge"] = planned.judging
    render.facts({**facts, **(render.fit_facts(fit) if fit else {})})
    render.hint("nothing was drawn; the same command without --dry-run does it")


def ablated(found: Ablation) -> None:
    """Print each ablation in the paper's layout, its intervals below its means.

    Only the results file when quiet.
    """
    if render.style().json:
        render.document("ablate", asdict(found))
        return
    if render.style().quiet:
        render.result(str(found.out))
        return
    for table in found.tables:
        render.result(table.title)
        head = (table.symbol, *(f"{value:g}" for value in table.values))
        rows = []
        for score, intervals in table.scores.items():
            rows.append((score, *(number(each.mean) for each in intervals)))
            if any(each.low is not None for each in intervals):
                rows.append(
                    ("95 %", *(f"{number(each.low)}..{number(each.high)}" for each in intervals))
                )
        for line in listing.table([head, *rows], right=head[1:]):
            render.result(line)
    concepts = f"{found.concepts} concept" + ("s" if found.concepts > 1 else "")
    render.hint(f"{concepts}, {found.seeds} seed(s), {found.cells} cells in {found.out}")
    if found.concepts < 2:
        render.hint("one concept has no interval: give more folders")


def ablation_plan(planned: AblationPlan, fits: tuple[Fit, Fit] | None) -> None:
    """Print how much an ablation would be; only the results file when quiet.

    fits: of the training and of the drawing of one cell; None where none is left to do.
    """
    cells, missing = len(planned.cells), len(planned.missing)
    seconds = missing * sum(fit.seconds for fit in fits) if fits else 0.0
    if render.style().json:
        content = {
            "cells": cells,
            "missing": missing,
            "pictures": missing * planned.pictures,
            "seconds": seconds,
            "fit": asdict(fits[0]) if fits else None,
        }
        render.document("ablate", {"plan": content})
        return
    if render.style().quiet:
        render.result(str(planned.out))
        return
    if fits is None:
        render.facts({"cells": f"{cells}, none of them to do", "results": str(planned.out)})
        render.hint("the same command without --dry-run prints the tables")
        return
    training, drawing = fits
    render.facts(
        {
            "cells": f"{cells}, {missing} of them to do",
            "each": f"a training ({render.duration(training.seconds)}), "
            f"and {planned.pictures} pictures ({render.duration(drawing.seconds)})",
            "results": str(planned.out),
            **render.fit_facts(training),
            "time": f"at least {render.duration(seconds)} for all that is to do",
        }
    )
    render.hint("nothing was trained; the same command without --dry-run does it")


def number(value: float | None) -> str:
    """A score as it is printed; nothing for one that was not measured."""
    return "" if value is None else f"{value:.3f}"


def _count(groups: Sequence[Group]) -> int:
    return sum(group.total for group in groups)

"""The pictures of an evaluation on one sheet."""

from __future__ import annotations

from prism_cli.reports.contact_sheet import as_tile, contact_sheet
from prism_cli.reports.model import Evaluation
from prism_cli.services.evaluation_store import EvaluationStore
from prism_cli.services.pictures import png
from prism_cli.services.scoring import opened

_TILE = 160  # px


def sheet_of(evaluation: Evaluation, store: EvaluationStore) -> bytes:
    """A PNG with a row for each prompt: the concept's pictures, which are all there."""
    tiles, captions = [], []
    for each in evaluation.prompts:
        tiles += [as_tile(opened(store.picture(name)), _TILE) for name in each.pictures]
        captions += [each.prompt, *[""] * (len(each.pictures) - 1)]
    return png(contact_sheet(tiles, captions, columns=evaluation.count, tile=_TILE))

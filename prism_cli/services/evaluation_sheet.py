"""The pictures of an evaluation on one sheet."""

from __future__ import annotations

from prism_cli.reports.contact_sheet import as_tile, contact_sheet
from prism_cli.reports.model import Evaluation
from prism_cli.services.evaluation_store import EvaluationStore
from prism_cli.services.pictures import png
from prism_cli.services.scoring import opened

_TILE = 160  # px
_COLUMNS = 4  # pictures in a row: of one prompt, or of as many as have room for all of theirs


def sheet_of(evaluation: Evaluation, store: EvaluationStore) -> bytes:
    """A PNG with each prompt's pictures of the concept, which are all there, side by side."""
    tiles, captions = [], []
    for each in evaluation.prompts:
        tiles += [as_tile(opened(store.picture(name)), _TILE) for name in each.pictures]
        captions += [each.prompt, *[""] * (len(each.pictures) - 1)]
    columns = evaluation.count * max(1, _COLUMNS // evaluation.count)
    return png(contact_sheet(tiles, captions, columns=columns, tile=_TILE))

"""What every adapter does around the reading of a base's files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import diffusers
import transformers

from prism_cli.backbones.hub_cache import mended_by
from prism_cli.errors import BaseRefused, first_line, out_of_memory


@contextmanager
def loading(kind: str, folder: Path, mend: str = "") -> Iterator[None]:
    """While open, the libraries are quiet, and whatever they raise becomes BaseRefused.

    But for a device that has no room, which is no fault of the files. kind: what the base is called
    in the error. mend: what helps where `hub_cache.mended_by` does not.
    """
    diffusers.logging.set_verbosity_error()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    except Exception as error:  # the libraries raise whatever they met
        if out_of_memory(error):
            raise
        reason = first_line(error)
        raise BaseRefused(
            f"cannot load a {kind} base from {folder}: {reason}",
            hint=mend or mended_by(folder),
        ) from error

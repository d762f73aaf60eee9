"""Which encoders judge the pictures of a base: the practice base's own, or CLIP and DINO."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

from prism_cli.backbones.catalog import BaseEntry
from prism_cli.encoders.base import ImageEncoder, TextImageEncoder
from prism_cli.encoders.clip import ClipEncoder
from prism_cli.encoders.dino import DinoEncoder
from prism_cli.encoders.drawn import DrawnEncoder
from prism_cli.errors import EncoderRefused, first_line, out_of_memory
from prism_cli.services.encoder_files import (
    CLIP,
    DINO,
    INSTALL_AGAIN,
    PULL_AGAIN,
    encoder_folder,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judges:
    """Encoders by the score that they give.

    alignment: of prompt and picture. likeness: of two pictures' subjects, the strictest last.
    setting: of what is around them, as far as an encoder tells the two apart.
    """

    alignment: tuple[str, TextImageEncoder]
    likeness: Mapping[str, ImageEncoder]
    setting: ImageEncoder

    @property
    def tell_setting_apart(self) -> bool:
        """Whether `setting` sees something else than `likeness` does."""
        return self.setting not in self.likeness.values()


def check_judges(entry: BaseEntry) -> None:
    """Raise what `judges_for` would, and keep none: the base comes first, and wants the room."""
    judges_for(entry, torch.device("cpu"))


def judges_for(entry: BaseEntry, device: torch.device) -> Judges:
    """The encoders for pictures of `entry`, loaded.

    The practice base has its own, since CLIP and DINO know photographs, not icons of 64 px. Raises
    EncoderNotDownloaded, EncoderRefused.
    """
    if entry.practice:
        with _loading(entry.folder / "scorer", INSTALL_AGAIN) as folder:
            whole, design, setting = DrawnEncoder.load(folder)
        return Judges(alignment=("image-text", whole), likeness={"design": design}, setting=setting)
    with _loading(encoder_folder(CLIP), PULL_AGAIN) as folder:
        clip = ClipEncoder.load(CLIP.name, folder, device)
    with _loading(encoder_folder(DINO), PULL_AGAIN) as folder:
        dino = DinoEncoder.load(DINO.name, folder, device)
    return Judges(alignment=("CLIP-T", clip), likeness={"CLIP-I": clip, "DINO": dino}, setting=dino)


@contextmanager
def _loading(folder: Path, mend: str) -> Iterator[Path]:
    """While open, transformers is quiet, and whatever it raises becomes EncoderRefused.

    But for a device that has no room. mend: what helps where the files are damaged.
    """
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield folder
    except Exception as error:  # it raises whatever it met
        if out_of_memory(error):
            raise
        reason = first_line(error)
        raise EncoderRefused(
            f"cannot load an encoder from {folder}: {reason}",
            hint=mend,
        ) from error

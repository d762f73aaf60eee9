"""Captions by BLIP on this machine: nothing leaves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil

from prism_cli.captioners.base import Picture
from prism_cli.errors import CaptionerNotDownloaded, first_line, out_of_memory

_BEAMS = 3  # what BLIP's own captioning evaluation searches with
_REPETITION = 1.2  # else a caption that must be long says its end again and again
_LEAST, _MORE = 10, 14  # tokens of the first try, and of the next: 8 words are 8 tokens or more
_MOST = 40  # tokens; 32 words are seldom more


class LocalCaptioner:
    """BLIP for captioning. find: the folder of its files, asked for when it is first needed."""

    shared = ""
    prompt = ""  # it was trained to caption, and is asked for nothing else

    def __init__(self, find: Callable[[], Path], source: str) -> None:
        self.source, self._find = source, find
        self._parts: tuple[Any, Any, Any] | None = None

    def connect(self) -> None:
        """Load it."""
        folder = self._find()
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        here = {"local_files_only": True}
        try:
            model = BlipForConditionalGeneration.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, **here
            )
            self._parts = (
                AutoTokenizer.from_pretrained(folder, **here),
                BlipImageProcessorPil.from_pretrained(folder, **here),
                model.to(device).eval(),
            )
        except Exception as error:  # transformers raises whatever it met
            if out_of_memory(error):
                raise
            reason = first_line(error)
            raise CaptionerNotDownloaded(
                f"cannot load the local captioner from {folder}: {reason}",
                hint="delete that folder and run: prism caption --pull",
            ) from error

    @torch.no_grad()
    def describe(self, picture: Picture, earlier: str = "") -> str:
        """See `Captioner.describe`; the same picture has the same caption."""
        assert self._parts is not None, "connect comes first"
        tokens, eyes, model = self._parts
        pixels = eyes(picture.image, return_tensors="pt")["pixel_values"]
        ids = model.generate(
            pixel_values=pixels.to(model.device),
            num_beams=_BEAMS,
            do_sample=False,
            min_length=_MORE if earlier else _LEAST,
            max_length=_MOST,
            repetition_penalty=_REPETITION,
        )
        return " ".join(tokens.decode(ids[0], skip_special_tokens=True).split())

    def stop(self) -> None:
        """See `Captioner.stop`: nothing waits."""

    def close(self) -> None:
        """Let go of its memory."""
        self._parts = None

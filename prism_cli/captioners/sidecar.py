"""Captions that lie beside the photos: ``photo.txt`` for ``photo.jpg``."""

from __future__ import annotations

from pathlib import Path

from prism_cli.captioners.base import Caption
from prism_cli.errors import CaptionRefused, storage

PLAIN = Caption("a photo", "none")
"""What a photo without a caption starts from: nothing is known about it but that it is one."""

MAX_BYTES = 64 * 1024  # a caption is a sentence; more is the wrong file


class SidecarCaptioner:
    """Reads the text file of the photo's name; `PLAIN` where there is none or it is empty."""

    def caption(self, photo: Path) -> Caption:
        """See `Captioner.caption`."""
        path = photo.with_suffix(".txt")
        if not path.is_file():
            return PLAIN
        with storage("read", path):
            if path.stat().st_size > MAX_BYTES:
                raise CaptionRefused(
                    f"the caption {path} is larger than {MAX_BYTES // 1024} KiB",
                    hint="put one sentence into it, or move it elsewhere",
                )
            data = path.read_bytes()
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise CaptionRefused(
                f"the caption {path} is not UTF-8 text", hint="save it again as UTF-8"
            ) from error
        line = " ".join(text.split())
        return Caption(line, "sidecar") if line else PLAIN

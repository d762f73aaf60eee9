"""What captioners have answered, by the photo's content, the captioner and what it was asked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from prism_cli import paths
from prism_cli.captioners.base import Captioner, Picture
from prism_cli.errors import storage
from prism_cli.files import write_whole


def kept(picture: Picture, captioner: Captioner) -> str | None:
    """The answer that was kept; None where there is none, or none that can be read."""
    path = _path(picture, captioner)
    with storage("read", path):
        data = path.read_bytes() if path.is_file() else b"{}"
    try:
        caption = json.loads(data)["caption"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None  # the cache may be deleted at any time, whole or in part
    return caption if isinstance(caption, str) and caption else None


def keep(picture: Picture, captioner: Captioner, caption: str) -> None:
    """Keep an answer. It names neither the photo's file nor its folder."""
    content = {"caption": caption, "source": captioner.source}
    write_whole(_path(picture, captioner), f"{json.dumps(content, indent=2)}\n".encode())


def _path(picture: Picture, captioner: Captioner) -> Path:
    asked = json.dumps([picture.sha256, captioner.source, captioner.prompt])
    return paths.captions_cache() / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"

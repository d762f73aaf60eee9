"""What models have answered, by all that decided it, so that nothing is asked twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prism_cli.errors import storage
from prism_cli.files import write_whole


@dataclass(frozen=True, slots=True)
class AnswerCache:
    """Answers in a folder, which may be deleted at any time, whole or in part.

    asked: hashes of pictures, the prompt, who was asked. Only a hash of it is written.
    """

    folder: Path

    def read(self, asked: Sequence[str]) -> Mapping[str, Any]:
        """The answer that was kept; empty where there is none, or none that can be read."""
        path = self._path(asked)
        with storage("read", path):
            data = path.read_bytes() if path.is_file() else b"{}"
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def keep(self, asked: Sequence[str], content: Mapping[str, Any]) -> None:
        """Keep an answer."""
        write_whole(self._path(asked), f"{json.dumps(content, indent=2)}\n".encode())

    def _path(self, asked: Sequence[str]) -> Path:
        digest = hashlib.sha256(json.dumps(list(asked)).encode()).hexdigest()
        return self.folder / f"{digest}.json"

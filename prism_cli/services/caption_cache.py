"""What captioners have answered, by the photo's content, the captioner and what it was asked."""

from __future__ import annotations

from prism_cli import paths
from prism_cli.captioners.base import Captioner, Picture
from prism_cli.services.answer_cache import AnswerCache


def kept(picture: Picture, captioner: Captioner) -> str | None:
    """The answer that was kept; None where there is none, or none that can be read."""
    caption = _cache().read(_asked(picture, captioner)).get("caption")
    return caption if isinstance(caption, str) and caption else None


def keep(picture: Picture, captioner: Captioner, caption: str) -> None:
    """Keep an answer. It names neither the photo's file nor its folder."""
    content = {"caption": caption, "source": captioner.source}
    _cache().keep(_asked(picture, captioner), content)


def _cache() -> AnswerCache:
    return AnswerCache(paths.captions_cache())


def _asked(picture: Picture, captioner: Captioner) -> tuple[str, ...]:
    return (picture.sha256, captioner.source, captioner.prompt)

"""Captions as the paper has them: by Gemini Flash, with the prompt of supplement, section 10."""

from __future__ import annotations

from prism_cli.captioners.base import Picture
from prism_cli.errors import AnswerMalformed
from prism_cli.gemini_client import Gemini
from prism_cli.prompts import OTHER_LENGTH, SCENE_DESCRIPTION

_SCHEMA = {
    "type": "object",
    "properties": {"caption": {"type": "string", "description": "The description, in 8-32 words"}},
    "required": ["caption"],
}


class GeminiCaptioner:
    """Asks about one photo at a time: an answer can then belong to no other.

    The client is made for the first question, so that nothing needs a key where all is answered.
    """

    prompt = SCENE_DESCRIPTION
    shared = ""

    def __init__(self, model: str) -> None:
        self.model, self.source = model, f"gemini:{model}"
        self._client: Gemini | None = None

    def connect(self) -> None:
        """Make the client; not from several threads. Raises a GeminiUnusable."""
        self._client = self._client or Gemini(self.model)

    def describe(self, picture: Picture, earlier: str = "") -> str:
        """See `Captioner.describe`; `connect` comes first."""
        assert self._client is not None
        prompt = self.prompt
        if earlier:
            prompt += "\n" + OTHER_LENGTH.format(words=len(earlier.split()), earlier=earlier)
        text = " ".join(self._client.ask(prompt, [picture.image], _SCHEMA)["caption"].split())
        if not text:
            raise AnswerMalformed(
                "Gemini's caption is empty", hint="run the same command again, or write photo.txt"
            )
        return text

    def stop(self) -> None:
        """See `Captioner.stop`."""
        if self._client is not None:
            self._client.stop()

    def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            self._client.close()

"""Questions to Gemini about pictures: one place for its key, its retries and its errors.

Whoever asks gives a prompt, pictures and the JSON schema of the answer; back comes an object of
that schema, or a `GeminiUnusable` or `GeminiFailed` that says why not. google.genai is imported
when a `Gemini` is made: it takes a second.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prism_cli.errors import (
    AddressRefused,
    AnswerBlocked,
    AnswerMalformed,
    GeminiBusy,
    GeminiFailed,
    GeminiUnreachable,
    KeyMissing,
    KeyRefused,
    ModelNotFound,
    PrismError,
)

if TYPE_CHECKING:
    from google.genai.types import GenerateContentResponse
    from PIL.Image import Image
    from tenacity import RetryCallState

KEY_VARIABLES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")  # in the order of Google's own libraries
KEY_PAGE = "https://aistudio.google.com/apikey"
ADDRESS = "GOOGLE_GEMINI_BASE_URL"  # the variable of Google's own libraries for another address
TRIES = 4  # of each question
SIDE = 1024  # px, the long side of what is sent: room for detail at 1 to 4 tiles of Gemini's 768
_LONGEST_WAIT = 60.0  # seconds: quotas are counted by the minute
_QUALITY = 90  # of the JPEG that is sent
_FILTERS = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE"}
)
_KINDS: Mapping[str, type] = {"string": str, "boolean": bool, "array": list, "object": dict}


class Gemini:
    """A model of the Gemini API, which several threads may ask at once.

    key: None for what the environment has. base_url: None for Google's, or what `ADDRESS` has.
    timeout: seconds, of one request. Raises KeyMissing, KeyRefused or AddressRefused where
    nothing can be asked.
    """

    def __init__(
        self,
        model: str,
        *,
        key: str | None = None,
        base_url: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        self.model, self._key = model, _checked_key(key or _key_of_the_environment())
        self._address, self._timeout = (
            _checked_address(base_url or os.environ.get(ADDRESS)),
            timeout,
        )
        from google.genai import Client
        from google.genai.types import HttpOptions

        logging.getLogger("google_genai").setLevel(logging.CRITICAL)  # errors are told in sentences
        options = HttpOptions(base_url=self._address, timeout=round(1000 * timeout))
        # Not the Vertex AI that a variable might ask for: its pictures go to another contract.
        self._client = Client(api_key=self._key, vertexai=False, http_options=options)
        self._stopped = Event()

    def ask(
        self, prompt: str, pictures: Sequence[Image], schema: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The answer to `prompt` about `pictures`: an object that has what `schema` requires.

        Tried `TRIES` times, where waiting may help. Raises a GeminiUnusable when no other question
        need be asked either, a GeminiFailed when it is about this one.
        """
        from google.genai import types
        from tenacity import (
            Retrying,
            retry_if_exception,
            sleep_using_event,
            stop_after_attempt,
            stop_when_event_set,
        )

        shown = [types.Part.from_bytes(data=jpeg(p), mime_type="image/jpeg") for p in pictures]
        config = types.GenerateContentConfig(
            response_mime_type="application/json", response_json_schema=dict(schema)
        )

        contents: list[Any] = [*shown, prompt]

        def once() -> dict[str, Any]:
            response = self._client.models.generate_content(
                model=self.model, contents=contents, config=config
            )
            return _answer(response, schema)

        retrying = Retrying(
            stop=stop_after_attempt(TRIES) | stop_when_event_set(self._stopped),
            wait=_wait,
            sleep=sleep_using_event(self._stopped),
            retry=retry_if_exception(_may_pass),
            reraise=True,
        )
        try:
            return retrying(once)
        except PrismError:
            raise
        except Exception as error:
            problem = self._sentence(error)
            if problem is None:
                raise
        raise problem  # not from Google's error: its text may hold the key

    def stop(self) -> None:
        """Let no question wait for another try; what is being answered comes to its end."""
        self._stopped.set()

    def close(self) -> None:
        """Let go of the connections, when nothing is being asked."""
        self._client.close()

    def _sentence(self, error: Exception) -> PrismError | None:
        """What went wrong, and what mends it; None for a bug."""
        from google.genai.errors import APIError

        if isinstance(error, APIError):
            return self._refusal(error.code, self._said(error.message), _reasons(error.details))
        if _is_a(error, "TransportError"):
            if _is_a(error, "TimeoutException") and not _is_a(error, "ConnectTimeout"):
                return GeminiBusy(
                    f"Gemini did not answer within {self._timeout:.0f} s, {TRIES} times",
                    hint="wait a while and run the same command again",
                )
            return GeminiUnreachable(
                f"cannot reach Gemini, or lost it on the way ({type(error).__name__})",
                hint=f"look at the network and the proxy, and at {ADDRESS} if it is set;"
                " without a network: --captions files or local",
            )
        if isinstance(error, ValueError | TypeError | AttributeError):  # of what it cannot read
            return _malformed("Gemini's server answered with what is not its format")
        return None

    def _refusal(self, code: int, said: str, reasons: set[str]) -> PrismError:
        about_key = "API_KEY" in said.upper().replace(" ", "_") or any(
            reason.startswith("API_KEY") for reason in reasons
        )
        if code in (401, 403) or (code == 400 and about_key):
            return KeyRefused(
                f"Google refuses the key for Gemini ({code}: {said})", hint=_set_another()
            )
        if code == 404:
            return ModelNotFound(
                f"Gemini has no model {self.model!r} for this key",
                hint="name another with --model (prism train: --caption-model), for example "
                "gemini-flash-latest",
            )
        if code in (408, 429) or code >= 500:
            return GeminiBusy(
                f"Gemini does not answer now, after {TRIES} tries ({code}: {said})",
                hint="wait a while and run the same command again; what was answered is kept",
            )
        return GeminiFailed(
            f"Gemini refuses the request ({code}: {said})",
            hint="look at https://ai.google.dev/gemini-api/docs/troubleshooting",
        )

    def _said(self, message: object) -> str:
        """Google's own words on one line, without the key that they may repeat."""
        line = " ".join(str(message or "no reason given").replace(self._key, "[key]").split())
        return f"{line[:200]}..." if len(line) > 200 else line.rstrip(".")


def jpeg(picture: Image) -> bytes:
    """The picture as it is sent: RGB, its long side at most `SIDE` px, pixels and nothing else."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    small.info.clear()  # Pillow would write a comment again
    out = io.BytesIO()
    small.save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def _key_of_the_environment() -> str:
    for name in KEY_VARIABLES:
        if os.environ.get(name):
            return os.environ[name]
    raise KeyMissing("there is no key for the Gemini API", hint=_set_another())


def _set_another() -> str:
    """How a key is made and set, in the variable that is read first of those that are set."""
    name = next((name for name in KEY_VARIABLES if os.environ.get(name)), KEY_VARIABLES[-1])
    return f"make one at {KEY_PAGE} and set it: export {name}=..."


def _checked_key(key: str) -> str:
    key = key.strip()
    if not re.fullmatch(r"[!-~]+", key):  # what an HTTP header can carry
        raise KeyRefused(
            "the key for the Gemini API has a character that no key has", hint=_set_another()
        )
    return key


def _checked_address(address: str | None) -> str | None:
    try:
        parts = urlsplit(address or "https://google")
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise AddressRefused(
            f"{ADDRESS} is not the address of a server", hint="unset it, or begin it with https://"
        )
    return address or None


def _answer(response: GenerateContentResponse, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The object in a response. Raises AnswerBlocked or AnswerMalformed."""
    feedback = response.prompt_feedback
    if feedback is not None and feedback.block_reason is not None:
        raise _blocked(feedback.block_reason.value)
    if not response.candidates:
        raise _malformed("Gemini answered nothing")
    candidate = response.candidates[0]
    ended = candidate.finish_reason.value if candidate.finish_reason else "STOP"
    if ended in _FILTERS or ended.startswith("IMAGE_"):
        raise _blocked(ended)
    if ended != "STOP":
        raise _malformed(f"Gemini's answer broke off ({ended})")
    parts = (candidate.content.parts if candidate.content else None) or []
    text = "".join(part.text for part in parts if part.text and not part.thought)
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if not _fits(answer, schema):
        raise _malformed("Gemini's answer is not of the form that was asked for")
    return dict(answer)


def _fits(value: object, schema: Mapping[str, Any]) -> bool:
    """Whether `value` is of the type, and has the parts, that `schema` requires."""
    if not isinstance(value, _KINDS[schema["type"]]):
        return False
    if isinstance(value, list):
        return all(_fits(item, schema["items"]) for item in value)
    if isinstance(value, dict):
        names = schema.get("required", ())
        return all(n in value and _fits(value[n], schema["properties"][n]) for n in names)
    return True


def _blocked(reason: str) -> AnswerBlocked:
    return AnswerBlocked(
        f"Gemini's filters do not let this pass ({reason})",
        hint="nor will it the next time; a caption can be written by hand, into photo.txt",
    )


def _malformed(cause: str) -> AnswerMalformed:
    return AnswerMalformed(cause, hint="run the same command again; what was answered is kept")


def _may_pass(error: BaseException) -> bool:
    """Whether the same question may be answered later: not where there is no network at all."""
    from google.genai.errors import APIError

    if isinstance(error, APIError):
        return error.code >= 500 or error.code in (408, 429)
    if isinstance(error, AnswerMalformed):
        return True
    return _is_a(error, "TransportError") and not (
        _is_a(error, "ConnectError")
        or _is_a(error, "ProxyError")
        or _is_a(error, "UnsupportedProtocol")
    )


def _wait(state: RetryCallState) -> float:
    """Seconds until the next try: what the server asks for, or longer each time, with chance."""
    from google.genai.errors import APIError
    from tenacity import wait_exponential_jitter

    error = state.outcome.exception() if state.outcome else None
    asked = _retry_delay(error.details) if isinstance(error, APIError) else 0.0
    longer = wait_exponential_jitter(initial=1.0, max=_LONGEST_WAIT)(state)
    return float(min(max(asked, longer), _LONGEST_WAIT))


def _details(document: object) -> list[Mapping[str, Any]]:
    """The typed details of an error (google.rpc.Status)."""
    error = document.get("error") if isinstance(document, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    return [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []


def _retry_delay(document: object) -> float:
    """Seconds that google.rpc.RetryInfo asks to wait: "27s", "1.5s"."""
    delays = (str(each.get("retryDelay", "")) for each in _details(document))
    return max(
        (float(d[:-1]) for d in delays if re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?s", d)), default=0.0
    )


def _reasons(document: object) -> set[str]:
    """What google.rpc.ErrorInfo calls the error, such as API_KEY_INVALID."""
    return {str(each.get("reason", "")) for each in _details(document)}


def _is_a(error: BaseException, name: str) -> bool:
    """Whether `error` is of the class of that name in httpx or httpx2: google.genai uses either."""
    return any(c.__name__ == name and c.__module__.startswith("httpx") for c in type(error).__mro__)

"""A server that speaks the wire format of the Gemini API's generateContent."""

from __future__ import annotations

import base64
import io
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import pytest
from PIL import Image
from tenacity import sleep_using_event

from tests.hub import loopback

KEY = "AIzaSyTestsOnlyTestsOnlyTestsOnly12345"
TRUE = "a red dog sits on a green lawn under soft light"  # ten words
WAITING = sleep_using_event.__call__  # what really waits between two tries


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server sends. body: an object for JSON, or bytes. seconds: waited before it."""

    body: Any
    status: int = 200
    seconds: float = 0.0


def says(text: str, finish: str = "STOP") -> Reply:
    """A candidate with one part of text."""
    return Reply(
        {
            "candidates": [
                {
                    "content": {"parts": [{"text": text}], "role": "model"},
                    "finishReason": finish,
                    "index": 0,
                }
            ],
            "usageMetadata": {"promptTokenCount": 390, "totalTokenCount": 420},
            "modelVersion": "gemini-3.8-flash",
            "responseId": "7l8maO2bKdqpkdUPt8iT4Ac",
        }
    )


def answers(**content: Any) -> Reply:
    """A candidate whose text is a JSON object."""
    return says(json.dumps(content))


def stopped(reason: str) -> Reply:
    """A candidate without content, ended by a filter or a limit."""
    return Reply({"candidates": [{"finishReason": reason, "index": 0}]})


def blocked(reason: str = "PROHIBITED_CONTENT") -> Reply:
    """A prompt that is not answered at all."""
    return Reply({"promptFeedback": {"blockReason": reason}, "usageMetadata": {}})


def fails(status: int, message: str, name: str, **detail: Any) -> Reply:
    """An error as google.rpc.Status has it; detail: fields of its one detail."""
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    if detail:
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **detail}]
    return Reply({"error": error}, status)


WRONG_KEY = fails(
    400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT",
    reason="API_KEY_INVALID", domain="googleapis.com",
)  # fmt: skip
FORBIDDEN = fails(
    403, f"Permission denied: Consumer 'api_key:{KEY}' has been suspended.", "PERMISSION_DENIED"
)
NO_MODEL = fails(404, "models/x is not found for API version v1", "NOT_FOUND")
BUSY = fails(429, "You exceeded your current quota.", "RESOURCE_EXHAUSTED", retryDelay="27s")
BROKEN = fails(500, "An internal error has occurred.", "INTERNAL")
OVERLOADED = fails(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its path, headers in small letters, and what was asked about which pictures."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        """The text parts."""
        return "".join(part.get("text", "") for part in self.body["contents"][0]["parts"])

    @property
    def files(self) -> list[bytes]:
        """The pictures as they were sent."""
        parts = self.body["contents"][0]["parts"]
        return [
            base64.urlsafe_b64decode(part["inlineData"]["data"])
            for part in parts
            if "inlineData" in part
        ]

    @property
    def pictures(self) -> list[Image.Image]:
        """The same, decoded."""
        return [Image.open(io.BytesIO(data)) for data in self.files]


@dataclass
class FakeGemini:
    """What is answered: `replies` one after another, then `otherwise`'s answer to each request."""

    replies: list[Reply] = field(default_factory=list)
    otherwise: Callable[[Asked], Reply] = lambda asked: answers(caption=TRUE)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    waits: list[float] = field(default_factory=list)
    at_once: int = 0  # the most requests that were open at one time


@contextmanager
def serving(fake: FakeGemini) -> Iterator[FakeGemini]:
    """Answer for `fake` at a port of this machine."""
    lock, present = Lock(), [0]

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *args: object) -> None:
            """Keep the tests' output clean."""

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.path, headers, json.loads(data))
            with lock:
                fake.asked.append(asked)
                present[0] += 1
                fake.at_once = max(fake.at_once, present[0])
                reply = fake.replies.pop(0) if fake.replies else None
            reply = reply or fake.otherwise(asked)
            time.sleep(reply.seconds)
            with lock:
                present[0] -= 1
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            """A client that does not wait for its answer is part of the tests."""

    server = Server(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def connected(fake: FakeGemini, patch: pytest.MonkeyPatch) -> Iterator[FakeGemini]:
    """Let prism talk to `fake` alone, with a key, and note how long it would wait between tries."""
    patch.setattr(socket.socket, "connect", loopback(socket.socket.__mro__[1].connect))
    patch.setattr(
        sleep_using_event, "__call__", lambda self, seconds: fake.waits.append(seconds or 0.0)
    )
    for variable in ("GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "HTTP_PROXY", "HTTPS_PROXY"):
        patch.delenv(variable, raising=False)
        patch.delenv(variable.lower(), raising=False)
    patch.setenv("GEMINI_API_KEY", KEY)
    with serving(fake):
        patch.setenv("GOOGLE_GEMINI_BASE_URL", fake.url)
        yield fake

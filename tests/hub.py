"""A server that speaks as much of the Hub's language as huggingface_hub itself listens to."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

LARGE = 2000  # bytes; from there on a file is kept as the Hub keeps weights, under its SHA-256


class Status(NamedTuple):
    """An answer instead of the one that was asked for. code: what the Hub calls the error."""

    number: int
    code: str = ""


Fault = Status | Literal["cut", "short", "changed"]
"""cut: the connection breaks in the middle. short: half a file, said to be whole. changed: a byte
of it is another."""


class Request(NamedTuple):
    """What was asked for. begin: the first byte of a range."""

    method: str
    path: str
    begin: int = 0


@dataclass
class Hub:
    """Repositories and the faults that are to happen.

    branches: repository -> branch -> commit. contents: commit -> path -> bytes. faults: part of a
    path -> what happens to the next requests for it, the last for all that follow if `for_good`.
    """

    branches: dict[str, dict[str, str]] = field(default_factory=dict)
    contents: dict[str, dict[str, bytes]] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    for_good: bool = False
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def commit(self, repository: str, folder: Path, extra: dict[str, bytes] | None = None) -> str:
        """Put the files of `folder`, and some more, on the repository's main branch."""
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        } | (extra or {})
        listing = "".join(
            f"{path}{hashlib.sha1(files[path]).hexdigest()}" for path in sorted(files)
        )
        commit = hashlib.sha1(listing.encode()).hexdigest()
        self.branches.setdefault(repository, {})["main"] = commit
        self.contents[commit] = files
        return commit

    def fetched(self) -> set[str]:
        """The files whose content was sent, as paths in their repository."""
        return {
            request.path.split("/resolve/")[1].partition("/")[2]
            for request in self.requests
            if request.method == "GET" and "/resolve/" in request.path
        }

    def fault(self, path: str) -> Fault | None:
        """What happens to a request for `path`."""
        for part, faults in self.faults.items():
            if part in path and faults:
                return faults[0] if self.for_good and len(faults) == 1 else faults.pop(0)
        return None


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Answer for `hub` at a port of this machine."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # which waits 40 ms with every answer's body

        def log_message(self, *args: object) -> None:
            """Keep the tests' output clean."""

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            begin = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
            hub.requests.append(Request(self.command, path, int(begin)))
            fault = hub.fault(path) if self.command == "GET" else None
            if isinstance(fault, Status):
                self._refuse(fault)
            elif path.startswith("/api/models/"):
                self._describe(path.removeprefix("/api/models/"))
            else:
                self._send(path, int(begin), fault)

        def _describe(self, path: str) -> None:
            owner, name, kind, revision = path.split("/", 3)
            commit = self._commit(f"{owner}/{name}", revision)
            if commit is None:
                return
            if kind == "revision":
                self._json({"id": f"{owner}/{name}", "sha": commit})
            else:
                self._json([entry(p, data) for p, data in hub.contents[commit].items()])

        def _send(self, path: str, begin: int, fault: Fault | None) -> None:
            repository, _, rest = path.removeprefix("/").partition("/resolve/")
            revision, _, file = rest.partition("/")
            commit = self._commit(repository, revision)
            if commit is None:
                return
            data = hub.contents[commit].get(file)
            if data is None:
                self._refuse(Status(404, "EntryNotFound"))
                return
            known = entry(file, data)
            body = data[begin:]
            if fault == "short":
                body = body[: len(body) // 2]
            if fault == "changed":
                body = bytes([body[0] ^ 1]) + body[1:]
            self.send_response(206 if begin else 200)
            self.send_header("ETag", f'"{known.get("lfs", known)["oid"]}"')  # type: ignore[index]
            self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", str(len(body)))
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)
            if fault == "cut":
                self.close_connection = True

        def _commit(self, repository: str, revision: str) -> str | None:
            branches = hub.branches.get(repository)
            if branches is None:
                self._refuse(Status(404, "RepoNotFound"))
                return None
            commit = branches.get(revision, revision)
            if commit not in hub.contents:
                self._refuse(Status(404, "RevisionNotFound"))
                return None
            return commit

        def _json(self, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _refuse(self, status: Status) -> None:
            self.send_response(status.number)
            if status.code:
                self.send_header("X-Error-Code", status.code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def entry(path: str, data: bytes) -> dict[str, object]:
    """What the Hub's listing says of a file."""
    if len(data) < LARGE:
        oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return {"type": "file", "path": path, "size": len(data), "oid": oid}
    sha256 = hashlib.sha256(data).hexdigest()
    large = {"size": len(data), "oid": sha256, "pointerSize": 130}
    return {"type": "file", "path": path, "size": len(data), "oid": "0" * 40, "lfs": large}


@contextmanager
def connected(hub: Hub, cache: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let huggingface_hub, which this process has read its settings into, talk to `hub` alone."""
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    for name, value in {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_TOKEN_PATH": str(cache / "token"),
    }.items():
        patch.setattr(constants, name, value)
    patch.setattr(socket.socket, "connect", loopback(socket.socket.__mro__[1].connect))
    patch.setattr("time.sleep", lambda seconds: None)
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN"):
        patch.delenv(variable, raising=False)
    patch.setenv("HF_HOME", str(cache))
    close_session()
    yield
    close_session()


def loopback(connect):  # type: ignore[no-untyped-def]  # socket's own, which has no type
    """`connect` that refuses every address but this machine's."""

    def checked(self: socket.socket, address: tuple[str, int]) -> None:
        if address[0] != "127.0.0.1":
            raise OSError("tests open no connection")
        connect(self, address)

    return checked

"""How far a download is, told as events where huggingface_hub would show a bar of its own."""

from __future__ import annotations

from typing import Self

from prism_cli.services.events import OnEvent, StageMoved

STAGE = "download"


class Meter:
    """Where huggingface_hub puts a progress bar: it makes events, in MB, of the bytes it is told.

    total: bytes of all files.
    """

    def __init__(self, total: int, on_event: OnEvent) -> None:
        self.total, self.on_event = total, on_event
        self.whole = 0  # bytes of the files that are done
        self.begun = 0  # bytes of the one that is not
        self.shown = 0  # MB

    def __call__(self, *, initial: int = 0, **bar: object) -> Self:
        """Begin a file: huggingface_hub takes this for the class of its bar."""
        self.begun = initial
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, n: float | None = 1) -> None:
        """So many more bytes are on disk, or fewer, where a file begins anew."""
        self.begun += int(n or 0)
        self._show()

    def update_transfer(self, n: float | None = 1) -> None:
        """So many bytes came over the network; Xet sends fewer than a file has."""

    def set_postfix_str(self, *text: object, **options: object) -> None:
        """A bar would show the rate."""

    set_transfer_postfix_str = set_postfix_str

    def settle(self, size: int) -> None:
        """A file of so many bytes is done, downloaded or found."""
        self.whole, self.begun = self.whole + size, 0
        self._show()

    def _show(self) -> None:
        now = megabytes(min(self.whole + self.begun, self.total))
        if now != self.shown:
            self.shown = now
            self.on_event(StageMoved(STAGE, now))


def megabytes(count: int) -> int:
    """Bytes in MB, rounded up."""
    return -(-count // 1_000_000)

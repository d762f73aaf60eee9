"""What can go wrong, a class per cause: one sentence, the command that mends it, an exit status.

Only these are shown bare; any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class PrismError(Exception):
    """Something failed for a reason prism understands.

    message: one sentence of cause, without a full stop. hint: what to do or type next.
    """

    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotFound(PrismError):
    """The thing that was named does not exist."""

    exit_status = 3


class Refused(PrismError):
    """The input exists and prism will not work with it."""

    exit_status = 4


class ConceptNotFound(NotFound):
    """No concept of that name in the registry."""


class BaseNotFound(NotFound):
    """No base of that name, and no folder at that path."""


class BaseNotDownloaded(BaseNotFound):
    """A base of the Hub that is not on this machine, or not whole.

    trained: the repository and the commit, where concepts that were trained on them want it.
    """

    def __init__(
        self, message: str, hint: str = "", *, trained: tuple[str, str] | None = None
    ) -> None:
        super().__init__(message, hint)
        self.trained = trained


class EncoderNotDownloaded(NotFound):
    """What an evaluation looks with is not on this machine, or not whole."""


class FileMissing(NotFound):
    """A file or folder that the command was given does not exist."""


class InvalidName(Refused):
    """Not a name a concept can have."""


class NameTaken(Refused):
    """The name, or the file to be written, is in use."""


class BaseMismatch(Refused):
    """A concept and a base, or two concepts, that do not belong together."""


class BaseRefused(Refused):
    """A base that no adapter serves, or that is damaged."""


class EncoderRefused(Refused):
    """An encoder of an evaluation that is damaged."""


class TooLarge(Refused):
    """A base that does not fit into this machine, whatever is done."""


class OutOfMemory(PrismError):
    """The device or the RAM has no room left, whatever was planned."""


class PhotosRefused(Refused):
    """The photos cannot be learned from."""


class CaptionRefused(Refused):
    """A caption file that cannot be read."""


class CaptionsFailed(PrismError):
    """Photos that have no caption, each for a reason of its own."""


class CaptionerNotDownloaded(NotFound):
    """The local captioner is not on this machine, or not whole."""


class GeminiUnusable(PrismError):
    """No question at all can be asked of Gemini."""


class KeyMissing(GeminiUnusable):
    """There is no key for the Gemini API."""


class KeyRefused(GeminiUnusable):
    """Google does not accept the key."""


class ModelNotFound(GeminiUnusable, NotFound):
    """Gemini has no model of that name."""


class GeminiUnreachable(GeminiUnusable):
    """There is no network, or nothing answers at the address."""


class AddressRefused(GeminiUnusable):
    """What was given as the address of a server is none."""


class GeminiFailed(PrismError):
    """One question has no answer, whatever became of the others."""


class GeminiBusy(GeminiFailed):
    """Too many requests, or the servers are overloaded, after several tries."""


class AnswerBlocked(GeminiFailed, Refused):
    """Gemini's filters let a question or its answer not pass."""


class AnswerMalformed(GeminiFailed):
    """What came back is not what was asked for."""


class PromptRefused(Refused):
    """A prompt that cannot be drawn."""


class OptionRefused(Refused):
    """A setting outside its range, or two that contradict each other."""


class Interrupted(PrismError):
    """The user stopped it, with Ctrl-C or by closing the input."""

    exit_status = 130


class TrainingDiverged(PrismError):
    """A loss that is no longer a number."""


class HubUnreachable(PrismError):
    """There is no network, or the Hub does not answer."""


class BaseGated(PrismError):
    """The Hub does not let this user download a base."""


class DownloadDamaged(PrismError):
    """What arrived is not what the Hub says it holds."""


class StorageFailed(PrismError):
    """The operating system would not read or write a file."""


class DiskFull(StorageFailed):
    """No room is left where a file had to be written."""


class NoPermission(StorageFailed):
    """The user may not read or write there."""


class StorageBusy(PrismError):
    """Another process is writing there, and goes on."""


def first_line(error: BaseException) -> str:
    """The cause as a library told it, which may go on for pages; its type, if it told nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what it says: torch does of CUDA, Metal and the CPU, each in its words.

    Of a file that is mapped into memory, Linux and Windows give their own number.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return isinstance(error, (RuntimeError, OSError)) and any(
        words in str(error) for words in _NO_MEMORY
    )


_NO_MEMORY = (
    *("out of memory", "can't allocate memory", "Cannot allocate memory", "not enough memory"),
    *("ALLOC_FAILED", "(os error 12)", "(os error 1455)"),  # cuBLAS; safetensors
)
_NO_FOLDER = "a part of that path is a file and no folder: choose another path"
_REMEDIES = {
    errno.EEXIST: _NO_FOLDER,
    errno.ENOTDIR: _NO_FOLDER,
    errno.EISDIR: "there is a folder of that name: choose another path",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def storage(action: str, path: Path) -> Iterator[None]:
    """Turn an ``OSError`` in the block into a sentence: `action` is "write", "read" ..."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"cannot {action} {path}: the disk is full",
                hint="make room and run the same command again; what was there before is unchanged",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise NoPermission(
                f"cannot {action} {path}: permission denied", hint=_elsewhere(action, path)
            ) from error
        reason = error.strerror or type(error).__name__
        raise StorageFailed(
            f"cannot {action} {path}: {reason.lower()}",
            hint=_REMEDIES.get(
                error.errno or 0, "check that path and its disk, then run the same command again"
            ),
        ) from error


def _elsewhere(action: str, path: Path) -> str:
    """What mends a place that is closed: the variable that moves it, or another one."""
    from prism_cli import paths  # only a failure need wait for platformdirs

    variable = paths.variable_of(path)
    if variable is not None:
        return f"choose a folder you may write to, or set {variable} to one"
    if action == "read":
        return "make it readable for you, or name another"
    return "choose a place where you may write"

"""Files that appear whole or not at all, and that one process at a time writes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock

from prism_cli.errors import DiskFull, StorageBusy, storage

PARTIAL = ".partial"  # suffix of a file that is still being written; safe to delete
_UMASK = Lock()  # captions and verdicts are kept by several threads
LOCK_TIMEOUT = 30.0  # seconds; the largest archive is written and verified in less


def write_whole(path: Path, data: bytes, check: Callable[[Path], object] | None = None) -> None:
    """Write `data` to `path` so that a reader, or a crash, sees the old file or the new one.

    The bytes go into a file beside it and are flushed to disk; `check` then opens that file and
    raises if it is not what it should be; only after that does it take its place.
    """
    with _beside(path, data, check) as written:
        written.replace(path)


def write_new(path: Path, data: bytes) -> bool:
    """`write_whole` where nothing has the name yet; whether that was so.

    A file that another process puts there meanwhile is not replaced.
    """
    with _beside(path, data) as written:
        try:
            _link(written, path)
        except FileExistsError:
            return False
        finally:
            written.unlink(missing_ok=True)
    return True


@contextmanager
def _beside(
    path: Path, data: bytes, check: Callable[[Path], object] | None = None
) -> Iterator[Path]:
    """A file beside `path` that holds `data`, whole, checked and on disk, to be put there."""
    with storage("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PARTIAL, dir=path.parent)
    beside = Path(name)
    try:
        with storage("write", path), os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            check(beside)
        with storage("write", path):
            beside.chmod(0o666 & ~_umask())
            yield beside
            _flush_folder(path.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _link(written: Path, path: Path) -> None:
    """Give a file a second name. Raises FileExistsError where that is taken."""
    try:
        os.link(written, path)
    except FileExistsError:
        raise
    except OSError:  # no links on this disk: take the name with an empty file, then replace that
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        written.replace(path)


@contextmanager
def locked(lock: Path, written: Path, timeout: float | None = None) -> Iterator[None]:
    """Hold the file `lock`, as every process does that writes to `written`.

    timeout: seconds; None for `LOCK_TIMEOUT`, below 0 for ever. Raises StorageBusy where another
    one keeps it.
    """
    from filelock import FileLock, Timeout  # 50 ms that a listing need not wait

    with storage("write", written):
        lock.parent.mkdir(parents=True, exist_ok=True)
        held, patience = FileLock(lock), LOCK_TIMEOUT if timeout is None else timeout
        try:
            held.acquire(timeout=patience)
        except Timeout as error:
            raise StorageBusy(
                f"another prism has been writing to {written} for {patience:.0f} s",
                hint="wait until it has ended, then run the same command again",
            ) from error
    try:
        yield
    finally:
        held.release()


@contextmanager
def held(lock: Path, written: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether this process alone is at `written` while it is open; the file `lock` goes with it.

    wait: until no other process is.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock, written, timeout=-1 if wait else 0))
        except StorageBusy:
            yield False
            return
        try:
            yield True
        finally:
            unlink_lock(lock)


def unlink_lock(lock: Path) -> None:
    """Delete the file of a lock that is held.

    What waits for it sees that it has gone, and takes a new one. On Windows, where a file that is
    open stays, it goes when it is let go.
    """
    with suppress(PermissionError):
        lock.unlink(missing_ok=True)


def check_room(folder: Path, count: int, what: str, variable: str) -> None:
    """Raise DiskFull where the disk of `folder`, there or not, has no room for `count` bytes.

    what: "what is to be downloaded takes". variable: moves the folder.
    """
    place = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(place).free
    if free < count:
        raise DiskFull(
            f"{folder} has {free / 1e9:.1f} GB free, and {what} {count / 1e9:.1f} GB",
            hint=f"make room, or set {variable} to a folder on a larger disk",
        )


def _umask() -> int:
    """The user's umask, which `tempfile` overrides; it can be read only by changing it."""
    with _UMASK:
        mask = os.umask(0o077)
        os.umask(mask)
    return mask


def _flush_folder(folder: Path) -> None:
    """Make a rename survive a power cut; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

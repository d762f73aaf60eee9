"""The registry: what each act leaves in the folder, and what it says when it cannot."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from filelock import FileLock

from prism_cli.errors import (
    ConceptNotFound,
    DiskFull,
    FileMissing,
    InvalidName,
    NameTaken,
    NoPermission,
    OptionRefused,
    PrismError,
    StorageBusy,
    StorageFailed,
)
from prism_cli.files import write_whole
from prism_cli.registry import store
from prism_cli.registry.archive import read_manifest
from prism_cli.registry.manifest import Manifest
from prism_cli.registry.refusals import (
    ArchiveRefused,
    HashMismatch,
    NameMismatch,
    NewerFormat,
    NotAnArchive,
)
from prism_cli.registry.store import Registry
from tests.registry.samples import MANIFEST, MEMBERS, concept, sample
from tests.registry.test_attacks import from_the_future, swapped

ROOT = Path(__file__).parents[2]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry of two good concepts."""
    registry = Registry(tmp_path / "concepts")
    for name in ("mydog", "cat"):
        registry.add(concept(name), name)
    return registry


def files(registry: Registry) -> dict[str, bytes]:
    """Everything in the folder but the lock."""
    found = (path for path in registry.folder.iterdir() if path.name != store.LOCK)
    return {path.name: path.read_bytes() for path in found}


# Listing


def test_an_empty_registry_needs_no_folder(tmp_path: Path) -> None:
    """Asking creates nothing."""
    registry = Registry(tmp_path / "none")

    assert (registry.names(), registry.entries()) == ([], [])
    with pytest.raises(ConceptNotFound):
        registry.remove("mydog")
    assert not registry.folder.exists()


def test_entries_are_sorted_and_described(registry: Registry) -> None:
    """An entry has the manifest, and what the file system knows."""
    cat, mydog = registry.entries()

    assert (cat.name, mydog.name) == ("cat", "mydog")
    assert mydog.path == registry.folder / "mydog.prism"
    assert mydog.size == len(sample())
    assert abs(datetime.now(UTC) - mydog.modified).total_seconds() < 60
    assert (mydog.manifest and mydog.manifest.seed, mydog.problem) == (7, None)
    assert registry.entry("mydog") == mydog


def test_damaged_and_newer_archives_are_listed_with_their_problem(registry: Registry) -> None:
    """A file that cannot be used neither hides nor breaks the rest of the listing."""
    bad = {
        "cut": (sample()[:99], "it is not a .prism archive, or it was cut short"),
        "empty": (b"", "it is not a .prism archive, or it was cut short"),
        "newer": (from_the_future(), "it is in archive format 2, and this prism reads up to 1"),
        "other": (sample(), "it holds the concept 'mydog', not 'other'"),
    }
    for name, (data, _) in bad.items():
        (registry.folder / f"{name}.prism").write_bytes(data)

    problems = {entry.name: entry.problem for entry in registry.entries()}

    assert problems == {"cat": None, "mydog": None} | {k: text for k, (_, text) in bad.items()}


def test_other_files_are_ignored(registry: Registry) -> None:
    """Only a regular file, or a link to one, of a valid name and the suffix is a concept."""
    for name in ("note.txt", ".mydog.prism.x.partial", "My Dog.prism", ".prism", "x.PRISM", "x"):
        (registry.folder / name).write_bytes(sample())
    (registry.folder / "folder.prism").mkdir()
    (registry.folder / "nowhere.prism").symlink_to("missing")
    (registry.folder / "loop.prism").symlink_to("loop.prism")

    assert registry.names() == ["cat", "mydog"]
    assert [entry.name for entry in registry.entries()] == ["cat", "mydog"]
    assert [path.name for path in registry.passed_over()] == ["My Dog.prism"]
    assert Registry(registry.folder / "nowhere").passed_over() == []


def test_a_file_that_cannot_be_opened_is_listed(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A concept of another user is an entry with a problem, not an error."""
    failing(monkeypatch, io, "open", errno.EACCES, only="cat.prism")

    cat, mydog = registry.entries()

    assert cat.problem == f"cannot read {cat.path}: permission denied"
    assert mydog.problem is None


def test_a_concept_removed_while_listing_is_not_listed(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers take no lock, so a file may go between the folder's listing and its own turn."""

    def removed_meanwhile(path: Path) -> Manifest:
        path.unlink()
        return read_manifest(path)

    monkeypatch.setattr(store, "read_manifest", removed_meanwhile)

    with pytest.raises(ConceptNotFound, match="'cat'"):
        registry.entry("cat")
    assert registry.entries() == []


def test_names_open_no_file(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Completion lists names from the folder alone."""
    failing(monkeypatch, io, "open", errno.EIO)

    assert registry.names() == ["cat", "mydog"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mydgo", "did you mean 'mydog'? `prism list` shows them all"),
        ("zebra", "`prism list` shows the concepts there are"),
        ("../concepts/mydog", "`prism list` shows the concepts there are"),
        ("", "`prism list` shows the concepts there are"),
    ],
)
@pytest.mark.parametrize("act", ["entry", "load", "verify", "remove"])
def test_an_unknown_name_has_its_nearest(
    registry: Registry, act: str, name: str, hint: str
) -> None:
    """Every act on a concept that is not there says which one may have been meant."""
    with pytest.raises(ConceptNotFound) as error:
        getattr(registry, act)(name)

    assert error.value.message == f"there is no concept called {name!r}"
    assert error.value.hint == hint
    assert error.value.exit_status == 3


def test_the_first_concept_is_a_command_away(tmp_path: Path) -> None:
    """In an empty registry the hint is how to learn one."""
    with pytest.raises(ConceptNotFound) as error:
        Registry(tmp_path).load("mydog")

    assert error.value.hint == "there are none yet: `prism train PHOTOS --name NAME` learns one"


# Reading


def test_load_gives_what_was_added(registry: Registry) -> None:
    """A concept is read back whole."""
    archive = registry.load("mydog")

    assert archive.members == MEMBERS
    assert dataclasses.replace(archive.manifest, members={}) == MANIFEST
    assert registry.verify("mydog") == archive.manifest


@pytest.mark.parametrize("act", ["load", "verify"])
def test_a_wrong_file_is_refused(registry: Registry, act: str) -> None:
    """Loading makes every check, the file's name included."""
    path = registry.folder / "mydog.prism"
    path.write_bytes(swapped("tokens.safetensors", MEMBERS["tokens.safetensors"][:-1] + b"!"))
    with pytest.raises(HashMismatch, match=str(path)):
        getattr(registry, act)("mydog")

    path.write_bytes(concept("cat"))
    with pytest.raises(NameMismatch) as error:
        getattr(registry, act)("mydog")
    assert "`prism rename mydog cat`" in error.value.hint


def test_a_link_is_the_file_it_leads_to(registry: Registry, tmp_path: Path) -> None:
    """A linked concept can be read; replacing or removing it leaves the file it led to."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(concept("bird"))
    link = registry.folder / "bird.prism"
    link.symlink_to(elsewhere)

    assert registry.load("bird").manifest.name == "bird"
    registry.remove("bird")
    assert not link.is_symlink()
    link.symlink_to(elsewhere)
    registry.add(concept("bird", seed=8), "bird", replace=True)
    assert not link.is_symlink()
    assert elsewhere.read_bytes() == concept("bird")


# Writing


def test_add_keeps_the_bytes(tmp_path: Path) -> None:
    """The file is what was given, with nothing else left beside it."""
    registry = Registry(tmp_path / "new" / "concepts")

    entry = registry.add(sample(), "mydog")

    assert files(registry) == {"mydog.prism": sample()}
    assert entry == registry.entry("mydog")


def test_a_taken_name_is_refused_unless_replaced(registry: Registry) -> None:
    """Nothing is written over by accident."""
    with pytest.raises(NameTaken) as error:
        registry.add(concept("mydog", seed=8), "mydog")
    assert error.value.message == "there is a concept called 'mydog'"
    assert error.value.hint == "choose another --name, or replace it with --force"
    assert files(registry)["mydog.prism"] == sample()

    registry.add(concept("mydog", seed=8), "mydog", replace=True)
    assert files(registry)["mydog.prism"] == concept("mydog", seed=8)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"nonsense", NotAnArchive),
        (concept("cat"), NameMismatch),
        (from_the_future(), NewerFormat),
        (swapped("preview.png", MEMBERS["preview.png"][:-1] + b"!"), HashMismatch),
    ],
)
def test_a_bad_archive_does_not_replace_a_good_one(
    registry: Registry, data: bytes, kind: type[ArchiveRefused]
) -> None:
    """What was written is read back before it takes a concept's place."""
    before = files(registry)

    with pytest.raises(kind) as error:
        registry.add(data, "mydog", replace=True)

    assert f"cannot use {registry.folder / 'mydog.prism'}: " in error.value.message
    assert files(registry) == before


def test_bytes_that_change_on_their_way_to_disk_are_noticed(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that loses bytes gives an error and keeps the old concept."""
    before = files(registry)
    fsync = os.fsync

    def lossy(descriptor: int) -> None:
        fsync(descriptor)
        os.ftruncate(descriptor, 99)

    monkeypatch.setattr(os, "fsync", lossy)
    with pytest.raises(NotAnArchive, match="cut short"):
        registry.add(concept("mydog", seed=8), "mydog", replace=True)

    assert files(registry) == before


def test_remove_deletes_one(registry: Registry) -> None:
    """The other concepts stay."""
    registry.remove("cat")

    assert registry.names() == ["mydog"]


def test_remove_deletes_what_cannot_be_read(registry: Registry) -> None:
    """Removing is the way out of a damaged archive."""
    (registry.folder / "cat.prism").write_bytes(b"nonsense")

    registry.remove("cat")

    assert registry.names() == ["mydog"]


def test_rename_changes_the_name_only(registry: Registry) -> None:
    """The manifest carries the name, so the archive is packed again, otherwise the same."""
    entry = registry.rename("mydog", "rex")

    assert entry.name == "rex"
    assert files(registry) == {"rex.prism": concept("rex"), "cat.prism": concept("cat")}


def test_rename_to_a_taken_name_is_refused(registry: Registry) -> None:
    """Renaming cannot delete another concept, nor the concept itself."""
    before = files(registry)

    for name in ("cat", "mydog"):
        with pytest.raises(NameTaken, match=f"called '{name}'"):
            registry.rename("mydog", name)

    assert files(registry) == before


def test_rename_mends_a_file_moved_by_hand(registry: Registry) -> None:
    """The hint of `NameMismatch` works."""
    (registry.folder / "mydog.prism").rename(registry.folder / "other.prism")

    registry.rename("other", "mydog")

    assert files(registry)["mydog.prism"] == sample()


@pytest.mark.parametrize("name", ["My Dog", "../mydog", "", "a" * 64, "-x"])
def test_only_valid_names_are_written(registry: Registry, name: str, tmp_path: Path) -> None:
    """The one validator stands before every write."""
    path = tmp_path / "in.prism"
    path.write_bytes(sample())
    acts: list[Callable[[], object]] = [
        lambda: registry.add(sample(), name),
        lambda: registry.rename("mydog", name),
        lambda: registry.import_file(path, name),
    ]

    for act in acts:
        with pytest.raises(InvalidName):
            act()


# Export and import


def test_export_copies_the_file(registry: Registry, tmp_path: Path) -> None:
    """A folder gets the file under its own name, a path gets it as named."""
    (tmp_path / "out").mkdir()

    into_folder = registry.export("mydog", tmp_path / "out")
    as_named = registry.export("mydog", tmp_path / "backup.prism")

    assert (into_folder, as_named) == (tmp_path / "out" / "mydog.prism", tmp_path / "backup.prism")
    assert into_folder.read_bytes() == as_named.read_bytes() == sample()


def test_export_to_the_name_of_another_kind_of_file(registry: Registry, tmp_path: Path) -> None:
    """Neither a file of that name nor a folder is made; capitals make no other kind."""
    with pytest.raises(OptionRefused) as error:
        registry.export("mydog", tmp_path / "mydog.safetensors")
    assert str(tmp_path / "mydog.prism") in error.value.hint
    assert not (tmp_path / "mydog.safetensors").exists()

    (tmp_path / "v1.0").mkdir()
    for path in (tmp_path / "MYDOG.PRISM", tmp_path / "v1.0"):
        assert registry.export("mydog", path).read_bytes() == sample()


def test_export_does_not_replace_a_file_unasked(registry: Registry, tmp_path: Path) -> None:
    """Somebody's file at the destination is safe."""
    target = tmp_path / "out.prism"
    target.write_bytes(b"precious")

    with pytest.raises(NameTaken) as error:
        registry.export("mydog", target)
    assert error.value.hint == "choose another file, or replace it with --force"
    assert target.read_bytes() == b"precious"

    registry.export("mydog", target, replace=True)
    assert target.read_bytes() == sample()


def test_a_damaged_concept_is_not_exported(registry: Registry, tmp_path: Path) -> None:
    """Damage is found at the source, and does not spread."""
    path = registry.folder / "mydog.prism"
    path.write_bytes(sample()[:-30])

    with pytest.raises(NotAnArchive, match=str(path)):
        registry.export("mydog", tmp_path / "out.prism")

    assert not (tmp_path / "out.prism").exists()


def test_import_takes_the_name_in_the_archive_or_another(
    registry: Registry, tmp_path: Path
) -> None:
    """The file's own name does not matter; the name asked for does."""
    path = tmp_path / "downloaded (1).prism"
    path.write_bytes(concept("bird"))

    assert registry.import_file(path).name == "bird"
    assert registry.import_file(path, "eagle").name == "eagle"

    assert files(registry)["bird.prism"] == concept("bird")
    assert files(registry)["eagle.prism"] == concept("eagle")


def test_import_refuses_a_taken_name(registry: Registry, tmp_path: Path) -> None:
    """Importing follows the rule of adding."""
    path = tmp_path / "in.prism"
    path.write_bytes(concept("mydog", seed=8))

    with pytest.raises(NameTaken):
        registry.import_file(path)

    registry.import_file(path, replace=True)
    assert files(registry)["mydog.prism"] == path.read_bytes()


def test_import_verifies_first(registry: Registry, tmp_path: Path) -> None:
    """A bad or missing file is told by its own path, and changes nothing."""
    before = files(registry)
    path = tmp_path / "in.prism"

    with pytest.raises(FileMissing, match=str(path)):
        registry.import_file(path)
    path.write_bytes(sample()[:-30])
    with pytest.raises(NotAnArchive, match=str(path)):
        registry.import_file(path, replace=True)

    assert files(registry) == before


# When the system fails


def failing(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, code: int, only: str = ""
) -> None:
    """Make a system call fail with `code`, on paths that end in `only`."""
    real = getattr(module, name)

    def call(target: object, *args: object, **kwargs: object) -> object:
        if only and not str(target).endswith(only):
            return real(target, *args, **kwargs)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(module, name, call)


class FullFile(io.BytesIO):
    """A file on a full disk."""

    def write(self, data: object) -> int:
        """Fail as a full disk does."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("call", "code", "kind"),
    [
        ("fsync", errno.ENOSPC, DiskFull),
        ("replace", errno.ENOSPC, DiskFull),
        ("replace", errno.EACCES, NoPermission),
        ("open", errno.EROFS, NoPermission),
        ("open", errno.EIO, StorageFailed),
        ("fsync", errno.EIO, StorageFailed),
    ],
)
@pytest.mark.parametrize("act", ["add", "rename"])
def test_a_failed_write_leaves_everything_as_it_was(
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
    act: str,
    call: str,
    code: int,
    kind: type[PrismError],
) -> None:
    """A full disk or a lack of permission is told as that, and costs nothing."""
    before = files(registry)

    with monkeypatch.context() as patch:
        failing(patch, os, call, code)
        with pytest.raises(kind) as error:
            if act == "add":
                registry.add(concept("mydog", seed=8), "mydog", replace=True)
            else:
                registry.rename("mydog", "rex")

    assert type(error.value) is kind
    assert files(registry) == before


def test_a_disk_that_fills_while_writing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file is not left behind, and the old concept stays."""
    before = files(registry)

    def full(handle: int, mode: str) -> FullFile:
        os.close(handle)
        return FullFile()

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", full)
        with pytest.raises(DiskFull, match="the disk is full"):
            registry.add(concept("mydog", seed=8), "mydog", replace=True)

    assert files(registry) == before


def test_removing_without_permission(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The concept stays, and the message says why."""
    failing(monkeypatch, os, "unlink", errno.EACCES)

    with pytest.raises(NoPermission, match=r"cannot remove .*cat.prism: permission denied"):
        registry.remove("cat")

    assert registry.names() == ["cat", "mydog"]


def test_a_registry_that_is_a_file(tmp_path: Path) -> None:
    """A PRISM_HOME that points at a file is told as that, for reading and for writing."""
    (tmp_path / "file").write_text("")
    registry = Registry(tmp_path / "file")

    with pytest.raises(StorageFailed, match="cannot read"):
        registry.names()
    with pytest.raises(StorageFailed, match="cannot write"):
        registry.add(sample(), "mydog")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may do anything")
def test_a_folder_that_may_not_be_written(registry: Registry) -> None:
    """A read-only registry can be listed, and says so when it should change."""
    registry.folder.chmod(0o555)
    try:
        assert registry.names() == ["cat", "mydog"]
        with pytest.raises(NoPermission):
            registry.add(concept("bird"), "bird")
    finally:
        registry.folder.chmod(0o755)


# Several at once


def test_leftovers_of_a_killed_write_go_with_the_next(registry: Registry) -> None:
    """A write under the lock knows that no other one is under way."""
    (registry.folder / ".cat.prism.x1.partial").write_bytes(bytes(99))

    registry.remove("cat")

    assert files(registry) == {"mydog.prism": sample()}


def test_a_held_lock_is_waited_for_and_then_told(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that never ends does not hang the next one for ever, nor stop readers."""
    monkeypatch.setattr("prism_cli.files.LOCK_TIMEOUT", 0.05)

    with FileLock(registry.folder / store.LOCK):
        assert registry.names() == ["cat", "mydog"]
        with pytest.raises(StorageBusy) as error:
            registry.remove("cat")

    assert error.value.hint == "wait until it has ended, then run the same command again"
    assert registry.names() == ["cat", "mydog"]


ADD_WHEN_TOLD = """
import sys, time
from pathlib import Path
from prism_cli.errors import NameTaken
from prism_cli.registry.store import Registry
from tests.registry.samples import concept

folder, seed = Path(sys.argv[1]), int(sys.argv[2])
data = concept("mydog", seed)
(folder / f"ready{seed}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
try:
    Registry(folder / "concepts").add(data, "mydog")
    print("won")
except NameTaken:
    print("lost")
"""


def test_of_two_that_add_one_name_one_wins(tmp_path: Path) -> None:
    """Two processes at once give one whole concept and one refusal."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", ADD_WHEN_TOLD, str(tmp_path), str(seed)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2)
    ]
    deadline = time.monotonic() + 30
    while len(list(tmp_path.glob("ready*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    (tmp_path / "go").touch()
    results = [racer.communicate(timeout=30)[0].strip() for racer in racers]

    assert sorted(results) == ["lost", "won"]
    winner = results.index("won") + 1
    assert files(Registry(tmp_path / "concepts")) == {"mydog.prism": concept("mydog", winner)}


def test_listing_loads_nothing_heavy() -> None:
    """The registry is the standard library's alone until something is written."""
    code = "import sys, prism_cli.registry.store; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()

    heavy = {"torch", "numpy", "safetensors", "filelock", "PIL", "rich", "typer"}
    assert heavy.isdisjoint(loaded)
    assert "zipfile" in loaded


def test_export_into_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    """`--out backup` makes the folder; a second concept does not replace the first one's file."""
    registry = Registry(tmp_path / "concepts")
    registry.add(concept("mydog"), "mydog")
    registry.add(concept("cat"), "cat")

    exported = [registry.export(name, tmp_path / "backup") for name in ("mydog", "cat")]

    assert exported == [tmp_path / "backup" / "mydog.prism", tmp_path / "backup" / "cat.prism"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_threads_that_write_leave_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read by changing it; another thread must not take what is set meanwhile for it."""
    real, before = os.umask, os.umask(0o022)

    def slow(mask: int) -> int:
        found = real(mask)
        time.sleep(0.002)
        return found

    monkeypatch.setattr(os, "umask", slow)
    try:
        with ThreadPoolExecutor(4) as pool:
            [*pool.map(lambda k: write_whole(tmp_path / f"{k}", b""), range(40))]
        assert {(tmp_path / f"{k}").stat().st_mode & 0o777 for k in range(40)} == {0o644}
    finally:
        assert real(before) == 0o022


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_an_archive_follows_the_umask(tmp_path: Path) -> None:
    """Captions are private where the user's files are."""
    registry = Registry(tmp_path / "concepts")
    before = os.umask(0o077)
    try:
        entry = registry.add(concept("mydog"), "mydog")
    finally:
        os.umask(before)

    assert entry.path.stat().st_mode & 0o777 == 0o600

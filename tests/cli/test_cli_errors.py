"""Every refusal: its exit status, a cause and a hint on stderr, nothing on stdout, no traceback."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli import worlds
from tests.cli.running import call
from tests.registry.samples import composition
from tests.services import concepts
from tests.tiny_pipeline import save_tiny_pipeline

Before = Callable[[pytest.MonkeyPatch], object]
HERE = Path()
GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True, slots=True)
class Case:
    """A command line that must fail, and the world in which it does."""

    line: str
    status: int
    before: Before = lambda patch: None


def settings(text: str) -> Before:
    """Photos, and a settings file that holds `text`."""

    def before(patch: pytest.MonkeyPatch) -> None:
        worlds.photos(HERE)
        Path("my.toml").write_text(text, "utf-8")

    return before


def kept(**archives: bytes | None) -> Before:
    """A registry of archives; None for a good one of that name."""

    def before(patch: pytest.MonkeyPatch) -> None:
        for name, data in archives.items():
            worlds.keep(name, data)

    return before


def both(*befores: Before) -> Before:
    """One world after another."""

    def before(patch: pytest.MonkeyPatch) -> None:
        for each in befores:
            each(patch)

    return before


def file(name: str, data: bytes) -> Before:
    """A file in the working directory."""
    return lambda patch: Path(name).write_bytes(data)


def some_photos(patch: pytest.MonkeyPatch) -> None:
    """Three photos."""
    worlds.photos(HERE)


def empty_cache(patch: pytest.MonkeyPatch) -> None:
    """No base of the Hub is here, and prism is told to stay offline, as in every test."""
    patch.setenv("HF_HOME", os.environ["PRISM_HOME"])
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        patch.delenv(variable, raising=False)


def one_bare_photo(patch: pytest.MonkeyPatch) -> None:
    """A photo without a caption, in the working directory."""
    shutil.copy(worlds.EXAMPLES / "01.png", "01.png")


def without_a_key(patch: pytest.MonkeyPatch) -> None:
    """No key for the Gemini API."""
    for variable in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):
        patch.delenv(variable, raising=False)


def on_mini(patch: pytest.MonkeyPatch) -> None:
    """A concept that can be drawn."""
    concepts.keep("mydog")


TRAIN = "train photos --name mydog"
CASES = {
    "train-no-folder": Case("train nowhere --name mydog", 3),
    "train-file": Case("train photos/01.png --name mydog", 4, some_photos),
    "train-empty": Case("train . --name mydog", 4),
    "train-one-photo": Case(TRAIN, 4, lambda patch: worlds.photos(HERE, 1)),
    "train-taken": Case(TRAIN, 4, both(some_photos, kept(mydog=None))),
    "train-bad-name": Case("train photos --name 'My Dog'", 4, some_photos),
    "train-empty-name": Case("train photos --name ''", 4, some_photos),
    "train-nameless-folder": Case("train фото", 4, lambda patch: Path("фото").mkdir()),
    "train-unknown-base": Case(f"{TRAIN} --base sd99", 3, some_photos),
    "train-wrong-base": Case(
        f"{TRAIN} --base base",
        4,
        both(some_photos, lambda patch: worlds.foreign_base(HERE, "StableDiffusion3Pipeline")),
    ),
    "train-base-not-here": Case(f"{TRAIN} --base sdxl", 3, both(some_photos, empty_cache)),
    "train-folder-no-base": Case(f"{TRAIN} --base photos", 4, some_photos),
    "train-disk-full": Case(TRAIN, 1, both(some_photos, worlds.full_disk)),
    "train-no-permission": Case(TRAIN, 1, both(some_photos, worlds.locked_disk)),
    "train-beta": Case(f"{TRAIN} --beta -1 --rank 999", 4, some_photos),
    "train-seed": Case(f"{TRAIN} --seed x", 2, some_photos),
    "train-no-folder-given": Case("train", 2),
    "config-missing": Case(f"{TRAIN} --config my.toml", 3, some_photos),
    "config-not-toml": Case(f"{TRAIN} --config my.toml", 4, settings("steps: 5")),
    "config-loose": Case(f"{TRAIN} --config my.toml", 4, settings("steps = 5")),
    "config-unknown": Case(f"{TRAIN} --config my.toml", 4, settings("[tokens]\nstep = 5")),
    "config-section": Case(f"{TRAIN} --config my.toml", 4, settings("[lora]\nrank = 5")),
    "config-range": Case(f"{TRAIN} --config my.toml", 4, settings("[tokens]\nlength = 99")),
    "config-type": Case(f"{TRAIN} --config my.toml", 4, settings('[tokens]\nbeta = "much"')),
    "config-captions": Case(
        f"{TRAIN} --config my.toml", 4, settings('[captions]\nsource = "clip"\nmodel = "../x"')
    ),
    "train-crops": Case(f"{TRAIN} --crops 8", 4, some_photos),
    "train-caption-model": Case(f"{TRAIN} --caption-model gemini-x", 4, some_photos),
    "train-captions": Case(f"{TRAIN} --captions clip", 2, some_photos),
    "train-captions-local": Case(f"{TRAIN} --captions local", 3, both(some_photos, empty_cache)),
    "caption-nothing": Case("caption", 4),
    "caption-no-folder": Case("caption nowhere", 3),
    "caption-no-pictures": Case("caption .", 4),
    "caption-no-key": Case("caption . --captions gemini", 1, both(one_bare_photo, without_a_key)),
    "caption-local": Case("caption . --captions local", 3, both(one_bare_photo, empty_cache)),
    "caption-pull-offline": Case("caption --pull", 1, empty_cache),
    "caption-json": Case("caption .", 4, both(one_bare_photo, file("captions.json", b"["))),
    "caption-model": Case("caption . --model ../x", 4, one_bare_photo),
    "caption-model-unasked": Case("caption . --model gemini-x", 4, one_bare_photo),
    "gen-nothing": Case("gen", 4),
    "gen-no-concepts": Case("gen 'A [mydog] box'", 3),
    "gen-unknown": Case("gen 'A [mydok] box'", 3, kept(mydog=None)),
    "gen-unclosed": Case("gen 'A [mydog box'", 4, kept(mydog=None)),
    "gen-bad-mention": Case("gen 'A [My Dog] box'", 4),
    "gen-capital": Case("gen 'A [Mydog:0.7] box'", 4, kept(mydog=None)),
    "gen-weight": Case("gen 'A [mydog:70] box'", 4, kept(mydog=None)),
    "gen-no-residual": Case("gen 'A [mydog:residual:7]'", 4, kept(mydog=None)),
    "gen-two-weights": Case("gen '[mydog:1] [mydog:2]'", 4, kept(mydog=None)),
    "gen-size-word": Case("gen box --size big", 2),
    "gen-size-odd": Case("gen box --size 65", 4),
    "gen-steps": Case("gen box --steps 0", 4),
    "gen-unknown-base": Case("gen box --base sd99", 3),
    "gen-base-not-here": Case("gen box --base owner/name", 3, empty_cache),
    "gen-revision-gone": Case(
        "gen '[mydog]'",
        3,
        both(empty_cache, kept(mydog=worlds.on_base("mydog", "owner/name", "0123456789" * 4))),
    ),
    "bases-pull-mini": Case("bases pull mini", 4),
    "bases-pull-mini-quantized": Case("bases pull mini --quantize nf4", 4),
    "bases-pull-folder": Case("bases pull ./photos", 4, some_photos),
    "gen-scale": Case("gen '[mydog]' --scale nan", 4, on_mini),
    "export-another-kind": Case("export mydog --out mydog.safetensors", 4, kept(mydog=None)),
    "compose-over-a-part": Case(
        "compose mydog zebra --name mydog --force", 4, kept(mydog=None, zebra=None)
    ),
    "transfer-over-itself": Case("transfer mydog box --keep mydog --force", 4, on_mini),
    "bases-pull-unknown": Case("bases pull sdlx", 3),
    "bases-pull-offline": Case("bases pull sd15", 1, empty_cache),
    "bases-pull-nothing": Case("bases pull", 2),
    "gen-base-mismatch": Case("gen '[mydog]'", 4, kept(mydog=None)),
    "gen-base-gone": Case("gen '[mydog]'", 3, kept(mydog=worlds.on_base("mydog", "local:sd"))),
    "gen-two-bases": Case(
        "gen '[mydog] [cat]'", 4, kept(mydog=None, cat=worlds.on_base("cat", "local:sd"))
    ),
    "gen-two-revisions": Case(
        "gen '[mydog] [cat]' --yes",
        4,
        kept(
            mydog=worlds.on_base("mydog", "owner/name", "0123456789" * 4),
            cat=worlds.on_base("cat", "owner/name", "1234567890" * 4),
        ),
    ),
    "gen-corrupt": Case("gen '[mydog]'", 4, kept(mydog=worlds.corrupt())),
    "gen-newer": Case("gen '[mydog]'", 4, kept(mydog=worlds.newer())),
    "gen-out-taken": Case("gen box --out a.png", 4, file("a.png", b"")),
    "gen-out-jpg": Case("gen box --out a.jpg", 4),
    "gen-out-below-a-file": Case("gen box --out notes.txt", 1, file("notes.txt", b"")),
    "gen-disk-full": Case("gen box --steps 1 --seed 1", 1, worlds.full_disk),
    "gen-from-missing": Case("gen --from a.png", 3),
    "gen-from-foreign": Case("gen --from a.png", 4, lambda patch: worlds.picture(Path("a.png"))),
    "gen-from-garbage": Case("gen --from a.png", 4, file("a.png", b"not a picture")),
    "eval-unknown": Case("eval mydok", 3, kept(mydog=None)),
    "eval-base-not-here": Case(
        "eval mydog",
        3,
        both(empty_cache, kept(mydog=worlds.on_base("mydog", "owner/name", "0123456789" * 4))),
    ),
    "eval-no-encoders": Case(
        "eval mydog --base base",
        3,
        both(
            empty_cache,
            lambda patch: save_tiny_pipeline(Path("base")),
            kept(mydog=worlds.on_base("mydog", "owner/name", "0123456789" * 4)),
        ),
    ),
    "eval-base-mismatch": Case("eval mydog", 4, kept(mydog=None)),
    "eval-prompts-missing": Case("eval mydog --prompts my.txt", 3, kept(mydog=None)),
    "eval-prompts-bad": Case(
        "eval mydog --prompts my.txt", 4, both(kept(mydog=None), file("my.txt", b"a dog"))
    ),
    "eval-prompts-live": Case(
        "eval mydog --prompts my.txt --live", 4, both(on_mini, file("my.txt", b"a *"))
    ),
    "eval-count": Case("eval mydog --count 0", 2),
    "eval-composition": Case("eval catink", 4, kept(catink=composition())),
    "eval-judge": Case("eval mydog --judge gpt", 2),
    "eval-judge-model": Case("eval mydog --judge-model gemini-x", 4, kept(mydog=None)),
    "eval-judge-no-key": Case("eval mydog --judge gemini", 1, both(on_mini, without_a_key)),
    "report-unknown": Case("report mydok", 3, kept(mydog=None)),
    "report-corrupt": Case("report mydog", 4, kept(mydog=worlds.corrupt())),
    "report-taken": Case("report mydog", 4, both(kept(mydog=None), file("mydog-report.html", b""))),
    "report-out-pdf": Case("report mydog --out a.pdf", 4, kept(mydog=None)),
    "report-out-folder": Case("report mydog --out .", 4, kept(mydog=None)),
    "report-strangers": Case(
        "report mydog --photos photos", 4, both(kept(mydog=None), some_photos)
    ),
    "report-disk-full": Case("report mydog", 1, both(kept(mydog=None), worlds.full_disk)),
    "ablate-no-folder": Case("ablate nowhere", 3),
    "ablate-list": Case("ablate photos --betas much", 2),
    "ablate-prompts-live": Case(
        "ablate photos --prompts my.txt --live", 4, both(some_photos, file("my.txt", b"a *"))
    ),
    "ablate-range": Case("ablate photos --lengths 99", 4, some_photos),
    "gen-no-part": Case("gen '[catink:dog]'", 4, kept(catink=composition())),
    "gen-no-residual-of-composition": Case(
        "gen '[catink:residual:0]'", 4, kept(catink=composition())
    ),
    "gen-method": Case("gen box --method svd", 2),
    "compose-one": Case("compose mydog", 4, kept(mydog=None)),
    "compose-unknown": Case("compose mydog cat", 3, kept(mydog=None)),
    "compose-weights": Case("compose mydog cat --weights 1", 4, kept(mydog=None, cat=None)),
    "compose-weights-word": Case("compose mydog cat --weights 1,much", 2),
    "compose-two-bases": Case(
        "compose mydog cat", 4, kept(mydog=None, cat=worlds.on_base("cat", "local:sd"))
    ),
    "compose-taken": Case(
        "compose mydog cat --name zebra", 4, kept(mydog=None, cat=None, zebra=None)
    ),
    "compose-rank-per-token": Case(
        "compose mydog cat --rank 2 --method per-token", 4, kept(mydog=None, cat=None)
    ),
    "inspect-unknown": Case("inspect mydok", 3, kept(mydog=None)),
    "inspect-composition": Case("inspect catink", 4, kept(catink=composition())),
    "transfer-nothing": Case("transfer mydog", 2),
    "transfer-composition": Case("transfer catink box", 4, kept(catink=composition())),
    "transfer-template": Case("transfer mydog box --template 'a box'", 4, kept(mydog=None)),
    "show-unknown": Case("show mydok", 3, kept(mydog=None)),
    "show-corrupt": Case("show mydog", 4, kept(mydog=worlds.corrupt())),
    "show-newer": Case("show mydog", 4, kept(mydog=worlds.newer())),
    "verify-unknown": Case("verify cat mydok", 3, kept(mydog=None, cat=None)),
    "verify-corrupt": Case("verify mydog", 4, kept(mydog=worlds.corrupt())),
    "verify-newer": Case("verify mydog", 4, kept(mydog=worlds.newer())),
    "verify-misnamed": Case("verify mydog", 4, kept(mydog=worlds.concept("cat"))),
    "export-unknown": Case("export mydok", 3, kept(mydog=None)),
    "export-corrupt": Case("export mydog", 4, kept(mydog=worlds.corrupt())),
    "export-newer": Case("export mydog", 4, kept(mydog=worlds.newer())),
    "export-taken": Case("export mydog", 4, both(kept(mydog=None), file("mydog.prism", b""))),
    "export-below-a-file": Case(
        "export mydog --out notes", 1, both(kept(mydog=None), file("notes", b""))
    ),
    "export-no-permission": Case("export mydog", 1, both(kept(mydog=None), worlds.locked_disk)),
    "import-no-permission": Case(
        "import a.prism",
        1,
        both(file("a.prism", worlds.concept("mydog")), worlds.closed("a.prism")),
    ),
    "import-missing": Case("import a.prism", 3),
    "import-garbage": Case("import a.prism", 4, file("a.prism", b"garbage")),
    "import-corrupt": Case("import a.prism", 4, file("a.prism", worlds.corrupt())),
    "import-newer": Case("import a.prism", 4, file("a.prism", worlds.newer())),
    "import-taken": Case(
        "import a.prism", 4, both(kept(mydog=None), file("a.prism", worlds.concept("mydog")))
    ),
    "import-bad-name": Case(
        "import a.prism --name 'My Dog'", 4, file("a.prism", worlds.concept("mydog"))
    ),
    "rm-unknown": Case("rm cat mydok --yes", 3, kept(mydog=None, cat=None)),
    "rm-no-terminal": Case("rm mydog", 4, kept(mydog=None)),
    "rename-unknown": Case("rename mydok rex", 3, kept(mydog=None)),
    "rename-taken": Case("rename mydog cat", 4, kept(mydog=None, cat=None)),
    "rename-bad-name": Case("rename mydog 'My Dog'", 4, kept(mydog=None)),
    "list-sort": Case("list --sort age", 2),
    "completion-shell": Case("completion tcsh", 2),
    "unknown-command": Case("draw", 2),
    "unknown-option": Case("list --colour", 2),
}


@pytest.mark.parametrize("name", CASES)
def test_a_refusal(
    name: str, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command ends with its status and says why, and what to do, on stderr only."""
    case = CASES[name]
    case.before(monkeypatch)

    ran = call(*shlex.split(case.line))

    assert ran.status == case.status
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    _, mark, said = ran.stderr.rpartition("error:" if case.status != 2 else "Usage:")
    golden(f"error-{name}", f"$ prism {case.line}\n{mark}{said}[exit status {ran.status}]\n")


def test_every_refusal_names_a_remedy() -> None:
    """Below each cause of ours stands what to do about it."""
    for name, case in CASES.items():
        if case.status != 2:  # Typer's own say which --help to read
            lines = (GOLDEN / f"error-{name}.txt").read_text("utf-8").splitlines()
            assert lines[-3].startswith("error: "), name
            assert lines[-2].startswith("  "), name


@pytest.mark.parametrize(
    "name",
    ["train-empty", "gen-unknown", "gen-corrupt", "show-unknown", "show-newer", "verify-unknown"],
)
def test_a_refusal_in_json(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --json the error is the one document on stdout, and a line of JSON on stderr."""
    case = CASES[name]
    case.before(monkeypatch)

    ran = call(*shlex.split(case.line), "--json")

    document = json.loads(ran.stdout)
    *_, last = (json.loads(line) for line in ran.stderr.splitlines())
    assert ran.status == case.status == document["error"]["status"]
    assert document.keys() == {"format", "error"}
    assert last == {"event": "Error", **document["error"]}
    assert last["cause"] and last["hint"]


def test_a_refused_removal_removes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """If one of the names does not exist, the others stay."""
    kept(mydog=None, cat=None)(monkeypatch)

    call("rm", "cat", "mydok", "--yes")

    assert call("list", "-q").stdout == "cat\nmydog\n"

"""`prism eval` on the embedded base, and on a base that CLIP and DINO look at."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from mini.vocabulary import NOUNS
from prism_cli import evaluation_prompts, paths
from prism_cli.backbones import catalog
from prism_cli.encoders.drawn import DrawnEncoder
from prism_cli.errors import (
    EncoderNotDownloaded,
    EncoderRefused,
    FileMissing,
    KeyMissing,
    OptionRefused,
    PhotosRefused,
    PromptRefused,
    StorageBusy,
    StorageFailed,
)
from prism_cli.evaluation_prompts import read_prompts
from prism_cli.method.evaluation import likeness
from prism_cli.registry.archive import pack
from prism_cli.registry.manifest import OptionValue, PhotoRecord
from prism_cli.registry.store import Registry
from prism_cli.reports.model import Evaluation
from prism_cli.services import evaluate as service
from prism_cli.services.encoder_files import (
    CLIP,
    DINO,
    encoder_folder,
    missing_encoders,
    pull_encoder,
)
from prism_cli.services.evaluate import EvalRequest, EvalResult, evaluate, prepare_evaluation
from prism_cli.services.evaluation_draws import Group
from prism_cli.services.evaluation_sheet import sheet_of
from prism_cli.services.evaluation_store import EvaluationStore
from prism_cli.services.events import Event, Note, StageBegan, StageMoved
from prism_cli.services.inspect import InspectRequest, inspect
from prism_cli.services.judges import judges_for
from prism_cli.services.report import ReportRequest, gather, write_report
from prism_cli.services.scoring import Gallery
from prism_cli.services.train import TrainRequest, train
from tests.cli import worlds
from tests.hub import Hub, connected, serving
from tests.services import concepts
from tests.tiny_encoders import save_tiny_clip, save_tiny_dino
from tests.tiny_pipeline import save_tiny_pipeline

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def keep_with_photos(name: str, trained_on: int = 2, class_word: str | None = None) -> None:
    """A concept of mini that was learned from the first photos in "photos"."""
    concepts.keep(name, lora=True)
    archive = Registry(paths.concepts_dir()).load(name)
    files = sorted(Path("photos").glob("*.png"))[:trained_on]
    photos = tuple(
        PhotoRecord(
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            caption="a picture",
            caption_source="sidecar",
        )
        for file in files
    )
    options = {"class": OptionValue(value=class_word, source="flag" if class_word else "default")}
    manifest = dataclasses.replace(archive.manifest, photos=photos, options=options, members={})
    data = pack(manifest, archive.members)
    Registry(paths.concepts_dir()).add(data, name, replace=True)


def request(**changes: object) -> EvalRequest:
    """Two prompts, twice, in one step."""
    Path("prompts.txt").write_text("# places\na * in the snow\n\na red *\n", "utf-8")
    prompts = read_prompts(Path("prompts.txt"))
    usual = EvalRequest(name="mydog", prompts=prompts, count=2, steps=1, guidance=1.0)
    return dataclasses.replace(usual, **changes)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> EvalResult:
    """An evaluation with three photos, of which two were trained on."""
    place = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRISM_HOME", str(place / "home"))
        patch.chdir(place)
        worlds.photos(place, 3)
        keep_with_photos("mydog")
        return evaluate(request(photos=Path("photos")), now=NOW)


@pytest.fixture
def evaluated(kept: EvalResult) -> EvalResult:
    """The same in a registry of the test's own."""
    home = Path(os.environ["PRISM_HOME"])
    shutil.copytree(kept.folder.parents[1], home)
    worlds.photos(Path(), 3)
    return dataclasses.replace(kept, folder=home / "evaluations" / kept.folder.name)


def read_from(store: EvaluationStore) -> Evaluation:
    """What is kept, as it is shown."""
    kept = store.read()
    assert kept is not None
    return kept.named("mydog")


class TestOnMini:
    """Real drawing and the scorer, with weights that learned nothing."""

    def test_the_scores_are_the_encoders_means(self, evaluated: EvalResult) -> None:
        """Each number again, from the pictures on disk."""
        whole, design, setting = DrawnEncoder.load(catalog.resolve("mini").folder / "scorer")
        found = evaluated.evaluation
        scores = {score.name: score for score in found.scores}

        def opened(names: tuple[str, ...]) -> list[Image.Image]:
            return [Image.open(evaluated.folder / name).convert("RGB") for name in names]

        aligned = [
            [float(whole.see([p])[0] @ whole.read([each.text])[0]) for p in opened(each.pictures)]
            for each in found.prompts
        ]
        drawn = opened(tuple(n for each in found.prompts for n in each.pictures))
        base = opened(tuple(n for each in found.prompts for n in each.base_pictures))
        photos = [
            Image.open(f"photos/0{k}.png").convert("RGB").resize((64, 64), Image.Resampling.LANCZOS)
            for k in (1, 2, 3)
        ]
        assert [each.alignment for each in found.prompts] == pytest.approx(
            [sum(row) / 2 for row in aligned], abs=1e-6
        )
        assert scores["image-text"].value == pytest.approx(sum(map(sum, aligned)) / 4, abs=1e-6)
        trained_on, unseen = design.see(photos[:2]), design.see(photos[2:])
        design_of = {name: design.see(each) for name, each in (("drawn", drawn), ("base", base))}
        for score, seen in (("design", trained_on), ("design, held out", unseen)):
            for value, of in ((scores[score].value, "drawn"), (scores[score].base, "base")):
                # photos are shrunk in two steps
                assert value == pytest.approx(likeness(design_of[of], seen), abs=0.02)
        assert scores["design"].held_out == pytest.approx(likeness(unseen, trained_on), abs=0.02)
        assert scores["design, held out"].held_out is None  # of one photo there is no pair
        residuals = opened(found.residuals)
        for score, seen, within in (
            ("surroundings", setting.see(photos[:2]), 0.02),
            ("surroundings, residuals", setting.see(residuals), 1e-6),
        ):
            for value, pictures in ((scores[score].value, drawn), (scores[score].base, base)):
                assert value == pytest.approx(likeness(setting.see(pictures), seen), abs=within)
        target = design.see(opened(found.target))
        empty = sorted((evaluated.folder / found.target[0]).parent.glob("empty-*.png"))
        chance = design.see([Image.open(path).convert("RGB") for path in empty])
        gap = likeness(design.see(residuals), target) - likeness(chance, target)
        assert len(empty) == found.count
        assert scores["residual gap"].value == pytest.approx(gap, abs=1e-6)
        assert list(scores) == [
            *("image-text", "design", "design, held out"),
            *("surroundings", "surroundings, residuals", "residual gap"),
        ]
        assert {s.encoder for s in found.scores} >= {"mini's scorer", "mini's scorer, design half"}

    def test_a_leak_shows_whatever_the_residuals_hold(self, evaluated: EvalResult) -> None:
        """By the photos it is told: a residual that holds nothing cannot show it."""
        (drawn,) = evaluated.folder.glob("drawn-*")
        for path in drawn.glob("concept-*-*.png"):
            shutil.copy(f"photos/0{1 + int(path.stem[-1])}.png", path)
        for path in drawn.glob("residual-*.png"):
            Image.new("RGB", (64, 64), "white").save(path)

        again = evaluate(request(photos=Path("photos"))).evaluation

        scores = {score.name: score for score in again.scores}
        before = {score.name: score for score in evaluated.evaluation.scores}
        assert scores["surroundings"].base == before["surroundings"].base is not None
        assert scores["surroundings"].value > scores["surroundings"].base + 0.2
        assert scores["surroundings"].value > before["surroundings"].value + 0.2
        assert scores["surroundings, residuals"].value < scores["surroundings"].value - 0.2

    def test_a_copy_of_a_photo_is_not_held_out(self, evaluated: EvalResult) -> None:
        """Saved anew and smaller, it is no photo that was not seen; one that differs is."""
        with Image.open("photos/01.png") as photo:
            copy = photo.convert("RGB").resize((photo.width * 3 // 4, photo.height * 3 // 4))
        copy.save("photos/04.jpg", quality=80)
        notes: list[Event] = []

        plan = prepare_evaluation(request(photos=Path("photos")), notes.append)

        assert (len(plan.photos.references), len(plan.photos.held_out)) == (2, 1)
        said = [n.text for n in notes if isinstance(n, Note) and "04.jpg" in n.text]
        assert said == [
            "04.jpg: nearly the same picture as 01.png, which was trained on: not held out"
        ]

    def test_a_photo_that_was_written_anew_is_not_held_out(self, evaluated: EvalResult) -> None:
        """Its bytes are others, so that it cannot be told from one that was not learned from."""
        with Image.open("photos/02.png") as photo:
            whole = photo.convert("RGB").copy()
        whole.save("photos/02.png", compress_level=1)
        said: list[Event] = []

        plan = prepare_evaluation(request(photos=Path("photos")), said.append)

        assert (len(plan.photos.references), len(plan.photos.held_out)) == (1, 0)
        warnings = [n.text for n in said if isinstance(n, Note) and n.level == "warning"]
        assert len(warnings) == 1 and "1 of those that were trained on is not there" in warnings[0]

    def test_another_prism_draws_anew(
        self, evaluated: EvalResult, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What one version drew is not measured by the next, nor mixed with what that one draws."""
        assert prepare_evaluation(request(photos=Path("photos"))).missing == 0

        monkeypatch.setattr(service, "__version__", "99.0")

        plan = prepare_evaluation(request(photos=Path("photos")))
        assert plan.missing == plan.groups.total

    @pytest.mark.parametrize(("count", "columns", "rows"), [(1, 2, 1), (2, 4, 1), (3, 3, 2)])
    def test_prompts_share_a_row_of_the_sheet_where_they_have_room(
        self, evaluated: EvalResult, count: int, columns: int, rows: int
    ) -> None:
        """Two prompts: of one picture each, two, three."""
        store = EvaluationStore(evaluated.folder)
        prompts = tuple(
            dataclasses.replace(each, pictures=(each.pictures * 2)[:count])
            for each in evaluated.evaluation.prompts
        )
        shown = dataclasses.replace(evaluated.evaluation, prompts=prompts, count=count)
        with Image.open(io.BytesIO(sheet_of(shown, store))) as sheet:
            assert sheet.width == 8 + columns * (160 + 8)
            assert sheet.height // (160 + 8) == rows

    def test_what_another_kept_meanwhile_is_replaced_whole(
        self, evaluated: EvalResult, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While a judge thinks, one with other settings ends: its sheet and pictures go too."""
        before = (evaluated.folder / "drawn.png").read_bytes()
        mine = request(photos=Path("photos"), judge="gemini")

        def think(*_: object) -> None:
            other = evaluate(request(seed=9))
            assert other.sheet.read_bytes() != before

        monkeypatch.setenv("GEMINI_API_KEY", "k")
        monkeypatch.setattr(service, "_judge", think)
        again = evaluate(mine, now=NOW)

        assert again.sheet.read_bytes() == before
        assert [p.name for p in again.folder.glob("drawn-*")] == [
            prepare_evaluation(mine).folder.name
        ]

    def test_chance_is_through_the_same_lora(self, evaluated: EvalResult) -> None:
        """What it draws of no prompt is no residual's doing: without it that is another picture."""
        concepts.keep("plain")
        plain = evaluate(request(name="plain"))

        def drawn(folder: Path, name: str) -> bytes:
            (path,) = folder.glob(f"drawn-*/{name}-00-0.png")
            return path.read_bytes()

        assert drawn(plain.folder, "base") == drawn(evaluated.folder, "base")
        assert drawn(plain.folder, "empty") != drawn(evaluated.folder, "empty")

    def test_photos_are_matched_and_not_kept(self, evaluated: EvalResult) -> None:
        """By their hashes; and nothing of them is written."""
        found = evaluated.evaluation
        plan = prepare_evaluation(request(photos=Path("photos")))
        drawn = [n for g in (*plan.groups.alone, *plan.groups.learned) for n in g.every_file]

        assert (found.references, found.held_out) == (2, 1)
        assert sorted(p.name for p in evaluated.folder.rglob("*") if p.is_file()) == sorted(
            [*drawn, ".lock", "drawn.png", "evaluation.json", "leakage.json"]
        )

    def test_it_is_kept_and_read_again(self, evaluated: EvalResult) -> None:
        """As it was; after a rename too, and not for a concept that was trained again."""
        registry = Registry(paths.concepts_dir())
        registry.rename("mydog", "rex")

        kept = EvaluationStore.of(registry.load("rex")).read()
        assert kept is not None and kept.named("mydog") == evaluated.evaluation
        write_report(ReportRequest(name="rex", markdown=True))
        card = Path("rex-report.md").read_text("utf-8")
        assert "rex\\] in the snow" in card and "mydog" not in card
        concepts.keep("rex", seed=5)
        assert EvaluationStore.of(registry.load("rex")).read() is None

    def test_leakage_is_that_of_inspect(self, evaluated: EvalResult) -> None:
        """On the photos that were trained on."""
        found = inspect(InspectRequest(name="mydog", photos=Path("photos"), steps=1))

        assert found.measured_on == "photos"
        assert evaluated.evaluation.leakage == found.matrix

    @pytest.mark.parametrize("content", [b"[[0.5, 1]]", b"[[\xff]]"])
    def test_damaged_leakage_says_so(self, evaluated: EvalResult, content: bytes) -> None:
        """Nothing is drawn again for it."""
        (matrix,) = evaluated.folder.glob("drawn-*/leakage.json")
        matrix.write_bytes(content)

        with pytest.raises(StorageFailed, match=r"leakage\.json is damaged") as raised:
            evaluate(request(photos=Path("photos")))
        assert raised.value.hint.endswith(f": rm {shlex.quote(str(matrix))}")

    @pytest.mark.parametrize("content", [b'{"scores": []}', b'{"word": "\xff"}'])
    def test_a_damaged_result_says_so(self, evaluated: EvalResult, content: bytes) -> None:
        store = EvaluationStore(evaluated.folder)
        store.result.write_bytes(content)

        with pytest.raises(StorageFailed, match="is damaged"):
            store.read()

    @pytest.mark.parametrize("keep", [0, 60, -30])
    def test_a_damaged_picture_says_so(self, evaluated: EvalResult, keep: int) -> None:
        """To `eval` and to `report`; the command in the hint mends it, and draws it alone."""
        path = evaluated.folder / evaluated.evaluation.prompts[1].pictures[0]
        whole = path.read_bytes()
        path.write_bytes(whole[:keep])
        kept = EvaluationStore(evaluated.folder).read()

        for command in (
            lambda: evaluate(request(photos=Path("photos"))),
            lambda: write_report(ReportRequest(name="mydog")),
        ):
            with pytest.raises(StorageFailed, match="is not a whole PNG") as raised:
                command()
            *_, remove, file = shlex.split(raised.value.hint)
            assert (remove, Path(file)) == ("rm", path)
        assert EvaluationStore(evaluated.folder).read() == kept

    @pytest.mark.parametrize("gone", ["residual-00-0", "concept-00-0"])
    def test_a_picture_that_is_gone_moves_no_other(self, evaluated: EvalResult, gone: str) -> None:
        """Each residual stays beside its own photo, each prompt's first beside the base's first."""
        archive = Registry(paths.concepts_dir()).load("mydog")
        store = EvaluationStore(evaluated.folder)
        whole = gather(archive, store, Path("photos"))
        (path,) = evaluated.folder.glob(f"drawn-*/{gone}.png")
        path.unlink()

        left = gather(archive, store, Path("photos"))

        assert whole.grid is not None and left.grid is not None
        if gone.startswith("residual"):
            assert left.grid.rows == whole.grid.rows[1:] and left.drawn == whole.drawn
        else:
            assert left.drawn == whole.drawn[1:] and left.grid == whole.grid

    def test_a_damaged_picture_is_drawn_again(self, evaluated: EvalResult) -> None:
        """Once it is deleted: it alone, and as it was."""
        path = evaluated.folder / evaluated.evaluation.prompts[1].pictures[0]
        whole = path.read_bytes()
        path.unlink()
        events: list[Event] = []

        again = evaluate(request(photos=Path("photos")), events.append, NOW)

        begun = next(event for event in events if isinstance(event, StageBegan))
        assert (begun.step, path.read_bytes()) == (begun.total - 1, whole)
        assert again.evaluation == evaluated.evaluation

    def test_only_what_the_replaced_one_drew_goes(self, evaluated: EvalResult) -> None:
        """Not what one that was stopped has drawn, nor what another process is at."""
        store, old = EvaluationStore(evaluated.folder), evaluated.evaluation
        (before,) = store.folder.glob("drawn-*")
        stopped, new = (store.folder / f"drawn-{digit * 12}" for digit in "01")
        for folder in (stopped, new):
            folder.mkdir()
        named = (f"{new.name}/concept-00-0.png",)
        prompts = tuple(dataclasses.replace(each, pictures=named) for each in old.prompts)

        with store.held(before):
            store.replace(dataclasses.replace(old, prompts=prompts), new)
        assert before.is_dir()
        store.replace(old, before)

        assert sorted(store.folder.glob("drawn-*")) == sorted([stopped, before])
        assert store.read() == old

    def test_one_process_at_a_time_draws_the_same(
        self, evaluated: EvalResult, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The other waits a moment, and is told to come again."""
        monkeypatch.setattr("prism_cli.files.LOCK_TIMEOUT", 0.05)
        (drawn,) = evaluated.folder.glob("drawn-*")

        with (
            EvaluationStore(evaluated.folder).held(drawn),
            pytest.raises(StorageBusy, match="another prism"),
        ):
            evaluate(request(photos=Path("photos")))

    def test_without_photos_there_is_no_likeness(self) -> None:
        concepts.keep("mydog")
        found = evaluate(request()).evaluation

        assert [s.name for s in found.scores] == [
            *("image-text", "surroundings, residuals", "residual gap")
        ]
        assert found.references == found.held_out == 0
        assert found.leakage is None
        assert found.compared == "no photos"


def test_a_stopped_evaluation_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn is not drawn again, and the result is the same; other settings begin anew."""
    concepts.keep("mydog", lora=True)
    whole = evaluate(request(), now=NOW)
    pictures = {path.name: path.read_bytes() for path in whole.folder.glob("drawn-*/*.png")}
    shutil.rmtree(whole.folder)

    def stop(event: Event) -> None:
        if isinstance(event, StageMoved) and event.step >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(request(), stop)
    events: list[Event] = []
    again = evaluate(request(), events.append, NOW)

    begun = next(event for event in events if isinstance(event, StageBegan))
    assert 4 <= begun.step < begun.total == len(pictures)
    assert again.evaluation == whole.evaluation
    assert {p.name: p.read_bytes() for p in again.folder.glob("drawn-*/*.png")} == pictures

    with pytest.raises(KeyboardInterrupt):
        evaluate(request(seed=9), stop)
    store = EvaluationStore(again.folder)
    there = {
        p.relative_to(again.folder): p.read_bytes() for p in again.folder.rglob("*") if p.is_file()
    }
    assert read_from(store) == whole.evaluation
    assert len(there) > len(pictures) + 4  # the numbers, the sheet, what the stopped one drew

    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    with pytest.raises(KeyMissing):
        evaluate(request(seed=9, judge="gemini"))
    assert read_from(store) == whole.evaluation
    assert all((again.folder / name).read_bytes() == data for name, data in there.items())

    events.clear()
    other = evaluate(request(seed=9), events.append, NOW)
    begun = next(event for event in events if isinstance(event, StageBegan))
    assert begun.step >= 4
    assert read_from(store) == other.evaluation
    assert other.evaluation.scores != whole.evaluation.scores
    (mine,) = other.folder.glob("drawn-*")  # once it is kept, what the earlier one drew goes
    assert other.folder / other.evaluation.prompts[0].pictures[0] in set(mine.iterdir())


def test_the_word_that_stands_for_the_concept() -> None:
    """--class, else that of the training, else the prompt's own way to do without."""
    worlds.photos(Path(), 2)
    keep_with_photos("mydog", class_word="owl")

    def plain(**changes: object) -> list[str]:
        plan = prepare_evaluation(request(**changes))
        return [prompt.plain(plan.word) for prompt in plan.prompts.prompts]

    assert plain() == ["an owl in the snow", "a red owl"]
    assert plain(class_word="dog") == ["a dog in the snow", "a red dog"]
    assert plain(class_word="") == ["a thing in the snow", "a red thing"]
    keep_with_photos("mydog")
    assert plain() == ["a thing in the snow", "a red thing"]


def test_what_mends_an_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never the deletion of what is installed, nor of files that are whole."""
    problem: Exception = ValueError("a header is cut")

    def load(folder: Path) -> None:
        raise problem

    monkeypatch.setattr(DrawnEncoder, "load", load)

    with pytest.raises(EncoderRefused) as raised:
        judges_for(catalog.resolve("mini"), torch.device("cpu"))
    assert raised.value.hint.startswith("install prism again")

    problem = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    with pytest.raises(torch.OutOfMemoryError):
        judges_for(catalog.resolve("mini"), torch.device("cpu"))


def test_a_group_is_seen_once_and_a_few_at_a_time() -> None:
    """Hundreds of pictures at a base's size would not fit."""
    group = Group("some", (("a dog",), ("a cat",)), 20)
    for k, name in enumerate(group.every_file):
        Image.new("RGB", (4, 4), (k, 0, 0)).save(name)
    shown: list[int] = []

    class Eye:
        name = "eye"

        def see(self, pictures: Sequence[Image.Image]) -> Tensor:
            shown.append(len(pictures))
            return torch.tensor([[float(p.getpixel((0, 0))[0])] for p in pictures])

    gallery = Gallery(Path())
    first, again = (gallery.seen_by(Eye(), group) for _ in range(2))

    assert shown == [32, 8]
    assert torch.equal(first, torch.arange(40.0).view(2, 20, 1)) and again is first


class TestPrompts:
    """The lists."""

    @pytest.mark.parametrize(
        ("template", "word", "said"),
        [
            ("a * in the snow", "owl", "an owl in the snow"),
            ("A * in the snow", "owl", "An owl in the snow"),
            ("a panda *", "eating", "a panda eating"),
            ("a banana *", "dog", "a banana dog"),
            ("a red *", "owl", "a red owl"),
        ],
    )
    def test_the_article_goes_with_the_word(self, template: str, word: str, said: str) -> None:
        assert evaluation_prompts.worded(template, word) == said

    @pytest.mark.parametrize("name", ["OBJECTS", "LIVE", "MINI"])
    def test_each_has_25(self, name: str) -> None:
        """As the protocol has; no two alike, each with the concept once."""
        prompts = getattr(evaluation_prompts, name).prompts

        assert len({prompt.template for prompt in prompts}) == 25
        assert all(prompt.template.count("*") == 1 for prompt in prompts)
        assert all("*" not in prompt.plain(None) + prompt.plain("dog") for prompt in prompts)

    def test_mini_is_asked_in_its_words(self) -> None:
        """Every text that the scorer compares with is one that it was taught."""
        words = json.loads((catalog.resolve("mini").folder / "scorer" / "words.json").read_text())
        taught = {text for texts in words.values() for text in texts.values()}

        assert {prompt.text(None) for prompt in evaluation_prompts.MINI.prompts} <= taught

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"", "has no prompts"),
            (b"a dog", "line 1 .* where the concept stands"),
            (b"a *\n* and *", "line 2"),
            (b"a [mydog]", "line 1"),
            (b"\xff\xfe*", "not text"),
        ],
    )
    def test_a_bad_file(self, content: bytes, problem: str) -> None:
        Path("p.txt").write_bytes(content)

        with pytest.raises(PromptRefused, match=problem):
            read_prompts(Path("p.txt"))

    def test_no_file(self) -> None:
        with pytest.raises(FileMissing):
            read_prompts(Path("p.txt"))


def test_refusals() -> None:
    """Strangers' photos, and a count that is none."""
    worlds.photos(Path(), 2)
    concepts.keep("mydog")

    with pytest.raises(PhotosRefused, match="none of the photos"):
        prepare_evaluation(request(photos=Path("photos")))
    with pytest.raises(OptionRefused, match="--count"):
        prepare_evaluation(request(count=0))


class TestWithClipAndDino:
    """A base of the photographic kind, and encoders from a server that speaks as the Hub does."""

    @pytest.fixture
    def hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
        with serving(Hub()) as hub:
            clip, dino = save_tiny_clip(tmp_path / "clip"), save_tiny_dino(tmp_path / "dino")
            hub.commit(CLIP.repository, clip, {"flax_model.msgpack": b"x", "README.md": b"x"})
            hub.commit(DINO.repository, dino)
            with connected(hub, tmp_path / "hf", monkeypatch):
                yield hub

    @pytest.fixture
    def learned(self, tmp_path: Path) -> Path:
        """A concept on such a base, learned in no step; the base's folder."""
        worlds.photos(Path(), 3)
        Path("photos/03.png").rename("kept.png")
        base = save_tiny_pipeline(tmp_path / "base")
        flags = {"tokens.steps": 0, "finetuning.steps": 0, "tokens.residual_length": 2}
        train(TrainRequest(folder=Path("photos"), name="mydog", base=str(base), flags=flags))
        Path("kept.png").rename("photos/03.png")
        return base

    def test_the_three_scores(self, hub: Hub, learned: Path) -> None:
        """CLIP-T, CLIP-I and DINO, each with the encoder that gave it."""
        assert missing_encoders() == (CLIP, DINO)
        with pytest.raises(EncoderNotDownloaded):
            evaluate(request(photos=Path("photos")))
        for source in (CLIP, DINO):
            pull_encoder(source)

        found = evaluate(request(photos=Path("photos"))).evaluation

        assert [(s.name, s.encoder) for s in found.scores] == [
            ("CLIP-T", "CLIP ViT-B/32"),
            ("CLIP-I", "CLIP ViT-B/32"),
            ("CLIP-I, held out", "CLIP ViT-B/32"),
            ("DINO", "DINO ViT-S/16"),
            ("DINO, held out", "DINO ViT-S/16"),
            ("surroundings, residuals", "DINO ViT-S/16"),
            ("residual gap", "DINO ViT-S/16"),
        ]
        assert all(-1 <= s.value <= 1 for s in found.scores[:-1])

    def test_an_encoder_is_pinned_and_is_no_base(self, hub: Hub) -> None:
        """At the commit it was first pulled at, and only what is loaded; not among the bases."""
        from prism_cli.backbones.hub_cache import files_in, pinned_repositories

        pull_encoder(CLIP)
        first = encoder_folder(CLIP)
        hub.branches[CLIP.repository]["main"] = "0" * 40
        pull_encoder(CLIP)

        assert encoder_folder(CLIP) == first and missing_encoders() == (DINO,)
        assert "flax_model.msgpack" not in files_in(first)
        assert not list(pinned_repositories())

    def test_nothing_is_drawn_for_encoders_that_are_not_here(self, hub: Hub, learned: Path) -> None:
        """Though they are loaded only when the base has gone."""
        with pytest.raises(EncoderNotDownloaded):
            evaluate(request(photos=Path("photos")))
        assert not list(paths.evaluations_dir().rglob("*.png"))

    def test_a_damaged_encoder(self, hub: Hub, learned: Path) -> None:
        """What transformers cannot load is a sentence."""
        for source in (CLIP, DINO):
            pull_encoder(source)
        (encoder_folder(DINO) / "config.json").resolve().write_text("{")

        with pytest.raises(EncoderRefused, match="cannot load an encoder"):
            evaluate(request())


def test_the_drawing_settings_are_the_bases_own() -> None:
    """Unless they are given."""
    concepts.keep("mydog")
    plan = prepare_evaluation(request(steps=None, guidance=None))

    assert (plan.sampling.steps, plan.sampling.guidance) == (30, 2.0)
    assert service.default_list(plan.entry, live=False) is evaluation_prompts.MINI
    with pytest.raises(OptionRefused, match="live subjects"):
        service.default_list(plan.entry, live=True)
    photographic = dataclasses.replace(plan.entry, practice=False)
    assert service.default_list(photographic, live=True) is evaluation_prompts.LIVE
    assert service.default_list(photographic, live=False) is evaluation_prompts.OBJECTS


@pytest.mark.parametrize(
    ("kind", "first"), [("style", "[ink] picture of a cat"), ("action", "a cat [ink]")]
)
def test_a_style_and_an_action_are_asked_about_nouns(kind: str, first: str) -> None:
    """Not where a thing would: 25 nouns that the practice base knows, each once."""
    concepts.keep("ink", kind=kind)
    plan = prepare_evaluation(request(name="ink", prompts=None))

    assert plan.prompts.prompts[0].template.replace("*", "[ink]") == first
    assert plan.prompts.prompts[0].plain(None) == plan.prompts.prompts[0].text("wash") == "a cat"
    nouns = {prompt.without.split(" ", 1)[1] for prompt in plan.prompts.prompts}
    assert len(nouns) == 25 and nouns <= {noun.word for noun in NOUNS}
    with pytest.raises(OptionRefused, match="--live is for subjects"):
        prepare_evaluation(request(name="ink", prompts=None, live=True))

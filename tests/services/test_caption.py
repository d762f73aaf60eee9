"""Captions: each photo on its own, asked once, of the paper's length, and never silently none."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from tenacity import sleep_using_event

from prism_cli import paths
from prism_cli.backbones import catalog, hub_cache
from prism_cli.backbones.catalog import BaseEntry
from prism_cli.errors import (
    AnswerBlocked,
    CaptionerNotDownloaded,
    CaptionRefused,
    CaptionsFailed,
    GeminiBusy,
    KeyMissing,
    KeyRefused,
    ModelNotFound,
    PrismError,
)
from prism_cli.prompts import SCENE_DESCRIPTION
from prism_cli.registry.archive import read_manifest
from prism_cli.services import local_captioner
from prism_cli.services.caption import Captioned, all_captions, caption_photos, has_length
from prism_cli.services.caption_folder import CaptionRequest, caption_folder
from prism_cli.services.captioner_download import pull_captioner
from prism_cli.services.events import Event, Note, StageMoved, ignore
from prism_cli.services.photos import take_in
from prism_cli.services.prepare import TrainRequest
from prism_cli.services.rehearsal import rehearse
from prism_cli.services.train import train
from prism_cli.settings import CAPTION_SOURCES, CaptionOptions
from tests import gemini as api
from tests.gemini import FakeGemini, answers
from tests.hub import Hub, connected, serving
from tests.tiny_blip import save_tiny_blip
from tests.tiny_pipeline import save_tiny_pipeline

EXAMPLES = Path(__file__).parents[2] / "examples" / "zuzu"
QUICK = {"tokens.steps": 1, "tokens.batch": 1, "finetuning.steps": 0, "drawing.steps": 1}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> BaseEntry:
    """A base that is no practice base."""
    return catalog.resolve(str(save_tiny_pipeline(tmp_path_factory.mktemp("bases") / "tiny")))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five photos without a caption, of which one knows who took it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(1, 5):
        shutil.copy(EXAMPLES / f"{number:02}.png", folder)
    exif = Image.Exif()
    exif[0x010F] = "Secretmaker"
    with Image.open(EXAMPLES / "05.png") as picture:
        large = picture.convert("RGB").resize((2400, 2400))
        large.save(folder / "05.jpg", exif=exif, comment=b"Secretcomment")
    return folder


@pytest.fixture
def gemini(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGemini]:
    """Gemini's server, answering every photo well unless a test says otherwise."""
    with api.connected(FakeGemini(), monkeypatch) as fake:
        yield fake


def captions(
    folder: Path,
    entry: BaseEntry,
    source: str = "gemini",
    on_event: Callable[[Event], None] = ignore,
    **options: bool,
) -> Captioned:
    """Caption the photos of a folder."""
    taken = take_in(folder, size=entry.size, keep_similar=True, minimum=1).photos
    wanted = CaptionOptions(source=source)
    return caption_photos(taken, folder, wanted, entry, on_event, **options)


def texts(captioned: Captioned) -> list[tuple[str, str]]:
    """Captions with their sources."""
    return [(caption.text, caption.source) for caption in captioned.captions]


def notes(events: list[Event]) -> str:
    """All that was said."""
    return "\n".join(event.text for event in events if isinstance(event, Note))


SOURCE = "gemini:gemini-3.8-flash"


class TestGemini:
    """The real client against the API's wire format."""

    def test_every_photo_has_its_own_answer(
        self, photos: Path, tiny: BaseEntry, gemini: FakeGemini
    ) -> None:
        """Several at once, one request a photo, with the paper's prompt and a JSON schema."""
        seen: list[bytes] = []

        def answer(asked: api.Asked) -> api.Reply:
            seen.append(asked.files[0])
            colour = asked.pictures[0].convert("RGB").getpixel((2, 2))
            reply = answers(caption=f"a teal alien stands before a place of {colour}")
            return api.Reply(reply.body, seconds=0.2)

        gemini.otherwise = answer
        captioned = captions(photos, tiny)

        assert len(set(seen)) == 5 == len(gemini.asked)
        assert 2 <= gemini.at_once <= 4
        for (text, source), photo in zip(texts(captioned), sorted(photos.iterdir()), strict=True):
            shown = next(a for a in gemini.asked if answer(a).body and text in str(answer(a).body))
            with Image.open(photo) as picture:
                near = picture.convert("RGB").resize(shown.pictures[0].size).getpixel((2, 2))
            said = shown.pictures[0].convert("RGB").getpixel((2, 2))
            assert max(abs(a - b) for a, b in zip(near, said, strict=True)) < 12
            assert source == SOURCE
        first = gemini.asked[0]
        assert first.path == "/v1/models/gemini-3.8-flash:generateContent"
        assert first.prompt == SCENE_DESCRIPTION
        assert first.body["generationConfig"]["responseMimeType"] == "application/json"
        assert first.body["generationConfig"]["responseJsonSchema"]["required"] == ["caption"]

    def test_what_is_sent_is_small_and_bare(
        self, photos: Path, tiny: BaseEntry, gemini: FakeGemini
    ) -> None:
        """At most 1024 px, no EXIF, no comment, no file name; said once, before it happens."""
        events: list[Event] = []
        captions(photos, tiny, on_event=events.append)

        for asked in gemini.asked:
            assert max(asked.pictures[0].size) <= 1024
            assert not asked.pictures[0].getexif()
            assert b"Secret" not in asked.files[0]
            assert "05" not in asked.prompt and str(photos) not in str(asked.body)
        assert notes(events).count("leave this machine for Google") == 1

    @pytest.mark.parametrize(
        ("reply", "error", "tries"),
        [
            (api.blocked(), AnswerBlocked, 1),
            (api.stopped("SAFETY"), AnswerBlocked, 1),
            (api.stopped("RECITATION"), AnswerBlocked, 1),
            (api.stopped("MAX_TOKENS"), PrismError, 4),
            (api.says('{"caption": "cut'), PrismError, 4),
            (api.says('{"text": "a dog"}'), PrismError, 4),
            (api.answers(caption=" \n"), PrismError, 1),
            (api.answers(caption=7), PrismError, 4),
            (api.Reply({}), PrismError, 4),
            (api.Reply(b"<html>proxy</html>"), PrismError, 1),
            (api.Reply({"candidates": "x"}), PrismError, 4),
            (api.BUSY, GeminiBusy, 4),
            (api.BROKEN, GeminiBusy, 4),
            (api.OVERLOADED, GeminiBusy, 4),
            (api.fails(400, "Unable to process input image.", "INVALID_ARGUMENT"), PrismError, 1),
        ],
        ids=lambda value: None,
    )
    def test_a_photo_that_fails_is_named(
        self,
        photos: Path,
        tiny: BaseEntry,
        gemini: FakeGemini,
        reply: api.Reply,
        error: type[PrismError],
        tries: int,
    ) -> None:
        """One photo's failure is its own: a sentence with a hint, and the others are captioned."""
        for number in (2, 3, 4):
            (photos / f"{number:02}.png").unlink()
        (photos / "01.txt").write_text("a photo that is not sent", "utf-8")
        gemini.otherwise = lambda asked: reply

        captioned = captions(photos, tiny)

        [problem] = captioned.problems
        assert problem.file == "05.jpg" and isinstance(problem.error, error)
        assert problem.error.hint and "\n" not in problem.error.message
        assert len(gemini.asked) == tries
        assert texts(captioned)[0] == ("a photo that is not sent", "sidecar")
        with pytest.raises(error, match=r"05\.jpg"):
            all_captions(captioned)

    @pytest.mark.parametrize(
        ("reply", "error"),
        [
            (api.WRONG_KEY, KeyRefused),
            (api.FORBIDDEN, KeyRefused),
            (api.fails(401, "Invalid credentials.", "UNAUTHENTICATED"), KeyRefused),
            (api.NO_MODEL, ModelNotFound),
        ],
        ids=["400", "403", "401", "404"],
    )
    def test_what_ends_it_for_all(
        self,
        photos: Path,
        tiny: BaseEntry,
        gemini: FakeGemini,
        reply: api.Reply,
        error: type[PrismError],
    ) -> None:
        """A refused key or an unknown model is one error, not one for each photo."""
        gemini.otherwise = lambda asked: reply

        with pytest.raises(error) as caught:
            captions(photos, tiny)

        assert caught.value.hint and gemini.waits == []
        assert len(gemini.asked) <= 5  # each photo once at most

    def test_a_busy_server_is_asked_again(
        self, photos: Path, tiny: BaseEntry, gemini: FakeGemini
    ) -> None:
        """429 asks for 27 seconds, which are waited; 500 is tried after a second or two."""
        (photos / "01.png").rename(photos / "only.png")
        for path in photos.glob("0*"):
            path.unlink()
        gemini.replies = [api.BUSY, api.BROKEN]

        captioned = captions(photos, tiny)

        assert texts(captioned) == [(api.TRUE, SOURCE)]
        assert gemini.waits[0] == 27 and 1 <= gemini.waits[1] < 27

    def test_no_answer_in_time(self, photos: Path, tiny: BaseEntry, gemini: FakeGemini) -> None:
        """A server that keeps silent is given up, and what it was asked can be asked again."""
        from prism_cli.gemini_client import Gemini

        gemini.otherwise = lambda asked: api.Reply(b"", seconds=0.6)
        client = Gemini("gemini-3.8-flash", timeout=0.1)

        with pytest.raises(GeminiBusy, match="did not answer"):
            client.ask("?", [], {"type": "object"})
        client.close()
        assert len(gemini.asked) == 4

    def test_no_network(
        self, photos: Path, tiny: BaseEntry, gemini: FakeGemini, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One error for all photos, at once."""
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")

        with pytest.raises(PrismError, match="cannot reach Gemini"):
            captions(photos, tiny)
        assert gemini.waits == []

    @pytest.mark.parametrize("key", [None, "", "with space", "ключ", "two\nlines"])
    def test_a_key_that_is_none(
        self,
        photos: Path,
        tiny: BaseEntry,
        gemini: FakeGemini,
        monkeypatch: pytest.MonkeyPatch,
        key: str | None,
    ) -> None:
        """Missing or mangled: where to get one, and nothing is sent."""
        monkeypatch.delenv("GEMINI_API_KEY")
        if key is not None:
            monkeypatch.setenv("GEMINI_API_KEY", key)

        with pytest.raises(KeyRefused if key else KeyMissing) as caught:
            captions(photos, tiny)

        assert "https://aistudio.google.com/apikey" in caught.value.hint
        assert "GEMINI_API_KEY" in caught.value.hint
        assert not gemini.asked and not (key and key in caught.value.message)

    def test_the_key_is_told_to_nobody(
        self,
        photos: Path,
        tiny: BaseEntry,
        gemini: FakeGemini,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It is in the header of a request: not in its body, a log, an error, or prism's files."""
        caplog.set_level(logging.DEBUG)
        said = captions(photos, tiny)
        assert said.problems == ()
        gemini.otherwise = lambda asked: api.FORBIDDEN  # repeats the key
        (photos / "06.png").write_bytes((EXAMPLES / "05.png").read_bytes())
        with pytest.raises(KeyRefused) as caught:
            captions(photos, tiny)

        assert gemini.asked[0].headers["x-goog-api-key"] == api.KEY
        error = caught.value
        assert error.__context__ is None and error.__cause__ is None
        home = [p.read_bytes() for p in paths.data_dir().rglob("*") if p.is_file()]
        for text in (caplog.text, error.message, error.hint, str(gemini.asked[0].body), *home):
            assert api.KEY not in str(text)
        assert "[key]" in error.message

    def test_an_answer_is_asked_for_once(
        self,
        photos: Path,
        tiny: BaseEntry,
        gemini: FakeGemini,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """By what the photo holds: renamed, without a key, it has its caption still."""
        first = texts(captions(photos, tiny))
        monkeypatch.delenv("GEMINI_API_KEY")
        (photos / "01.png").rename(photos / "00.png")
        events: list[Event] = []

        assert texts(captions(photos, tiny, on_event=events.append)) == first
        assert len(gemini.asked) == 5 and "leave this machine" not in notes(events)

    def test_stopped_while_others_wait(
        self,
        photos: Path,
        tiny: BaseEntry,
        gemini: FakeGemini,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Ctrl-C does not wait the minutes that a busy server asks for; what has come is kept."""
        monkeypatch.setattr(sleep_using_event, "__call__", api.WAITING)
        gemini.replies = [answers(caption=api.TRUE)]
        gemini.otherwise = lambda asked: api.BUSY
        began = time.monotonic()

        def stop(event: Event) -> None:
            if isinstance(event, StageMoved):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            captions(photos, tiny, on_event=stop)

        assert time.monotonic() - began < 20  # one wait alone is 27 seconds
        gemini.otherwise = lambda asked: answers(caption="other words " * 4)
        assert api.TRUE in [text for text, _ in texts(captions(photos, tiny))]

    def test_another_model_is_another_answer(
        self, photos: Path, tiny: BaseEntry, gemini: FakeGemini
    ) -> None:
        taken = take_in(photos, size=tiny.size, minimum=1).photos[:1]
        for model in ("a", "b", "a"):
            options = CaptionOptions(source="gemini", model=model)
            said = caption_photos(taken, photos, options, tiny)
            assert said.captions[0].source == f"gemini:{model}"
        assert len(gemini.asked) == 2

    @pytest.mark.parametrize("wrong", ["a red dog", " ".join(["word"] * 33)], ids=["short", "long"])
    @pytest.mark.parametrize("learns", [True, False])
    def test_the_wrong_length_is_asked_again_once(
        self, photos: Path, tiny: BaseEntry, gemini: FakeGemini, wrong: str, learns: bool
    ) -> None:
        """Then it is used whole, and said."""
        gemini.replies = [answers(caption=wrong)]
        gemini.otherwise = lambda asked: answers(caption=api.TRUE if learns else wrong)
        events: list[Event] = []
        taken = take_in(photos, size=tiny.size, minimum=1).photos[:1]
        options = CaptionOptions(source="gemini")

        said = caption_photos(taken, photos, options, tiny, events.append)

        assert said.captions[0].text == (api.TRUE if learns else wrong)
        assert len(gemini.asked) == 2 and wrong in gemini.asked[1].prompt
        assert ("asked twice" in notes(events)) is not learns


@pytest.mark.parametrize(
    ("words", "right"), [(0, False), (7, False), (8, True), (32, True), (33, False)]
)
def test_the_papers_length(words: int, right: bool) -> None:
    assert has_length(" ".join(["word"] * words)) is right


class TestFiles:
    """Words that lie beside the photos."""

    def test_the_nearest_file_wins(self, photos: Path, tiny: BaseEntry) -> None:
        """photo.txt, then captions.json, then metadata.jsonl, for each photo on its own."""
        (photos / "01.txt").write_text("﻿one\r\n line", "utf-8")
        (photos / "03.txt").write_text(" \n", "utf-8")
        (photos / "captions.json").write_text('{"01.png": "x", "02.png": "two", "gone.png": "y"}')
        (photos / "metadata.jsonl").write_text(
            '{"file_name": "02.png", "text": "x"}\n\n{"file_name": "./03.png", "text": "three"}\n'
            '{"file_name": "04.png", "other": 1}\n'
        )
        events: list[Event] = []

        said = captions(photos, tiny, "files", events.append)

        assert texts(said) == [
            ("one line", "sidecar"),
            ("two", "captions.json"),
            ("three", "metadata.jsonl"),
            ("a photo", "none"),
            ("a photo", "none"),
        ]
        assert "captions.json has captions for 1 file not in the folder: gone.png" in notes(events)
        assert (
            "captions: 1 captions.json, 1 metadata.jsonl, 2 none, 1 sidecar (--captions files)"
            in notes(events)
        )

    def test_files_win_over_a_model(
        self, photos: Path, tiny: BaseEntry, gemini: FakeGemini
    ) -> None:
        """What has words is not sent, unless files are not to count."""
        (photos / "02.txt").write_text("my own words", "utf-8")

        assert texts(captions(photos, tiny))[1] == ("my own words", "sidecar")
        assert len(gemini.asked) == 4
        assert texts(captions(photos, tiny, files=False))[1] == (api.TRUE, SOURCE)

    def test_none_reads_nothing(self, photos: Path, tiny: BaseEntry) -> None:
        (photos / "01.txt").write_bytes(b"\xff")
        assert texts(captions(photos, tiny, "none")) == [("a photo", "none")] * 5

    def test_several_failures_are_told_together(self, photos: Path, tiny: BaseEntry) -> None:
        for name in ("01.txt", "02.txt"):
            (photos / name).write_bytes(b"\xff")
        with pytest.raises(CaptionsFailed, match=r"2 photos .*01\.txt.*02\.txt"):
            all_captions(captions(photos, tiny, "auto"))


class TestAuto:
    """What happens without a word from the user, who is told."""

    def test_the_practice_base_describes_its_world(self, photos: Path) -> None:
        """True words, with no network, each photo without a file."""
        (photos / "01.txt").write_text("my own words", "utf-8")
        events: list[Event] = []

        said = captions(photos, catalog.resolve("mini"), "auto", events.append)

        assert texts(said)[0] == ("my own words", "sidecar")
        assert texts(said)[4] == ("in the snow", "mini")
        assert "1 sidecar" in notes(events) and "(--captions auto)" in notes(events)

    def test_another_base_without_a_local_captioner(
        self, photos: Path, tiny: BaseEntry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Nothing is downloaded, and no photo leaves."""
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        assert texts(captions(photos, tiny, "auto")) == [("a photo", "none")] * 5

    def test_a_local_captioner_that_is_here(
        self, photos: Path, tiny: BaseEntry, blip: Path
    ) -> None:
        """It is taken, is named with its revision, and says each photo's own words once."""
        said = captions(photos, tiny, "auto")

        assert {caption.source for caption in said.captions} == {
            "local:Salesforce/blip-image-captioning-large@353689b8"
        }
        assert said.problems == () and all(c.text and "[" not in c.text for c in said.captions)
        shutil.rmtree(blip)  # what was said is kept
        assert texts(captions(photos, tiny, "local")) == texts(said)


@pytest.fixture
def blip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny local captioner, where a download would put it."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    return save_tiny_blip(hub_cache.snapshot(local_captioner.REPOSITORY, local_captioner.REVISION))


class TestLocal:
    """The captioner on this machine."""

    def test_it_is_not_here(
        self, photos: Path, tiny: BaseEntry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        with pytest.raises(CaptionerNotDownloaded) as caught:
            captions(photos, tiny, "local")
        assert "prism caption --pull" in caught.value.hint

    def test_it_is_damaged(self, photos: Path, tiny: BaseEntry, blip: Path) -> None:
        (blip / "model.safetensors").write_bytes(b"no weights")
        with pytest.raises(CaptionerNotDownloaded, match="cannot load"):
            captions(photos, tiny, "local")

    def test_the_same_photo_has_the_same_words(self, blip: Path) -> None:
        """And more of them, where the first were too few."""
        from prism_cli.captioners.local import LocalCaptioner

        captioner = LocalCaptioner(lambda: blip, "x")
        captioner.connect()
        with Image.open(EXAMPLES / "01.png") as picture:
            shown = SimpleNamespace(image=picture.convert("RGB"), path=blip, sha256="")
        first, again = captioner.describe(shown), captioner.describe(shown)
        assert first == again
        assert len(captioner.describe(shown, first).split()) > len(first.split())

    def test_it_is_pulled(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only what is loaded, each file checked, at a fixed revision; twice costs nothing."""
        tiny = save_tiny_blip(tmp_path / "tiny")
        hub = Hub()
        extra = {"pytorch_model.bin": b"a pickle", "README.md": b"x"}
        commit = hub.commit(local_captioner.REPOSITORY, tiny, extra)
        monkeypatch.setattr(local_captioner, "REVISION", commit)
        with serving(hub), connected(hub, tmp_path / "hub", monkeypatch):
            pulled = pull_captioner()
            fetched = hub.fetched()
            again = pull_captioner()

        assert pulled.folder == local_captioner.find() == again.folder
        assert "model.safetensors" in fetched and not fetched & extra.keys()
        assert pulled.downloaded == pulled.size > 0 and again.downloaded == 0


class TestTraining:
    """What a training makes of it."""

    def test_the_archive_says_who_wrote_each_caption(
        self, photos: Path, tiny: BaseEntry, gemini: FakeGemini
    ) -> None:
        (photos / "01.txt").write_text("a red dog on snow", "utf-8")
        request = TrainRequest(
            folder=photos,
            name="zuzu",
            base=str(tiny.folder),
            flags=QUICK,
            file={"captions.source": "gemini", "captions.model": "gemini-x"},
        )

        train(request)

        data = (paths.concepts_dir() / "zuzu.prism").read_bytes()
        manifest = read_manifest(paths.concepts_dir() / "zuzu.prism")
        assert [(p.caption, p.caption_source) for p in manifest.photos] == [
            ("a red dog on snow", "sidecar"),
            *[(api.TRUE, "gemini:gemini-x")] * 4,
        ]
        assert (manifest.options["captions.source"].value) == "gemini"
        assert api.KEY.encode() not in data

    def test_a_rehearsal_sends_nothing(
        self, photos: Path, tiny: BaseEntry, gemini: FakeGemini
    ) -> None:
        events: list[Event] = []
        request = TrainRequest(
            folder=photos,
            name="zuzu",
            base=str(tiny.folder),
            flags={**QUICK, "captions.source": "gemini"},
        )

        rehearse(request, events.append)

        assert gemini.asked == []
        said = notes(events)
        assert f"5 photos would be described by {SOURCE}" in said
        assert "captions:" not in said and "have no caption" not in said

    def test_a_photo_without_its_caption_stops_it(
        self, photos: Path, tiny: BaseEntry, gemini: FakeGemini
    ) -> None:
        """A photo that Gemini will not describe is not taken for one without a caption."""
        gemini.replies = [api.blocked()]
        request = TrainRequest(
            folder=photos,
            name="zuzu",
            base=str(tiny.folder),
            flags={**QUICK, "captions.source": "gemini"},
        )

        with pytest.raises(AnswerBlocked, match=r"0[1-5]\.(png|jpg)"):
            train(request)


class TestWriting:
    """`prism caption --write`."""

    def test_sidecars_are_written_and_kept(self, photos: Path, gemini: FakeGemini) -> None:
        """A file that is there stays, whoever wrote it; --force has it described and replaced."""
        (photos / "01.txt").write_text("my own words", "utf-8")
        flags = {"captions.source": "gemini"}
        request = CaptionRequest(folder=photos, base="mini", write=True, flags=flags)

        first = caption_folder(request)
        (photos / "02.txt").write_text("edited", "utf-8")
        second = caption_folder(request)

        assert [line.written is not None for line in first.captions] == [False] + [True] * 4
        assert (photos / "05.txt").read_text("utf-8") == f"{api.TRUE}\n"
        assert [line.written for line in second.captions] == [None] * 5
        assert (photos / "01.txt").read_text("utf-8") == "my own words"
        assert (photos / "02.txt").read_text("utf-8") == "edited"

        forced = CaptionRequest(folder=photos, base="mini", write=True, force=True, flags=flags)
        caption_folder(forced)
        assert (photos / "01.txt").read_text("utf-8") == f"{api.TRUE}\n"

    def test_nothing_known_is_not_written(self, photos: Path) -> None:
        request = CaptionRequest(
            folder=photos, base="mini", write=True, flags={"captions.source": "files"}
        )
        caption_folder(request)
        assert not list(photos.glob("*.txt"))

    def test_two_photos_of_one_name(self, photos: Path, gemini: FakeGemini) -> None:
        """a.png and a.jpg have one a.txt, which cannot hold two captions."""
        (photos / "05.jpg").rename(photos / "01.jpg")
        request = CaptionRequest(
            folder=photos, base="mini", write=True, flags={"captions.source": "gemini"}
        )

        result = caption_folder(request)

        assert {problem.file for problem in result.problems} == {"01.jpg", "01.png"}
        assert all(isinstance(problem.error, CaptionRefused) for problem in result.problems)
        assert not (photos / "01.txt").exists() and (photos / "02.txt").exists()


def test_the_flag_takes_what_the_settings_take() -> None:
    from prism_cli.cli.caption import Source

    assert tuple(source.value for source in Source) == CAPTION_SOURCES

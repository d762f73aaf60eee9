"""The judge: each question of section 12 with its pictures, asked once, and never silently no."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from prism_cli import paths, prompts
from prism_cli.errors import (
    AddressRefused,
    DiskFull,
    KeyMissing,
    KeyRefused,
    ModelNotFound,
    OptionRefused,
)
from prism_cli.reports.model import Satisfaction
from prism_cli.services.answer_cache import AnswerCache
from prism_cli.services.events import Event, Note, OnEvent, StageMoved, ignore
from prism_cli.services.vlm_judge import (
    CRITERIA,
    MODEL,
    Judged,
    check_key,
    judge_pictures,
    model_of,
)
from tests import gemini as api
from tests.gemini import Asked, FakeGemini, Reply, answers

FIDELITY, ALIGNMENT, OVERALL = "Concept Fidelity", "Text Alignment", "Overall Preference"
COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220)}
SOURCES = [Image.new("RGB", (64, 64), colour) for colour in ((250, 250, 250), (9, 9, 9))]
PICTURES = [
    Judged(
        f"a {name} [mydog]", f"a {name} {{dog}}", f"drawn/{name}.png", Image.new("RGB", (64, 64), c)
    )
    for name, c in COLOURS.items()
]


@pytest.fixture
def gemini(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGemini]:
    """Gemini's server; it is satisfied with all that is not blue."""
    fake = FakeGemini(otherwise=lambda asked: answers(satisfied=colour(asked) != "blue"))
    with api.connected(fake, monkeypatch):
        yield fake


def colour(asked: Asked, place: int = 0) -> str:
    """The name of the colour nearest to a picture that was sent."""
    with Image.open(io.BytesIO(asked.files[place])) as picture:
        seen = picture.convert("RGB").getpixel((5, 5))
    return min(
        COLOURS, key=lambda n: sum((a - b) ** 2 for a, b in zip(COLOURS[n], seen, strict=True))
    )


def criterion(asked: Asked) -> str:
    """Which of the three was asked about."""
    return next(
        each.name for each in CRITERIA if asked.prompt.startswith(each.prompt.split("{")[0])
    )


def judge(sources: list[Image.Image] = SOURCES, on_event: OnEvent = ignore) -> Satisfaction:
    """Judge the three pictures."""
    return judge_pictures(MODEL, PICTURES, sources, on_event)


def rates(found: Satisfaction) -> dict[str, tuple[int, int, int]]:
    """Satisfied, answered and unanswered by criterion."""
    return {r.criterion: (r.satisfied, r.answered, r.unanswered) for r in found.rates}


def notes(events: list[Event]) -> list[str]:
    """All warnings."""
    return [e.text for e in events if isinstance(e, Note) and e.level == "warning"]


class TestQuestions:
    """What is asked, and what is shown with it."""

    def test_the_papers_words(self) -> None:
        """Supplement, section 12, letter by letter."""
        head = (
            "You are an impartial and unambiguous judge who must evaluate the quality of the given "
            "picture. You must assign either 1 (satisfies the condition) or 0 (does not). The "
            "condition is: \u2018"
        )
        tail = "\u2019 Please output a single digit (1 or 0)."
        conditions = {
            prompts.TEXT_ALIGNMENT: "Does the picture reflect the following text prompt? - Text "
            "Prompt: {text_prompt}",
            prompts.CONCEPT_FIDELITY: "Does the picture faithfully follow the visual details of "
            "the source images?",
            prompts.OVERALL_PREFERENCE: "Considering both the text prompt and the source images, "
            "does the given picture follow both the text prompt and source visual details?",
        }
        for asked, condition in conditions.items():
            assert asked == head + condition + tail

    def test_each_with_its_pictures(self, gemini: FakeGemini) -> None:
        """Fidelity sees the photos, alignment the prompt, the overall preference both."""
        judge()

        assert len(gemini.asked) == 9
        for asked in gemini.asked:
            name, text = criterion(asked), f"a {colour(asked)} {{dog}}"
            assert len(asked.files) == (1 if name == ALIGNMENT else 3)
            assert (text in asked.prompt) == (name != FIDELITY)
            assert "{text_prompt}" not in asked.prompt and "mydog" not in asked.prompt
            assert (prompts.WHICH_IS_WHICH in asked.prompt) == (name != ALIGNMENT)
            schema = asked.body["generationConfig"]["responseJsonSchema"]
            assert schema["properties"]["satisfied"]["type"] == "boolean"
        shown = {(criterion(asked), colour(asked)) for asked in gemini.asked}
        assert shown == {(each.name, c) for each in CRITERIA for c in COLOURS}
        assert gemini.asked[0].path == f"/v1/models/{MODEL}:generateContent"

    def test_without_photos_two_criteria_are_left_out(self, gemini: FakeGemini) -> None:
        """And that is said."""
        events: list[Event] = []
        found = judge([], events.append)

        assert rates(found) == {ALIGNMENT: (2, 3, 0)}
        assert {len(asked.files) for asked in gemini.asked} == {1}
        left_out, leaving = notes(events)
        assert FIDELITY in left_out and OVERALL in left_out and "--photos" in left_out
        assert "3 drawn pictures leave" in leaving and "3 questions" in leaving


class TestAnswers:
    """What becomes of them."""

    def test_the_share_of_each_criterion(self, gemini: FakeGemini) -> None:
        """Each answer stays with its picture, and the interval is Wilson's."""
        gemini.otherwise = lambda asked: Reply(
            answers(
                satisfied={FIDELITY: True, ALIGNMENT: colour(asked) == "red", OVERALL: False}[
                    criterion(asked)
                ]
            ).body,
            seconds=0.05 if colour(asked) == "red" else 0.0,  # comes last
        )
        events: list[Event] = []
        found = judge(on_event=events.append)

        assert rates(found) == {FIDELITY: (3, 3, 0), ALIGNMENT: (1, 3, 0), OVERALL: (0, 3, 0)}
        fidelity, alignment, overall = found.rates
        assert (fidelity.share, alignment.share, overall.share) == (1.0, 1 / 3, 0.0)
        assert fidelity.low == pytest.approx(3 / (3 + 1.959964**2)) and fidelity.high == 1.0
        assert overall.high == pytest.approx(1 - fidelity.low) and overall.low == 0.0
        satisfied = {v.picture: v.satisfied for v in found.verdicts if v.criterion == ALIGNMENT}
        assert satisfied == {
            "drawn/red.png": True, "drawn/green.png": False, "drawn/blue.png": False,
        }  # fmt: skip
        assert found.judge == f"gemini:{MODEL}"
        [leaving] = notes(events)
        assert re.search(r"3 drawn pictures and 2 photos.*leave this machine.*9 questions", leaving)
        assert [e.step for e in events if isinstance(e, StageMoved)] == list(range(1, 10))

    def test_nothing_is_asked_twice(
        self, gemini: FakeGemini, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not even a key is needed then; a damaged answer is asked for again, and nothing else."""
        first = judge()
        monkeypatch.delenv("GEMINI_API_KEY")
        events: list[Event] = []
        again = judge(on_event=events.append)

        assert again == first and len(gemini.asked) == 9 and events == []
        kept = sorted(paths.verdicts_cache().iterdir())
        assert len(kept) == 9 and not any("red" in file.read_text() for file in kept)
        kept[0].write_text('{"satisfied": "perhaps"}')
        monkeypatch.setenv("GEMINI_API_KEY", api.KEY)
        assert judge(on_event=events.append) == first and len(gemini.asked) == 10
        assert "1 question; 8 more were answered before" in notes(events)[0]

    def test_answers_that_cannot_be_kept_end_it(
        self, gemini: FakeGemini, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every one would be asked for, and paid, again."""

        def full(*args: object) -> None:
            raise DiskFull("the disk is full")

        monkeypatch.setattr(AnswerCache, "keep", full)
        with pytest.raises(DiskFull):
            judge()
        assert len(gemini.asked) < 9

    @pytest.mark.parametrize(
        ("change", "new"), [("model", 9), ("photos", 6), ("text", 6), ("picture", 9)]
    )
    def test_another_question_is_another(self, gemini: FakeGemini, change: str, new: int) -> None:
        """Picture, photos, prompt and model decide an answer; each criterion what it depends on."""
        judge()
        pictures, sources = PICTURES, SOURCES
        if change == "photos":
            sources = SOURCES[:1]
        elif change == "text":
            pictures = [replace(p, text="a cat") for p in PICTURES]
        elif change == "picture":
            pictures = [replace(p, picture=p.picture.resize((65, 64))) for p in PICTURES]
        judge_pictures("another" if change == "model" else MODEL, pictures, sources, ignore)

        assert len(gemini.asked) == 9 + new

    @pytest.mark.parametrize(
        ("reply", "tries"),
        [
            (api.blocked(), 1),
            (api.stopped("SAFETY"), 1),
            (answers(satisfied="yes"), 4),
            (api.says("1"), 4),
            (api.BROKEN, 4),
        ],
    )
    def test_no_answer_is_neither_yes_nor_no(
        self, gemini: FakeGemini, reply: Reply, tries: int
    ) -> None:
        """It is counted, named, and asked again the next time; the others are kept."""
        usual = gemini.otherwise
        gemini.otherwise = lambda asked: (
            reply if (criterion(asked), colour(asked)) == (FIDELITY, "green") else usual(asked)
        )
        events: list[Event] = []
        found = judge(on_event=events.append)

        assert rates(found) == {FIDELITY: (1, 2, 1), ALIGNMENT: (2, 3, 0), OVERALL: (2, 3, 0)}
        assert found.rates[0].share == 0.5
        [failed] = [v for v in found.verdicts if v.satisfied is None]
        assert (failed.criterion, failed.picture) == (FIDELITY, "drawn/green.png")
        assert failed.problem and failed.problem in notes(events)[-1]
        assert "1 of 9 questions" in notes(events)[-1] and "drawn/green.png" in notes(events)[-1]
        assert len(gemini.asked) == 8 + tries
        gemini.otherwise = usual
        assert rates(judge())[FIDELITY] == (2, 3, 0) and len(gemini.asked) == 9 + tries

    def test_a_busy_server_is_asked_again(self, gemini: FakeGemini) -> None:
        """After the wait that it asks for."""
        gemini.replies = [api.BUSY]

        assert rates(judge())[ALIGNMENT] == (2, 3, 0)
        assert len(gemini.asked) == 10 and max(gemini.waits) >= 27

    def test_a_quota_that_is_used_up_ends_the_asking(self, gemini: FakeGemini) -> None:
        """Not every question waits for minutes; all are unanswered, and the next run goes on."""
        usual = gemini.otherwise
        gemini.otherwise = lambda asked: Reply(api.BUSY.body, 429, seconds=0.02)
        events: list[Event] = []
        found = judge(on_event=events.append)

        assert rates(found) == dict.fromkeys((FIDELITY, ALIGNMENT, OVERALL), (0, 0, 3))
        assert all(rate.share is rate.low is rate.high is None for rate in found.rates)
        assert 12 <= len(gemini.asked) <= 4 * 8 < 4 * 9
        assert "9 of 9 questions" in notes(events)[-1] and "and 6 more" in notes(events)[-1]
        gemini.otherwise = usual
        assert rates(judge()) == dict.fromkeys((FIDELITY, ALIGNMENT, OVERALL), (2, 3, 0))

    def test_stopped_it_goes_on(self, gemini: FakeGemini) -> None:
        """What was answered before Ctrl-C is not asked again."""
        usual = gemini.otherwise  # slow: all nine could else be asked before the stop is noticed
        gemini.otherwise = lambda asked: replace(usual(asked), seconds=0.3)

        def stop(event: Event) -> None:
            if isinstance(event, StageMoved) and event.step == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            judge(on_event=stop)
        asked = len(gemini.asked)
        judge()

        assert 3 <= asked < 9 and len(gemini.asked) == 9


class TestWhoCannotBeAsked:
    """Errors about all questions at once."""

    @pytest.mark.parametrize(
        ("reply", "error", "hint"),
        [
            (api.WRONG_KEY, KeyRefused, "export GEMINI_API_KEY"),
            (api.FORBIDDEN, KeyRefused, "export GEMINI_API_KEY"),
            (api.NO_MODEL, ModelNotFound, "--judge-model"),
        ],
    )
    def test_the_first_answer_ends_it(
        self, gemini: FakeGemini, reply: Reply, error: type[Exception], hint: str
    ) -> None:
        """In one sentence, without the key, and with what mends it."""
        gemini.otherwise = lambda asked: reply
        events: list[Event] = []
        with pytest.raises(error) as caught:
            judge(on_event=events.append)

        assert hint in caught.value.hint  # type: ignore[attr-defined]
        assert api.KEY not in f"{caught.value} {caught.value.__context__} {events}"
        assert len(gemini.asked) <= 8

    def test_no_key_and_no_address(
        self, gemini: FakeGemini, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Told before anything is drawn."""
        check_key(MODEL)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "nowhere")
        with pytest.raises(AddressRefused) as caught:
            check_key(MODEL)
        assert "https://" in caught.value.hint
        monkeypatch.delenv("GEMINI_API_KEY")
        with pytest.raises(KeyMissing):
            check_key(MODEL)
        assert gemini.asked == []


def test_the_model_that_judges() -> None:
    """Nobody unless asked for; then the usual one or the one that was named."""
    assert model_of(None, None) is None
    assert model_of("gemini", None) == MODEL and model_of("gemini", "gemini-x") == "gemini-x"
    for judge_, model in ((None, "gemini-x"), ("gpt", None), ("gemini", "../x"), ("gemini", "")):
        with pytest.raises(OptionRefused):
            model_of(judge_, model)


def test_what_is_kept_holds_no_text(gemini: FakeGemini) -> None:
    """An answer and who gave it; neither picture, nor file, nor prompt."""
    judge([])

    for file in paths.verdicts_cache().iterdir():
        content = json.loads(Path(file).read_text("utf-8"))
        assert content.keys() == {"satisfied", "source"} and api.KEY not in str(content)

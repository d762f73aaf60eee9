"""The evaluation by a vision language model: three criteria, yes or no (supplement, section 12).

The first picture of each prompt is judged, so that the answers to a criterion are independent, as
the interval of their share takes them to be.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from PIL.Image import Image

from prism_cli import paths, prompts
from prism_cli.errors import (
    GeminiUnreachable,
    GeminiUnusable,
    ModelNotFound,
    OptionRefused,
    PrismError,
)
from prism_cli.gemini_client import SIDE, Gemini
from prism_cli.method.satisfaction import wilson_interval
from prism_cli.reports.model import Rate, Satisfaction, Verdict
from prism_cli.services.answer_cache import AnswerCache
from prism_cli.services.asking import ask_each
from prism_cli.services.events import Note, OnEvent, StageBegan, StageEnded, StageMoved
from prism_cli.settings import GEMINI_MODEL, CaptionOptions

STAGE = "judging"
JUDGES = ("gemini",)
MODEL = CaptionOptions().model  # the paper asked GPT-4o
_AT_ONCE = 4  # questions, as for captions
_PATIENCE = 3  # questions in a row that Gemini was too busy for: a quota is used up
_NAMED = 3  # pictures that a sentence names
_SCHEMA = {
    "type": "object",
    "properties": {
        "satisfied": {"type": "boolean", "description": "true for 1 (satisfies), false for 0"}
    },
    "required": ["satisfied"],
}
_HINTS = {
    ModelNotFound: "name another with --judge-model, for example gemini-flash-latest",
    GeminiUnreachable: "look at the network and the proxy; without a network, leave --judge out",
}


@dataclass(frozen=True, slots=True)
class Criterion:
    """What is asked about a picture. compares: whether the source images are shown with it."""

    name: str
    prompt: str
    compares: bool

    def question(self, text: str) -> str:
        """The paper's prompt, with what it leaves unsaid behind it. text: what was to be drawn."""
        asked = self.prompt.replace("{text_prompt}", text)
        if self.compares:
            asked += f"\n{prompts.WHICH_IS_WHICH}"
        if self.prompt == prompts.OVERALL_PREFERENCE:
            asked += "\n" + prompts.TEXT_PROMPT.replace("{text_prompt}", text)
        return asked


CRITERIA = (
    Criterion("Concept Fidelity", prompts.CONCEPT_FIDELITY, compares=True),
    Criterion("Text Alignment", prompts.TEXT_ALIGNMENT, compares=False),
    Criterion("Overall Preference", prompts.OVERALL_PREFERENCE, compares=True),
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A picture to be judged. prompt: as it is shown. text: what it should show, in words."""

    prompt: str
    text: str
    file: str
    picture: Image


@dataclass(frozen=True, slots=True)
class _Question:
    """images: the given picture, then the source images where they are compared with."""

    criterion: Criterion
    about: Judged
    prompt: str
    images: tuple[Image, ...]
    key: tuple[str, ...]


def model_of(judge: str | None, model: str | None) -> str | None:
    """The id of the model that judges; None for nobody. Raises OptionRefused."""
    if judge is None:
        if model is not None:
            raise OptionRefused(
                "--judge-model names a model that nothing is asked of", hint="add --judge gemini"
            )
        return None
    if judge not in JUDGES:
        raise OptionRefused(
            f"there is no judge {judge!r}", hint=f"--judge takes {', '.join(JUDGES)}"
        )
    if model is not None and not re.fullmatch(GEMINI_MODEL, model, re.ASCII):
        raise OptionRefused(
            f"--judge-model takes the id of a Gemini model, not {model!r}",
            hint=f"for example --judge-model {MODEL}",
        )
    return model or MODEL


def criteria(sources: int) -> tuple[Criterion, ...]:
    """Those that can be judged with so many source images; two of them need at least one."""
    return tuple(each for each in CRITERIA if sources or not each.compares)


def check_key(model: str) -> None:
    """Raise a GeminiUnusable where there is no key or no address to ask at; nothing is sent."""
    with _hints():
        Gemini(model).close()


def judge_pictures(
    model: str, pictures: Sequence[Judged], sources: Sequence[Image], on_event: OnEvent
) -> Satisfaction:
    """Ask about each picture once for each criterion, and count.

    A question that has no answer is counted as that, named, and asked again the next time. Raises
    GeminiUnusable where nothing can be asked; what was answered until then is kept.
    """
    source = f"gemini:{model}"
    _say_left_out(sources, on_event)
    questions = _questions(source, pictures, sources)
    cache = AnswerCache(paths.verdicts_cache())
    answers: dict[int, bool | PrismError] = {}
    for k, question in enumerate(questions):
        kept = cache.read(question.key).get("satisfied")
        if isinstance(kept, bool):
            answers[k] = kept
    new = {k: question for k, question in enumerate(questions) if k not in answers}
    if new:
        answers |= _ask(model, new, cache, on_event, _leaving(new, len(answers), source))
    _say_unanswered([(q, answers[k]) for k, q in enumerate(questions)], on_event)
    verdicts = tuple(_verdict(question, answers[k]) for k, question in enumerate(questions))
    rates = tuple(_rate(each.name, verdicts) for each in criteria(len(sources)))
    return Satisfaction(judge=source, rates=rates, verdicts=verdicts)


def _questions(
    source: str, pictures: Sequence[Judged], sources: Sequence[Image]
) -> list[_Question]:
    shown = tuple(sources)
    hashes = tuple(map(_digest, shown))
    questions = []
    for criterion in criteria(len(shown)):
        for each in pictures:
            prompt = criterion.question(each.text)
            seen, seen_hashes = (shown, hashes) if criterion.compares else ((), ())
            key = (_digest(each.picture), *seen_hashes, source, prompt)
            questions.append(_Question(criterion, each, prompt, (each.picture, *seen), key))
    return questions


def _digest(picture: Image) -> str:
    """The SHA-256 of the pixels: a photo and its file are not the same, once it is cropped."""
    return hashlib.sha256(
        repr((picture.mode, picture.size)).encode() + picture.tobytes()
    ).hexdigest()


def _ask(
    model: str,
    questions: Mapping[int, _Question],
    cache: AnswerCache,
    on_event: OnEvent,
    leaving: Note,
) -> dict[int, bool | PrismError]:
    with _hints():
        client = Gemini(model)
        on_event(leaving)
        on_event(StageBegan(STAGE, len(questions), unit="question"))

        def one(question: _Question) -> bool:
            satisfied = bool(client.ask(question.prompt, question.images, _SCHEMA)["satisfied"])
            cache.keep(question.key, {"satisfied": satisfied, "source": f"gemini:{model}"})
            return satisfied

        try:
            answers = ask_each(
                one,
                questions,
                at_once=_AT_ONCE,
                stop=client.stop,
                moved=lambda count: on_event(StageMoved(STAGE, count)),
                patience=_PATIENCE,
            )
        finally:
            client.close()
    on_event(StageEnded(STAGE, len(answers), "done"))
    return answers


@contextmanager
def _hints() -> Iterator[None]:
    """While open, an error of the client names the options of `prism eval`, not of a caption."""
    try:
        yield
    except GeminiUnusable as error:
        hint = next((hint for kind, hint in _HINTS.items() if isinstance(error, kind)), error.hint)
        raise type(error)(error.message, hint=hint) from None


def _leaving(new: Mapping[int, _Question], kept: int, source: str) -> Note:
    """What is sent where, before it is."""
    drawn = len({question.about.file for question in new.values()})
    photos = max(len(question.images) - 1 for question in new.values())
    before = f"; {kept} more were answered before" if kept else ""
    leave = "leaves" if drawn == 1 and not photos else "leave"
    return Note(
        f"{sent(drawn, photos)} {leave} this machine for Google ({source}), at most {SIDE} px large"
        f" and without metadata, in {_count(len(new), 'question')}{before}",
        "warning",
    )


def sent(drawn: int, photos: int) -> str:
    """What a judge gets, in words."""
    return _count(drawn, "drawn picture") + (f" and {_count(photos, 'photo')}" if photos else "")


def _say_left_out(sources: Sequence[Image], on_event: OnEvent) -> None:
    names = [each.name for each in CRITERIA if each not in criteria(len(sources))]
    if names:
        on_event(
            Note(
                f"{' and '.join(names)} are not judged: they compare with the photos"
                " (--photos FOLDER)",
                "warning",
            )
        )


def _say_unanswered(
    answered: Sequence[tuple[_Question, bool | PrismError]], on_event: OnEvent
) -> None:
    """A sentence a reason, with how many questions it left unanswered."""
    reasons = Counter(a.message for _, a in answered if isinstance(a, PrismError))
    for reason, count in reasons.items():
        which = [
            f"{question.criterion.name} of {question.about.file}"
            for question, a in answered
            if isinstance(a, PrismError) and a.message == reason
        ]
        more = f" and {count - _NAMED} more" if count > _NAMED else ""
        on_event(
            Note(
                f"{count} of {_count(len(answered), 'question')} unanswered, which counts as"
                f" neither yes nor no: {', '.join(which[:_NAMED])}{more}: {reason};"
                " the same command asks again",
                "warning",
            )
        )


def _verdict(question: _Question, answer: bool | PrismError) -> Verdict:
    satisfied, problem = (None, answer.message) if isinstance(answer, PrismError) else (answer, "")
    return Verdict(
        criterion=question.criterion.name,
        prompt=question.about.prompt,
        picture=question.about.file,
        satisfied=satisfied,
        problem=problem,
    )


def _rate(criterion: str, verdicts: Sequence[Verdict]) -> Rate:
    every = [each.satisfied for each in verdicts if each.criterion == criterion]
    answers = [satisfied for satisfied in every if satisfied is not None]
    low, high = wilson_interval(sum(answers), len(answers)) if answers else (None, None)
    return Rate(
        criterion=criterion,
        satisfied=sum(answers),
        answered=len(answers),
        unanswered=len(every) - len(answers),
        share=sum(answers) / len(answers) if answers else None,
        low=low,
        high=high,
    )


def _count(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")

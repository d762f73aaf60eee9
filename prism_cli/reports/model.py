"""What is known of a concept, as its report shows it: plain values, so that a renderer is pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number of an evaluation, beside what it is to be compared with; None was not measured.

    encoder: what looked. value: of the concept's pictures. base: of the base's own, without the
    concept. held_out: of photos of the concept that were not trained on. wanted: where a good
    concept lies.
    """

    name: str
    encoder: str
    meaning: str
    wanted: str
    value: float
    base: float | None = None
    held_out: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptResult:
    """One prompt of an evaluation.

    prompt: with * for the concept, or its name. plain: what the base drew alone. text: what both
    were compared with. pictures, base_pictures: names of files.
    """

    prompt: str
    plain: str
    text: str
    alignment: float
    base_alignment: float
    pictures: tuple[str, ...]
    base_pictures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judge's answer about one picture; satisfied: None where there is none, for `problem`."""

    criterion: str
    prompt: str
    picture: str
    satisfied: bool | None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many pictures satisfy a criterion, of those that the judge answered for.

    share: of the answers; low, high: its 95 % interval. None where nothing was answered.
    """

    criterion: str
    satisfied: int
    answered: int
    unanswered: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Satisfaction:
    """What a judge found (supplement, section 12). judge: who was asked, with the model."""

    judge: str
    rates: tuple[Rate, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was drawn and measured of a concept.

    word: the class word that stood for the concept where the base drew alone. target, residuals,
    both: names of the files with what the tokens draw, the last two one a photo. references,
    held_out: how many photos were compared with. satisfaction: None where no judge was asked.
    leakage: residual i (row) on photo j, None where the photos were not there (`method.leakage`).
    """

    created: str
    base: str
    revision: str
    prompt_list: str
    word: str | None
    count: int
    seed: int
    steps: int
    guidance: float
    references: int
    held_out: int
    scores: tuple[Score, ...]
    prompts: tuple[PromptResult, ...]
    target: tuple[str, ...]
    residuals: tuple[str, ...]
    both: tuple[str, ...]
    satisfaction: Satisfaction | None = None
    leakage: tuple[tuple[float, ...], ...] | None = None

    @property
    def compared(self) -> str:
        """What pictures were compared with, in words."""
        if not self.references:
            return "no photos"
        photos = f"{self.references} photo{'' if self.references == 1 else 's'}"
        return f"{photos} that were trained on, {self.held_out} held out"

    def named(self, name: str) -> Evaluation:
        """As it is shown: the concept's name, which may change, for the * of every prompt."""

        def said(prompt: str) -> str:
            return prompt.replace("*", f"[{name}]")

        judged = self.satisfaction
        if judged is not None:
            verdicts = (replace(each, prompt=said(each.prompt)) for each in judged.verdicts)
            judged = replace(judged, verdicts=tuple(verdicts))
        prompts = tuple(replace(each, prompt=said(each.prompt)) for each in self.prompts)
        return replace(self, prompts=prompts, satisfaction=judged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture as a page shows it. data: the bytes of a file of type `mime`. width, height: px."""

    label: str
    data: bytes
    mime: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The deterministic loss of a stage: points of step and loss, and how the stage ended."""

    stage: str
    ended: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An option of the training, and whether a flag, a file or the default gave it."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """The caption of a photo, and where it came from. photo: the start of its SHA-256."""

    photo: str
    text: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """What the tokens of one photo draw: the residual alone, and target and residual together."""

    reference: Picture | None
    residual: Picture
    both: Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrid:
    """What target, residual and both draw."""

    target: tuple[Picture, ...]
    rows: tuple[TokenRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Numbers of pairs, such as how far residual i moves the prediction for photo j.

    values: a row a label. note: what a number means, and which are wanted.
    """

    labels: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InterferingLayer:
    """A layer that two concepts change.

    cosine: of what they do. reads, writes: how much of what they take in and put out they share.
    clashes: whether one changes what the other does.
    """

    layer: str
    cosine: float
    reads: float
    writes: float
    clashes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InterferingPair:
    """Two concepts of a composition.

    cosine: of their weighted deltas. tokens: of their tokens, in each encoder. changed: how many
    layers both change, of which so many clash. layers: those of the strongest cosines, in order.
    """

    one: str
    other: str
    cosine: float
    tokens: Mapping[str, float]
    changed: int
    clashes: int
    layers: tuple[InterferingLayer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLikeness:
    """How like a concept's own pictures its pictures are, alone and composed; measure: of what."""

    name: str
    measure: str
    alone: float
    composed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interference:
    """How the concepts of a composition get in each other's way, and what to try."""

    pairs: tuple[InterferingPair, ...]
    likeness: tuple[KeptLikeness, ...]
    advice: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPrompt:
    """A prompt with its pictures: the concept's, and one of the base's alone."""

    result: PromptResult
    pictures: tuple[Picture, ...]
    base: Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a report shows; a section that is None or empty is left out.

    use: commands, with what each does. composed: whether it is of other concepts, so that it was
    learned from no photo and is not evaluated.
    """

    name: str
    kind: str
    created: str
    prism_version: str
    base: str
    revision: str
    facts: Mapping[str, str]
    preview: Picture | None
    references: tuple[Picture, ...]
    held_out: tuple[Picture, ...]
    curves: tuple[Curve, ...]
    captions: tuple[Caption, ...]
    settings: tuple[Setting, ...]
    use: tuple[tuple[str, str], ...]
    evaluation: Evaluation | None = None
    grid: TokenGrid | None = None
    drawn: tuple[DrawnPrompt, ...] = ()
    leakage: Matrix | None = None
    interference: Interference | None = None
    composed: bool = False

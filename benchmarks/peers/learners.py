"""Textual Inversion, DreamBooth with LoRA, pivotal tuning and prism, on prism's own adapter.

Each peer is its published recipe at its plainest, written anew on the adapter's plain pieces: the
text encoder with rows of one's own, the noising, the prediction, peft's LoRA. All have the base's
own batch and rank, so that they differ in what is learned and from which prompt.

- Textual Inversion (Gal et al., 2022): the rows of one new word, under templates. It begins as the
  class noun, or as the look that prism's captioner has read.
- DreamBooth (Ruiz et al., 2023) with LoRA, as in diffusers' example, without prior preservation: a
  LoRA, under "a photo of a sks cat", or "a photo of sks".
- Pivotal tuning (Roich et al., 2021; for LoRA as in cloneofsimo/lora): the word first, then a LoRA
  while the word is fixed.
- prism at gamma = 0: Algorithm 2 as the paper has it, where nothing holds the LoRA. The next ones
  leave out, or have, one thing more, and are compared with it:
- prism without residuals: its start and its bare prompt, and no more than the target in it.
- prism without captions: every residual starts from "a photo"; at beta = 0 too. With whole ones:
  they name the concept too, as the paper's do. With a random start: it is not told what look the
  photos share.

Words are left at their running average where the recipe has one, in every learner. All but prism
itself have the LoRA of `budget.unheld`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Generator, Tensor, nn

from benchmarks.peers.budget import HELD, LORA, Stages, Updates
from prism_cli.backbones.base import Backbone, Conditioning, Prompt, Rows, Slot
from prism_cli.backbones.corruption import corrupt, target
from prism_cli.method.conditions import TEMPLATE
from prism_cli.method.finetuning import Finetuning, encode_conditions, finetune
from prism_cli.method.losses import reconstruction_loss
from prism_cli.method.token_optimization import TokenTraining, optimize_tokens
from prism_cli.method.tokens import ConceptTokens, init_tokens, pool_rows, random_rows
from prism_cli.runtime import generator
from prism_cli.settings import Recipe

WORD = Slot("concept")
RARE = "sks"  # the identifier of DreamBooth's examples: letters that mean nothing to the base
TEMPLATES = ("a photo of a {}", "a picture of a {}", "a drawing of a {}")
STYLE_TEMPLATES = ("{} picture", "{} drawing", "{} photo")  # as the base says styles
OWN, NAMED, BARE = "own", "named", "bare"  # without what the photos share; with it; "a photo"
# The updates end a stage, not its cap or its plateau, so that no time goes into looking for one.
UNWATCHED: dict[str, Any] = {"steps": 10**6, "evaluate_every": 10**6, "plateau_ratio": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What is learned from. z_0: (N, 1, c, h, w). nouns: what each photo shows a thing of.

    noun: the one that all of them show; None for a style or a pattern. captions: of each photo, by
    what they say: `OWN`, `NAMED`, `BARE`. look: what they share and `OWN` leaves out, as far as the
    captioner has read it. template: how prism has target and residual together;
    not as ever for a style, which the others say in its own way too.
    """

    z_0: Tensor
    captions: Mapping[str, Sequence[str]]
    nouns: Sequence[str]
    noun: str | None
    look: str = ""
    template: str = TEMPLATE

    @property
    def templates(self) -> Sequence[str]:
        """How Textual Inversion and pivotal tuning say the word."""
        return TEMPLATES if self.template == TEMPLATE else STYLE_TEMPLATES

    def rare(self, noun: str = "") -> str:
        """How DreamBooth says a photo, of a thing that it may be told."""
        if self.template != TEMPLATE:
            return f"{RARE} picture of a {noun}" if noun else f"{RARE} picture"
        return f"a photo of a {RARE} {noun}" if noun else f"a photo of {RARE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What stands for * in a prompt, and what it needs. steps: updates made.

    first_loss: prism's objective on a fixed batch before the first of them.
    """

    word: str | Slot
    rows: Rows = field(default_factory=dict)
    steps: int
    first_loss: float | None = None

    def prompt(self, template: str) -> Prompt:
        """A template with the concept in it."""
        before, _, after = template.partition("*")
        return tuple(piece for piece in (before, self.word, after) if piece)


Learn = Callable[[Backbone, Lesson, Recipe, Updates, int], Learned]


@dataclass(frozen=True, slots=True)
class Learner:
    """A method and the stages that it has. than: the learner it is compared with."""

    learn: Learn
    stages: Stages
    than: str = "prism"


def textual_inversion(
    backbone: Backbone, lesson: Lesson, recipe: Recipe, updates: Updates, seed: int
) -> Learned:
    """The rows of a word; they begin as the class noun, or as the look that all photos share."""
    rows = _learn_word(backbone, lesson, recipe, updates.words, generator(seed))
    return Learned(word=WORD, rows=rows, steps=updates.words)


def dreambooth(
    backbone: Backbone,
    lesson: Lesson,
    recipe: Recipe,
    updates: Updates,
    seed: int,
    *,
    with_noun: bool = True,
) -> Learned:
    """A LoRA under a rare word, with the photo's noun behind it or without."""
    nouns = lesson.nouns if with_noun else [""] * len(lesson.nouns)
    prompts: list[Prompt] = [(lesson.rare(noun),) for noun in nouns]
    _learn_lora(backbone, lesson.z_0, prompts, {}, recipe, updates.lora, seed)
    word = f"{RARE} {lesson.noun}" if with_noun and lesson.noun else RARE
    return Learned(word=word, steps=updates.lora)


def pivotal_tuning(
    backbone: Backbone, lesson: Lesson, recipe: Recipe, updates: Updates, seed: int
) -> Learned:
    """A word, then a LoRA under it."""
    rows = _learn_word(backbone, lesson, recipe, updates.words, generator(seed))
    prompts: list[Prompt] = [_about(lesson.templates[0], WORD)] * len(lesson.z_0)
    _learn_lora(backbone, lesson.z_0, prompts, rows, recipe, updates.lora, seed + 1)
    return Learned(word=WORD, rows=rows, steps=updates.total)


def without_residuals(
    backbone: Backbone, lesson: Lesson, recipe: Recipe, updates: Updates, seed: int
) -> Learned:
    """Algorithms 1 and 2 with nothing but the target in the prompt."""
    bare = replace(lesson, noun=None)
    rows = _learn_word(backbone, bare, recipe, updates.words, generator(seed), ("{}",))
    prompts: list[Prompt] = [(WORD,)] * len(lesson.z_0)
    _learn_lora(backbone, lesson.z_0, prompts, rows, recipe, updates.lora, seed + 1)
    return Learned(word=WORD, rows=rows, steps=updates.total)


def prism(
    backbone: Backbone,
    lesson: Lesson,
    recipe: Recipe,
    updates: Updates,
    seed: int,
    *,
    beta: float | None = None,
    captions: str = OWN,
    told: bool = True,
) -> Learned:
    """Algorithms 1 and 2. beta: None for the base's own. told: whether of the look, if any."""
    options = replace(
        recipe.tokens,
        beta=recipe.tokens.beta if beta is None else beta,
        **UNWATCHED | {"steps": updates.words},
    )
    rng = generator(seed)
    tokens = init_tokens(
        backbone,
        WORD.concept,
        lesson.captions[captions],
        length=options.length,
        word=(lesson.look or None) if told else None,
        residual_length=options.residual_length or None,
        rng=rng,
        template=lesson.template,
    )
    state = TokenTraining.start(tokens, options, rng)
    for _ in optimize_tokens(backbone, lesson.z_0, state, options):
        pass
    if updates.lora:
        tuning = replace(recipe.finetuning, **UNWATCHED)
        conditions = encode_conditions(backbone, tokens, preserved=tuning.preserved)
        lora = Finetuning.start(backbone, tuning, generator(seed + 1))
        for _ in islice(finetune(backbone, lesson.z_0, conditions, lora, tuning), updates.lora):
            pass
    return Learned(
        word=WORD,
        rows=tokens.detached().rows(),
        steps=updates.total,
        first_loss=state.curve[0],
    )


PRISM, PAPER = Stages("tokens", HELD), Stages("tokens", LORA)
UNHELD = "prism, gamma = 0"
LEARNERS: Mapping[str, Learner] = {
    "prism": Learner(prism, PRISM),
    UNHELD: Learner(prism, PAPER),
    "prism, no captions": Learner(partial(prism, captions=BARE), PAPER, UNHELD),
    "prism, beta = 0": Learner(partial(prism, beta=0.0), Stages("tokens, beta = 0", LORA), UNHELD),
    "prism, no residuals": Learner(without_residuals, Stages("word", LORA), UNHELD),
    "pivotal tuning": Learner(pivotal_tuning, Stages("word", LORA)),
    "Textual Inversion": Learner(textual_inversion, Stages("word", None)),
    "DreamBooth-LoRA": Learner(dreambooth, Stages(None, LORA)),
    "DreamBooth-LoRA, no noun": Learner(partial(dreambooth, with_noun=False), Stages(None, LORA)),
    "prism, no captions, beta = 0": Learner(
        partial(prism, captions=BARE, beta=0.0), Stages("tokens, beta = 0", LORA), UNHELD
    ),
    "prism, whole captions": Learner(partial(prism, captions=NAMED), PAPER, UNHELD),
    "prism, random start": Learner(partial(prism, told=False), PRISM),
}
# Not as prism does it, nor what a table asks: only where they are asked for.
ASKED_FOR = ("prism, no captions, beta = 0", "prism, whole captions", "prism, random start")
COSTS: Mapping[str, tuple[str, Updates]] = {
    "tokens": ("prism", Updates(1, 0)),
    "tokens, beta = 0": ("prism, beta = 0", Updates(1, 0)),
    "word": ("pivotal tuning", Updates(1, 0)),
    LORA: ("DreamBooth-LoRA", Updates(0, 1)),
    HELD: ("prism", Updates(0, 1)),
}
"""By whom each stage's cost is measured, and an update of it."""


def _about(template: str, word: Slot) -> Prompt:
    """A template of {} with a word in it."""
    before, _, after = template.partition("{}")
    return tuple(piece for piece in (before, word, after) if piece)


def _learn_word(
    backbone: Backbone,
    lesson: Lesson,
    recipe: Recipe,
    updates: int,
    rng: Generator,
    templates: Sequence[str] | None = None,
) -> Rows:
    """Textual Inversion: only the new rows move."""
    options, start = recipe.tokens, lesson.noun or lesson.look
    rows = {
        encoder: nn.Parameter(
            pool_rows(backbone.word_rows(start)[encoder], 1)
            if start
            else random_rows(vocabulary, 1, rng)
        )
        for encoder, vocabulary in backbone.vocabulary().items()
    }
    templates = templates or lesson.templates
    state = TokenTraining.start(ConceptTokens(WORD.concept, rows, ()), options, rng)
    for _ in range(updates):
        i = _pick(len(lesson.z_0), options.batch, rng)
        said = torch.randint(len(templates), (len(i),), generator=rng).tolist()
        conditions = backbone.encode_text([_about(templates[k], WORD) for k in said], {WORD: rows})
        loss = _denoise(backbone, lesson.z_0[i, 0], conditions, rng)
        _descend(loss, state.optimizer, list(rows.values()), options.clip)
        state.step += 1
        state.average(options.ema_decay)
    state.settle()
    return {WORD: state.tokens.detached().target}


def _learn_lora(
    backbone: Backbone,
    z_0: Tensor,
    prompts: Sequence[Prompt],
    rows: Rows,
    recipe: Recipe,
    updates: int,
    seed: int,
) -> None:
    """A LoRA under one fixed prompt a photo."""
    if not updates:
        return
    with torch.no_grad():
        conditions = backbone.encode_text(prompts, rows)
    options, rng = recipe.finetuning, generator(seed)
    factors = backbone.add_lora(options.rank, rng)
    optimizer = torch.optim.AdamW(factors, lr=options.lr, weight_decay=options.weight_decay)
    for _ in range(updates):
        i = _pick(len(z_0), options.batch, rng)
        loss = _denoise(backbone, z_0[i, 0], conditions.take(i), rng)
        _descend(loss, optimizer, factors, options.clip)


def _pick(count: int, batch: int, rng: Generator) -> list[int]:
    """A batch of photos, none twice while there are others."""
    return [k % count for k in torch.randperm(max(count, batch), generator=rng)[:batch].tolist()]


def _denoise(backbone: Backbone, x: Tensor, conditions: Conditioning, rng: Generator) -> Tensor:
    """The plain denoising loss at random noise and times."""
    t = backbone.sample_times(len(x), rng)
    eps = torch.randn(x.shape, generator=rng).to(x)
    level = backbone.noise_level(t)
    prediction = backbone.predict(corrupt(x, eps, level), t, conditions)
    wanted = target(x, eps, level, backbone.parameterization)
    return reconstruction_loss(prediction, wanted).mean()


def _descend(loss: Tensor, optimizer: Any, parameters: Sequence[nn.Parameter], clip: float) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, clip or math.inf)  # 0: not at all
    optimizer.step()

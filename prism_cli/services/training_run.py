"""The two stages with their checkpoints: a run can be stopped anywhere and goes on.

Bit for bit, on as many threads as before, and with its base fitted to the memory as before: else it
rounds otherwise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from prism_cli.backbones.base import Backbone, Conditioning, Prompt
from prism_cli.errors import TrainingDiverged
from prism_cli.method.conditions import NULL, TEMPLATE
from prism_cli.method.finetuning import Finetuning, encode_conditions, finetune
from prism_cli.method.token_optimization import TokenTraining, optimize_tokens
from prism_cli.method.tokens import ConceptTokens, init_tokens
from prism_cli.runtime import generator
from prism_cli.services import checkpoint
from prism_cli.services.checkpoint import Checkpoint
from prism_cli.services.events import Note, OnEvent, StageBegan, StageEnded, StageMoved
from prism_cli.settings import Recipe

TOKENS, LORA = "tokens", "lora"  # the stages' names, in events and in checkpoints
# What a kill may cost; the result does not depend on it. One that took long to write is followed by
# a pause of twenty times as long, but of no more than five minutes.
CHECKPOINT_SECONDS, CHECKPOINT_SHARE, CHECKPOINT_AT_MOST = 5.0, 20, 300.0


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """How a stage went: updates made, "plateau" or "cap", its deterministic loss at both ends.

    curve: that loss at every look, from the first to the last (docs/archive.md, "metrics").
    """

    steps: int
    ended: str
    first: float
    last: float
    curve: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Trained:
    """What the two stages have learned. lora: diffusers' keys, empty when stage 2 was left out.

    previews: the conditions of the run's preview prompts.
    """

    tokens: ConceptTokens
    previews: Conditioning
    lora: dict[str, Tensor]
    outcomes: dict[str, StageOutcome]


@dataclass(slots=True, kw_only=True)
class TrainingRun:
    """One training: its inputs, and where its checkpoint lies."""

    backbone: Backbone
    z_0: Tensor  # (N, V, c, h, w)
    name: str
    captions: Sequence[str]
    start: str | None  # the word that the target starts as
    template: str = TEMPLATE
    recipe: Recipe
    seed: int
    lora_seed: int  # stage 2 has draws of its own: a resume need not replay stage 1's
    checkpoint_path: Path
    fitting: Sequence[str] = ()  # how the base was made to fit the memory: `Prepared.fitting`
    created: str  # when the training first began; kept across a resume
    on_event: OnEvent
    previews: Sequence[Prompt] = (NULL,)  # encoded between the stages, for whoever draws them

    def run(self) -> Trained:
        """Both stages, from the last checkpoint if there is one.

        The text encoders are let go between them: from there on the tokens are final.
        """
        saved = checkpoint.read(self.checkpoint_path)
        if saved is not None:
            self.created = saved.facts["created"]
            if saved.facts["fitting"] != list(self.fitting):
                self.on_event(
                    Note(
                        "the memory that is free has changed, which moves the result a little",
                        "warning",
                    )
                )
        rng = generator(self.seed)
        tokens = init_tokens(
            self.backbone,
            self.name,
            self.captions,
            length=self.recipe.tokens.length,
            word=self.start,
            residual_length=self.recipe.tokens.residual_length or None,
            rng=rng,
            template=self.template,
        )
        first = TokenTraining.start(tokens, self.recipe.tokens, rng)
        outcomes = self._optimize_tokens(first, saved)
        final = first.tokens.detached()
        conditions = encode_conditions(
            self.backbone, first.tokens, preserved=self.recipe.finetuning.preserved
        )
        previews = self.backbone.encode_text(self.previews, final.rows())
        self.backbone.release_text_encoders()
        lora: dict[str, Tensor] = {}
        if self.recipe.finetuning.steps:
            outcomes |= self._finetune(first, conditions, outcomes, saved)
            lora = self.backbone.lora_state()
        return Trained(final, previews, lora, outcomes)

    def _optimize_tokens(
        self, state: TokenTraining, saved: Checkpoint | None
    ) -> dict[str, StageOutcome]:
        if saved is not None:
            checkpoint.restore_values(state.tokens.parameters(), _listed(saved, "tokens."))
        if saved is not None and saved.facts["stage"] == LORA:
            facts = saved.facts["outcome"]
            return {TOKENS: StageOutcome(**{**facts, "curve": tuple(facts["curve"])})}
        if saved is not None:
            checkpoint.restore_values(state.averages, _listed(saved, "averages."))
            self._restore(state, saved)

        def snapshot() -> Checkpoint:
            tokens = _numbered("tokens.", state.tokens.parameters())
            return self._taken(TOKENS, state, tokens | _numbered("averages.", state.averages))

        steps = (
            (s.step, {"rec": s.rec, "excl": s.excl})
            for s in optimize_tokens(self.backbone, self.z_0, state, self.recipe.tokens)
        )
        return {TOKENS: self._drive(TOKENS, state, self.recipe.tokens.steps, steps, snapshot)}

    def _finetune(
        self,
        first: TokenTraining,
        conditions: Conditioning,
        done: dict[str, StageOutcome],
        saved: Checkpoint | None,
    ) -> dict[str, StageOutcome]:
        state = Finetuning.start(self.backbone, self.recipe.finetuning, generator(self.lora_seed))
        if saved is not None and saved.facts["stage"] == LORA:
            checkpoint.restore_values(state.factors, _listed(saved, "factors."))
            self._restore(state, saved)

        def snapshot() -> Checkpoint:
            tokens = _numbered("tokens.", first.tokens.parameters())
            learned = tokens | _numbered("factors.", state.factors)
            return self._taken(LORA, state, learned, outcome=asdict(done[TOKENS]))

        kept = self.recipe.finetuning.preservation
        steps = (
            (s.step, {"loss": s.rec} | ({"keep": s.keep} if kept else {}))
            for s in finetune(self.backbone, self.z_0, conditions, state, self.recipe.finetuning)
        )
        return {LORA: self._drive(LORA, state, self.recipe.finetuning.steps, steps, snapshot)}

    def _drive(
        self,
        stage: str,
        state: TokenTraining | Finetuning,
        total: int,
        steps: Iterator[tuple[int, dict[str, float]]],
        snapshot: Any,
    ) -> StageOutcome:
        """Step through a stage, report each step, and save as time passes and at its start."""
        self.on_event(StageBegan(stage, total, state.step))
        due = self._save(snapshot())
        for step, losses in steps:
            _check_finite(stage, step, [*losses.values(), state.curve[-1]])
            self.on_event(StageMoved(stage, step, losses))
            if time.monotonic() > due:
                due = self._save(snapshot())
        _check_finite(stage, state.step, state.curve)
        ended = "plateau" if state.step < total else "cap"
        self.on_event(StageEnded(stage, state.step, ended))
        curve = tuple(state.curve)
        return StageOutcome(state.step, ended, curve[0], curve[-1], curve)

    def _taken(
        self,
        stage: str,
        state: TokenTraining | Finetuning,
        learned: dict[str, Tensor],
        **beside: Any,
    ) -> Checkpoint:
        """All that the next step of a stage depends on. beside: facts of that stage alone."""
        facts = {
            "stage": stage,
            "created": self.created,
            "fitting": list(self.fitting),
            "step": state.step,
            "curve": state.curve,
        }
        return Checkpoint(learned | _progress(state), facts | beside)

    def _save(self, taken: Checkpoint) -> float:
        """Write a checkpoint; when the next one is due, by the monotonic clock.

        That of a large LoRA is of gigabytes, which a slow disk would spend its time on.
        """
        began = time.monotonic()
        checkpoint.write(self.checkpoint_path, taken)
        done = time.monotonic()
        pause = min(CHECKPOINT_SHARE * (done - began), CHECKPOINT_AT_MOST)
        return done + max(CHECKPOINT_SECONDS, pause)

    def _restore(self, state: TokenTraining | Finetuning, saved: Checkpoint) -> None:
        checkpoint.restore_optimizer(state.optimizer, saved.part("optimizer."))
        checkpoint.restore_generator(state.rng, saved.tensors["rng"])
        state.step, state.curve = saved.facts["step"], list(saved.facts["curve"])


def _check_finite(stage: str, step: int, losses: Sequence[float]) -> None:
    if not all(map(math.isfinite, losses)):
        raise TrainingDiverged(
            f"the loss of stage {stage!r} is not a number after {step} steps",
            hint="use a lower learning rate: --token-lr or --lora-lr",
        )


def _progress(state: TokenTraining | Finetuning) -> dict[str, Tensor]:
    moments = checkpoint.optimizer_tensors(state.optimizer)
    return {f"optimizer.{k}": v for k, v in moments.items()} | {"rng": state.rng.get_state()}


def _numbered(prefix: str, tensors: Any) -> dict[str, Tensor]:
    return {f"{prefix}{k}": tensor for k, tensor in enumerate(tensors)}


def _listed(saved: Checkpoint, prefix: str) -> list[Tensor]:
    part = saved.part(prefix)
    return [part[str(k)] for k in range(len(part))]

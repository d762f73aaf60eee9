"""Whose hand drew a thing: a linear probe of the scorer's eyes, for styles that it has no word for.

The scorer names the hands that it was trained on; a style that is learned from a held-out set has
no name. But what it sees differs: on its whole embedding of a picture, a multinomial logistic
regression learns every set's hand from nouns that are never asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.concepts import PROMPT_GROUNDS
from mini.world import Picture, Thing, World
from prism_cli.encoders.scorer import Scorer, pixels

EACH = 2  # pictures of a noun in a set
DECAY = 1e-3  # of the weights, of standardised features
STEPS = 200


@dataclass(frozen=True, slots=True)
class Hands:
    """The probe. sets: what it tells apart."""

    scorer: Scorer
    sets: tuple[str, ...]
    middle: Tensor
    spread: Tensor
    linear: nn.Linear

    @classmethod
    def learn(
        cls, world: World, scorer: Scorer, sets: Sequence[str], unseen: Collection[str]
    ) -> Hands:
        """From every noun of each set but the `unseen`; rare sets count as much as full ones."""
        nouns = {name: sorted({*world.words[name]} - {*unseen}) for name in sets}
        features = [_see(scorer, _drawn(world, name, nouns[name])) for name in sets]
        seen = torch.cat(features)
        labels = torch.cat([torch.full((len(each),), k) for k, each in enumerate(features)])
        middle, spread = seen.mean(0), seen.std(0) + 1e-6
        linear = nn.Linear(seen.shape[1], len(sets))
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        rarity = 1 / torch.bincount(labels).float()
        loss = nn.CrossEntropyLoss(weight=rarity)
        optimizer = torch.optim.LBFGS(
            linear.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            total = loss(linear((seen - middle) / spread), labels)
            total = total + DECAY * linear.weight.square().sum()
            total.backward()
            return torch.as_tensor(total)

        optimizer.step(closure)
        return cls(scorer, tuple(sets), middle, spread, linear.requires_grad_(False))

    def read(self, pictures: np.ndarray) -> Tensor:
        """(n, sets): how probable each hand is, of uint8 pictures (n, SIDE, SIDE, 3)."""
        seen = _see(self.scorer, pictures)
        return torch.softmax(self.linear((seen - self.middle) / self.spread), dim=-1)

    def trusted(self, world: World, nouns: Sequence[str]) -> dict[str, float]:
        """By set, the share of true drawings of `nouns` that it reads as that set's."""
        shares = {}
        for k, name in enumerate(self.sets):
            there = [noun for noun in nouns if noun in world.words[name]]
            read = self.read(_drawn(world, name, there)).argmax(1)
            shares[name] = (read == k).float().mean().item()
        return shares


def _drawn(world: World, name: str, nouns: Sequence[str]) -> np.ndarray:
    """Each noun as the set has it, on grounds that chance picks."""
    rng = np.random.default_rng(0)
    grounds = rng.integers(len(PROMPT_GROUNDS), size=(len(nouns), EACH))
    return np.stack(
        [
            world.draw(Picture(thing=Thing(noun=noun, set=name), ground=PROMPT_GROUNDS[k]), rng)
            for noun, row in zip(nouns, grounds, strict=True)
            for k in row
        ]
    )


@torch.no_grad()
def _see(scorer: Scorer, pictures: np.ndarray) -> Tensor:
    parts = np.array_split(pictures, max(1, len(pictures) // 64))
    return torch.cat([scorer.see(pixels(part)) for part in parts]).float()

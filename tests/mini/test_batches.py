"""What the trainings of the base and of the scorer are shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mini import train_diffusion
from mini.scorer import TEXTS
from mini.train_diffusion import Shards, batches
from mini.train_scorer import Views
from mini.world import World
from prism_cli.backbones import catalog
from tests.mini.drawings import icons


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(icons(tmp_path_factory.mktemp("art")))


def test_a_picture_keeps_its_captions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through every permutation, and each view has all pictures once."""
    from transformers import CLIPTokenizer

    monkeypatch.setattr(train_diffusion, "SHARD", 12)
    monkeypatch.setattr(train_diffusion, "encoded", lambda vae, pictures, where: pictures)
    tokens = CLIPTokenizer.from_pretrained(catalog.resolve("mini").folder / "tokenizer")
    pictures, captions = Shards(world, tokens)(np.random.default_rng(0), 1.0)

    seen = list(batches([(pictures, captions)], None, 4, torch.device("cpu")))  # type: ignore[arg-type]

    assert captions.shape == (train_diffusion.VIEWS, 12, train_diffusion.LENGTH)
    assert len(seen) == 3 * train_diffusion.VIEWS
    where = {picture.numpy().tobytes(): k for k, picture in enumerate(pictures)}
    assert len(where) == 12
    for view in range(train_diffusion.VIEWS):
        met = []
        for batch in seen[3 * view : 3 * view + 3]:
            for picture, ids in zip(batch.z_0, batch.tokens, strict=True):
                met.append(k := where[picture.numpy().tobytes()])
                assert torch.equal(ids, captions[view, k])
        assert sorted(met) == list(range(12))


def test_the_scorer_sees_designs_in_twos_and_nouns_in_fours(world: World) -> None:
    pictures, truth = Views(world, 8)(np.random.default_rng(0), 1.0)

    assert pictures.shape == (8, 3, 64, 64)
    noun, style = (truth[name].tolist() for name in ("noun", "style"))
    assert truth.keys() == TEXTS.keys()
    for four in (0, 4):
        assert len(set(noun[four : four + 4])) == 1
        assert style[four] == style[four + 1] != style[four + 2] == style[four + 3]

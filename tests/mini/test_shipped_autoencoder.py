"""The autoencoder that ships, as the trainings use it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny

from mini.train_autoencoder import psnr
from mini.train_diffusion import encoded
from mini.world import World
from prism_cli.backbones import catalog
from tests.mini.drawings import icons

FOLDER = catalog.resolve("mini").folder


@cache
def vae() -> AutoencoderTiny:
    return AutoencoderTiny.from_pretrained(FOLDER / "vae", dtype=torch.float32)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(icons(tmp_path_factory.mktemp("art")))


@pytest.fixture(scope="module")
def pictures(world: World) -> np.ndarray:
    """Of icons that nobody trained on."""
    rng = np.random.default_rng(0)
    return np.stack([world.draw(world.sample(rng), rng) for _ in range(64)])


def test_the_autoencoder_gives_pictures_back(pictures: np.ndarray) -> None:
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1

    assert psnr(vae(), x).mean() > 28


def test_its_latents_are_as_diffusion_wants_them(pictures: np.ndarray) -> None:
    z = encoded(vae(), torch.from_numpy(pictures), torch.device("cpu"))

    assert z.shape == (64, 8, 16, 16)
    assert z.std() == pytest.approx(1, abs=0.2) and z.mean().abs() < 0.2
    assert z.abs().max() * 1 / vae().config.scaling_factor < 6  # the decoder squashes at 3

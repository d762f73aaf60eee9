"""The UNet adapters against diffusers' own pipelines, on the embedded base and on tiny ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

from prism_cli.backbones import catalog
from prism_cli.backbones.base import Backbone, SamplingPlan, Slot
from prism_cli.backbones.corruption import Parameterization, corrupt, target
from prism_cli.backbones.unet import UNetBackbone
from prism_cli.errors import BaseRefused, PromptRefused
from prism_cli.method.finetuning import Finetuning, encode_conditions, finetune
from prism_cli.method.token_optimization import TokenTraining, optimize_tokens
from prism_cli.method.tokens import init_tokens
from prism_cli.runtime import Runtime
from prism_cli.settings import FinetuneOptions, TokenOptions
from tests.bases import CPU, mini, seeded
from tests.tiny_pipeline import (
    CONTEXT,
    FAMILY,
    NOISE,
    SIZE,
    drawn,
    drawn_by_diffusers,
    pipeline_in,
    save_tiny_pipeline,
)

# Both do the same operations on the same batch; what is left is one rounding of 6e-8 in the change
# of range from [-1, 1] to [0, 1], and in a guidance that is written in another order.
SAME_OPERATIONS = 1e-5

SCHEDULERS: dict[str, tuple[type, dict[str, Any]]] = {
    "pndm": (PNDMScheduler, {"skip_prk_steps": True}),
    "ddim": (DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}),
    "ddim-v": (
        DDIMScheduler,
        {
            "clip_sample": False,
            "prediction_type": "v_prediction",
            "rescale_betas_zero_snr": True,
            "timestep_spacing": "trailing",
        },
    ),
    "euler": (EulerDiscreteScheduler, {}),
    "euler-trailing": (EulerDiscreteScheduler, {"timestep_spacing": "trailing"}),
    "heun": (HeunDiscreteScheduler, {}),
    "dpm++": (DPMSolverMultistepScheduler, {}),
    "dpm++-karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
}
NO_CLIPPING = {EulerAncestralDiscreteScheduler: {}, DDPMScheduler: {"clip_sample": False}}


@pytest.fixture(scope="module", params=FAMILY)
def folder(request, tmp_path_factory) -> Path:
    """A tiny pipeline of each kind."""
    return FAMILY[request.param](tmp_path_factory.mktemp("bases") / request.param)


def loaded(folder: Path) -> UNetBackbone:
    """What `--base FOLDER` gives."""
    base = catalog.load(catalog.resolve(str(folder)), CPU)
    assert isinstance(base, UNetBackbone)
    return base


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_mini_draws_what_diffusers_draws(guidance: float) -> None:
    """v prediction, zero terminal SNR, DDIM: prompts, negative prompt, guidance and steps."""
    plan = SamplingPlan(steps=4, guidance=guidance, size=(64, 64))
    request = (["a red dog at night", "a small cat in the snow"], "blue", plan, [3, 4])

    ours = drawn(mini(), *request)

    theirs = drawn_by_diffusers(pipeline_in(catalog.resolve("mini").folder), mini(), *request)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=SAME_OPERATIONS)
    assert ours.std() > 0.1


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_base_draws_what_diffusers_draws_with_its_scheduler(name: str, tmp_path: Path) -> None:
    """Whatever sampler a base names in its folder is the one it is drawn with."""
    kind, config = SCHEDULERS[name]
    folder = save_tiny_pipeline(tmp_path / "base", kind(**NOISE, **config))
    base = UNetBackbone.load(folder, CPU)
    plan = SamplingPlan(steps=5, guidance=7.5, size=(SIZE, 2 * SIZE))
    request = (["a red dog", "box with snow"], "a cat at night", plan, [3, 4])

    ours = drawn(base, *request)

    theirs = drawn_by_diffusers(pipeline_in(folder), base, *request)
    assert ours.shape == (2, 3, SIZE, 2 * SIZE)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=SAME_OPERATIONS)


@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_every_kind_of_base_draws_what_diffusers_draws(folder: Path, guidance: float) -> None:
    """Tokens, padding, conditions, size, guidance against the null prompt, steps, autoencoder."""
    base = loaded(folder)
    plan = SamplingPlan(steps=4, guidance=guidance, size=(SIZE, 2 * SIZE))
    request = (["a red dog!", "box with snow"], "" if len(base.encoders) == 1 else None, plan)

    ours = drawn(base, *request, [3, 4])

    theirs = drawn_by_diffusers(pipeline_in(folder), base, *request, [3, 4])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=SAME_OPERATIONS)
    other = drawn(base, ["a cat", "night"], "", plan, [3, 4])
    assert (ours - other).abs().max() > 100 * SAME_OPERATIONS  # the prompt matters


def test_a_denoiser_in_half_precision_predicts_the_same(folder: Path) -> None:
    """In bf16 a prediction stays fp32 outside and differs by rounding alone."""
    exact = loaded(folder)
    rounded = catalog.load(
        catalog.resolve(str(folder)), Runtime(torch.device("cpu"), torch.bfloat16)
    )
    z_t, t = torch.randn(2, 4, 8, 12, generator=seeded(0)), torch.tensor([100, 900])

    def predicted(base: Backbone) -> Tensor:
        return base.predict(z_t, t, base.encode_text([("a red dog",), ("",)], {})).detach()

    ours = predicted(rounded)

    assert ours.dtype == torch.float32
    error = (ours - predicted(exact)).std() / predicted(exact).std()
    assert 0 < error < 0.05  # bf16 rounds to 2^-9, and some twenty layers follow one another


def test_sampling_twice_gives_the_same_bits() -> None:
    """A scheduler keeps state while it draws; a second drawing does not see the first's."""
    plan = SamplingPlan(steps=3, guidance=2.0, size=(64, 64))
    request = (["a red dog"], "", plan, [3])

    assert torch.equal(drawn(mini(), *request), drawn(mini(), *request))


@pytest.mark.parametrize("kind", [EulerAncestralDiscreteScheduler, DDPMScheduler])
def test_an_ancestral_sampler_draws_a_picture_again(kind: type, tmp_path: Path) -> None:
    """A sampler that adds noise on the way takes it from the picture's seed, batch or no batch."""
    base = UNetBackbone.load(save_tiny_pipeline(tmp_path, kind(**NOISE, **NO_CLIPPING[kind])), CPU)
    plan = SamplingPlan(steps=5, guidance=2.0, size=(SIZE, SIZE))

    batch = drawn(base, ["a dog"] * 3, "", plan, [7, 8, 9])
    again = drawn(base, ["a dog"] * 3, "", plan, [7, 8, 9])
    alone = drawn(base, ["a dog"], "", plan, [8])

    assert torch.equal(batch, again)
    torch.testing.assert_close(batch[1:2], alone, rtol=0, atol=SAME_OPERATIONS)


@pytest.mark.parametrize(("name", "evaluations"), [("ddim", 5), ("pndm", 6), ("heun", 9)])
def test_a_sampler_may_evaluate_more_often_than_it_steps(
    name: str, evaluations: int, tmp_path: Path
) -> None:
    """Every latent on the way is yielded, so that a caller can show that something moves."""
    kind, config = SCHEDULERS[name]
    base = UNetBackbone.load(save_tiny_pipeline(tmp_path, kind(**NOISE, **config)), CPU)
    cond = base.encode_text([("a dog",)], {})
    plan = SamplingPlan(steps=5, guidance=1.0, size=(SIZE, SIZE))

    latents = list(base.sample(cond, cond, base.initial_noise(plan.size, [1]), plan))

    assert len(latents) == evaluations


def test_initial_noise_is_a_pictures_own() -> None:
    """Picture k's noise depends on its seed only, not on the batch or on global chance."""
    torch.manual_seed(1)
    batch = mini().initial_noise((64, 64), [7, 8, 9])
    torch.manual_seed(2)
    alone = mini().initial_noise((64, 64), [8])

    assert torch.equal(batch[1:2], alone)
    assert not torch.equal(batch[0], batch[1])


def test_noise_levels_are_the_schedulers() -> None:
    """alpha_t^2 is the scheduler's alpha-bar, and mini's last time is pure noise."""
    base = mini()
    t = torch.tensor([0, 500, 999])

    level = base.noise_level(t)

    torch.testing.assert_close(level.alpha.square(), base.scheduler.alphas_cumprod[t])
    torch.testing.assert_close(level.alpha.square() + level.sigma.square(), torch.ones(3))
    assert level.alpha[2] == 0 and level.sigma[2] == 1


def test_corruption_is_the_schedulers_add_noise() -> None:
    """z_t and the v target are what diffusers' scheduler trains with."""
    base, t = mini(), torch.tensor([10, 500, 990])
    z_0, eps = (torch.randn(3, 8, 16, 16, generator=seeded(k)) for k in (0, 1))
    level = base.noise_level(t)

    torch.testing.assert_close(corrupt(z_0, eps, level), base.scheduler.add_noise(z_0, eps, t))
    torch.testing.assert_close(
        target(z_0, eps, level, base.parameterization), base.scheduler.get_velocity(z_0, eps, t)
    )


def test_times_cover_the_schedule() -> None:
    """Random times are uniform over all T, and the fixed ones the midpoints of equal stretches."""
    base = mini()

    drawn_times = base.sample_times(20_000, seeded(0))

    assert (int(drawn_times.min()), int(drawn_times.max())) == (0, 999)
    assert abs(float(drawn_times.float().mean()) - 499.5) < 3 * 288.7 / 20_000**0.5  # 3 sigma
    assert base.spread_times(4).tolist() == [125, 375, 625, 875]


def test_pictures_come_back_from_latents(tmp_path: Path) -> None:
    """The autoencoder's posterior mean, scaled as the UNet expects it, and decoded again."""
    base = UNetBackbone.load(save_tiny_pipeline(tmp_path), CPU)
    images = torch.rand(2, 3, SIZE, SIZE, generator=seeded(0)) * 2 - 1

    z_0 = base.encode_images(images)

    mean = base.vae.encode(images).latent_dist.mean
    torch.testing.assert_close(z_0, (0.18215 * mean).detach())
    decoded = base.vae.decode(mean).sample.clamp(-1, 1).detach()
    torch.testing.assert_close(base.decode_latents(z_0), decoded)


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("kind", ["sd15", "sd21"])
def test_spliced_rows_are_what_textual_inversion_loads(
    kind: str, length: int, tmp_path: Path
) -> None:
    """Rows between our words give the embeddings of diffusers' load_textual_inversion."""
    base = loaded(FAMILY[kind](tmp_path))
    width = base.vocabulary()["clip_l"].shape[1]
    rows = torch.randn(length, width, generator=seeded(0))
    pipeline = pipeline_in(tmp_path)
    pipeline.load_textual_inversion({"<dog-token>": rows if length > 1 else rows[0]})

    ours = base.encode_text([("a ", Slot("dog"), " box")], {Slot("dog"): {"clip_l": rows}})

    theirs, _ = pipeline.encode_prompt("a <dog-token> box", "cpu", 1, False)
    torch.testing.assert_close(ours.tensors["embeds"], theirs.detach(), rtol=0, atol=1e-6)


def weights_of(base: UNetBackbone) -> dict[str, Tensor]:
    """A copy of every frozen weight, under the name that it has without LoRA factors."""
    parts = {"unet": base.unet, "vae": base.vae}
    parts |= {clip.name: clip.encoder for clip in base.clips}
    return {
        f"{part}.{name}".replace(".base_layer.", "."): weight.clone()
        for part, module in parts.items()
        for name, weight in module.state_dict().items()
        if ".lora_" not in name
    }


def test_both_algorithms_run_on_every_kind_of_base(folder: Path) -> None:
    """Each lowers its fixed loss in a few steps, and every weight of the base keeps its bits."""
    base = loaded(folder)
    before = weights_of(base)
    z_0 = base.encode_images(torch.rand(3, 3, SIZE, SIZE, generator=seeded(1)) * 2 - 1)[:, None]
    options = TokenOptions(steps=8, batch=6, lr=0.05, anchors=2, evaluate_every=8)
    captions = ["a red dog on snow", "a dog at night", "photo with a dog"]
    tokens = init_tokens(base, "x", captions, length=1, word=None, residual_length=2, rng=seeded(2))

    learning = TokenTraining.start(tokens, options, seeded(3))
    stage_1 = list(optimize_tokens(base, z_0, learning, options))
    options_2 = FinetuneOptions(steps=8, batch=6, lr=0.01, evaluate_every=8)
    tuning = Finetuning.start(base, options_2, seeded(4))
    stage_2 = list(finetune(base, z_0, encode_conditions(base, tokens), tuning, options_2))

    losses = [loss for step in stage_1 for loss in (step.rec, step.excl)]
    assert torch.tensor([*losses, *(step.rec for step in stage_2)]).isfinite().all()
    assert learning.curve[-1] < learning.curve[0]
    assert tuning.curve[-1] < tuning.curve[0]
    assert all(set(rows) == set(base.encoders) for rows in (tokens.target, *tokens.residuals))
    assert all(rows.grad is not None and rows.grad.any() for rows in tokens.target.values())
    after = weights_of(base)
    assert after.keys() == before.keys()
    assert all(after[name].equal(weight) for name, weight in before.items())


def test_a_tiny_base_is_of_its_own_kind(tmp_path: Path) -> None:
    """What differs between bases is read from the folder."""
    base = UNetBackbone.load(save_tiny_pipeline(tmp_path), CPU)

    assert base.parameterization is Parameterization.EPSILON
    assert mini().parameterization is Parameterization.V
    assert (base.sampler, mini().sampler) == ("PNDM", "DDIM")
    assert base.text_room() == {"clip_l": CONTEXT - 2}


def test_a_prompt_longer_than_the_base_reads_is_refused(tmp_path: Path) -> None:
    """15 words on a base that reads 14: never cut in silence."""
    base = UNetBackbone.load(save_tiny_pipeline(tmp_path), CPU)

    with pytest.raises(PromptRefused, match="15 tokens long and this base reads 14"):
        base.encode_text([("dog " * 15,)], {})


def test_an_encoder_is_read_from_a_file_of_published_keys(tmp_path: Path) -> None:
    """The published files prefix every weight and hold the positions' numbers as well."""
    path = save_tiny_pipeline(tmp_path) / "text_encoder" / "model.safetensors"
    before = UNetBackbone.load(tmp_path, CPU).encode_text([("a red dog",)], {})
    state = {f"text_model.{name}": weight for name, weight in load_file(path).items()}
    state["text_model.embeddings.position_ids"] = torch.arange(CONTEXT)[None]
    save_file(state, path, {"format": "pt"})

    after = UNetBackbone.load(tmp_path, CPU).encode_text([("a red dog",)], {})

    assert torch.equal(after.tensors["embeds"], before.tensors["embeds"])


def break_weights(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def remove_encoder(folder: Path) -> None:
    (folder / "text_encoder" / "model.safetensors").unlink()


def remove_vocabulary(folder: Path) -> None:
    (folder / "tokenizer" / "tokenizer.json").unlink()


def remove_a_tensor(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    state = load_file(path)
    del state["final_layer_norm.weight"]
    save_file(state, path, {"format": "pt"})


def name_no_scheduler(folder: Path) -> None:
    change_index(folder, "scheduler", ["diffusers", "UNet2DConditionModel"])


def name_unknown_autoencoder(folder: Path) -> None:
    change_index(folder, "vae", ["diffusers", "AutoencoderOobleck"])


def predict_flow(folder: Path) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**config, "prediction_type": "sample"}), "utf-8")


def change_index(folder: Path, key: str, value: list[str]) -> None:
    path = folder / "model_index.json"
    index = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**index, key: value}), "utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        break_weights,
        remove_encoder,
        remove_vocabulary,
        remove_a_tensor,
        name_no_scheduler,
        name_unknown_autoencoder,
        predict_flow,
    ],
)
def test_a_damaged_base_is_refused(damage, tmp_path: Path) -> None:
    """Whatever is wrong with a folder, it is one sentence that names it, and a hint."""
    folder = save_tiny_pipeline(tmp_path / "base")
    damage(folder)

    with pytest.raises(BaseRefused, match=str(folder)) as caught:
        UNetBackbone.load(folder, CPU)

    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_weights_that_would_run_code_are_not_read(tmp_path: Path) -> None:
    """A folder with pickled weights only is refused: nothing is ever unpickled."""
    folder = save_tiny_pipeline(tmp_path / "base")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet").state_dict()
    torch.save(state, weights.with_suffix(".bin"))
    weights.unlink()

    with pytest.raises(BaseRefused):
        UNetBackbone.load(folder, CPU)

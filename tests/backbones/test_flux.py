"""The FLUX adapter against diffusers' own pipeline, on tiny ones of the real classes."""

from __future__ import annotations

import copy
import json
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from safetensors.torch import save_file
from torch import Tensor, nn

from prism_cli.backbones import lora
from prism_cli.backbones.base import Conditioning, SamplingPlan, Slot
from prism_cli.backbones.corruption import Parameterization, corrupt, target
from prism_cli.backbones.flux import LORA_TARGETS, T5_LENGTH, FluxBackbone, image_ids, pack, unpack
from prism_cli.errors import BaseMismatch, BaseRefused, PromptRefused
from prism_cli.method.draws import draw_batch
from prism_cli.method.finetuning import Finetuning, encode_conditions, finetune
from prism_cli.method.token_optimization import TokenTraining, optimize_tokens, token_losses
from prism_cli.method.tokens import ConceptTokens, init_tokens
from prism_cli.runtime import Runtime
from prism_cli.settings import FinetuneOptions, TokenOptions
from tests.bases import CPU, seeded
from tests.full_size import FLUX_1_DEV
from tests.tiny_flux import (
    CHANNELS,
    CLIP_WIDTH,
    SCALE,
    SHIFT,
    SIZE,
    T5_WIDTH,
    save_tiny_flux,
)
from tests.tiny_pipeline import CONTEXT

# Both do the same operations on the same batch; what is left is fp32 rounding of 6e-8 in the order
# of a product (time by 1000) and in the change of range from [-1, 1] to [0, 1].
SAME_OPERATIONS = 1e-5

BF16 = Runtime(torch.device("cpu"), torch.bfloat16)

FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny FLUX.1-dev."""
    return save_tiny_flux(tmp_path_factory.mktemp("flux"))


@pytest.fixture(scope="module")
def loaded(folder: Path) -> FluxBackbone:
    """The adapter on it, for reading only."""
    return FluxBackbone.load(folder, CPU)


@pytest.fixture
def base(loaded: FluxBackbone) -> FluxBackbone:
    """One to train, or to attach LoRA factors to."""
    return copy.deepcopy(loaded)


def pipeline_of(folder: Path) -> FluxPipeline:
    pipeline = FluxPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawn(
    base: FluxBackbone, prompts: list[str], plan: SamplingPlan, seeds: list[int], null: str = ""
) -> Tensor:
    """What prism draws: (B, 3, H, W) in [-1, 1]."""
    cond = base.encode_text([(prompt,) for prompt in prompts], {})
    nulls = base.encode_text([(null,)] * len(prompts), {})
    steps = base.sample(cond, nulls, base.initial_noise(plan.size, seeds), plan)
    (z_0,) = deque(steps, maxlen=1)
    return base.decode_latents(z_0)


def drawn_by_diffusers(
    pipeline: FluxPipeline,
    base: FluxBackbone,
    prompts: list[str],
    plan: SamplingPlan,
    seeds: list[int],
) -> Tensor:
    """What the pipeline draws from the latents of `base`, in the same range."""
    noise = base.initial_noise(plan.size, seeds)
    pictures = pipeline(
        prompts,
        latents=FluxPipeline._pack_latents(noise, *noise.shape),
        num_inference_steps=plan.steps,
        guidance_scale=plan.guidance,
        height=plan.size[0],
        width=plan.size[1],
        max_sequence_length=T5_LENGTH,
        output_type="pt",
    ).images
    return pictures * 2 - 1


PROMPTS = ["a red dog at night", "box with snow"]


@pytest.mark.parametrize("size", [(SIZE, SIZE), (SIZE, 2 * SIZE), (3 * SIZE, SIZE + 4)])
def test_flux_draws_what_diffusers_draws(
    size: tuple[int, int], folder: Path, loaded: FluxBackbone
) -> None:
    """Both encoders, the guidance input, the shift by the picture's size, and the autoencoder."""
    plan = SamplingPlan(steps=5, guidance=3.5, size=size)

    ours = drawn(loaded, PROMPTS, plan, [3, 4])

    theirs = drawn_by_diffusers(pipeline_of(folder), loaded, PROMPTS, plan, [3, 4])
    assert ours.shape == (2, 3, *size)
    assert ours.std() > 0.05
    torch.testing.assert_close(ours, theirs, rtol=0, atol=SAME_OPERATIONS)


def test_schnell_draws_what_diffusers_draws(tmp_path: Path) -> None:
    """A model without a guidance input, and times that are not shifted."""
    unshifted = FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=False)
    folder = save_tiny_flux(tmp_path, guidance_embeds=False, scheduler=unshifted)
    base = FluxBackbone.load(folder, CPU)
    plan = SamplingPlan(steps=4, guidance=3.5, size=(SIZE, 2 * SIZE))

    ours = drawn(base, PROMPTS, plan, [3, 4])

    theirs = drawn_by_diffusers(pipeline_of(folder), base, PROMPTS, plan, [3, 4])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=SAME_OPERATIONS)


def test_guidance_is_an_input_and_the_null_prompt_is_not(loaded: FluxBackbone) -> None:
    """Another scale draws another picture; another null prompt draws the same bits."""
    plan = SamplingPlan(steps=2, guidance=3.5, size=(SIZE, SIZE))
    strong = SamplingPlan(steps=2, guidance=7.0, size=(SIZE, SIZE))

    picture = drawn(loaded, ["a dog"], plan, [3])

    assert torch.equal(picture, drawn(loaded, ["a dog"], plan, [3], null="a red cat"))
    assert not torch.allclose(picture, drawn(loaded, ["a dog"], strong, [3]), atol=1e-4)


def test_a_prediction_is_made_at_guidance_one(folder: Path, loaded: FluxBackbone) -> None:
    """What is trained is the transformer's velocity at t in (0, 1] without guidance."""
    z_t, t = torch.randn(2, CHANNELS, 4, 6, generator=seeded(0)), torch.tensor([0.2, 0.9])
    cond = loaded.encode_text([("a dog",), ("a red box",)], {})

    with torch.no_grad():
        ours = loaded.predict(z_t, t, cond)
        theirs = pipeline_of(folder).transformer(
            hidden_states=FluxPipeline._pack_latents(z_t, *z_t.shape),
            timestep=t,
            guidance=torch.ones(2),
            encoder_hidden_states=cond.tensors["t5"],
            pooled_projections=cond.tensors["pooled"],
            img_ids=FluxPipeline._prepare_latent_image_ids(2, 2, 3, "cpu", torch.float32),
            txt_ids=torch.zeros(T5_LENGTH, 3),
        )[0]

    theirs = FluxPipeline._unpack_latents(theirs, 8, 12, 2)  # pixels, of which a cell has 2x2
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 16, 8, 8), (2, 4, 4, 10)])
def test_packing_is_the_pipelines_and_unpacking_undoes_it(shape: tuple[int, ...]) -> None:
    """Cells, channels and ids in the order that the transformer was trained on."""
    z, (h, w) = torch.randn(shape, generator=seeded(0)), (shape[2] // 2, shape[3] // 2)

    assert torch.equal(pack(z), FluxPipeline._pack_latents(z, *shape))
    assert torch.equal(unpack(pack(z), h, w), z)
    ids = FluxPipeline._prepare_latent_image_ids(1, h, w, "cpu", torch.float32)
    assert torch.equal(image_ids(h, w), ids)


def test_pictures_come_back_from_latents(loaded: FluxBackbone) -> None:
    """The posterior mean, shifted and scaled as the transformer expects it, and decoded again."""
    images = torch.rand(2, 3, SIZE, SIZE, generator=seeded(0)) * 2 - 1

    z_0 = loaded.encode_images(images)

    mean = loaded.vae.encode(images).latent_dist.mean
    torch.testing.assert_close(z_0, (mean - SHIFT) * SCALE)
    decoded = loaded.vae.decode(mean).sample.clamp(-1, 1)
    torch.testing.assert_close(loaded.decode_latents(z_0), decoded)


def test_times_are_sigma(loaded: FluxBackbone) -> None:
    """U(0, 1], never 0; the fixed ones are midpoints; z_t and target are the straight line's."""
    t = loaded.sample_times(20_000, seeded(0))
    z_0, eps = torch.randn(2, 4, CHANNELS, 4, 4, generator=seeded(1))
    level = loaded.noise_level(torch.tensor([0.001, 0.25, 0.5, 1.0]))

    assert 0 < float(t.min()) < 0.001 and 0.999 < float(t.max()) <= 1
    assert abs(float(t.mean()) - 0.5) < 3 * 0.2887 / 20_000**0.5  # 3 sigma
    assert loaded.spread_times(4).tolist() == [0.125, 0.375, 0.625, 0.875]
    line = FlowMatchEulerDiscreteScheduler()  # unshifted: sigma is t / 1000
    noised = line.scale_noise(z_0, torch.tensor([1.0, 250.0, 500.0, 1000.0]), eps)
    torch.testing.assert_close(corrupt(z_0, eps, level), noised)
    assert torch.equal(target(z_0, eps, level, loaded.parameterization), eps - z_0)


def test_a_tiny_flux_is_of_its_own_kind(loaded: FluxBackbone) -> None:
    """What differs between bases is read from the folder."""
    assert loaded.parameterization is Parameterization.FLOW
    assert loaded.sampler == "FlowMatchEulerDiscrete"
    assert loaded.text_room() == {"clip_l": CONTEXT - 2, "t5": T5_LENGTH - 1}
    assert {k: v.shape[1] for k, v in loaded.vocabulary().items()} == {
        "clip_l": CLIP_WIDTH,
        "t5": T5_WIDTH,
    }
    assert {k: len(v) for k, v in loaded.word_rows("a red dog").items()} == {"clip_l": 3, "t5": 3}


def test_word_rows_stand_for_their_words(loaded: FluxBackbone) -> None:
    """A caption's own rows in the caption's place are the captioned prompt, in both encoders."""
    rows = {Slot("x"): loaded.word_rows("red box")}

    ours = loaded.encode_text([("a ", Slot("x"), " at night")], rows)

    plain = loaded.encode_text([("a red box at night",)], {})
    for name, tensor in plain.tensors.items():
        torch.testing.assert_close(ours.tensors[name], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [1, 3])
def test_spliced_rows_are_what_textual_inversion_loads(
    length: int, folder: Path, loaded: FluxBackbone
) -> None:
    """Rows between our words give T5's states and CLIP's pooled output of diffusers' loader."""
    rows = {
        "clip_l": torch.randn(length, CLIP_WIDTH, generator=seeded(0)),
        "t5": torch.randn(length, T5_WIDTH, generator=seeded(1)),
    }
    pipeline = pipeline_of(folder)
    for name, part in (("clip_l", ""), ("t5", "_2")):
        pipeline.load_textual_inversion(
            {"<dog-token>": rows[name] if length > 1 else rows[name][0]},
            text_encoder=getattr(pipeline, f"text_encoder{part}"),
            tokenizer=getattr(pipeline, f"tokenizer{part}"),
        )

    ours = loaded.encode_text([("a ", Slot("dog"), " box")], {Slot("dog"): rows})

    with torch.no_grad():
        states, pooled, _ = pipeline.encode_prompt(
            "a <dog-token> box", max_sequence_length=T5_LENGTH
        )
    torch.testing.assert_close(ours.tensors["t5"], states, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.tensors["pooled"], pooled, rtol=0, atol=1e-6)


@pytest.mark.parametrize("legacy_end", [False, True])
def test_pooled_output_is_that_of_the_true_end_of_text(legacy_end: bool, tmp_path: Path) -> None:
    """Counted by hand: begin, "a", three rows, "box", then the end; whatever the config says."""
    base = FluxBackbone.load(save_tiny_flux(tmp_path, legacy_end=legacy_end), CPU)
    rows = torch.randn(3, CLIP_WIDTH, generator=seeded(0))
    tokenizer, encoder = base.clip.tokenizer, copy.deepcopy(base.clip.encoder)
    new = len(tokenizer)
    encoder.resize_token_embeddings(new + 3)
    with torch.no_grad():
        encoder.get_input_embeddings().weight[new:] = rows

    spliced = {Slot("x"): {"clip_l": rows, "t5": torch.zeros(1, T5_WIDTH)}}
    ours = base.encode_text([("a ", Slot("x"), " box")], spliced).tensors["pooled"]

    a, box = tokenizer("a box", add_special_tokens=False).input_ids
    content = [tokenizer.bos_token_id, a, new, new + 1, new + 2, box]
    ids = torch.tensor([content + [tokenizer.eos_token_id] * (CONTEXT - len(content))])
    output = encoder(ids)
    torch.testing.assert_close(ours, output.last_hidden_state[:, 6].detach(), rtol=0, atol=1e-6)
    assert torch.allclose(ours, output.pooler_output, atol=1e-6) is not legacy_end


@pytest.mark.parametrize(
    ("words", "rows", "message", "lost"),
    [
        (CONTEXT - 1, {}, f"{CONTEXT - 1} tokens long and this base reads {CONTEXT - 2}", "'dog'"),
        (T5_LENGTH + 1, {}, f"{T5_LENGTH + 1} tokens long and this base reads 76", "'dog dog'"),
        (3, {"clip_l": 1, "t5": 75}, "78 tokens long and this base reads 76", "'dog dog'"),
        (3, {"clip_l": 13, "t5": 1}, "16 tokens long and this base reads 14", "'dog dog'"),
    ],
)
def test_a_prompt_too_long_for_either_encoder_is_refused(
    words: int, rows: dict[str, int], message: str, lost: str, loaded: FluxBackbone
) -> None:
    """Never cut in silence, and the words that fall off are named."""
    widths = {"clip_l": CLIP_WIDTH, "t5": T5_WIDTH}
    learned = {name: torch.zeros(rows.get(name, 0), width) for name, width in widths.items()}

    with pytest.raises(PromptRefused, match=message) as caught:
        loaded.encode_text([(Slot("x"), " dog" * words)], {Slot("x"): learned})

    assert lost in caught.value.hint


CAPTIONS = ["a red dog on snow at night", "a cat with a box"]
LATENTS = torch.randn(2, 1, CHANNELS, 4, 4, generator=seeded(1))


def some_tokens(base: FluxBackbone) -> ConceptTokens:
    return init_tokens(
        base, "x", CAPTIONS, length=1, word=None, residual_length=None, rng=seeded(0)
    )


def frozen(base: FluxBackbone) -> dict[str, Tensor]:
    """Every weight of the base, a LoRA's apart, by its name before there was one."""
    parts = {"clip": base.clip.encoder, "t5": base.t5.encoder, "vae": base.vae}
    return {
        f"{part}.{name.replace('.base_layer', '')}": weight.clone()
        for part, module in {**parts, "transformer": base.transformer}.items()
        for name, weight in module.state_dict().items()
        if ".lora_" not in name
    }


def test_algorithm_1_lowers_its_loss_and_moves_the_rows_of_both_encoders(
    base: FluxBackbone,
) -> None:
    """Every matrix is trained; no weight of the base changes by a bit."""
    before, start = frozen(base), some_tokens(base)
    options = TokenOptions(steps=10, batch=2, lr=3e-2, beta=0.05, anchors=1, plateau_ratio=0.0)
    state = TokenTraining.start(some_tokens(base), options, seeded(2))

    list(optimize_tokens(base, LATENTS, state, options))

    assert state.curve[-1] < state.curve[0]
    for old, new in zip(start.parameters(), state.tokens.parameters(), strict=True):
        assert (new - old).abs().max() > 1e-2
    after = frozen(base)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def finetuned(base: FluxBackbone, **options: Any) -> Finetuning:
    """After some steps of Algorithm 2."""
    settings = FinetuneOptions(**{"steps": 10, "batch": 2, "plateau_ratio": 0.0, **options})
    state = Finetuning.start(base, settings, seeded(2))
    list(finetune(base, LATENTS, encode_conditions(base, some_tokens(base)), state, settings))
    return state


def test_algorithm_2_lowers_its_loss(base: FluxBackbone) -> None:
    """The factors are trained; no weight of the base changes by a bit."""
    before = frozen(base)

    state = finetuned(base, lr=1e-2)

    assert state.curve[-1] < 0.99 * state.curve[0]
    after = frozen(base)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


@dataclass
class Recorder:
    """A backbone that keeps what it was asked to predict."""

    base: FluxBackbone
    calls: list[tuple[Tensor, Tensor, Conditioning]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.base, name)

    def predict(self, z_t: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        self.calls.append((z_t.detach(), t, cond))
        return self.base.predict(z_t, t, cond)


def test_both_branches_of_the_exclusion_see_one_point(loaded: FluxBackbone) -> None:
    """The same z_t^(j), t and noise; there, conditions that are equal predict the same bits."""
    recorder, photos = Recorder(loaded), torch.randn(3, 1, CHANNELS, 4, 4, generator=seeded(1))
    draw = draw_batch(recorder, photos, batch=2, negatives=2, rng=seeded(3))
    null = loaded.encode_text([("",)], {})

    losses = token_losses(recorder, photos, draw, some_tokens(loaded), null)

    (z, t, _), (null_z, null_t, _) = recorder.calls
    z_j, t_j = z[2:], t[2:]  # after the two of the reconstruction
    assert torch.equal(z_j, null_z) and torch.equal(t_j, null_t)
    assert torch.equal(t_j, draw.t.repeat_interleave(2))
    others, eps = photos[draw.anchors.flatten(), 0], draw.eps.repeat_interleave(2, dim=0)
    assert torch.equal(z_j, corrupt(others, eps, loaded.noise_level(t_j)))
    again = [loaded.predict(null_z, null_t, null.take([0] * 4)) for _ in range(2)]
    assert torch.equal(*again)
    assert losses.excl.min() > 0


def test_diffusers_loads_the_lora_to_the_same_prediction(
    base: FluxBackbone, folder: Path, tmp_path: Path
) -> None:
    """FluxPipeline.load_lora_weights reads lora.safetensors as it is; so does attach_loras."""
    plan = SamplingPlan(steps=3, guidance=3.5, size=(SIZE, SIZE))
    plain = drawn(base, PROMPTS, plan, [3, 4])
    finetuned(base, steps=3, lr=3e-2)
    save_file(base.lora_state(), tmp_path / "lora.safetensors")
    pipeline = pipeline_of(folder)
    attached = FluxBackbone.load(folder, CPU)

    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    attached.attach_loras({"x": (base.lora_state(), 1.0)})

    ours = drawn(base, PROMPTS, plan, [3, 4])
    theirs = drawn_by_diffusers(pipeline, base, PROMPTS, plan, [3, 4])
    assert (ours - plain).abs().max() > 1e-2
    torch.testing.assert_close(ours, theirs, rtol=0, atol=SAME_OPERATIONS)
    assert torch.equal(drawn(attached, PROMPTS, plan, [3, 4]), ours)


def test_a_lora_of_another_kind_of_base_is_refused(base: FluxBackbone) -> None:
    """A UNet's keys do not name a transformer's layers."""
    state = {"unet.mid_block.attn.to_q.lora_A.weight": torch.zeros(4, 32)}

    with pytest.raises(BaseMismatch, match=r"unet\.mid_block"):
        base.attach_loras({"x": (state, 1.0)})


def test_factors_keep_steps_that_bf16_would_lose(folder: Path) -> None:
    """Under a bf16 transformer the factors are fp32, trained, extracted and attached again."""
    base = FluxBackbone.load(folder, BF16)
    start = copy.deepcopy(base).add_lora(4, seeded(2))

    factors = finetuned(base, steps=3, lr=1e-6, weight_decay=0.0).factors

    assert base.transformer.x_embedder.weight.dtype == torch.bfloat16
    assert {factor.dtype for factor in factors} == {torch.float32}
    for old, new in zip(start, factors, strict=True):
        assert not torch.equal(old, new)
        if old.any():  # A; B starts at 0, beside which no step is small
            moved = (new - old).abs()[old.abs() > 0.05]
            assert 0 < moved.max() < 0.05 * 2**-9  # half of what bf16's 8 bits tell apart there
    other = FluxBackbone.load(folder, BF16)
    other.attach_loras({"x": (base.lora_state(), 1.0)})
    kept = {n: p for n, p in other.transformer.named_parameters() if ".lora_" in n}
    assert {p.dtype for p in kept.values()} == {torch.float32}
    assert torch.equal(
        kept["transformer_blocks.0.attn.to_q.lora_A.concept0.weight"],
        base.lora_state()["transformer.transformer_blocks.0.attn.to_q.lora_A.weight"],
    )


def adapted_layers(double: tuple[str, ...], single: tuple[str, ...]) -> set[str]:
    """The layers of FLUX.1-dev with these projections in its two kinds of block."""
    return {f"transformer_blocks.{k}.attn.{name}" for k in range(19) for name in double} | {
        f"single_transformer_blocks.{k}.attn.{name}" for k in range(38) for name in single
    }


def test_the_full_size_transformer_takes_factors_where_other_tools_read_them() -> None:
    """FLUX.1-dev: 8 projections in each of 19 blocks, 3 in each of 38, 6.5 M parameters at rank 4.

    InvokeAI knows the format by ``single_transformer_blocks.0.attn.to_q`` and
    ``transformer_blocks.0.attn.add_q_proj``.
    """
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(**FLUX_1_DEV)

    factors = lora.inject(transformer, 4, LORA_TARGETS, seeded(0))

    qkv = ("to_q", "to_k", "to_v")
    added = ("to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
    layers = adapted_layers((*qkv, *added), qkv)
    names = {name for name, _ in transformer.named_parameters() if ".lora_A." in name}
    assert names == {f"{layer}.lora_A.{lora.TRAINED}.weight" for layer in layers}
    assert len(layers) == 19 * 8 + 38 * 3 == 266
    assert len(factors) == 2 * 266
    assert sum(factor.numel() for factor in factors) == 266 * 4 * (3072 + 3072) == 6_537_216


def test_the_feed_forward_layers_are_what_makes_a_recipes_lora_11_m() -> None:
    """The paper's code adapts them too: 11.2 M parameters at rank 4, which prism's is compared to.

    Counted from the layers' sizes alone.
    """
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(**FLUX_1_DEV)

    parameters = sum(
        4 * (layer.in_features + layer.out_features)
        for name, layer in transformer.named_modules()
        if isinstance(layer, nn.Linear)
        and any(name.endswith(f".{end}") for end in (*LORA_TARGETS, *FEED_FORWARD))
    )

    assert parameters == 11_206_656


def name_another_scheduler(folder: Path) -> None:
    change(folder / "model_index.json", scheduler=["diffusers", EulerDiscreteScheduler.__name__])


def sample_with_noise(folder: Path) -> None:
    change(folder / "scheduler" / "scheduler_config.json", stochastic_sampling=True)


def take_the_shift(folder: Path) -> None:
    change(folder / "vae" / "config.json", shift_factor=None)


def remove_t5(folder: Path) -> None:
    (folder / "text_encoder_2" / "model.safetensors").unlink()


def break_weights(folder: Path) -> None:
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}), "utf-8")


@pytest.mark.parametrize(
    "damage",
    [name_another_scheduler, sample_with_noise, take_the_shift, remove_t5, break_weights],
)
def test_a_damaged_base_is_refused(damage, tmp_path: Path) -> None:
    """Whatever is wrong with a folder, it is one sentence that names it, and a hint."""
    folder = save_tiny_flux(tmp_path / "base")
    damage(folder)

    with pytest.raises(BaseRefused, match=str(folder)) as caught:
        FluxBackbone.load(folder, CPU)

    assert "\n" not in caught.value.message
    assert caught.value.hint

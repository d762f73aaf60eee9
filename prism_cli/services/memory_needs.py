"""How much memory each phase of a command takes, when a base is fitted to a machine in some way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from prism_cli.backbones.fitting import TILE
from prism_cli.backbones.footprint import Footprint, Precision
from prism_cli.backbones.meter import Cost
from prism_cli.runtime import Machine, Quantization
from prism_cli.settings import Recipe

# On top of every estimate. torch's allocators round sizes up and leave gaps, and convolutions take
# scratch space: none of it can be seen without the device.
SLACK = 1.1
# What a process holds besides: Python with torch, diffusers and transformers is 0.6 GB of RAM on
# Linux, and the libraries of CUDA bring it to about 2 GB.
PROCESS = {"cpu": 600_000_000, "mps": 600_000_000, "cuda": 2_000_000_000}
# diffusers and transformers cut the weights that they write into files of at most so much, and
# quantize one after another.
SHARD = 10_000_000_000
# Bytes for each trained parameter: itself, AdamW's two moments and the temporary of its update, all
# in fp32. Its gradient is among the activations.
OPTIMIZER = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a base is to do.

    size: height and width in px. photos: to learn from; 0 when only drawing. pictures: drawn at
    once, at most. guided: whether drawing is.
    """

    size: tuple[int, int]
    recipe: Recipe
    photos: int = 0
    pictures: int = 4
    guided: bool = True

    @property
    def anchors(self) -> int:
        """Samples of the exclusion branch in an update of stage 1."""
        tokens = self.recipe.tokens
        return tokens.batch * min(tokens.anchors, self.photos - 1) if tokens.beta else 0

    @property
    def pairs(self) -> int:
        """Samples of both branches."""
        return self.recipe.tokens.batch + self.anchors

    @property
    def prompts(self) -> int:
        """Prompts that an update of stage 1 reads."""
        return self.recipe.tokens.batch * (2 if self.anchors else 1)

    @property
    def looked_at(self) -> int:
        """Samples of the larger fixed batch that tells whether a stage has come to rest."""
        tokens, tuning = self.recipe.tokens, self.recipe.finetuning
        pairs = tokens.evaluation_times * (2 if self.anchors else 1)
        return self.photos * max(pairs, tuning.evaluation_times)

    @property
    def tuned(self) -> int:
        """Samples of an update of stage 2."""
        return self.recipe.finetuning.batch + self.recipe.finetuning.preserved

    def drawn(self, footprint: Footprint) -> int:
        """Samples of a step of drawing."""
        return self.pictures * (footprint.passes if self.guided else 1)

    def batch(self, footprint: Footprint) -> int:
        """The largest batch with gradients; the largest of all when only drawing."""
        if self.photos:
            return max(self.pairs, self.tuned)
        return self.drawn(footprint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to fit a base: a choice each for what a `Runtime` is told."""

    precision: Precision
    text: Precision = "fp32"
    quantization: Quantization | None = None
    text_on_cpu: bool = False
    vae_parked: bool = False
    vae_tiled: bool = False
    checkpointing: bool = False
    micro_batch: int | None = None


class Need(NamedTuple):
    """Bytes at the fullest moment of a phase; where the device has no memory of its own, no RAM."""

    device: int
    ram: int


def needs(footprint: Footprint, machine: Machine, work: Work, way: Way) -> dict[str, Need]:
    """What each phase takes, the slack and the process included."""
    device = _training(footprint, machine, work, way) if work.photos else {}
    device |= _drawing(footprint, machine, work, way)
    process = PROCESS[machine.kind]
    if not machine.separate:
        return {name: Need(int(count * SLACK) + process, 0) for name, count in device.items()}
    ram = process + _ram(footprint, work, way)
    return {name: Need(int(count * SLACK), ram) for name, count in device.items()}


def _training(footprint: Footprint, machine: Machine, work: Work, way: Way) -> dict[str, int]:
    weights, fused = kept(footprint, way), fuses(machine)
    tokens, tuned = (
        footprint.denoise(
            work.size,
            way.precision,
            training,
            checkpointing=way.checkpointing,
            rank=work.recipe.finetuning.rank,
            fused=fused,
        )
        for training in ("tokens", "lora")
    )
    idle = footprint.denoise(work.size, way.precision, "nothing", fused=fused)
    looking = _forward(idle, work.looked_at, way)
    # The null prompt's forward comes while the graph of the others is alive.
    null = _graph(tokens, work.pairs, way) + _forward(idle, work.anchors, way)
    rows = (1 + work.photos) * footprint.prompt_size  # as if each residual filled a prompt
    denoiser = weights[footprint.denoiser] + _unpacked(footprint, way)
    vae = 0 if way.vae_parked else weights["vae"]
    return {
        "photos": denoiser
        + _texts(footprint, weights, way)
        + weights["vae"]
        + footprint.encode(_seen(work, way), fused=fused).peak,
        "tokens": denoiser
        + vae
        + _texts(footprint, weights, way)
        + (0 if way.text_on_cpu else _reading(footprint, work, way))
        + max(_descent(tokens, work.pairs, way), null, looking)
        + OPTIMIZER * rows,
        "lora": denoiser
        + vae
        + max(_descent(tuned, work.tuned, way), looking)
        + OPTIMIZER * tuned.trainable,
    }


def _drawing(footprint: Footprint, machine: Machine, work: Work, way: Way) -> dict[str, int]:
    weights, fused = kept(footprint, way), fuses(machine)
    idle = footprint.denoise(work.size, way.precision, "nothing", fused=fused)
    denoiser = weights[footprint.denoiser] + _unpacked(footprint, way)
    vae = 0 if way.vae_parked else weights["vae"]
    phases = {
        "drawing": denoiser + vae + _forward(idle, work.drawn(footprint), way),
        "decoding": denoiser
        + weights["vae"]
        + footprint.decode(_seen(work, way), fused=fused).peak,
    }
    if not work.photos:  # a training has read its prompts before
        reading = 0 if way.text_on_cpu else _reading(footprint, work, way)
        phases["prompt"] = denoiser + vae + _texts(footprint, weights, way) + reading
    return phases


def _ram(footprint: Footprint, work: Work, way: Way) -> int:
    """Beside the device: the part that is being read, and what stays.

    A part is moved to the device before the next is read.
    """
    weights = kept(footprint, way)
    copied = way.quantization in footprint.copies  # else quantized while it is read
    read = max(
        min(weights[name] if copied else part.bytes("bf16"), SHARD)
        if _quantized(name, footprint, way)
        else weights[name]
        for name, part in footprint.parts.items()
    )
    texts = sum(weights[name] for name in footprint.texts) + _reading(footprint, work, way)
    return read + (weights["vae"] if way.vae_parked else 0) + (texts if way.text_on_cpu else 0)


def kept(footprint: Footprint, way: Way) -> dict[str, int]:
    """The bytes of every part's weights."""
    return {
        name: part.bytes(_precision(name, footprint, way)) for name, part in footprint.parts.items()
    }


def fuses(machine: Machine) -> bool:
    """Whether attention takes no matrix of all pairs: with gradients, Metal's writes it out."""
    return machine.kind != "mps"


def _precision(name: str, footprint: Footprint, way: Way) -> Precision:
    if name == "vae":
        return "fp32"
    if way.quantization and _quantized(name, footprint, way):
        return way.quantization.value
    return way.precision if name == footprint.denoiser else way.text


def _quantized(name: str, footprint: Footprint, way: Way) -> bool:
    text = name in footprint.quantized_texts and not way.text_on_cpu
    return way.quantization is not None and (name == footprint.denoiser or text)


def _texts(footprint: Footprint, weights: Mapping[str, int], way: Way) -> int:
    return 0 if way.text_on_cpu else sum(weights[name] for name in footprint.texts)


def _reading(footprint: Footprint, work: Work, way: Way) -> int:
    """Activations of the text encoders: in stage 1, the graphs of an update's prompts."""
    costs = [footprint.read(n, way.text, gradient=work.photos > 0) for n in footprint.texts]
    if not work.photos:
        return sum(cost.peak for cost in costs)
    return work.prompts * sum(cost.peak for cost in costs)


def _unpacked(footprint: Footprint, way: Way) -> int:
    """The one matrix that is in bf16 for the moment of its product."""
    return 2 * max(p.largest for p in footprint.parts.values()) if way.quantization else 0


def _seen(work: Work, way: Way) -> tuple[int, int]:
    """What the autoencoder sees at once."""
    height, width = work.size
    return (min(height, TILE), min(width, TILE)) if way.vae_tiled else (height, width)


def _forward(cost: Cost, samples: int, way: Way) -> int:
    """The peak of samples without gradients."""
    return cost.peak * min(samples, way.micro_batch or samples)


def _graph(cost: Cost, samples: int, way: Way) -> int:
    """What samples with gradients hold until the backward pass: in micro-batches, their inputs."""
    whole = way.micro_batch is None or samples <= way.micro_batch
    return samples * (cost.saved if whole else cost.inputs)


def _descent(cost: Cost, samples: int, way: Way) -> int:
    """The peak of a forward and backward pass."""
    if way.micro_batch is None or samples <= way.micro_batch:
        return cost.peak * samples
    return cost.peak * way.micro_batch + samples * cost.inputs

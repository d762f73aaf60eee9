"""What SDXL adds to a UNet pipeline: two encoders, a pooled prompt, sizes, and its null prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextModelWithProjection

from prism_cli.backbones import catalog
from prism_cli.backbones.base import Conditioning, EncoderRows, SamplingPlan, Slot
from prism_cli.backbones.corruption import Parameterization
from prism_cli.backbones.sdxl import SDXLBackbone
from prism_cli.errors import BaseRefused, PromptRefused
from tests.bases import CPU, seeded
from tests.tiny_pipeline import (
    CONTEXT,
    LEGACY_END,
    SIZE,
    drawn,
    drawn_by_diffusers,
    pipeline_in,
    save_tiny_sdxl,
)

SAME_OPERATIONS = 1e-5  # as in test_unet.py
DOG = Slot("dog")


def learned(length: int) -> EncoderRows:
    """Rows of the vocabulary's length for each encoder."""
    return {
        "clip_l": torch.randn(length, 16, generator=seeded(0)) * 0.06,
        "clip_g": torch.randn(length, 24, generator=seeded(1)) * 0.06,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny_sdxl(tmp_path_factory.mktemp("bases") / "sdxl")


@pytest.fixture(scope="module")
def base(folder: Path) -> SDXLBackbone:
    return SDXLBackbone.load(folder, CPU)


def test_a_folder_of_it_is_a_base(folder: Path) -> None:
    """What differs from Stable Diffusion is read from the folder."""
    entry = catalog.resolve(str(folder))

    base = catalog.load(entry, CPU)

    assert isinstance(base, SDXLBackbone)
    assert (entry.size, entry.parameterization) == (SIZE, "eps")
    assert base.parameterization is Parameterization.EPSILON
    assert (base.encoders, base.sampler) == (("clip_l", "clip_g"), "EulerDiscrete")
    assert base.text_room() == {"clip_l": CONTEXT - 2, "clip_g": CONTEXT - 2}
    assert {name: rows.shape[1] for name, rows in base.vocabulary().items()} == {
        "clip_l": 16,
        "clip_g": 24,
    }


@pytest.mark.parametrize("part", ["text_encoder_2/config.json", "tokenizer_2/tokenizer.json"])
def test_the_second_encoder_counts_in_the_fingerprint(part: str, tmp_path: Path) -> None:
    """Another second encoder is another base."""
    folder = save_tiny_sdxl(tmp_path)
    before = catalog.fingerprint(folder)

    path = folder / part
    path.write_text(path.read_text("utf-8") + " ", "utf-8")

    assert catalog.fingerprint(folder) != before


def remove_encoder(folder: Path) -> None:
    (folder / "text_encoder_2" / "model.safetensors").unlink()


def remove_vocabulary(folder: Path) -> None:
    (folder / "tokenizer_2" / "tokenizer.json").unlink()


def remove_projection(folder: Path) -> None:
    path = folder / "text_encoder_2" / "model.safetensors"
    state = load_file(path)
    del state["text_projection.weight"]
    save_file(state, path, {"format": "pt"})


@pytest.mark.parametrize("damage", [remove_encoder, remove_vocabulary, remove_projection])
def test_a_damaged_second_encoder_is_refused(damage, tmp_path: Path) -> None:
    """Nothing is made up for what a folder lacks: one sentence names the folder, and a hint."""
    folder = save_tiny_sdxl(tmp_path / "base")
    damage(folder)

    with pytest.raises(BaseRefused, match=str(folder)) as caught:
        SDXLBackbone.load(folder, CPU)

    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("negative", [None, "a cat!"])
@pytest.mark.parametrize("zero_null", [True, False])
def test_the_null_prompt_is_diffusers_absent_negative_prompt(
    zero_null: bool, negative: str | None, tmp_path: Path
) -> None:
    """Zeros where the pipeline's config asks for them, the encoded "" elsewhere."""
    save_tiny_sdxl(tmp_path, zero_null=zero_null)
    base = SDXLBackbone.load(tmp_path, CPU)
    plan = SamplingPlan(steps=3, guidance=5.0, size=(2 * SIZE, SIZE))
    request = (["a red dog!", "box with snow"], negative, plan, [3, 4])

    ours = drawn(base, *request)

    theirs = drawn_by_diffusers(pipeline_in(tmp_path), base, *request)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=SAME_OPERATIONS)


def test_only_a_null_prompt_is_zero(base: SDXLBackbone) -> None:
    """In one batch with others; a prompt that is nothing but a learned row is not null."""
    cond = base.encode_text([("",), ("a dog",), (" ", ""), (DOG,)], {DOG: learned(1)})

    for tensor in cond.tensors.values():
        assert [bool(line.any()) for line in tensor] == [False, True, False, True]


@pytest.mark.parametrize("length", [1, 3])
def test_spliced_rows_are_what_textual_inversion_loads(length: int, tmp_path: Path) -> None:
    """Each encoder's rows in its own embedding layer: states and pooled output are diffusers'."""
    save_tiny_sdxl(tmp_path, end=None)  # with LEGACY_END diffusers pools at the row: see below
    base, rows = SDXLBackbone.load(tmp_path, CPU), learned(length)
    pipeline = pipeline_in(tmp_path)
    for name, end in (("clip_l", ""), ("clip_g", "_2")):
        pipeline.load_textual_inversion(
            {"<dog-token>": rows[name] if length > 1 else rows[name][0]},
            tokenizer=getattr(pipeline, f"tokenizer{end}"),
            text_encoder=getattr(pipeline, f"text_encoder{end}"),
        )

    ours = base.encode_text([("a ", DOG, " box")], {DOG: rows})

    embeds, _, pooled, _ = pipeline.encode_prompt(
        "a <dog-token> box", do_classifier_free_guidance=False
    )
    torch.testing.assert_close(ours.tensors["embeds"], embeds.detach(), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.tensors["pooled"], pooled.detach(), rtol=0, atol=1e-5)


def pooled_by_hand(encoder: CLIPTextModelWithProjection, inputs: Tensor) -> Tensor:
    """The projected last state of rows (n, d) that end in the end-of-text: no padding to skip.

    Attention is causal, so what would stand after the end cannot reach it.
    """
    text, n = encoder.text_model, len(inputs)
    states = (inputs + text.embeddings.position_embedding.weight[:n])[None]
    unseen = torch.full((n, n), -torch.inf).triu(1)[None, None]
    for layer in text.encoder.layers:
        states = layer(states, attention_mask=unseen)
    return encoder.text_projection(text.final_layer_norm(states)[:, -1])


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("end", [None, LEGACY_END])
@pytest.mark.parametrize("end_first", [False, True])
def test_the_prompt_is_pooled_at_its_true_end(
    end_first: bool, end: int | None, length: int, tmp_path: Path
) -> None:
    """Whatever the end-of-text's id is, and whatever the encoder's config says that it is."""
    save_tiny_sdxl(tmp_path, end=end, end_first=end_first)
    base, rows = SDXLBackbone.load(tmp_path, CPU), learned(length)
    tokenizer, vocabulary = base.tokenizer_2, base.vocabulary()["clip_g"]
    begin, *words, last = tokenizer("a red box").input_ids
    assert (last == max(begin, *words, last)) is not end_first

    pooled = base.encode_text([("a red ", DOG, " box")], {DOG: rows}).tensors["pooled"]

    before, after = vocabulary[[begin, *words[:2]]], vocabulary[[words[2], last]]
    expected = pooled_by_hand(base.text_encoder_2, torch.cat([before, rows["clip_g"], after]))
    torch.testing.assert_close(pooled, expected.detach(), rtol=0, atol=1e-5)


def test_with_the_published_config_diffusers_pools_elsewhere(tmp_path: Path) -> None:
    """The reason for pooling ourselves: id 2 makes transformers pool at the largest id, the row."""
    save_tiny_sdxl(tmp_path, end=LEGACY_END)
    base, rows = SDXLBackbone.load(tmp_path, CPU), learned(1)
    pipeline = pipeline_in(tmp_path)
    pipeline.load_textual_inversion(
        {"<dog-token>": rows["clip_g"][0]},
        tokenizer=pipeline.tokenizer_2,
        text_encoder=pipeline.text_encoder_2,
    )
    words = ("box", "cat")

    theirs = [
        pipeline.encode_prompt(f"a <dog-token> {word}", do_classifier_free_guidance=False)[2]
        for word in words
    ]
    ours = [base.encode_text([("a ", DOG, f" {word}")], {DOG: rows}) for word in words]

    assert torch.equal(*theirs)  # what follows the row is not read
    assert not torch.allclose(*(cond.tensors["pooled"] for cond in ours), atol=0.1)


def test_gradients_reach_the_rows_of_both_encoders(base: SDXLBackbone) -> None:
    """Through the states and through the pooled output; nothing frozen takes one."""
    rows = {name: row.requires_grad_() for name, row in learned(2).items()}
    cond = base.encode_text([("a ", DOG)], {DOG: rows})

    (from_pooled,) = torch.autograd.grad(
        cond.tensors["pooled"].sum(), [rows["clip_g"]], retain_graph=True
    )
    cond.tensors["embeds"].square().sum().backward()

    assert from_pooled.any(1).all()
    assert all(row.grad is not None and row.grad.any(1).all() for row in rows.values())
    for clip in base.clips:
        assert all(weight.grad is None for weight in clip.encoder.parameters())


def test_the_longer_side_is_told_from_the_shorter(base: SDXLBackbone) -> None:
    """The UNet is told (H, W, 0, 0, H, W) in pixels for each picture of the batch."""
    seen: list[Tensor] = []
    hook = base.unet.add_time_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    cond = base.encode_text([("a dog",)] * 2, {})

    base.predict(torch.zeros(2, 4, 8, 16), torch.tensor([5, 6]), cond)

    hook.remove()
    size = [SIZE, 2 * SIZE]
    assert seen[0].tolist() == 2 * [*size, 0, 0, *size]


def test_a_condition_keeps_its_parts_together(base: SDXLBackbone) -> None:
    """Taking and joining conditions moves embeds and pooled alike."""
    two = base.encode_text([("a dog",), ("a cat at night",)], {})

    again: Conditioning = two.take([1]).then(two.take([0]))

    for name, tensor in two.tensors.items():
        assert torch.equal(again.tensors[name], tensor.flip(0))


def test_a_prompt_longer_than_the_base_reads_is_refused(base: SDXLBackbone) -> None:
    with pytest.raises(PromptRefused, match="15 tokens long and this base reads 14"):
        base.encode_text([("dog " * 15,)], {})

"""Where the learned rows start."""

from __future__ import annotations

import pytest
import torch

from prism_cli.backbones.base import Conditioning, Prompt
from prism_cli.errors import OptionRefused
from prism_cli.method.conditions import TEMPLATE, residual_only
from prism_cli.method.tokens import (
    SHORTEST_RESIDUAL,
    ConceptTokens,
    init_tokens,
    pool_rows,
    random_rows,
    residual_room,
)
from tests.bases import mini, seeded

CAPTION = "a red dog with a hat in the snow at night"
ONE_ROUNDING = 1e-6  # a row is scaled to its own norm: by one, give or take an ulp


def start(
    *captions: str,
    length: int = 1,
    word: str | None = None,
    residual_length: int | None = None,
    template: str = TEMPLATE,
) -> ConceptTokens:
    return init_tokens(
        mini(),
        "zuzu",
        captions,
        length=length,
        word=word,
        residual_length=residual_length,
        rng=seeded(3),
        template=template,
    )


def gamma(prompt: Prompt, tokens: ConceptTokens) -> torch.Tensor:
    cond: Conditioning = mini().encode_text([prompt], tokens.rows())
    return cond.tensors["embeds"].detach()


def test_the_residual_alone_starts_as_its_caption() -> None:
    """At step 0 Gamma(residual i) is Gamma(caption i), bit for bit."""
    tokens = start("a cat", CAPTION)

    assert torch.equal(gamma(residual_only("zuzu", 1), tokens), gamma((CAPTION,), tokens))


@pytest.mark.parametrize("template", ["* with {}", "* picture of {}", "{} in the style of *"])
def test_step_zero_is_the_captioned_prompt(template: str) -> None:
    """Gamma("target with residual i") is the encoder's own reading of those words' ids."""
    tokens = start(CAPTION, word="dog", template=template)
    base = mini()
    words = template.replace("*", "dog").format(CAPTION)
    padded = base.tokenizer(words, padding="max_length", max_length=32)

    read = base.text_encoder(torch.tensor([padded.input_ids])).last_hidden_state.detach()

    ours = gamma(tokens.together(0), tokens)
    torch.testing.assert_close(ours, read, rtol=0, atol=10 * ONE_ROUNDING)  # values up to ten


def test_a_short_caption_is_stretched() -> None:
    """A caption of two words gives as many rows as the shortest of the paper's captions, eight."""
    cat = mini().word_rows("a cat")["clip_l"]

    rows = start("a cat").residuals[0]["clip_l"].detach()

    at_one_norm = cat / cat.norm(dim=1, keepdim=True) * cat.norm(dim=1).mean()
    assert len(rows) == SHORTEST_RESIDUAL
    torch.testing.assert_close(rows[:4], at_one_norm[:1].expand(4, -1))
    torch.testing.assert_close(rows[4:], at_one_norm[1:].expand(4, -1))


def test_a_residual_longer_than_a_prompt_holds_is_refused() -> None:
    """--residual-length 40 on a base that reads 30 tokens: the error says how many fit."""
    with pytest.raises(OptionRefused, match="28 fit") as caught:
        start(CAPTION, residual_length=40)

    assert "--residual-length 28" in caught.value.hint


def test_the_same_words_beside_a_random_target() -> None:
    """With a target of no word, every place but the target's holds the words' own row."""
    tokens = start(CAPTION, length=2)
    base = mini()
    spliced: list[torch.Tensor] = []
    embedding = base.text_encoder.get_input_embeddings()
    hook = base.text_encoder.encoder.register_forward_pre_hook(
        lambda _, args, kwargs: spliced.append(kwargs.get("inputs_embeds", *args[:1])),
        with_kwargs=True,
    )
    gamma(tokens.together(0), tokens)
    hook.remove()

    ids = base.tokenizer(f"x x with {CAPTION}", padding="max_length", max_length=32).input_ids
    positions = base.text_encoder.embeddings.position_embedding.weight
    expected = embedding(torch.tensor(ids)) + positions
    expected[1:3] = tokens.target["clip_l"] + positions[1:3]
    assert torch.equal(spliced[0][0].detach(), expected.detach())


def test_the_target_starts_with_the_vocabularys_mean_and_spread() -> None:
    """Drawn a thousand times, the rows have the mean and deviation of each dimension."""
    vocabulary = torch.tensor([[1.0, 10.0], [3.0, 10.0], [5.0, 10.0]])

    rows = random_rows(vocabulary, 4000, seeded(0))

    assert rows[:, 1].eq(10).all()  # a dimension without spread
    torch.testing.assert_close(rows[:, 0].mean(), torch.tensor(3.0), atol=0.1, rtol=0)  # 3 sigma
    torch.testing.assert_close(rows[:, 0].std(), torch.tensor(2.0), atol=0.1, rtol=0)


@pytest.mark.parametrize("length", [1, 4])
def test_the_target_can_start_as_a_word(length: int) -> None:
    """--class dog: each of n rows is the word's own row."""
    row = mini().word_rows("dog")["clip_l"]

    target = start(CAPTION, length=length, word="dog").target["clip_l"].detach()

    torch.testing.assert_close(target, row.expand(length, -1), atol=ONE_ROUNDING, rtol=0)


def test_a_class_without_words_is_refused() -> None:
    """A class of blanks would make the target a row of nothing."""
    with pytest.raises(OptionRefused, match="no words") as caught:
        start(CAPTION, word="  ")

    assert "--class" in caught.value.hint


def test_a_caption_too_long_loses_its_end() -> None:
    """The residual is as long as a prompt holds beside the target and "with"."""
    long = "a red dog on the grass " * 8

    rows = start(long, length=3).residuals[0]["clip_l"]

    assert len(rows) == residual_room(mini(), "clip_l", 3) == 32 - 2 - 3 - 1
    assert torch.equal(rows.detach(), mini().word_rows(long)["clip_l"][: len(rows)])


def test_the_room_is_what_the_joining_words_leave() -> None:
    """The words "in the style of" are four rows; the longest residual fits beside."""
    template = "{} in the style of *"

    tokens = start("a red dog on the grass " * 8, template=template)

    assert len(tokens.residuals[0]["clip_l"]) == residual_room(mini(), "clip_l", 1, template) == 25
    gamma(tokens.together(0), tokens)


def test_a_copy_stands_together_as_the_tokens_do() -> None:
    """Neither `detached` nor `trainable` forgets the template."""
    tokens = start(CAPTION, template="* picture of {}")

    assert tokens.detached().trainable().together(0) == tokens.together(0)
    assert tokens.together(0)[1] == " picture of "


def test_pooled_rows_are_means_of_stretches_with_the_norm_of_a_word() -> None:
    """Four rows pooled to two: the direction of each pair's mean, the rows' mean norm."""
    rows = torch.tensor([[3.0, 0.0], [0.0, 3.0], [0.0, 5.0], [0.0, 1.0]])

    pooled = pool_rows(rows, 2)

    torch.testing.assert_close(pooled, torch.tensor([[3 / 2**0.5, 3 / 2**0.5], [0.0, 3.0]]))


@pytest.mark.parametrize("captions", [(CAPTION,), ("a cat",)], ids=["whole", "stretched"])
def test_every_start_can_be_written_to_a_file(captions: tuple[str, ...]) -> None:
    """Rows lie in memory as safetensors writes them, however they came about."""
    tokens = start(*captions, word="dog", length=2).detached()

    assert all(rows.is_contiguous() for rows in tokens.parameters())


def test_residuals_are_pooled_when_a_length_is_given() -> None:
    """--residual-length 2: two rows a photo, whatever its caption's length."""
    tokens = start(CAPTION, "a cat", residual_length=2)

    assert [len(rows["clip_l"]) for rows in tokens.residuals] == [2, 2]


def test_rows_stay_at_the_vocabularys_scale() -> None:
    """Nothing starts far off the norm of a word, where Adam's steps would be lost."""
    usual = mini().vocabulary()["clip_l"].norm(dim=1)
    tokens = start(CAPTION, length=2, residual_length=4)

    for rows in tokens.parameters():
        norms = rows.detach().norm(dim=1)
        assert norms.min() > usual.min() and norms.max() < usual.max()


def test_detached_tokens_do_not_follow_the_parameters() -> None:
    """What is kept is a copy: later steps do not change it."""
    tokens = start(CAPTION)
    kept = tokens.detached()
    before = kept.target["clip_l"].clone()

    with torch.no_grad():
        for parameter in tokens.parameters():
            parameter.add_(1)

    assert torch.equal(kept.target["clip_l"], before)
    assert not kept.target["clip_l"].requires_grad

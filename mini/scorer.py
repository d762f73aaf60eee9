"""What the scorer is asked, and the net it begins as; `prism_cli.encoders.scorer` has the rest.

It is CLIP in all but its eyes, which are MobileNetV2's and begin as ImageNet trained them. From
nothing, in fifteen minutes on two cores, a vision transformer of CLIP's own came to 31 % of the
nouns and a convolutional net to 39 %.
"""

from __future__ import annotations

import itertools

from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    MobileNetV2Model,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

from mini.vocabulary import (
    COLOURS,
    GROUND_COLOURS,
    NOUNS,
    PATTERNS,
    SCENES,
    SIZES,
    STYLE_WORDS,
    TEXTURES,
)
from mini.world import Ground, Picture, article, style_word
from prism_cli.encoders.scorer import EMBEDDING, PLAIN, Texts


def _grounds() -> dict[str, Ground]:
    """Every background there is, by its words."""
    pairs = itertools.permutations(GROUND_COLOURS, 2)
    grounds = [Ground(colour=colour) for colour in GROUND_COLOURS]
    grounds += [Ground(colour=c, texture=t) for t in TEXTURES for c in GROUND_COLOURS]
    grounds += [Ground(colour=colour, into=into) for colour, into in pairs]
    grounds += [Ground(scene=scene) for scene in SCENES]
    return {ground.words(): ground for ground in grounds}


GROUNDS = _grounds()
TEXTS: Texts = {
    "noun": {noun.word: article(noun.word) for noun in NOUNS},
    "style": {words[0]: f"a {words[0]} drawing" for words in STYLE_WORDS.values()},
    "colour": {PLAIN: "something painted", **{word: f"something {word}" for word in COLOURS}},
    "pattern": {PLAIN: "nothing on it", **{word: f"something {word}" for word in PATTERNS}},
    "size": {word: f"something {word}" for word in SIZES},
    "ground": {words: words for words in GROUNDS},
}  # fmt: skip

_INDEX = {name: {word: k for k, word in enumerate(words)} for name, words in TEXTS.items()}


def labels(picture: Picture) -> dict[str, int]:
    """The index of the right word of each attribute; -100 where there is no right one."""
    thing = picture.thing
    if thing is None:
        raise ValueError("a picture of nothing has no labels")
    words = {
        "noun": thing.noun,
        "style": "" if thing.pattern else style_word(thing) or "",
        "colour": thing.colour or (PLAIN if thing.pattern is None else ""),
        "pattern": thing.pattern or PLAIN,
        "size": picture.size,
        "ground": picture.ground.words(),
    }
    return {name: _INDEX[name].get(word, -100) for name, word in words.items()}


def untrained(eyes: MobileNetV2Model, tokens: CLIPTokenizer) -> VisionTextDualEncoderModel:
    """The net: `eyes` to see, and two new layers of CLIP's text encoder to read."""
    text = CLIPTextConfig(
        vocab_size=len(tokens), hidden_size=128, intermediate_size=384, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=tokens.model_max_length,
        bos_token_id=tokens.bos_token_id, eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
    )  # fmt: skip
    config = VisionTextDualEncoderConfig(
        vision_config=eyes.config.to_dict(), text_config=text.to_dict(), projection_dim=EMBEDDING
    )
    return VisionTextDualEncoderModel(config, eyes, CLIPTextModel(text))

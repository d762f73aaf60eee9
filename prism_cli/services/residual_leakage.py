"""The leakage matrix of a concept that is trained: `method.leakage` on its photos or its draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from prism_cli.backbones.base import Backbone, Conditioning
from prism_cli.method.conditions import NULL, residual_only
from prism_cli.method.leakage import LEAKAGE_SEED, Leakage, leakage
from prism_cli.method.tokens import ConceptTokens
from prism_cli.runtime import generator
from prism_cli.services.pictures import to_tensor

TIMES = 4  # of each photo in the fixed batch


def residual_conditions(backbone: Backbone, tokens: ConceptTokens) -> Conditioning:
    """Every residual alone, and null at the end."""
    prompts = [residual_only(tokens.concept, i) for i in range(len(tokens.residuals))]
    return backbone.encode_text([*prompts, NULL], tokens.rows())


def measure_leakage(
    backbone: Backbone, shown: Sequence[Image.Image], conditions: Conditioning
) -> Leakage:
    """Without the LoRA, as in Algorithm 1: what leaks is in the tokens.

    shown: a picture a residual. conditions: of `residual_conditions`.
    """
    backbone.attach_loras({})
    z_0 = backbone.encode_images(to_tensor([np.asarray(each.convert("RGB")) for each in shown]))
    n = len(shown)
    rng = generator(LEAKAGE_SEED)
    return leakage(
        backbone, z_0, conditions.take(range(n)), conditions.take([n]), times=TIMES, rng=rng
    )

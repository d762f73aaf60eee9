"""L_rec, L_excl and L_ft. Pure: predictions in, losses out; nothing is drawn, no model called."""

from __future__ import annotations

from torch import Tensor


def reconstruction_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Per-sample squared error, a mean over elements (Algorithm 1, line 8; Algorithm 2, line 8).

    prediction, target: (B, c, h, w) in the base's native output. Returns (B,).
    """
    return (prediction - target).square().flatten(1).mean(1)


def exclusion_loss(residual: Tensor, null: Tensor, anchors: int) -> Tensor:
    """How far residual i moves the prediction for *other* photos (Eq. 4, 9; Algorithm 1, line 13).

    residual, null: (B * J, c, h, w), predictions for the same z_t^(j), t and noise, the J anchors
    of a sample consecutive. A mean over elements and over the anchors, as Eq. 6 is an expectation;
    Algorithm 1 read literally sums over them, which makes beta `anchors` times as heavy.
    Returns (B,). The null prediction is a target, not a variable.
    """
    gap = (residual - null.detach()).square().flatten(1).mean(1)  # (B * J,)
    return gap.view(-1, anchors).mean(1)

"""Muon: momentum whose every matrix is made nearly orthogonal before it is added.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); the scale is that
of Liu et al., "Muon is scalable for LLM training" (2025), by which one rate suits every shape.
torch's own takes matrices only, and most of a UNet is convolutions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic (Jordan et al.)
WIDE = 3  # columns a row, from which the iteration is faster on the square of the matrix


def orthogonal(matrices: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Matrices (..., m, n) with all their singular values brought near 1, in `dtype`.

    steps: of the Newton-Schulz iteration.
    """
    x = matrices.to(dtype)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    m, n = x.shape[-2:]
    if m > n:
        return _wide_or_square(x.mT, steps).mT
    return _wide_or_square(x, steps)


def _wide_or_square(x: Tensor, steps: int) -> Tensor:
    """x (..., m, n) with m <= n: every step is x <- p(x x^T) x, p of second degree.

    A wide x is not touched until the end: its square (m, m) is all that a step needs, and the
    p of all steps, which commute, are gathered into one factor.
    """
    m, n = x.shape[-2:]
    if n < WIDE * m:
        for _ in range(steps):
            x = _polynomial(x @ x.mT) @ x
        return x
    square = x @ x.mT
    factor = p = _polynomial(square)
    for _ in range(steps - 1):
        square = p @ square @ p
        p = _polynomial(square)
        factor = p @ factor
    return factor @ x


def _polynomial(square: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    p = c * (square @ square) + b * square
    p.diagonal(dim1=-2, dim2=-1).add_(a)
    return p


def _in_memory_order(p: Tensor, tensor: Tensor) -> Tensor:
    """`tensor`, of the shape of p, with its axes in the order in which p's lie in memory.

    The order of columns is nothing to orthogonality, and channels-last kernels need no copy so.
    """
    last = p.ndim == 4 and p.is_contiguous(memory_format=torch.channels_last)
    return tensor.permute(0, 2, 3, 1) if last else tensor


class Muon(Optimizer):
    """Over matrices and convolutions, whose kernels count as the matrix (out, in x h x w).

    steps: of Newton-Schulz; three learn as well as five in less time (`mini.compare`).
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float | Tensor, *, momentum: float = 0.95,
        weight_decay: float = 0.01, steps: int = 3, dtype: torch.dtype = torch.bfloat16,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr})
        self.momentum, self.weight_decay, self.steps, self.dtype = (
            momentum, weight_decay, steps, dtype,
        )  # fmt: skip

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update, with Nesterov's momentum; matrices of one shape are stacked for it."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            weights = [_in_memory_order(p, p).view(len(p), -1) for p in moved]
            gradients = [_in_memory_order(p, p.grad).flatten(1) for p in moved]
            for p, gradient in zip(moved, gradients, strict=True):
                if not self.state[p]:
                    self.state[p]["velocity"] = torch.zeros_like(gradient)
            velocities = [self.state[p]["velocity"] for p in moved]
            torch._foreach_mul_(velocities, self.momentum)
            torch._foreach_add_(velocities, gradients)
            ahead = torch._foreach_add(gradients, velocities, alpha=self.momentum)
            torch._foreach_mul_(weights, 1 - group["lr"] * self.weight_decay)
            for same in _by_shape(ahead):
                stacked = torch.stack([ahead[k] for k in same])
                change = orthogonal(stacked, self.steps, self.dtype).to(stacked.dtype)
                scale = 0.2 * max(change.shape[-2:]) ** 0.5  # AdamW's root mean square
                torch._foreach_sub_([weights[k] for k in same], list(group["lr"] * scale * change))


def _by_shape(matrices: Sequence[Tensor]) -> Iterable[list[int]]:
    """The places of the matrices of each shape."""
    places: dict[torch.Size, list[int]] = defaultdict(list)
    for k, matrix in enumerate(matrices):
        places[matrix.shape].append(k)
    return places.values()

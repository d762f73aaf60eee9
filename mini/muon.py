"""Muon: momentum whose every matrix is made nearly orthogonal before it is added.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); the scale is that
of Liu et al., "Muon is scalable for LLM training" (2025), by which one rate suits every shape.
torch's own takes matrices only, and most of a UNet is convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic (Jordan et al.)


def orthogonal(matrix: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """A matrix (m, n) with all its singular values brought near 1, in `dtype`.

    steps: of the Newton-Schulz iteration.
    """
    a, b, c = COEFFICIENTS
    x = matrix.to(dtype)
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Muon(Optimizer):
    """Over matrices and convolutions, whose kernels count as the matrix (out, in x h x w).

    steps: of Newton-Schulz; three learn as well as five in less time (`mini.compare`).
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float, *, momentum: float = 0.95,
        weight_decay: float = 0.01, steps: int = 3, dtype: torch.dtype = torch.bfloat16,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr})
        self.momentum, self.weight_decay, self.steps, self.dtype = (
            momentum, weight_decay, steps, dtype,
        )  # fmt: skip

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """One update, with Nesterov's momentum."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                gradient = p.grad.flatten(1)
                state = self.state[p]
                if not state:
                    state["velocity"] = torch.zeros_like(gradient)
                state["velocity"].mul_(self.momentum).add_(gradient)
                ahead = gradient.add(state["velocity"], alpha=self.momentum)
                change = orthogonal(ahead, self.steps, self.dtype).to(p.dtype)
                scale = 0.2 * max(change.shape) ** 0.5  # an AdamW update's root mean square
                p.mul_(1 - group["lr"] * self.weight_decay)
                p.add_(change.view(p.shape), alpha=-group["lr"] * scale)

"""What a pass through a model takes: the bytes that are held on the way, and the operations.

It asks for no values, so that a model on the meta device will do. Attention counts as one fused
operation where the device has one: its matrix of all pairs, which the meta device would write out,
is then never in memory.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True, slots=True)
class Cost:
    """What one sample takes on its way through a model, beside the weights. Bytes.

    saved: what the graph holds between forward and backward. peak: the most that is alive at once.
    flops: floating-point operations of the forward pass. inputs: what it is given. trainable:
    parameters that are trained, whatever the samples.
    """

    saved: int
    peak: int
    flops: int
    inputs: int = 0
    trainable: int = 0


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes that tensors made under it hold, and the operations that made them.

    A storage counts once, however many tensors look at it, until the last lets go; those of
    `given`'s parameters do not count. It sees a backward pass as it sees a forward pass.
    """

    def __init__(self, given: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = self.flops = 0
        weights = [*given.parameters(), *given.buffers()]
        self._seen: dict[int, Any] = {w.untyped_storage()._cdata: None for w in weights}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do it, and count what comes out."""
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor):
                self._hold(tensor.untyped_storage())
        return out

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return

        def let_go(_: Any) -> None:
            self._seen.pop(key)
            self.live -= size

        self._seen[key] = weakref.ref(storage, let_go)
        self.live += size
        self.peak = max(self.peak, self.live)


class _Attention(torch.autograd.Function):
    """The memory of fused attention: the inputs, the output and a number for each query."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = q.new_empty(*q.shape[:-1], v.shape[-1])
        ctx.save_for_backward(q, k, v, out, q.new_empty(q.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor, ...]:
        q, k, v, *_rest = ctx.saved_tensors
        return tuple(tensor.new_empty(tensor.shape) for tensor in (q, k, v))


class _FusedAttention(TorchFunctionMode):
    """Puts `_Attention` in the place of torch's scaled dot product."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self.meter = meter

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not nn.functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        named = [kwargs[name] for name in ("query", "key", "value") if name in kwargs]
        q, k, v = [*args, *named][:3]
        # q k^T and its product with v: two operations for each pair and channel, twice.
        self.meter.flops += (
            2 * q.numel() * k.shape[-2] + 2 * q[..., 0].numel() * k.shape[-2] * (v.shape[-1])
        )
        return _Attention.apply(q, k, v)  # type: ignore[no-untyped-call]


def measure(
    model: nn.Module,
    call: Callable[[], Tensor],
    *,
    gradient: bool,
    checkpointing: bool = False,
    fused: bool = True,
) -> Cost:
    """Run `call`, which runs `model`, and backwards if there is a gradient, under a meter."""
    meter = Meter(model)
    attention: Callable[[], AbstractContextManager[Any]] = (
        partial(_FusedAttention, meter) if fused else nullcontext
    )
    if checkpointing:
        # A function mode is not there any more when the backward pass calls a block again.
        model.enable_gradient_checkpointing(  # type: ignore[operator]
            lambda block, *args: checkpoint(
                block.__call__,
                *args,
                use_reentrant=False,
                preserve_rng_state=False,
                context_fn=lambda: (nullcontext(), attention()),
            )
        )
    with meter, torch.set_grad_enabled(gradient):
        with attention():
            out = call()
        saved, flops = meter.live, meter.flops
        if gradient:
            torch.autograd.backward(out, torch.empty_like(out))
    trainable = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return Cost(saved if gradient else 0, meter.peak, flops, trainable=trainable)

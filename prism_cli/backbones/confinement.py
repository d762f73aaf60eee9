"""Each concept's LoRA only where its own token attends: several concepts with no merge at all.

The idea is TARA's (Token-Aware LoRA, AAAI 2026): a LoRA that is felt at other words' places is what
makes two concepts bleed into each other. Its paper masks the layers that read the prompt. Here the
other layers, which read the picture, are masked too: each place in the picture gets the LoRAs in
proportion to the attention that it pays to their tokens.

- ``attn2.to_k`` and ``to_v`` read the prompt: a LoRA adds to the rows of its own tokens only.
- ``attn2.to_q`` and ``to_out`` read the picture: a LoRA adds at every place its share of the
  attention there, among the concepts of the prompt. Alone in a prompt, it has all of it.
- ``attn1`` reads the picture before this block has attended to the prompt: it takes the shares of
  the block before; ahead of the first, equal ones.

In a prompt without its token, such as the null prompt, a LoRA adds nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from prism_cli.backbones.base import Conditioning, Slot
from prism_cli.backbones.lora import adapter_name
from prism_cli.backbones.splice import Layout, RowAt

_PROMPT = ("attn2.to_k", "attn2.to_v")  # the layers that read it; all others read the picture


class Confinement:
    """The masks of C attached LoRAs on one UNet, while it has them.

    slots: what each LoRA's own tokens are, in the order in which they were attached.
    """

    def __init__(self, unet: nn.Module, slots: Sequence[Collection[Slot]]) -> None:
        self.slots = slots
        self._places: Tensor | None = None  # (B, C, L), of the forward that runs
        self._shares = torch.empty(0)  # (B, C, h, w), of the last cross-attention
        self._aspect = 1.0  # height to width of the latent
        self._handles: list[Any] = []
        for name, module in unet.named_modules():
            if name.endswith(".attn2"):
                self._handles.append(
                    module.register_forward_pre_hook(self._attend, with_kwargs=True)
                )
            layer, _, adapter = name.rpartition(".lora_B.")
            for k in range(len(slots)):
                if adapter == adapter_name(k):
                    masked = self._at_tokens if layer.endswith(_PROMPT) else self._at_places
                    self._handles.append(module.register_forward_hook(_masking(masked, k)))

    def release(self) -> None:
        """Take the masks off."""
        for handle in self._handles:
            handle.remove()

    def places(self, layouts: Sequence[Sequence[Layout]]) -> Tensor:
        """(B, C, L), whether each position of each prompt is a LoRA's own token.

        layouts: of each text encoder, the B prompts. Where two encoders lay a prompt out
        differently, a position counts if it does in one of them.
        """
        found = torch.tensor(
            [
                [
                    [
                        [isinstance(token, RowAt) and token.slot in own for token in line]
                        for own in self.slots
                    ]
                    for line in lines
                ]
                for lines in layouts
            ]
        )  # (encoders, B, C, L)
        return found.any(0)

    @contextmanager
    def running(self, places: Tensor, z_t: Tensor) -> Iterator[None]:
        """A forward of the UNet on z_t (B, c, h, w); the prompts' tokens stand at `places`."""
        there = places.any(-1).float()  # (B, C)
        equal = there / there.sum(1, keepdim=True).clamp_min(1)
        self._places, self._shares = places, equal[..., None, None]
        self._aspect = z_t.shape[-2] / z_t.shape[-1]
        try:
            yield
        finally:
            self._places = None

    def _attend(self, attention: Any, args: Any, kwargs: Any) -> None:
        """Before a cross-attention: how it will divide the picture's places among the LoRAs."""
        places = self._places
        if places is None:
            return
        hidden = args[0] if args else kwargs["hidden_states"]  # (B, h w, d)
        words = kwargs["encoder_hidden_states"]  # (B, L, d_text)
        heads = attention.heads
        query = _base(attention.to_q)(hidden).unflatten(-1, (heads, -1)).transpose(1, 2)
        key = attention.to_k(words).unflatten(-1, (heads, -1)).transpose(1, 2)
        attended = (query @ key.transpose(-1, -2) * attention.scale).float().softmax(-1).mean(1)
        each = torch.einsum("bsl,bcl->bcs", attended, places.float())
        shares = each / each.sum(1, keepdim=True).clamp_min(torch.finfo(each.dtype).tiny)
        self._shares = shares.view(*shares.shape[:2], *self._sides(hidden.shape[1]))

    def _at_tokens(self, k: int, output: Tensor) -> Tensor:
        """(B, L, d): its own tokens' rows."""
        assert self._places is not None
        return output * self._places[:, k, :, None].to(output)

    def _at_places(self, k: int, output: Tensor) -> Tensor:
        """(B, h w, d): its share of each place."""
        sides = self._sides(output.shape[1])
        shares = functional.interpolate(self._shares, sides, mode="bilinear")[:, k]
        return output * shares.flatten(1)[..., None].to(output)

    def _sides(self, places: int) -> tuple[int, int]:
        """The height and width of a picture of so many places."""
        height = max(1, round((places * self._aspect) ** 0.5))
        return height, places // height


def confined_to(
    confinement: Confinement | None, cond: Conditioning, z_t: Tensor
) -> AbstractContextManager[None]:
    """Masks for one forward, if there are any."""
    if confinement is None:
        return nullcontext()
    return confinement.running(cond.tensors["places"], z_t)


def _masking(masked: Any, k: int) -> Any:
    def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        result: Tensor = masked(k, output)
        return result

    return hook


def _base(layer: Any) -> Any:
    """A linear layer without what peft has put around it."""
    return getattr(layer, "base_layer", layer)

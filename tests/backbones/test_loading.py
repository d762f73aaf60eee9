"""What is told of a device, and of a base that does not load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from prism_cli import runtime
from prism_cli.backbones import hub_cache
from prism_cli.backbones.families import NAMED
from prism_cli.backbones.loading import loading
from prism_cli.errors import BaseRefused

PINNED, OTHER = "a" * 40, "b" * 40


def test_no_room_is_no_damage() -> None:
    """Whole files are not to be downloaded again; it becomes a sentence where it is printed."""
    with (
        pytest.raises(torch.OutOfMemoryError, match="out of memory"),
        loading("FLUX", Path("base")),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    with pytest.raises(BaseRefused, match="a header is cut"), loading("FLUX", Path("base")):
        raise ValueError("a header is cut")


@pytest.mark.parametrize(
    ("folder", "mends"),
    [
        ("sd15/unet", "get that folder again, or choose another --base"),
        ("/", "get that folder again, or choose another --base"),
        ("snapshots/x", "get that folder again, or choose another --base"),
        (f"models--tiny--sd/snapshots/{PINNED}", "prism bases pull tiny/sd"),
        (f"models--tiny--sd/snapshots/{OTHER}", f"prism bases pull tiny/sd --revision {OTHER}"),
        (
            f"models--stabilityai--stable-diffusion-xl-base-1.0/snapshots/{PINNED}",
            "prism bases pull sdxl",
        ),
    ],
)
def test_what_mends_a_damaged_base(folder: str, mends: str) -> None:
    """The command that fetches its files again, at its very revision."""
    for repository in ("tiny/sd", NAMED["sdxl"].repository):
        hub_cache.pin(repository, PINNED)

    with pytest.raises(BaseRefused) as told, loading("Stable Diffusion", Path(folder)):
        raise ValueError("a header is cut")

    assert told.value.hint.removeprefix("fetch what is damaged again: ") == mends


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_emulated_bf16_is_none(
    native: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch says yes of a Turing or Volta GPU too, which computes it piece by piece in fp32."""

    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)

    assert runtime.detect() == runtime.Runtime(torch.device("cuda"), dtype)

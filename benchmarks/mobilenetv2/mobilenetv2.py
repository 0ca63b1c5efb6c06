"""MobileNetV2 with random weights and a last layer that can be trained again, and random images for it: that of ``delta.py``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

IMAGES = 8
WIDTHS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, repeats and stride of each stage: table 2 of arXiv:1801.04381."""


def build_10() -> nn.Module:
    """Ten classes, as after transfer learning: 2.2 million weights, of which the last layer has 0.6%."""
    return _build(10)


def build_1000() -> nn.Module:
    """ImageNet's thousand classes: 3.5 million weights, of which the last layer has 37%."""
    return _build(1000)


def _build(classes: int) -> nn.Module:
    """Logits [batch, classes] of images [batch, 3, 224, 224]."""
    import torch
    from torch import nn

    def conv(channels: int, out: int, size: int, stride: int, groups: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(channels, out, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(out)]

    class Block(nn.Module):
        """An inverted residual: wider by 1×1, filtered by 3×3 in each channel, narrower by 1×1, and what came in."""

        def __init__(self, channels: int, out: int, stride: int, factor: int) -> None:
            super().__init__()
            wide = channels * factor
            grown = [] if factor == 1 else [*conv(channels, wide, 1, 1), nn.ReLU6()]
            self.body = nn.Sequential(*grown, *conv(wide, wide, 3, stride, wide), nn.ReLU6(), *conv(wide, out, 1, 1))
            self.same = stride == 1 and channels == out

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features + self.body(features) if self.same else self.body(features)

    channels, blocks = 32, [*conv(3, 32, 3, 2), nn.ReLU6()]
    for factor, out, repeats, stride in WIDTHS:
        for index in range(repeats):
            blocks.append(Block(channels, out, stride if index == 0 else 1, factor))
            channels = out
    body = nn.Sequential(*blocks, *conv(channels, 1280, 1, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(body, nn.Linear(1280, classes))


def images() -> Iterator[dict[str, Any]]:
    """Random images in [0, 1], the same each time."""
    random = np.random.default_rng(0)
    for _ in range(IMAGES):
        yield {"image": random.random((3, 224, 224), dtype=np.float32)}


def save_weights(path: str, classes: int, training: int, moved: float = 0.0) -> None:
    """Write weights: the body's from one seed, with batch norms that have seen a batch; the last layer's from ``training``.

    ``moved``: each of them then moves by about this share of itself, as in fine-tuning of the whole network.
    """
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = _build(classes)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.rand(4, 3, 224, 224))
        torch.manual_seed(training)
        network[1] = torch.nn.Linear(1280, classes)
        for weights in network.parameters() if moved else ():
            weights.mul_(1 + moved * torch.randn_like(weights))
    save_file(network.state_dict(), path)

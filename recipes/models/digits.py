"""The demo network: a small convolutional classifier of handwritten digits, 1×8×8 in, 10 classes out."""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Sequential):
    """Depthwise 3×3 and pointwise 1×1 convolution, each with batch norm and ReLU6, as in MobileNet (arXiv:1704.04861)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU6(),
            nn.Conv2d(channels, out, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU6(),
        )


class Digits(nn.Module):
    """A convolution, three depthwise-separable blocks, global average pooling and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU6())
        self.blocks = nn.Sequential(Block(32, 64, 1), Block(64, 96, 2), Block(96, 128, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(128, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits [batch, 10] of images [batch, 1, 8, 8] with values in [0, 1]."""
        features = self.pool(self.blocks(self.stem(image)))
        return self.classify(torch.flatten(features, 1))


def build() -> nn.Module:
    """The untrained network; its weights stand in ``digits.safetensors``."""
    return Digits()

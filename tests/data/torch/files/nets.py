"""Small networks of the tests on PyTorch's files: factories beside the files that save.py writes of them."""

# mypy: disable-error-code="misc"
# (torch has no types in the environment that checks this file, so its classes are Any)

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Net(nn.Module):
    """A convolution, a mean and a linear layer; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> Any:
        """``x`` has shape [batch, 1, 8, 8]."""
        features = torch.relu(self.conv(x)).mean((2, 3))
        return self.head(features), features


class Simple(nn.Module):
    """One output, for what is quantised."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.relu = nn.ReLU()
        self.head = nn.Linear(8 * 8 * 8, 4)

    def forward(self, x: torch.Tensor) -> Any:
        """``x`` has shape [batch, 1, 8, 8]."""
        return self.head(self.relu(self.conv(x)).flatten(1))


class Deep(nn.Module):
    """A graph of ``depth`` nodes in a row."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth = depth

    def forward(self, x: torch.Tensor) -> Any:
        """``x`` has shape [batch, 4]."""
        for step in range(self.depth // 2):
            x = torch.tanh(x) * (1.0 + step / 1e5)
        return x


class Optional(nn.Module):
    """Takes what is no tensor beside what is one."""

    def forward(self, x: Any, scale: float, mask: Any = None, *, shift: Any) -> Any:  # noqa: ARG002 - as it is exported
        """Keyword arguments and constants."""
        return x * scale + shift


def build() -> Any:
    """A factory."""
    torch.manual_seed(1)
    return Net()


def build_deep() -> Any:
    """A graph of ten thousand nodes."""
    return Deep(10_000)


def build_half() -> Any:
    """A module in half precision."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).half()


def qat(kind: str = "plain", backend: str = "x86") -> Any:
    """A module prepared for training that knows of 8 bits, not trained yet."""
    from torch.ao import quantization as tq

    torch.manual_seed(1)
    model = nn.Sequential(tq.QuantStub(), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                          nn.Linear(512, 4), tq.DeQuantStub()).train()  # fmt: skip
    if kind == "fused":
        model = tq.fuse_modules_qat(model, [["1", "2", "3"]])
    model.qconfig = tq.get_default_qat_qconfig(backend)
    return tq.prepare_qat(model)


def build_qat() -> Any:
    """Its weights hold the ranges."""
    return qat()


def build_qat_fused() -> Any:
    """With batch normalisation folded into the convolution while it trains."""
    return qat("fused", "qnnpack")


def build_qat_unseen() -> Any:
    """Without weights: no range was ever seen."""
    return qat()

"""Small PyTorch factories, good and bad, for the tests of the PyTorch stages."""

# mypy: disable-error-code="misc"
# (torch has no types in the environment that checks this file, so its classes are Any)

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Forward(nn.Module):
    """A module whose forward is a function of one tensor."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


def split_and_pad() -> nn.Module:
    """A split in equal and one in unequal parts and a padding: onnx's converter brings none of them below opset 18."""

    def forward(x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, 1)
        c, d, e = torch.cat((b, a), 1).chunk(3, 1)
        return functional.pad(torch.cat((e, c, d), 1), (1, 2, 0, 1))

    return Forward(forward)


def mish() -> nn.Module:
    """Mish is an operator since opset 18, defined by older ones."""
    return Forward(functional.mish)


def bitwise() -> nn.Module:
    """BitwiseAnd is an operator since opset 18, and nothing says it in older ones."""
    return Forward(lambda x: (x > 0).int() & 3)


def sign_dependent() -> nn.Module:
    """Control flow that depends on the data: a trace keeps the branch that the example took."""

    def forward(x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() >= 0 else x - 1

    return Forward(forward)


def fixed_batch() -> nn.Module:
    """Says that its batch is dynamic, and works for 2 only."""
    return Forward(lambda x: x.reshape(2, 4))


class Unlike(nn.Module):
    """Two inputs of unlike meaning, of which one chooses rows of a table; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 3)

    def forward(self, index: torch.Tensor, scale: torch.Tensor, shift: float = 1.0) -> dict[str, torch.Tensor]:
        rows = self.table(index)
        return {"scaled": rows * scale, "moved": rows + shift}


def two_inputs() -> nn.Module:
    return Unlike()


class Shared(nn.Module):
    """A part with a part of its own, and an operation after it."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.leaky_relu(self.mix(x))


class Repeated(nn.Module):
    """Parts that are called twice, in place, nested, folded away and dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.act = nn.Hardtanh(-0.3, 0.3)
        self.last = nn.LSTM(36, 8, batch_first=True)
        self.shared = Shared()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x = self.act(self.again(x)) + self.act(self.again(x * 2))
        sequence, _ = self.last(x.flatten(2))
        return self.shared(self.shared(sequence.mean(1)))


def repeated() -> nn.Module:
    return Repeated()


class Tied(nn.Module):
    """One parameter under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4, bias=False)
        self.b = nn.Linear(4, 4)
        self.b.weight = self.a.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.relu(self.a(x)))


def tied() -> nn.Module:
    return Tied()


def linear() -> nn.Module:
    return nn.Linear(4, 3)


def random_weights() -> nn.Module:
    """Weights from the generator, as a factory without a weights file has them."""
    return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 3))


def raising() -> nn.Module:
    raise OSError("the mirror is down")


def exiting() -> nn.Module:
    sys.exit(3)


def printing() -> nn.Module:
    print('{"facts": {"opset": 99}}')  # noqa: T201
    print("on both", file=sys.stderr)  # noqa: T201
    return linear()


def exits_in_forward() -> nn.Module:
    return Forward(lambda _: sys.exit("stop"))


def fails_in_forward() -> nn.Module:
    return Forward(lambda x: x @ torch.zeros(99, 99))


def a_number() -> int:
    return 4


NOT_CALLABLE = 4

"""Writes the files of the tests on PyTorch's sources into a folder; run in the torch runtime: save.py FOLDER."""

# mypy: disable-error-code="import-not-found"
# (nets stands beside this file, torchao in the torch runtime)

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from nets import Net, Optional, Simple, build, qat
from torch import nn

warnings.simplefilter("ignore")
OUT = Path(sys.argv[1])
BATCH = torch.export.Dim("batch", max=64)
X = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Evil:
    """Runs ``code`` when it is loaded."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> Any:
        return exec, (self.code,)


def program(model: Any, args: Any, name: str, kwargs: Any = None, **dynamic: Any) -> None:
    """Saves an ExportedProgram."""
    exported = torch.export.export(model.eval(), args, kwargs, dynamic_shapes=dynamic or None)
    torch.export.save(exported, OUT / f"{name}.pt2")


def programs() -> None:
    """ExportedPrograms."""
    program(build(), (X,), "net", x={0: BATCH})
    program(build(), (X,), "fixed")
    program(Optional(), (torch.rand(2, 4), 2.0), "constants", {"shift": torch.rand(2, 4)})
    program(nn.ReLU(), (torch.rand(2, 0),), "empty")
    program(nn.Sequential(nn.Linear(4, 8), nn.ReLU()).half(), (torch.rand(2, 4).half(),), "half")


def scripts() -> None:
    """TorchScript."""
    torch.jit.save(torch.jit.script(build().eval()), OUT / "scripted.pt")
    torch.jit.save(torch.jit.trace(build().eval(), X), OUT / "traced.ts")


def pickles() -> None:
    """What torch.save writes."""
    torch.save(build().state_dict(), OUT / "state.pt")
    torch.save(build().state_dict(), OUT / "old.pth", _use_new_zipfile_serialization=False)
    other = {f"{name}x" if name == "head.bias" else name: value for name, value in build().state_dict().items()}
    torch.save(other, OUT / "wrong.pt")
    torch.save(build(), OUT / "module.pt")
    torch.save({"state_dict": build().state_dict(), "epoch": 3, "evil": Evil("1 + 1")}, OUT / "checkpoint.pt")
    for number, code in enumerate(sys.argv[2:]):
        torch.save(Evil(code), OUT / f"evil{number}.pt")


def trained(name: str, kind: str, backend: str) -> None:
    """The weights of a model that has seen data while it knew of 8 bits."""
    model = qat(kind, backend)
    for seed in range(3):
        model(torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed)))
    torch.save(model.state_dict(), OUT / f"{name}.pt")


def quantised() -> None:
    """A program that torchao has quantised after training."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    torch.manual_seed(1)
    shapes = {"x": {0: torch.export.Dim.AUTO}}
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(torch.export.export(Simple().eval(), (X,), dynamic_shapes=shapes).module(), quantizer)
    prepared(X)
    torch.export.save(torch.export.export(convert_pt2e(prepared), (X,), dynamic_shapes=shapes), OUT / "pt2e.pt2")


torch.manual_seed(0)
programs()
scripts()
pickles()
trained("qat", "plain", "x86")
trained("qat-fused", "fused", "qnnpack")
quantised()
assert isinstance(torch.load(OUT / "module.pt", weights_only=False), Net)

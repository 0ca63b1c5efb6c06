"""PyTorch's files for tests, written once by tests/data/torch/files/save.py in the torch runtime; and models that stages open."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

from ortolan import runtime
from ortolan.cache import user_cache

ROOT = Path(__file__).parents[1]
CODE = ROOT / "tests" / "data" / "torch" / "files"
HARM = ("import socket; socket.create_connection(('127.0.0.1', 9), 2)", "open('WRITTEN', 'w').write('x')")
"""What the pickles ``evil0.pt`` and ``evil1.pt`` try; ``written`` says where the second would write."""
X = [{"name": "x", "dtype": "float32", "shape": ["batch", 1, 8, 8], "range": None}]


def written(folder: Path) -> Path:
    """What ``evil1.pt`` of this folder would write: beside the pickles, where no step that opens one may."""
    return folder / "written"


def made(folder: Path) -> Path:
    """The folder with the files, filled by whichever process comes first."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "pt2e.pt2").exists():
            torch = runtime.ensure(runtime.find("torch", [ROOT / "runtimes"]), user_cache().runtimes)
            harm = [code.replace("WRITTEN", str(written(folder))) for code in HARM]
            subprocess.run([torch.interpreter, CODE / "save.py", folder, *harm], check=True, capture_output=True)
    return folder

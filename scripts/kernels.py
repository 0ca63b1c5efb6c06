"""Makes the tables of kernels in src/ortolan/kernels. Run by maintainers with the checkout's Python, never in a build.

    scripts/kernels.py wheel onnxruntime-gpu 1.31.1 CUDAExecutionProvider
    scripts/kernels.py wheel onnxruntime 1.20.1 CPUExecutionProvider
    scripts/kernels.py directml 1.24.4
    scripts/kernels.py tensorrt operators.md 10.1-GA 1.19.0      # the document, its release, the ONNX Runtime that it is for
    scripts/kernels.py nnapi 1.31.1 1.17.3                       # the wheel, the ONNX Runtime from which on it holds
    scripts/kernels.py coreml 1.31.1 1.30.0
    scripts/kernels.py xnnpack | acl | armnn

``wheel`` for CUDA needs gcc and nm, and about 1.5 GB of disk while it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from kerneltables import arm, directml, mobile, tensorrt, wheel
from kerneltables.table import Table, write

KERNELS = Path(__file__).parents[1] / "src" / "ortolan" / "kernels"
_NAMES = {"CUDAExecutionProvider": "cuda", "CPUExecutionProvider": "cpu"}


def _tensorrt(document: str, release: str, version: str) -> Table:
    return tensorrt.from_document(Path(document).read_text(), release, version)


_MAKERS: dict[str, tuple[Callable[..., Table], tuple[str, ...]]] = {
    "wheel": (wheel.from_package, ("package", "version", "provider")),
    "directml": (directml.from_package, ("version",)),
    "tensorrt": (_tensorrt, ("document", "release", "version")),
    "nnapi": (lambda *given: mobile.from_package("nnapi", *given), ("release", "version")),
    "coreml": (lambda *given: mobile.from_package("coreml", *given), ("release", "version")),
    "xnnpack": (arm.xnnpack, ()),
    "acl": (arm.acl, ()),
    "armnn": (arm.armnn, ()),
}
_FILES = {"directml": "dml"}


def main() -> None:
    """Make one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=KERNELS, help="the folder to write into (default: %(default)s)")
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind, (_, arguments) in _MAKERS.items():
        asked = kinds.add_parser(kind)
        for name in arguments:
            asked.add_argument(name)
    given = parser.parse_args()
    maker, arguments = _MAKERS[given.kind]
    table = maker(*(getattr(given, name) for name in arguments))
    given.out.mkdir(parents=True, exist_ok=True)
    name = _NAMES.get(table.provider, _FILES.get(given.kind, given.kind))
    path = write(table, given.out, name)
    print(f"{path}: {sum(map(len, table.operators.values()))} operators, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

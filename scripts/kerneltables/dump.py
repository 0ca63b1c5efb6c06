"""Prints the kernels that an ONNX Runtime has registered, and the opsets that it loads. Runs in that runtime's interpreter.

``PYTHONPATH`` must lead to src/ortolan, for ``stages.lib``. Never opens a session of the providers that it lists.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    """``{"opsets": {domain: highest}, "kernels": [[provider, domain, op, since, until, {name: types}], ...]}``."""
    import onnxruntime.capi.onnxruntime_pybind11_state as state
    from stages.lib import limits

    kernels = [
        [k.provider, k.domain, k.op_name, *k.version_range, {name: sorted(types) for name, types in k.type_constraints.items()}]
        for k in state.get_all_opkernel_def()
    ]
    opsets = limits.measure(["ai.onnx", "ai.onnx.ml", "com.microsoft"])["opsets"]
    json.dump({"opsets": opsets, "kernels": kernels}, sys.stdout)


if __name__ == "__main__":
    main()

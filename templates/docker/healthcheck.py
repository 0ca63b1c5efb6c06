"""Sends the first golden sample to the server and compares its answer. The standard library only, as it runs twice a minute."""

from __future__ import annotations

import http.client
import json
import math
import struct
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FORMATS = {
    "float32": "f", "float16": "e", "float64": "d", "bool": "B", "int8": "b", "int16": "h", "int32": "i", "int64": "q",
    "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q",
}  # fmt: skip


def main() -> None:
    """Exit with 0 when every output is that of the golden sample, else with 1 and the reason."""
    service = json.loads((HERE / "service.json").read_text())
    data = (HERE / "model" / "golden.bin").read_bytes()
    sample = json.loads((HERE / "model" / "golden.json").read_text())["samples"][0]
    answer, told = _asked(service["port"], data, sample["inputs"])
    for name, wanted in sample["outputs"].items():
        found = told.get(name)
        if found is None or (found["dtype"], found["shape"]) != (wanted["dtype"], wanted["shape"]):
            sys.exit(f"output {name} is {found}, not {wanted['dtype']} {wanted['shape']}")
        same = found.get("values") == wanted.get("values")  # texts stand in the header
        if not same or not _near(_values(answer, found), _values(data, wanted), wanted["dtype"], service):
            sys.exit(f"output {name} is not that of the golden sample")


def _asked(port: int, data: bytes, inputs: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=8)
    headers = {"Content-Type": "application/octet-stream", "Ortolan-Tensors": json.dumps(inputs)}
    connection.request("POST", "/run", data, headers)
    reply = connection.getresponse()
    body = reply.read()
    if reply.status != 200:
        sys.exit(f"status {reply.status}: {body[:500].decode(errors='replace')}")
    return body, json.loads(reply.headers["Ortolan-Tensors"])


def _values(data: bytes, entry: dict[str, Any]) -> tuple[Any, ...]:
    if "values" in entry:
        return ()
    return struct.unpack_from(f"<{math.prod(entry['shape'])}{FORMATS[entry['dtype']]}", data, entry["offset"])


def _near(found: tuple[Any, ...], wanted: tuple[Any, ...], dtype: str, service: dict[str, Any]) -> bool:
    """As in numpy.allclose, integers within atol alone; of an INT8 model a good signal-to-noise ratio is enough."""
    rtol, atol = service["rtol"] if dtype.startswith("float") else 0, service["atol"]
    if all(a == b or (math.isfinite(b) and abs(a - b) <= atol + rtol * abs(b)) for a, b in zip(found, wanted)):  # noqa: B905
        return True
    noise, power = sum((a - b) ** 2 for a, b in zip(found, wanted)), sum(b * b for b in wanted)  # noqa: B905
    if service["min_snr_db"] is None or not (math.isfinite(noise) and power):
        return False
    return 10 * math.log10(power / noise) >= service["min_snr_db"]


if __name__ == "__main__":
    main()

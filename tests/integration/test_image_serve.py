"""The server of images, as a process of the pinned runtimes: every form of request, bad requests, limits, and how it ends."""

from __future__ import annotations

import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, ValueInfoProto, helper

import models
from conftest import ROOT
from ortolan import runtime
from ortolan.cache import user_cache

JSON, NPZ, RAW, HEADER = "application/json", "application/x-npz", "application/octet-stream", "Ortolan-Tensors"
TYPES = {
    "h": ("float16", TensorProto.FLOAT16), "i": ("int64", TensorProto.INT64), "u": ("uint8", TensorProto.UINT8),
    "b": ("bool", TensorProto.BOOL), "s": ("string", TensorProto.STRING), "x:0": ("float32", TensorProto.FLOAT),
}  # fmt: skip
LIMIT = 100_000
VALUES: dict[str, Any] = {
    "h": np.array([0.5, -2], np.float16), "i": np.array([2**53 + 1, -5]), "u": np.array([0, 255], np.uint8),
    "b": np.array([True, False]), "s": np.array(["ä", 'say "no"'], object), "x:0": np.array([[1.5, -1], [2, 3]], np.float32),
}  # fmt: skip


def model(path: Path) -> None:
    """Gives back what it gets, of every kind of type; ``x:0`` has a dynamic axis and comes back without negative values."""
    nodes = [helper.make_node("Relu" if name == "x:0" else "Identity", [name], [f"{name} out"]) for name in TYPES]

    def values(suffix: str) -> list[ValueInfoProto]:
        shapes: dict[str, list[str | int]] = {"x:0": ["rows", 2]}
        return [helper.make_tensor_value_info(name + suffix, kind, shapes.get(name, [2])) for name, (_, kind) in TYPES.items()]

    graph = helper.make_graph(nodes, "all", values(""), values(" out"))
    models.write(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)


def session(**more: Any) -> dict[str, Any]:
    def told(suffix: str) -> list[dict[str, Any]]:
        return [
            {"name": name + suffix, "dtype": dtype, "shape": ["rows", 2] if name == "x:0" else [2]}
            for name, (dtype, _) in TYPES.items()
        ]

    return {
        "inputs": told(""), "outputs": told(" out"), "providers": [{"name": "CPUExecutionProvider", "options": {}}],
        "session_options": {
            "intra_op_num_threads": 1, "inter_op_num_threads": 1, "execution_mode": "ORT_SEQUENTIAL",
            "graph_optimization_level": "ORT_ENABLE_ALL", "enable_mem_pattern": True, "enable_cpu_mem_arena": True,
        },
        "config_entries": {}, "sharing": {"sessions": 1, "concurrent_run": True},
    } | more  # fmt: skip


def folder(place: Path, port: int, **more: Any) -> Path:
    """What an image has in /opt/ortolan."""
    (place / "model").mkdir(parents=True)
    (place / "home").mkdir()
    for name in ("serve.py", "wire.py", "healthcheck.py"):
        shutil.copyfile(ROOT / "templates" / "docker" / name, place / name)
    service = {
        "tag": "all-0", "model": "model.onnx", "package": "onnxruntime", "version": "1.20.1", "python": "3.11", "port": port,
        "max_body": LIMIT, "rtol": 1e-3, "atol": 1e-5, "min_snr_db": None,
    }  # fmt: skip
    (place / "service.json").write_text(json.dumps(service))
    (place / "model" / "session.json").write_text(json.dumps(session(**more)))
    model(place / "model" / "model.onnx")
    data, sample = raw(VALUES), {}
    sample["inputs"] = json.loads(data[1])
    results = {f"{name} out": np.maximum(a, 0) if name == "x:0" else a for name, a in VALUES.items()}
    body, header = raw(results)
    sample["outputs"] = {n: e | {"offset": e["offset"] + len(data[0])} for n, e in json.loads(header).items()}
    (place / "model" / "golden.bin").write_bytes(data[0] + body)
    (place / "model" / "golden.json").write_text(json.dumps({"samples": [sample]}))
    return place


def raw(values: Mapping[str, Any]) -> tuple[bytes, str]:
    body, entries = b"", {}
    for name, array in values.items():
        about = {"shape": list(array.shape), "offset": len(body)}
        if array.dtype == object:
            entries[name] = about | {"dtype": "str", "size": 0, "values": array.reshape(-1).tolist()}
        else:
            entries[name] = about | {"dtype": array.dtype.name, "size": array.nbytes}
            body += array.tobytes()
    return body, json.dumps(entries)


def npz(values: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **{name: a.astype(np.str_) if a.dtype == object else a for name, a in values.items()})
    return stream.getvalue()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


class Served:
    """A server that runs."""

    def __init__(self, place: Path, port: int, interpreter: Path) -> None:
        self.place, self.port, self.interpreter = place, port, interpreter
        self.log = place / "log.txt"
        environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(place / "home")}
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen([interpreter, place / "serve.py"], env=environment, stdout=stream, stderr=stream)
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None and "on port" not in self.log.read_text():
            time.sleep(0.05)

    def ask(
        self, body: bytes = b"", kind: str = JSON, *, method: str = "POST", path: str = "/run", **headers: str
    ) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body or None, {"Content-Type": kind, **headers})
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()

    def refused(self, body: bytes, kind: str = JSON, **headers: str) -> tuple[int, str]:
        status, _, said = self.ask(body, kind, **headers)
        return status, json.loads(said)["error"]


@contextmanager
def served(tmp_path: Path, name: str = "onnxruntime-1.20.1", **more: Any) -> Iterator[Served]:
    made = runtime.ensure(runtime.find(name, [ROOT / "runtimes"]), user_cache().runtimes)
    port = free_port()
    one = Served(folder(tmp_path / "app", port, **more), port, made.interpreter)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as one:
        yield one


def same(found: Mapping[str, Any], wanted: Mapping[str, Any] = VALUES) -> None:
    for name, array in wanted.items():
        expected = np.maximum(array, 0) if name == "x:0" else array
        assert found[f"{name} out"].tolist() == expected.tolist(), name


def listed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in values.items()}


def asked(change: Mapping[str, Any] | None = None) -> bytes:
    return json.dumps({"inputs": listed(VALUES) | dict(change or {})}).encode()


# --- what it takes and gives -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [f"onnxruntime-{version}" for version in models.VERSIONS])
def test_all_forms_and_types_in_every_pinned_version(tmp_path: Path, name: str) -> None:
    with served(tmp_path, name) as one:
        status, _, body = one.ask(asked())
        assert status == 200, body
        told = json.loads(body)["outputs"]
        same({key: np.array(value["data"]) for key, value in told.items()})
        assert {key: value["dtype"] for key, value in told.items()} == {f"{n} out": t for n, (t, _) in TYPES.items()}
        status, headers, body = one.ask(npz(VALUES), NPZ)
        assert (status, headers["Content-Type"]) == (200, NPZ)
        same(np.load(io.BytesIO(body), allow_pickle=False))
        data, header = raw(VALUES)
        status, headers, body = one.ask(data, RAW, **{HEADER: header})
        assert status == 200, body
        same({key: cut(body, entry) for key, entry in json.loads(headers[HEADER]).items()})
        status, _, body = one.ask(method="GET", path="/health")
        told = {"status": "ok", "tag": "all-0", "providers": ["CPUExecutionProvider"], "onnxruntime": name.rpartition("-")[2]}
        assert (status, json.loads(body)) == (200, told)
        assert list((one.place / "home").rglob("*")) == []  # 1.31.1 keeps a device id and queues telemetry unless told not to
        checked = subprocess.run([one.interpreter, one.place / "healthcheck.py"], capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")


def cut(body: bytes, entry: Mapping[str, Any]) -> Any:
    if "values" in entry:
        return np.array(entry["values"], object).reshape(entry["shape"])
    return np.frombuffer(body[entry["offset"] : entry["offset"] + entry["size"]], entry["dtype"]).reshape(entry["shape"])


def test_a_dynamic_axis_is_what_the_caller_sends(server: Served) -> None:
    values = VALUES | {"x:0": np.arange(14, dtype=np.float32).reshape(7, 2)}
    status, _, body = server.ask(npz(values), NPZ)
    assert status == 200
    same(np.load(io.BytesIO(body)), values)


def test_an_array_by_columns_is_the_same_array(server: Served) -> None:
    values = VALUES | {"x:0": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(3, 2))}
    assert not values["x:0"].flags["C_CONTIGUOUS"]
    same(np.load(io.BytesIO(server.ask(npz(values), NPZ)[2])), values)


def test_json_has_words_for_what_is_no_number(server: Served) -> None:
    body = server.ask(asked({"x:0": [["NaN", "Infinity"], [1, 2]], "h": ["-Infinity", 1]}))[2]
    told = json.loads(body)["outputs"]
    assert told["x:0 out"]["data"][0][1] == "Infinity"  # what Relu makes of NaN depends on the version
    assert told["h out"]["data"] == ["-Infinity", 1.0]


def test_it_tells_inputs_and_outputs(server: Served) -> None:
    status, _, body = server.ask(method="GET", path="/model")
    assert (status, json.loads(body)) == (200, session())


# --- what it refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"i": [1.5, 2]}, "i has values that are not int64"),
        ({"u": [256, 0]}, "u has values that are not uint8"),
        ({"u": [-1, 0]}, "u has values that are not uint8"),
        ({"b": [1, 0]}, "b has values that are not bool"),
        ({"i": [True, False]}, "i has values that are not int64"),
        ({"x:0": [[1, 2], [3]]}, "x:0 is no tensor of float32"),
        ({"x:0": [["one", 2]]}, "x:0 is no tensor of float32"),
        ({"x:0": [1, 2]}, "x:0 has the shape [2], the model takes ['rows', 2]"),
        ({"x:0": [[1, 2, 3]]}, "x:0 has the shape [1, 3], the model takes ['rows', 2]"),
        ({"s": [1, 2]}, "s has values that are not string"),
        ({"z": [1]}, "z is no input; the inputs are h, i, u, b, s, x:0"),
        ({"i": [2**70, 1]}, "i "),
    ],
)
def test_what_json_may_not_hold(server: Served, change: dict[str, Any], why: str) -> None:
    status, said = server.refused(asked(change))
    assert status == 400
    assert why in said


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"7", b'{"inputs": 7}', b'{"inputs": null}', b'{"outputs": {}}', b"\xff\xfe", b"[" * 50_000],
)
def test_what_is_no_request_is_said(server: Served, body: bytes) -> None:
    status, said = server.refused(body) if body else server.refused(b" ")
    assert status == 400
    assert said.startswith(("the body is not JSON", "h is missing"))


def lying(shape: Sequence[int], data: bytes = b"1234") -> bytes:
    """An npz whose header claims another shape than it has bytes for."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {tuple(shape)!r}, }}".ljust(117) + "\n"
    return zipped({"x:0.npy": b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data})


def zipped(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def pickled() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, s=np.array([{"any": "object"}], object))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"no zip", "no npz of plain arrays"),
        (lying([1 << 40, 1 << 20]), "no npz of plain arrays"),
        (lying([2]), "no npz of plain arrays"),
        (zipped({"x.npy": b"\x93NUMPY"}), "no npz of plain arrays"),
        (zipped({"x.npy": bytes(10 * LIMIT)}), f"unpacks to {10 * LIMIT} bytes; {LIMIT} are allowed"),
        (pickled(), "no npz of plain arrays"),
        (npz({"x:0": VALUES["x:0"].astype(np.float64), **{k: v for k, v in VALUES.items() if k != "x:0"}}), "x:0 is float64"),
        (npz({"i": VALUES["i"]}), "h is missing; u is missing; b is missing; s is missing; x:0 is missing"),
    ],
)
def test_what_npz_may_not_hold(server: Served, body: bytes, why: str) -> None:
    status, said = server.refused(body, NPZ)
    assert status == 400
    assert why in said


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (None, "s has no fixed size: say its shape in the header Ortolan-Tensors"),
        ("{", "is not what golden.json has"),
        ("[]", "is not what golden.json has"),
        ('{"i": {"dtype": "int64", "shape": [2], "offset": 0, "size": 8}}', "does not fit"),
        ('{"i": {"dtype": "int64", "shape": [2], "offset": -8, "size": 16}}', "does not fit"),
        ('{"i": {"dtype": "int64", "shape": [-2], "offset": 0, "size": -16}}', "does not fit"),
        ('{"i": {"dtype": "int64", "shape": [1e3], "offset": 0, "size": 8000}}', "does not fit"),
        ('{"i": {"dtype": "int64", "shape": [99999999999], "offset": 0, "size": 799999999992}}', "does not fit"),
        ('{"i": {"dtype": "object", "shape": [1], "offset": 0, "size": 8}}', "object cannot be sent"),
        ('{"b": {"dtype": "bool", "shape": [2], "offset": 0, "size": 2}}', "b has values that are not bool"),
    ],
)
def test_what_raw_bytes_may_not_say(server: Served, header: str | None, why: str) -> None:
    status, said = server.refused(b"\x07" * 16, RAW, **({HEADER: header} if header else {}))
    assert status == 400
    assert why in said


def test_other_paths_methods_and_types_are_refused(server: Served) -> None:
    assert server.ask(method="GET", path="/")[0] == 404
    assert server.ask(asked(), path="/other")[0] == 404
    assert server.ask(method="DELETE", path="/run")[0] == 501
    assert server.refused(asked(), "text/plain") == (
        400, f"the content type must be one of {JSON}, {NPZ}, {RAW}, not text/plain"
    )  # fmt: skip


def test_a_large_body_is_refused_before_it_is_read(server: Served) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 30) as plain:
        plain.sendall(f"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: {LIMIT + 1}\r\n\r\n".encode())
        reply = plain.recv(1000)
    assert reply.startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", server.port), 30) as plain:
        plain.sendall(b"POST /run HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert plain.recv(1000).startswith(b"HTTP/1.1 411 ")
    with socket.create_connection(("127.0.0.1", server.port), 30) as plain:
        plain.sendall(b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{}")
        plain.shutdown(socket.SHUT_WR)
        assert b"the body ended early" in plain.makefile("rb").read()


def test_a_log_line_cannot_be_forged(server: Served) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 30) as plain:
        plain.sendall(b"GET /\x1b[31m\x85forged HTTP/1.1\r\nHost: x\r\n\r\n")
        plain.recv(1000)
    with socket.create_connection(("127.0.0.1", server.port), 30) as plain:
        plain.sendall(b"nonsense\r\n\r\n")
        plain.recv(1000)
    said = server.log.read_text()
    assert "\x1b" not in said
    assert "forged" in said
    assert server.process.poll() is None


def test_many_at_once_get_their_own_answers(server: Served) -> None:
    wrong: list[str] = []

    def one(number: int) -> None:
        values = VALUES | {"x:0": np.full((3, 2), number, np.float32)}
        for _ in range(20):
            status, _, body = server.ask(npz(values), NPZ)
            if status == 503:
                continue
            if np.load(io.BytesIO(body))["x:0 out"].tolist() != values["x:0"].tolist():
                wrong.append(f"{number}: {status}")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- how it begins and ends --------------------------------------------------------------------------------------


def test_sigterm_ends_it_though_a_caller_idles(tmp_path: Path) -> None:
    with served(tmp_path) as one, socket.create_connection(("127.0.0.1", one.port), 30):
        time.sleep(0.2)
        begin = time.monotonic()
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(20) == 0
        assert time.monotonic() - begin < 5
        assert one.log.read_text().splitlines()[-2:] == ["SIGTERM: no new requests", "stopped"]


def test_a_provider_that_is_not_there_is_named_and_passed_over(tmp_path: Path) -> None:
    providers: list[dict[str, Any]] = [
        {"name": name, "options": {}} for name in ("XnnpackExecutionProvider", "CPUExecutionProvider")
    ]
    with served(tmp_path, providers=providers) as one:
        assert one.ask(asked())[0] == 200
        assert "onnxruntime 1.20.1 has no XnnpackExecutionProvider" in one.log.read_text()
        assert json.loads(one.ask(method="GET", path="/health")[2])["providers"] == ["CPUExecutionProvider"]


def test_without_any_of_its_providers_it_does_not_start(tmp_path: Path) -> None:
    with served(tmp_path, providers=[{"name": "CUDAExecutionProvider", "options": {}}]) as one:
        assert one.process.wait(20) == 1
        assert one.log.read_text().splitlines()[-1].startswith("cannot start: this onnxruntime has none of the model's providers")


def test_another_python_than_the_wheels_is_named(tmp_path: Path) -> None:
    place = folder(tmp_path / "app", free_port())
    lonely = subprocess.run(["/usr/bin/python3", "-S", "-E", place / "serve.py"], capture_output=True, text=True, check=False)
    assert lonely.returncode == 1
    assert lonely.stderr.startswith("cannot start: No module named 'numpy'; the image is made for Python 3.11, its base has 3.")


def test_the_health_check_sees_another_answer_and_no_answer(tmp_path: Path) -> None:
    with served(tmp_path) as one:
        command = [one.interpreter, one.place / "healthcheck.py"]
        golden = one.place / "model" / "golden.bin"
        data = bytearray(golden.read_bytes())
        data[-4:] = np.float32(99).tobytes()
        golden.write_bytes(data)
        seen = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (seen.returncode, seen.stderr) == (1, "output x:0 out is not that of the golden sample\n")
        one.process.kill()
        one.process.wait()
        assert subprocess.run(command, capture_output=True, check=False).returncode == 1

"""Answers inference requests over HTTP with the model beside it. The standard library, numpy and ONNX Runtime, nothing else."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MODEL = HERE / "model"
SERVICE = json.loads((HERE / "service.json").read_text())

_AT_ONCE = 16  # requests; another one is told to come back
_PATIENCE = 30.0  # seconds that a caller may keep a socket waiting
_NVIDIA = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")


def say(text: str) -> None:
    """One line of the container's log."""
    print("".join(one if one.isprintable() else "?" for one in text), file=sys.stderr, flush=True)


def fail(text: str) -> Any:
    """The reason why it cannot start, as the last line of the log."""
    say(f"cannot start: {text}")
    sys.exit(1)


os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # from 1.31 on it would keep a device id, and send events to its maker

try:
    import numpy as np
    import onnxruntime as ort
    from wire import HEADER, KINDS, BadRequest, decode, encode
except ImportError as problem:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    fail(f"{problem}; the image is made for Python {SERVICE['python']}, its base has {own}")


class Model:
    """The model in one session, opened as session.json says, and never on another provider than the log tells."""

    def __init__(self) -> None:
        self.about = json.loads((MODEL / "session.json").read_text())
        self.providers = self._providers()
        self.session = _session(self.about, self.providers)
        alone = threading.Lock() if not self.about["sharing"]["concurrent_run"] else nullcontext()
        self._alone: Any = alone

    def _providers(self) -> list[dict[str, Any]]:
        have = ort.get_available_providers()
        wanted = self.about["providers"]
        usable = [one for one in wanted if one["name"] in have]
        lacking = [one["name"] for one in wanted if one["name"] not in have]
        if lacking:
            say(f"onnxruntime {ort.__version__} has no {', '.join(lacking)}")
        return usable or fail(f"this onnxruntime has none of the model's providers, but {', '.join(have)}")

    def run(self, feeds: dict[str, Any]) -> dict[str, Any]:
        """The outputs by name."""
        names = [one["name"] for one in self.about["outputs"]]
        with self._alone:
            values = self.session.run(names, feeds)
        return {name: np.asarray(value) for name, value in zip(names, values)}  # noqa: B905


def _session(about: dict[str, Any], providers: list[dict[str, Any]]) -> Any:
    class Strict(ort.InferenceSession):
        _enable_fallback = property(lambda _: False, lambda _, __: None)  # it would try the CPU and not tell

    names = [one["name"] for one in providers]
    if set(names) & set(_NVIDIA) and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # NVIDIA's libraries lie in wheels, where the loader would not look
    try:
        session = Strict(str(MODEL / SERVICE["model"]), _options(about), names, [one["options"] for one in providers])
    except Exception as error:  # noqa: BLE001  ONNX Runtime's errors have no common type
        return fail(f"ONNX Runtime cannot open the model: {error}")
    taken = session.get_providers()
    return session if names[0] in taken else fail(f"{names[0]} cannot start here; ONNX Runtime offers {', '.join(taken)}")


def _options(about: dict[str, Any]) -> Any:
    given, options = about["session_options"], ort.SessionOptions()
    options.intra_op_num_threads = given["intra_op_num_threads"]
    options.inter_op_num_threads = given["inter_op_num_threads"]
    options.execution_mode = getattr(ort.ExecutionMode, given["execution_mode"])
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, given["graph_optimization_level"])
    options.enable_mem_pattern = given["enable_mem_pattern"]
    options.enable_cpu_mem_arena = given["enable_cpu_mem_arena"]
    for key, value in about["config_entries"].items():
        options.add_session_config_entry(key, value)
    return options


class Server(ThreadingHTTPServer):
    """One thread for each request."""

    daemon_threads = True  # an idle connection must not keep the container from stopping
    request_queue_size = 64

    def __init__(self, model: Model, port: int) -> None:
        super().__init__(("", port), Handler)
        self.model = model
        self.slots = threading.BoundedSemaphore(_AT_ONCE)

    def drain(self) -> None:
        """Wait until every request is answered."""
        for _ in range(_AT_ONCE):
            self.slots.acquire()


class Handler(BaseHTTPRequestHandler):
    """``GET /health``, ``GET /model``, ``POST /run``."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "ortolan", ""
    timeout = _PATIENCE
    server: Server

    def do_GET(self) -> None:
        """What runs, and the model's inputs and outputs."""
        if self.path == "/health":
            runs = {"providers": [one["name"] for one in self.server.model.providers], "onnxruntime": ort.__version__}
            self._tell(200, {"status": "ok", "tag": SERVICE["tag"], **runs})
        elif self.path == "/model":
            self._tell(200, self.server.model.about)
        else:
            self._tell(404, {"error": "there are GET /health, GET /model and POST /run"})

    def do_POST(self) -> None:
        """Run the model on what the body holds; the answer has the form of the question."""
        if self.path != "/run":
            self._tell(404, {"error": "there are GET /health, GET /model and POST /run"})
        elif not self.server.slots.acquire(blocking=False):
            self._tell(503, {"error": f"{_AT_ONCE} requests are being answered"}, {"Retry-After": "1"})
        else:
            try:
                self._run()
            finally:
                self.server.slots.release()

    def _run(self) -> None:
        kind = self.headers.get_content_type() if "Content-Type" in self.headers else ""
        try:
            body = self._body()
            if body is None:
                return
            feeds = decode(kind, self.headers.get(HEADER), body, self.server.model.about["inputs"], SERVICE["max_body"])
            answer, headers = encode(kind, self.server.model.run(feeds))
        except BadRequest as error:
            self._tell(400, {"error": str(error)})
        except OSError:
            raise  # the caller has gone, or keeps us waiting
        except Exception as error:  # noqa: BLE001  ONNX Runtime's errors have no common type
            say(f"a run failed: {error}")
            self._tell(422, {"error": f"the model cannot run on this: {str(error).splitlines()[0]}"})
        else:
            self._send(200, answer, headers)

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            self._tell(411, {"error": "Content-Length is missing"})
        elif int(length) > SERVICE["max_body"]:
            self._tell(413, {"error": f"the body has {int(length)} bytes; {SERVICE['max_body']} are allowed"})
        else:
            body = self.rfile.read(int(length))
            return body if len(body) == int(length) else self._tell(400, {"error": "the body ended early"})
        return None

    def _tell(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode() + b"\n", {"Content-Type": KINDS[0], **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body)), "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """One line for each request but those of the health check."""
        if getattr(self, "path", "") != "/health":
            say(f"{self.address_string()} {format % args}")


def main() -> None:
    """Serve until SIGTERM or SIGINT; what is being answered then is answered."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the first process of a container ignores it otherwise
    model = Model()
    server = Server(model, SERVICE["port"])

    def stop(number: int, _: Any) -> None:
        say(f"{signal.Signals(number).name}: no new requests")
        threading.Thread(target=server.shutdown).start()

    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, stop)
    names = ", ".join(one["name"] for one in model.providers)
    say(f"{SERVICE['tag']} on port {SERVICE['port']}, onnxruntime {ort.__version__} with {names}")
    server.serve_forever()
    server.server_close()
    server.drain()
    say("stopped")


if __name__ == "__main__":
    main()

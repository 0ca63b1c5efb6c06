"""What ONNX Runtime says, in short: its errors, and the lines on stderr that are all it has to say when it drops a provider."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from . import sessions

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_HEAD = re.compile(r"^.*?\[([WEF]):onnxruntime:[^,\]]*, [^\]]*\] ?")
_NUMBER = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : (?:Exception during initialization: )?")
_NOISE = re.compile(r":? Exception from \S+:\d+:$| node with name ''| Please refer https?://.*")
_OURS = "Could not write a profile"  # a session with a profile that did not open
# file, line and signature of a provider's own functions, one or more
_PROVIDERS_OWN = re.compile(r"^.*?(?=\[OpenVINO)|^\S+\.cc:\d+ .*?<lambda\(.*?\)> ")


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collects, once the block ends, the warnings and errors of ONNX Runtime on stderr, without time, folders and colours.

    All that was printed still reaches stderr, after the block.
    """
    said: list[str] = []
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as stream:
        os.dup2(stream.fileno(), 2)
        try:
            yield said
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            stream.seek(0)
            data = stream.read()
            os.write(2, data)
            said += _messages(data.decode(errors="replace"))


def _messages(text: str) -> list[str]:
    """One line for each warning or error."""
    found = []
    for line in _COLOUR.sub("", text).splitlines():
        head = _HEAD.match(line)
        if head and not line.startswith(_OURS, head.end()):
            found.append(reason(line[head.end() :]))
    return found


def reason(error: BaseException | str) -> str:
    """An error of ONNX Runtime or of a provider on one line, without its number, folders and its own source lines.

    Of several lines the first says where and the last says why: OpenVINO's are such.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    first = _NOISE.sub("", _PROVIDERS_OWN.sub("", _NUMBER.sub("", lines[0])))
    return ": ".join(sessions.first_line(RuntimeError(line)) for line in [first, lines[-1]][: len(lines)])

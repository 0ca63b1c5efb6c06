"""What TensorFlow and its converter say, turned into verdicts; what they print is not shown."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .refused import Refused
from .transient import reraise_if_transient

_SETTINGS = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0", "KERAS_BACKEND": "tensorflow"}
_LENGTH = 200


def tensorflow() -> Any:
    """The package, with one thread and without oneDNN's reordered sums, so that it computes alike on every call."""
    os.environ.update(_SETTINGS)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.get_logger().setLevel(logging.ERROR)
    return tf


@contextmanager
def refusing(what: str, hint: str = "") -> Iterator[None]:
    """Turn what a framework raises into a ``Refused`` in its own words."""
    try:
        yield
    except Refused:
        raise
    except (Exception, SystemExit) as error:
        reraise_if_transient(error)
        raise Refused(what, why=f"{type(error).__name__}: {line(error)}", hint=hint) from error


def line(error: BaseException) -> str:
    """An error's text in one line; of a long one the beginning and the end, where Keras has what it comes from."""
    text = " ".join(str(error).split())
    return text if len(text) <= 2 * _LENGTH else f"{text[:_LENGTH]} … {text[-_LENGTH:]}"


@contextmanager
def heard(name: str) -> Iterator[list[str]]:
    """What a logger says at level ERROR, in place of its printing it."""
    said: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]  # the shortest handler
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)

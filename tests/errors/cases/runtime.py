"""Compiling a graph, and running what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.runtime import backend
from graphc.runtime.executable import Executable

ADD = gc.trace(lambda x, y: x + y, "f32[N,3]", "f32[N,3]")
BLOCKED = gc.parse("graph g(%x: f32[N,16,3,3]{blocked_1}) { return %x }")
X, Y = np.zeros((2, 3), np.float32), np.zeros((4, 3), np.float32)


def run() -> Executable:
    """The compiled sum."""
    return gc.compile(ADD, "numpy")


def _absent(folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backend.BUILT_IN, "absent", "graphc_absent:Backend")
        return gc.compile(ADD, "absent")


CASES = (
    # compiling
    lambda folder: gc.compile(lambda x: x),
    lambda folder: gc.compile(ADD, threads=0),
    lambda folder: gc.compile(BLOCKED),
    lambda folder: gc.compile(ADD, "fortran"),
    _absent,
    # running
    lambda folder: run()(X, Y),
    lambda folder: run()(X[:0], X[:0]),
    lambda folder: run()(X, z=X),
    lambda folder: run()(X, X, X),
    lambda folder: run()(X),
    lambda folder: run()(X, "text"),
    lambda folder: run()(X, np.zeros((2, 4))),
    # sessions
    lambda folder: run().bind({"x0": X})(X, X),
    lambda folder: run().bind({"x0": X.astype(float)}),
)

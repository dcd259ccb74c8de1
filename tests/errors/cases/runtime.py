"""Compiling a graph, and running what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc_llvm
from graphc.loops.schedule import Machine
from graphc.runtime import backend, trace_events
from graphc.runtime.check_nans import NanCheck
from graphc.runtime.executable import Executable

ADD = gc.trace(lambda x, y: x + y, "f32[N,3]", "f32[N,3]")
BLOCKED = gc.parse("graph g(%x: f32[N,16,3,3]{blocked_1}) { return %x }")
X, Y = np.zeros((2, 3), np.float32), np.zeros((4, 3), np.float32)


def run() -> Executable:
    """The compiled sum."""
    return gc.compile(ADD, "numpy")


class Wrong(backend.Runner):
    """Computes nothing but nan."""

    def run(self, inputs: Any, n: int, token: object = None) -> list[Any]:
        return [np.full((n, 3), np.nan, np.float32)]


def _absent(folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backend.BUILT_IN, "absent", "graphc_absent:Backend")
        return gc.compile(ADD, "absent")


def _without_bf16(folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphc_llvm, "machine_of", lambda: Machine(32, 16))
        return gc.compile(ADD, precision="bf16")


CASES = (
    # compiling
    lambda folder: gc.compile(lambda x: x),
    lambda folder: gc.compile(ADD, threads=0),
    lambda folder: gc.compile(BLOCKED),
    lambda folder: gc.compile(ADD, "fortran"),
    _absent,
    lambda folder: gc.compile(ADD, precision="f16"),
    lambda folder: gc.compile(ADD, precision="tf32"),
    _without_bf16,
    lambda folder: gc.compile(gc.parse("graph g(%x: bf16[N,3]) { return %x }")),
    # running
    lambda folder: run()(X, Y),
    lambda folder: run()(X[:0], X[:0]),
    lambda folder: run()(X, z=X),
    lambda folder: run()(X, X, X),
    lambda folder: run()(X),
    lambda folder: run()(X, "text"),
    lambda folder: run()(X, np.zeros((2, 4))),
    lambda folder: run().profile(2),
    lambda folder: trace_events.write(folder / "absent" / "step.json", [], {}),
    # nan and infinity
    lambda folder: gc.compile(ADD, "numpy", check_nans=True)(X, np.full_like(X, np.inf)),
    lambda folder: gc.compile(gc.trace(lambda x: 1.0 / x, "f32[N,3]"), "numpy", check_nans=True)(X),
    lambda folder: NanCheck(gc.trace(lambda x: x + x, "f32[N,3]"), Wrong()).run([X], 2),
    # sessions
    lambda folder: run().bind({"x0": X})(X, X),
    lambda folder: run().bind({"x0": X.astype(float)}),
)

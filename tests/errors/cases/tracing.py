"""Tracing: tensors that have no value yet, and functions that are no networks."""

from __future__ import annotations

import numpy as np

import graphc as gc
from graphc import nn
from graphc.tracing.trace import current_trace

CASES = (
    # traced tensors
    lambda folder: gc.trace(lambda x: x if x else -x, "f32[]"),
    lambda folder: gc.trace(lambda x: float(x), "f32[]"),
    lambda folder: gc.trace(lambda x: int(x), "f32[]"),
    lambda folder: gc.trace(lambda x: len(x), "f32[3]"),
    lambda folder: gc.trace(lambda x: np.asarray(x), "f32[3]"),
    lambda folder: gc.trace(lambda x: x["0"], "f32[3]"),
    lambda folder: gc.trace(lambda x: x + np.ones(3), "f32[3]"),
    lambda folder: gc.trace(lambda x: x[:2], "f32[N,3]"),
    lambda folder: gc.trace(lambda x: x[:, ::0], "f32[N,3]"),
    lambda folder: gc.trace(lambda x: x[0], "f32[N,3]"),
    lambda folder: gc.trace(lambda x: x[:, 3], "f32[N,3]"),
    # the trace
    lambda folder: gc.trace(lambda x: current_trace().penalty(x), "f32[N,3]"),
    lambda folder: gc.trace(lambda x: nn.Dense(2)(x), "f32[N,3]"),
    lambda folder: gc.trace(nn.Sequential(*[nn.Dense(2)] * 2), "f32[N,3]"),
    lambda folder: current_trace(),
    lambda folder: gc.trace(lambda x: 1.0, "f32[N,3]"),
    lambda folder: gc.trace(lambda x: (), "f32[N,3]"),
    lambda folder: gc.trace(lambda x: x, 3),
    lambda folder: gc.trace("lenet5", "f32[3]"),
    lambda folder: gc.trace(lambda x, y: x, "f32[3]"),
)

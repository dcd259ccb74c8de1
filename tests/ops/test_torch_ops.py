"""Convolution, its gradients, and pooling against PyTorch, from tests/fixtures/torch_ops.npz."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph, make_input
from graphc.ir.types import DType, TensorType
from graphc.ops.contractions import conv2d, conv2d_input_grad, conv2d_weight_grad
from graphc.ops.pooling import avg_pool2d, max_pool2d
from graphc.passes.autodiff import gradients

FIXTURES = Path(__file__).parents[1] / "fixtures"
ROWS = runpy.run_path(str(FIXTURES / "make_torch_ops.py"))
TORCH = dict(np.load(FIXTURES / "torch_ops.npz"))
Row = dict[str, Any]


def _input(name: str, array: np.ndarray) -> Any:
    return make_input(name, TensorType(DType.f32, array.shape))


def _close(got: Any, expected: np.ndarray) -> None:
    assert np.shape(got) == expected.shape
    assert np.max(np.abs(got - expected)) <= 2e-5 * np.max(np.abs(expected))


@pytest.mark.parametrize("case", range(len(ROWS["CONVOLUTIONS"])))
def test_convolution_and_its_gradients(case: int, backend: str) -> None:
    row: Row = ROWS["CONVOLUTIONS"][case]
    x, w, g, y, dx, dw = (TORCH[f"conv{case}.{n}"] for n in ("x", "w", "g", "y", "dx", "dw"))
    a, b, c = _input("x", x), _input("w", w), _input("g", g)
    attrs = {n: row[n] for n in ("stride", "padding", "dilation", "groups")}
    graph = Graph(
        "conv",
        (a, b, c),
        (
            conv2d(a, b, **attrs),
            conv2d_input_grad(c, b, size=x.shape[2:], **attrs),
            conv2d_weight_grad(a, c, window=w.shape[2:], **attrs),
        ),
    )
    for got, expected in zip(gc.compile(graph, backend)(x=x, w=w, g=g), (y, dx, dw), strict=True):
        _close(got, expected)


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("case", range(len(ROWS["POOLINGS"])))
def test_pooling_and_its_gradient(case: int, kind: str, backend: str) -> None:
    """The inputs are whole numbers, so the first of several maxima must get the gradient."""
    row: Row = ROWS["POOLINGS"][case]
    x, g = TORCH[f"pool{case}.x"], TORCH[f"pool{case}.g"]
    a, c = _input("x", x), _input("g", g)
    attrs = {n: row[n] for n in ("window", "stride", "padding", "ceil_mode")}
    if kind == "max":
        pooled = max_pool2d(a, **attrs)
    else:
        pooled = avg_pool2d(a, count_include_pad=row["count_include_pad"], **attrs)
    graph = Graph("pool", (a, c), (pooled, *gradients(pooled, [a], seed=c)))
    got, slope = gc.compile(graph, backend)(x=x, g=g)
    _close(got, TORCH[f"pool{case}.{kind}"])
    _close(slope, TORCH[f"pool{case}.d{kind}"])


def test_the_cases_cover_what_pytorch_can_do() -> None:
    rows: tuple[Row, ...] = ROWS["CONVOLUTIONS"]
    assert {row["groups"] for row in rows} >= {1, 2, 3, 4}
    assert any(max(row["stride"]) > 1 and max(row["dilation"]) > 1 for row in rows)
    assert any(row["stride"] > row["w"][2:] for row in rows)

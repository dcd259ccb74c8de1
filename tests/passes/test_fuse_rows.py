"""What goes over a row several times becomes one kernel, if rows stay in a cache and no contraction
lies between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim, zoo
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ops.op import family_of
from graphc.ops.rows import row_of_body
from graphc.passes.base import Pipeline
from graphc.passes.pipelines import BACKEND

FUSE = Pipeline.parse("decompose,simplify,fuse")
Tensor = nn.Tensor


def kernels(graph: Graph) -> list[Node]:
    """The nodes that run."""
    return [n for n in graph.nodes if family_of(n) not in ("input", "alias") and n.op.name != "get"]


def rows(graph: Graph) -> list[set[str]]:
    """The ops of each kernel that goes over rows."""
    fused = [n.attrs["body"] for n in graph.nodes if n.op.name == "fused"]
    return [{n.op.name for n in body.nodes} for body in fused if row_of_body(body) is not None]


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As it is usually written, with a mean and a variance along the last axis."""
    last = len(x.shape) - 1
    centred = x - x.mean(axes=last, keepdims=True)
    deviation = nn.sqrt((centred * centred).mean(axes=last, keepdims=True) + 1e-5)
    return centred / deviation * weight + bias


def unit_length(x: Tensor) -> Tensor:
    """Divided by the root of the sum of squares."""
    return x / nn.sqrt((x * x).sum(axes=1, keepdims=True))


@pytest.mark.parametrize(
    ("function", "types"),
    [
        (nn.softmax, ["f32[N,10]"]),
        (nn.log_softmax, ["f32[N,1000]"]),
        (unit_length, ["f32[N,300]"]),
        (layer_norm, ["f32[N,512]", "f32[512]", "f32[512]"]),
        (layer_norm, ["f32[N,7,64]", "f32[64]", "f32[64]"]),
        (lambda x: nn.standardize(x, axes=(1, 2, 3)), ["f32[N,3,8,8]"]),
        (lambda x: nn.softmax(x, axis=0), ["f32[5,40]"]),
    ],
)
def test_a_normalised_row_is_one_kernel(function: Callable[..., Any], types: list[str]) -> None:
    graph = gc.trace(function, *types)
    assert len(kernels(FUSE(graph))) == 1
    assert len(kernels(BACKEND["large"](graph))) == 1


def test_softmax_its_loss_and_their_gradient_are_one_kernel() -> None:
    model = gc.Model(zoo.lenet5(), "f32[N,1,32,32]", "cross_entropy", optim.SGD(0.1))
    for pipeline in BACKEND.values():
        (found,) = rows(pipeline(model.graphs["train"]))
        assert {"max", "exp", "sum", "log", "div", "mul"} <= found


def test_both_sums_of_a_gradient_are_taken_in_the_kernel_that_needs_them() -> None:
    def loss(x: Tensor, g: Tensor) -> Tensor:
        return (nn.standardize(x, axes=1) * g).sum()

    gradient = FUSE(gc.grad(gc.trace(loss, "f32[N,64]", "f32[N,64]"), wrt="x0"))
    assert len(kernels(gradient)) == 1


def test_a_contraction_between_two_rows_keeps_them_apart() -> None:
    def block(x: Tensor, w: Tensor) -> Tensor:
        return nn.standardize(nn.standardize(x, axes=1) @ w + x, axes=1)

    fused = FUSE(gc.trace(block, "f32[N,64]", "f32[64,64]"))
    assert len(rows(fused)) == 2
    # What is added is the epilogue of the product, not part of what is normalised.
    assert [n.attrs["body"].name for n in kernels(fused)][1] == "matmul_add"


@pytest.mark.parametrize(
    ("function", "types", "why"),
    [
        (nn.softmax, ["f32[N,20000]"], "a row is larger than a cache"),
        (nn.softmax, ["f32[4,100]"], "threads would wait for four rows"),
        (lambda x: nn.softmax(x, axis=2), ["f32[N,0,5]"], "there are no rows"),
        (lambda x: nn.standardize(x, axes=(0, 2)), ["f32[N,3,8]"], "rows are as long as the batch"),
        (lambda x: nn.exp(x).sum(axes=1), ["f32[N,9]"], "one sum needs no row twice"),
    ],
)
def test_other_reductions_are_kernels_of_their_own(
    function: Callable[..., Any], types: list[str], why: str
) -> None:
    assert rows(FUSE(gc.trace(function, *types))) == [], why


def test_a_copy_for_another_layout_stays_a_kernel_of_tiles() -> None:
    def two_readers(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        y = nn.softmax(x @ w)
        return y @ w, y

    found = kernels(BACKEND["large"](gc.trace(two_readers, "f32[N,64]", "f32[64,64]")))
    (row,) = [n for n in found if n.op.name == "fused" and row_of_body(n.attrs["body"])]
    assert [u.op.name for u in found if row in u.inputs].count("relayout") == 1


def test_rows_that_need_each_other_by_way_of_other_kernels_stay_apart() -> None:
    def crossed(x: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, ...]:
        a, b = nn.softmax(x), nn.softmax(y)
        return nn.softmax(a @ w + b), nn.softmax(b @ w + a), nn.softmax(a + b)

    graph = gc.trace(crossed, "f32[N,9]", "f32[N,9]", "f32[9,9]")
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(shape, np.float32) for shape in ((4, 9), (4, 9), (9, 9))]
    expected = gc.compile(graph, "numpy")(*inputs)
    for got, wanted in zip(gc.compile(FUSE(graph), "numpy")(*inputs), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_what_rows_overwrite_is_not_read_again() -> None:
    def step(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        first = w + x.sum(axes=1, keepdims=True)
        return first, w * nn.max(nn.softmax(x), axes=1, keepdims=True)

    traced = gc.trace(step, "f32[N,12]", "f32[N,12]")
    donated = Graph("step", traced.inputs, traced.outputs, [(0, 0)])
    w, x = np.random.default_rng(0).standard_normal((2, 20, 12), np.float32)
    expected = gc.compile(traced, "numpy")(w, x)
    for pipeline in BACKEND.values():
        assert rows(pipeline(donated))
    for got, wanted in zip(gc.compile(donated, "llvm")(w.copy(), x), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)

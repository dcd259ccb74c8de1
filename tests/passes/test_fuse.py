"""What becomes one kernel, and that fusing and taking apart keep the meaning."""

from __future__ import annotations

import numpy as np

import graphc as gc
from graphc import nn, optim, zoo
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node
from graphc.ir.types import parse_type
from graphc.ops.contractions import matmul
from graphc.ops.elementwise import mul, relu, tanh
from graphc.ops.views import relayout
from graphc.passes.base import Pipeline
from graphc.passes.fuse import Fuse, unfused
from graphc.passes.pipelines import BACKEND

FUSE = Pipeline.parse("decompose,simplify,fuse")


def _bodies(graph: Graph) -> list[set[str]]:
    """The ops of each kernel, constants and broadcasts left out."""
    quiet = {"input", "full", "broadcast", "iota", "batch_size"}
    kernels = [n for n in graph.nodes if n.op.name not in ("input", "get", "reshape")]

    def ops(node: Node) -> set[str]:
        nodes = node.attrs["body"].nodes if node.op.name == "fused" else [node]
        return {n.op.name for n in nodes} - quiet

    return [ops(k) for k in kernels]


def test_bias_and_activation_are_the_epilogue_of_a_convolution() -> None:
    net = nn.Sequential(nn.Conv(4, 3), nn.Tanh(), nn.AvgPool(2))
    graph = FUSE(gc.trace(net, "f32[N,1,8,8]"))
    assert {"conv2d", "add", "tanh"} in _bodies(graph)


def test_a_chain_of_elementwise_ops_is_one_kernel() -> None:
    graph = FUSE(gc.trace(lambda x: nn.tanh(x * 2.0 + 1.0) * x, "f32[N,3]"))
    assert len(_bodies(graph)) == 1


def test_a_reduction_computes_its_producers_as_it_reads() -> None:
    graph = FUSE(gc.trace(lambda x: (nn.tanh(x) * x).sum(axes=1), "f32[N,3]"))
    assert _bodies(graph) == [{"tanh", "mul", "sum"}]


def test_a_costly_scale_is_computed_once_a_channel_not_once_a_pixel() -> None:
    def scaled(x: nn.Tensor, variance: nn.Tensor) -> nn.Tensor:
        return x * nn.broadcast(1.0 / nn.sqrt(variance), shape=x.shape, axes=(1,))

    graph = FUSE(gc.trace(scaled, "f32[N,3,8,8]", "f32[3]"))
    assert _bodies(graph) == [{"sqrt", "div"}, {"mul"}]


def test_what_puts_samples_side_by_side_is_read_by_one_kernel() -> None:
    x, g, w = (
        make_input(name, parse_type(type), kind="data")
        for name, type in (("x", "f32[N,8]"), ("g", "f32[N,8]{batch_last}"), ("w", "f32[8,8]"))
    )
    kept = relu(relayout(x, layout="batch_last"))
    graph = Graph("masked", (x, g, w), (tanh(kept), mul(kept, matmul(g, w))))
    assert sum("relayout" in body for body in _bodies(Fuse()(graph))) == 1


def test_what_a_reduction_reads_again_and_again_is_computed_once() -> None:
    def moved(x: nn.Tensor) -> nn.Tensor:
        return nn.moving_sum(nn.tanh(x), axis=1, low=2, high=2)

    assert _bodies(FUSE(gc.trace(moved, "f32[N,9]"))) == [{"tanh"}, {"moving_sum"}]
    cheap = gc.trace(lambda x: nn.moving_sum(x * x, axis=1, low=2, high=2), "f32[N,9]")
    assert _bodies(FUSE(cheap)) == [{"mul", "moving_sum"}]


def test_an_update_joins_the_gradient_it_reads() -> None:
    model = gc.Model(zoo.mlp(), "f32[N,1,28,28]", "cross_entropy", optim.SGD(0.1, momentum=0.9))
    bodies = _bodies(BACKEND["large"](model.graphs["train"]))
    assert sum({"matmul", "mul", "add", "sub"} <= b for b in bodies) >= 3


def test_taking_apart_gives_the_graph_that_was_fused() -> None:
    before = Pipeline.parse("decompose,simplify")(gc.trace(zoo.lenet5(), "f32[N,1,32,32]"))
    assert unfused(Fuse()(before)) is before
    assert unfused(before) is before


def test_compressing_a_fused_graph_takes_it_apart_first() -> None:
    graph = gc.trace(zoo.mlp(), "f32[N,1,28,28]")
    compressed = Pipeline.parse("simplify,fuse,svd{rank=8}")(graph)
    names = [i.attrs["name"] for i in compressed.inputs]
    assert "1.weight.u" in names and "1.weight.v" in names


def test_kernels_that_would_need_each_other_are_taken_apart() -> None:
    def crossed(x: nn.Tensor, y: nn.Tensor) -> tuple[nn.Tensor, ...]:
        a, b = x.sum(axes=0), y.sum(axes=0)
        c, d = nn.tanh(a), nn.tanh(b)
        return c + b.sum(), d + a.sum(), (c * b).sum() + a, (d * a).sum() + b

    graph = gc.trace(crossed, "f32[4,3]", "f32[4,3]")
    x, y = np.random.default_rng(0).standard_normal((2, 4, 3), np.float32)
    expected = gc.compile(graph, "numpy")(x, y)
    for got, wanted in zip(gc.compile(FUSE(graph), "numpy")(x, y), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)

"""Passes for graphics processors: what they store how, and that the meaning stays."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim
from graphc.ir.graph import Graph
from graphc.ir.layouts import CHANNELS_LAST, ROW_MAJOR
from graphc.ir.text import parse
from graphc.ir.types import DType, TensorType
from graphc.ops.interpret import interpret
from graphc.ops.op import family_of
from graphc.passes.base import Pipeline
from graphc.passes.bfloat16 import RoundProducts
from graphc.passes.channels_last import CONVOLUTIONS, ChannelsLast
from graphc.passes.narrow_images import NarrowImages
from graphc.passes.pipelines import device_pipelines

SIDE = 12


@pytest.fixture(scope="module")
def step() -> Graph:
    """A training step with everything that touches images."""
    net = nn.Sequential(
        nn.Conv(8, 3, padding=1), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2),
        nn.Conv(12, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Dense(10),
    )  # fmt: skip
    model = gc.Model(net, f"f32[N,3,{SIDE},{SIDE}]", "cross_entropy", optim.SGD(0.1))
    return Pipeline.parse("decompose,simplify,pool_first")(model.graphs["train"])


def _inputs(graph: Graph, n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    found = {}
    for node in graph.inputs:
        shape, dtype = node.tensor.concrete(n), node.tensor.dtype
        values = rng.standard_normal(shape) if dtype.is_float else rng.integers(0, 10, shape)
        found[node.attrs["name"]] = np.asarray(values, dtype.numpy)
    for name in found:
        if "var" in name:
            found[name] = np.abs(found[name]) + 0.5
    return found


def _agree(before: Graph, after: Graph, tolerance: float) -> None:
    inputs = _inputs(before, 4)
    expected, got = (interpret(g, inputs, n=4) for g in (before, after))
    for want, have in zip(expected, got, strict=True):
        scale = max(float(np.abs(want).max()), 1e-3) if want.size else 1.0
        np.testing.assert_allclose(have, want, rtol=0, atol=tolerance * scale)


def test_convolutions_read_and_write_channels_last(step: Graph) -> None:
    after = ChannelsLast().run(step)
    convolutions = [n for n in after.nodes if n.op.name in CONVOLUTIONS]
    assert len(convolutions) == 5, "two forward, one gradient of an image, two of weights"
    for node in convolutions:
        assert {i.tensor.layout for i in (node, *node.inputs)} == {CHANNELS_LAST}
    _agree(step, after, 1e-6)


def test_the_order_of_elements_is_that_of_rows_where_it_matters(step: Graph) -> None:
    after = ChannelsLast().run(step)
    flat = [n for n in after.nodes if n.op.name == "reshape"]
    assert flat
    assert {i.tensor.layout for n in flat for i in n.inputs} == {ROW_MAJOR}
    assert [o.type for o in after.outputs] == [o.type for o in step.outputs]
    assert after.inputs == step.inputs


def test_what_has_no_images_stays() -> None:
    graph = gc.trace(nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dense(2)), "f32[N,8]")
    assert ChannelsLast().run(graph) is graph


def test_every_product_of_f32_reads_bf16(step: Graph) -> None:
    after = RoundProducts().run(step)
    for node in after.nodes:
        if family_of(node) == "contraction":
            assert {i.tensor.dtype for i in node.inputs} == {DType.bf16}
            assert node.tensor.dtype is DType.f32, "sums are f32"
    assert [o.type for o in after.outputs] == [o.type for o in step.outputs]


def test_products_of_f64_stay() -> None:
    graph = parse("""graph f(%x: f64[N,3], %w: f64[3,2]) {
      %y = matmul(%x, %w) : f64[N,2]
      return %y
    }""")
    assert RoundProducts().run(graph).outputs == graph.outputs


def test_images_between_kernels_are_narrow_and_nothing_else_is(step: Graph) -> None:
    pipeline = device_pipelines("bf16")["any"]
    names = [p.name for p in pipeline.passes]
    before = Pipeline(pipeline.passes[: names.index("narrow_images")])(step)
    after = NarrowImages().run(before)
    types = [n.type for n in after.nodes if n.op.name in ("fused", "get")]
    images = {t for t in types if isinstance(t, TensorType) and t.rank > 2 and t.batch_axis == 0}
    wide = {t for t in images if t.dtype is DType.f32}
    flattened = {i.type for n in after.nodes if family_of(n) == "alias" for i in n.inputs}
    assert images - wide
    assert wide <= flattened, "a copy in row-major order is no kernel's to round"
    assert [o.type for o in after.outputs] == [o.type for o in step.outputs]
    _agree(step, after, 0.1)
    _agree(before, after, 0.05)


def test_a_result_that_several_kernels_read_is_rounded_once() -> None:
    graph = parse("""graph f(%x: f32[N,4,6,6], %w: f32[4,4,3,3], %v: f32[4,4,3,3]) {
      %a = relu(%x) : f32[N,4,6,6]
      %y = conv2d(%a, %w) {dilation=(1, 1), groups=1, padding=(1, 1, 1, 1), stride=(1, 1)}
        : f32[N,4,6,6]
      %z = conv2d(%a, %v) {dilation=(1, 1), groups=1, padding=(1, 1, 1, 1), stride=(1, 1)}
        : f32[N,4,6,6]
      %s = sum(%a) {axes=(0, 2, 3), keepdims=False} : f32[4]
      return %y, %z, %s
    }""")
    after = Pipeline.parse("round_products,fuse,narrow_images")(graph)
    written = [
        t
        for n in after.nodes
        if n.op.name == "fused" and any(i.attrs.get("name") == "x" for i in n.inputs)
        for t in ([n.type] if isinstance(n.type, TensorType) else n.type.elements)  # type: ignore[union-attr]
        if isinstance(t, TensorType) and t.rank == 4
    ]
    assert [t.dtype for t in written] == [DType.bf16]
    _agree(graph, after, 0.02)

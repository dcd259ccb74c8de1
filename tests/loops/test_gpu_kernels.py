"""Kernels for graphics processors, run as plain loops: what they compute is what the interpreter
computes, and all of them compile to machine code that keeps its registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim, zoo
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import OPERATORS
from graphc.ir.types import DType, parse_type
from graphc.loops.gpu.device import A100, GPU, H100
from graphc.ops.contractions import conv2d, conv2d_input_grad, conv2d_weight_grad, matmul
from graphc.ops.einsum import einsum
from graphc.ops.elementwise import (
    add,
    cast,
    exp,
    less,
    maximum,
    minimum,
    mul,
    neg,
    relu,
    sub,
    where,
)
from graphc.ops.op import Op
from graphc.ops.reductions import max, min, sum
from graphc.testing import Expectation, random_graph, random_inputs
from graphc_cuda.compile import compiled
from graphc_cuda.source import kernel_source
from tests.loops.emulation import emulated, kernels_of, program_of
from tests.ops.test_samples import UNSAMPLED, _arrays, _batch, _graph

OPS = [op for name, op in sorted(OPERATORS.items()) if isinstance(op, Op) and name not in UNSAMPLED]
BATCHES = (1, 2, 7, 33, 70)


def check(graph: Graph, n: int, inputs: dict[str, Any] | None = None, seed: int = 0) -> None:
    """The kernels of `graph` compute what it means."""
    inputs = inputs or random_inputs(graph, n, np.random.default_rng(seed))
    found = emulated(program_of(graph), inputs, n)
    Expectation(graph, inputs, n, seed=seed).check(found, "emulated")


def schedules(graph: Graph) -> list[str]:
    return [kernel.schedule for kernel in kernels_of(program_of(graph))]


# -- everything ------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_op(op: Op) -> None:
    for sample in op.samples:
        if sample.raises is None:
            graph = _graph(op, sample)
            check(graph, _batch(graph), _arrays(graph, sample))


@pytest.mark.parametrize("chunk", range(4))
def test_random_graphs(chunk: int) -> None:
    for seed in range(100 + 8 * chunk, 108 + 8 * chunk):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, dtype=DType.f64 if seed % 8 == 0 else DType.f32)
        batched = any(i.tensor.batch_axis is not None for i in graph.inputs)
        check(graph, int(rng.choice(BATCHES)) if batched else 1, seed=seed)


def training_step(network: nn.Module, type: str, n: int) -> tuple[Graph, dict[str, Any]]:
    """A training step of `network`, and what it is given."""
    model = gc.Model(network, type, "cross_entropy", optim.SGD(0.1, momentum=0.9), backend="numpy")
    graph, rng = model.graphs["train"], np.random.default_rng(0)
    inputs: dict[str, Any] = {}
    for node in graph.inputs:
        name, shape = node.attrs["name"], node.tensor.concrete(n)
        if name in model.params:
            inputs[name] = model.params[name]
        elif node.tensor.dtype.is_float:
            inputs[name] = rng.random(shape, np.float32)
        else:
            inputs[name] = rng.integers(0, 2, shape).astype(node.tensor.dtype.numpy)
    return graph, inputs


def test_a_training_step_of_lenet() -> None:
    graph, inputs = training_step(zoo.lenet5(), "f32[N,1,32,32]", 5)
    check(graph, 5, inputs)


def small_residual() -> nn.Module:
    """What residual networks are made of: strides, statistics of batches, sums of branches."""
    return nn.Sequential(
        nn.Conv(8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm(),
        nn.ReLU(),
        nn.Residual(nn.Sequential(nn.Conv(8, 3, padding=1, bias=False), nn.BatchNorm())),
        nn.MaxPool(3, stride=2, padding=1),
        nn.Conv(16, 1),
        nn.MaxPool(2),
        nn.Dropout(0.5),
        nn.GlobalAvgPool(),
        nn.Flatten(),
        nn.Dense(10),
    )


@pytest.mark.parametrize("n", [1, 6])
def test_a_training_step_with_what_residual_networks_are_made_of(n: int) -> None:
    graph, inputs = training_step(small_residual(), "f32[N,3,17,17]", n)
    check(graph, n, inputs)


# -- products --------------------------------------------------------------------------------------


def product(rows: str, summed: int, columns: int, dtype: str = "f32") -> Graph:
    stored = "f32" if dtype == "bf16" else dtype
    a, b = (
        make_input(name, parse_type(f"{stored}[{shape}]"))
        for name, shape in (("a", f"{rows},{summed}"), ("b", f"{summed},{columns}"))
    )
    if dtype == "bf16":
        return Graph("product", [a, b], [matmul(*(cast(x, dtype=DType.bf16) for x in (a, b)))])
    return Graph("product", [a, b], [matmul(a, b)])


@pytest.mark.parametrize("n", BATCHES)
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16"])
def test_products_of_any_size(n: int, dtype: str) -> None:
    for summed, columns in ((8, 8), (37, 29), (64, 132), (100, 12)):
        check(product("N", summed, columns, dtype), n)


CONVOLUTIONS = {
    "plain": ((5, 9), (7, 5), (12, 5, 3, 3), {}),
    "wide": ((16, 16), (9, 8), (32, 16, 3, 3), {"padding": (1, 1, 1, 1)}),
    "strided": ((16, 16), (8, 10), (24, 16, 3, 3), {"stride": (2, 2), "padding": (1, 1, 1, 1)}),
    "odd stride": ((8, 8), (9, 11), (8, 8, 3, 2), {"stride": (3, 2), "padding": (1, 0, 2, 0)}),
    "dilated": ((8, 8), (11, 11), (8, 8, 3, 3), {"dilation": (2, 3)}),
    "grouped": ((24, 24), (6, 6), (24, 8, 3, 3), {"groups": 3, "padding": (1, 1, 1, 1)}),
    "depthwise": ((8, 8), (6, 6), (8, 1, 3, 3), {"groups": 8, "padding": (1, 1, 1, 1)}),
    "pointwise": ((20, 20), (5, 5), (12, 20, 1, 1), {"stride": (2, 2)}),
    "image": ((3, 3), (12, 12), (10, 3, 5, 5), {"stride": (2, 2), "padding": (2, 2, 2, 2)}),
}


def convolution(name: str) -> Graph:
    """A convolution with bias and activation, and both of its gradients."""
    (channels, _), size, window, attrs = CONVOLUTIONS[name]
    x = make_input("x", parse_type(f"f32[N,{channels},{size[0]},{size[1]}]"))
    w = make_input("w", parse_type(f"f32[{','.join(map(str, (window[0], *window[1:])))}]"))
    y = conv2d(x, w, **attrs)
    g = make_input("g", y.tensor)
    gradients = (
        conv2d_input_grad(g, w, size=size, **attrs),
        conv2d_weight_grad(x, g, window=window[2:], **attrs),
    )
    return Graph("convolution", [x, w, g], [relu(y), *gradients])


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_and_their_gradients(name: str) -> None:
    for n in (1, 2, 13):
        check(convolution(name), n)


def test_a_batch_of_products() -> None:
    a = make_input("a", parse_type("f32[N,20,24]"))
    b = make_input("b", parse_type("f32[N,24,12]"))
    graph = Graph("products", [a, b], [einsum(a, b, subscripts="nij,njk->nik")])
    assert schedules(graph)[0].startswith("tiles")
    check(graph, 3)


# -- sums ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "axes"),
    [
        ("f32[N,1000]", (1,)),  # along rows
        ("f32[N,129]", (0,)),  # down columns
        ("f32[N,6,9,10]", (0, 2, 3)),  # statistics of a batch
        ("f32[N,3,300]", (0, 1, 2)),
        ("f32[300,5,7]", (0, 2)),
        ("f64[N,70]", (0, 1)),
        ("i32[N,90]", (1,)),
        ("i64[90,N]", (0,)),
        ("f32[N,2]", (0,)),
    ],
)
@pytest.mark.parametrize("n", [1, 2, 67])
def test_sums_and_extremes(type: str, axes: tuple[int, ...], n: int) -> None:
    x = make_input("x", parse_type(type))
    results = [sum(x, axes=axes), max(x, axes=axes, keepdims=True)]
    if x.tensor.dtype.is_float:
        results.append(exp(max(x, axes=axes)))
    check(Graph("sums", [x], results), n)


def test_the_order_of_a_sum_is_that_of_its_shape() -> None:
    """Samples that are there or not change no bit of the others' sums."""
    x = make_input("x", parse_type("f32[N,300]"))
    graph = Graph("sums", [x], [sum(x, axes=(1,))])
    array = np.random.default_rng(0).standard_normal((9, 300), np.float32)
    (few,), (many,) = (emulated(program_of(graph), {"x": array[:n]}, n) for n in (2, 9))
    assert few.tobytes() == many[:2].tobytes()


# -- elementwise -----------------------------------------------------------------------------------


def test_what_runs_on_is_one_loop() -> None:
    """Samples and all axes of an image are one flat number: nothing is divided."""
    x, y = (make_input(name, parse_type("f32[N,6,5,4]")) for name in "xy")
    (kernel,) = kernels_of(program_of(Graph("sum", [x, y], [relu(add(x, y))])))
    assert "//" not in str(kernel.body[0].body[0])  # type: ignore[union-attr]
    assert kernel.schedule == "256 threads x 4 n"


# -- bytes -----------------------------------------------------------------------------------------


def byte_graph() -> Graph:
    """What is done with bytes: arithmetic that wraps, comparisons without signs, casts, sums."""
    x, y = (make_input(name, parse_type("u8[N,4,8,16]")) for name in "xy")
    f = make_input("f", parse_type("f32[N,4,8,16]"))
    most = maximum(add(mul(x, y), cast(f, dtype=DType.u8)), sub(x, y))
    chosen = where(less(x, y), most, minimum(x, neg(y)))
    results = [cast(chosen, dtype=d) for d in (DType.f32, DType.i32, DType.i64, DType.bool)]
    results += [cast(cast(chosen, dtype=DType.bool), dtype=DType.u8)]
    results += [sum(chosen, axes=(1, 2, 3)), max(chosen, axes=(1,)), min(chosen, axes=(0, 2, 3))]
    return Graph("bytes", [x, y, f], [chosen, *results])


@pytest.mark.parametrize("n", [1, 2, 33])
def test_bytes(n: int) -> None:
    graph, rng = byte_graph(), np.random.default_rng(n)
    x, y = rng.integers(0, 256, (2, n, 4, 8, 16)).astype(np.uint8)
    check(graph, n, {"x": x, "y": y, "f": rng.uniform(0, 255, x.shape).astype(np.float32)})


def test_a_thread_takes_sixteen_bytes_at_a_time() -> None:
    x, y = (make_input(name, parse_type("u8[N,64]")) for name in "xy")
    assert schedules(Graph("most", [x, y], [maximum(x, y)])) == ["256 threads x 16 n"]
    assert schedules(Graph("sum", [x], [sum(x, axes=(0, 1))]))[0].endswith("x 16 summed")


# -- machine code ----------------------------------------------------------------------------------


@pytest.mark.parametrize("gpu", [A100, H100], ids=lambda gpu: gpu.architecture)
def test_machine_code_keeps_its_registers(gpu: GPU) -> None:
    """No array of a thread lies in memory, and nothing is spilled."""
    pytest.importorskip("cuda.bindings")
    graphs = [training_step(small_residual(), "f32[N,3,17,17]", 2)[0]]
    graphs += [product("N", 512, 512), product("N", 64, 64, "f64"), convolution("wide")]
    graphs += [byte_graph()]
    programs = [program_of(graph, gpu) for graph in graphs]
    source = "\n".join(
        kernel_source(kernel).replace("k_", f"k{p}_{k}_", 1)
        for p, program in enumerate(programs)
        for k, kernel in enumerate(kernels_of(program))
    )
    resources = compiled(source, gpu.architecture).resources
    assert len(resources) > 30
    spilled = {k: v for k, v in resources.items() if v["spill_bytes"] or v["stack_bytes"]}
    assert spilled == {}

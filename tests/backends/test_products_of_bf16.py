"""Products of bf16 on the LLVM backend: right, the same with and without instructions for pairs,
the same on any number of threads.

The oracle computes with the same rounded numbers in f32, so only the order of sums differs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc_llvm.variant
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node
from graphc.ir.types import DType, parse_type, rounded_to_bf16
from graphc.loops.schedule import Machine
from graphc.ops.contractions import conv2d, conv2d_input_grad, matmul
from graphc.ops.elementwise import add, cast, relu
from graphc.ops.interpret import interpret
from graphc.ops.views import transpose
from graphc.passes.base import Pipeline
from graphc.passes.bfloat16 import Bfloat16
from graphc.passes.layout_costs import USUAL_BATCH
from graphc.passes.pipelines import LARGE_BATCH, backend_pipelines
from graphc.passes.winograd import Winograd
from graphc_llvm.engine import machine_of
from graphc_llvm.runner import LLVMRunner

Array = np.ndarray[Any, Any]
OF_SCALE = 1e-5
DIRECT = {
    name: Pipeline(tuple(p for p in pipeline.passes if not isinstance(p, Winograd)))
    for name, pipeline in backend_pipelines("bf16").items()
}
SHIFTS = Machine(machine_of().vector_bytes, machine_of().registers, pairs=False)
NARROW = Machine(vector_bytes=32, registers=16)


def _x(name: str, type: str, kind: str = "data") -> Node:
    return make_input(name, parse_type(type), kind)


def _graph(make: Any, *types: str) -> Graph:
    inputs = [_x("x", types[0]), *(_x(f"w{k}", t, "parameter") for k, t in enumerate(types[1:]))]
    return Graph("g", inputs, [make(*inputs)])


def _dense(x: Node, w: Node) -> Node:
    return matmul(x, transpose(w))


def _residual(x: Node, w: Node) -> Node:
    """Two convolutions, the second of which reads what is also added to its results."""
    first = relu(conv2d(x, w, padding=1))
    return add(relu(conv2d(first, w, padding=1)), first)


GRAPHS = {
    "1x1": _graph(conv2d, "f32[N,64,7,7]", "f32[80,64,1,1]"),
    "3x3, padded, strided": _graph(
        lambda x, w: conv2d(x, w, padding=1, stride=2), "f32[N,64,9,9]", "f32[80,64,3,3]"
    ),
    "one block": _graph(conv2d, "f32[N,16,5,5]", "f32[16,16,3,3]"),
    "groups": _graph(
        lambda x, w: conv2d(x, w, padding=1, groups=2), "f32[N,64,6,6]", "f32[64,32,3,3]"
    ),
    "input gradient": _graph(
        lambda g, w: conv2d_input_grad(g, w, size=(7, 7), padding=1),
        "f32[N,64,7,7]", "f32[64,80,3,3]",
    ),
    "input gradient, strided": _graph(
        lambda g, w: conv2d_input_grad(g, w, size=(8, 8), padding=1, stride=2),
        "f32[N,64,4,4]", "f32[64,64,3,3]",
    ),
    "dense": _graph(_dense, "f32[N,66]", "f32[37,66]"),
    "residual": _graph(_residual, "f32[N,64,6,6]", "f32[64,64,3,3]"),
}  # fmt: skip


def _drawn(graph: Graph, n: int, whole: bool) -> list[Array]:
    rng = np.random.default_rng(0)
    found = []
    for node in graph.inputs:
        shape = node.tensor.concrete(n)
        value = rng.integers(-3, 4, shape) if whole else rng.standard_normal(shape)
        found.append(value.astype(np.float32))
    return found


def _run(graph: Graph, inputs: list[Array], n: int, threads: int = 1) -> Array:
    (result,) = LLVMRunner(graph, threads, DIRECT).run(inputs, n)
    return np.asarray(result)


def _oracle(graph: Graph, inputs: list[Array], n: int) -> Array:
    rounded = Bfloat16(USUAL_BATCH if n < LARGE_BATCH else 64).run(graph)
    names = [i.attrs["name"] for i in graph.inputs]
    (result,) = interpret(rounded, dict(zip(names, inputs, strict=True)), n)
    return result


def _uses_pairs(graph: Graph, n: int) -> bool:
    runner = LLVMRunner(graph, 1, DIRECT)
    kernels = [call.kernel for call in runner.variant(n).program.calls]
    return any("dot(" in str(kernel) for kernel in kernels)


@pytest.mark.parametrize("n", [1, 3, 17])
@pytest.mark.parametrize("name", GRAPHS)
def test_it_is_what_the_oracle_says(name: str, n: int) -> None:
    graph = GRAPHS[name]
    inputs = _drawn(graph, n, whole=False)
    expected = _oracle(graph, inputs, n)
    # A number in the middle may be rounded the other way: then a whole last bit of it is lost.
    tolerance = 2.0**-8 if name == "residual" else OF_SCALE
    away = np.abs(_run(graph, inputs, n) - expected).max()
    assert away <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "residual"])
def test_whole_numbers_are_exact(name: str) -> None:
    inputs = _drawn(GRAPHS[name], 3, whole=True)
    np.testing.assert_array_equal(_run(GRAPHS[name], inputs, 3), _oracle(GRAPHS[name], inputs, 3))


@pytest.mark.parametrize("name", GRAPHS)
def test_all_of_these_multiply_pairs(name: str) -> None:
    assert _uses_pairs(GRAPHS[name], 1)


@pytest.mark.parametrize("name", ["3x3, padded, strided", "input gradient", "dense"])
def test_any_number_of_threads_gives_the_same_bits(name: str) -> None:
    graph = GRAPHS[name]
    inputs = _drawn(graph, 3, whole=False)
    one = _run(graph, inputs, 3)
    for threads in (2, 3):
        np.testing.assert_array_equal(_run(graph, inputs, 3, threads), one)


@pytest.mark.parametrize("name", ["3x3, padded, strided", "input gradient", "residual"])
def test_shifts_do_what_the_instructions_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = GRAPHS[name]
    inputs = _drawn(graph, 2, whole=False)
    native = _run(graph, inputs, 2)
    monkeypatch.setattr(graphc_llvm.variant, "machine_of", lambda: SHIFTS)
    np.testing.assert_array_equal(_run(graph, inputs, 2), native)


@pytest.mark.parametrize("name", ["1x1", "input gradient, strided", "dense"])
def test_vectors_of_eight_lanes_do_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphc_llvm.variant, "machine_of", lambda: NARROW)
    inputs = _drawn(GRAPHS[name], 2, whole=False)
    expected = _oracle(GRAPHS[name], inputs, 2)
    away = np.abs(_run(GRAPHS[name], inputs, 2) - expected).max()
    assert away <= OF_SCALE * np.abs(expected).max()


SPECIAL = [0.0, -0.0, 1.0, 1.00390625, 1.01171875, 3.3895314e38, -3.4e38, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("machine", [None, SHIFTS, NARROW])
@pytest.mark.parametrize("count", [1, 10, 37])
def test_rounding(count: int, machine: Machine | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if machine is not None:
        monkeypatch.setattr(graphc_llvm.variant, "machine_of", lambda: machine)
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal(max(count - len(SPECIAL), 0)) * 10.0 ** rng.integers(-30, 30)
    x = np.asarray([*SPECIAL, *drawn], np.float32)[-count:]
    node = _x("x", f"f32[{count}]")
    graph = Graph("g", [node], [cast(cast(node, dtype=DType.bf16), dtype=DType.f32)])
    np.testing.assert_array_equal(_run(graph, [x], 1), rounded_to_bf16(x))

"""Gradients equal central differences in f64, of first and second order, and errors say why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Gradient, Node
from graphc.ir.types import DType, TensorType, parse_type
from graphc.ops.contractions import conv2d, matmul
from graphc.ops.create import full
from graphc.ops.elementwise import absolute, add, cast, div, exp, less, mul, relu, tanh, where
from graphc.ops.interpret import interpret
from graphc.ops.losses import mean_squared_error, softmax_cross_entropy
from graphc.ops.op import family_of
from graphc.ops.optimizers import sgd_update
from graphc.ops.pooling import avg_pool2d, max_pool2d
from graphc.ops.reductions import max, mean, sum
from graphc.ops.softmax import softmax
from graphc.ops.structure import fused, get
from graphc.ops.views import concat, flatten, pad, slice, transpose
from graphc.passes.autodiff import Differentiate, gradients

Array = np.ndarray[Any, Any]
STEP = 1e-5


def variable(name: str, type: str, kind: str = "data") -> Node:
    return make_input(name, parse_type(type), kind)


X = variable("x", "f64[N,6]")
W = variable("w", "f64[4,6]", "parameter")
IMAGE = variable("image", "f64[2,2,7,7]")
KERNEL = variable("kernel", "f64[3,2,3,3]", "parameter")
LABELS = variable("labels", "i32[N]")
TARGET = variable("target", "f64[N,4]")
RATE = variable("rate", "f64[]")
EVERY_SECOND = slice(X, start=(0, 1), stop=(None, 5), step=(1, 2))
BODY = Graph("body", [X], [exp(X)])

SCALARS: dict[str, Callable[[], Node]] = {
    "dense layer": lambda: sum(tanh(matmul(X, transpose(W)))),
    "used twice": lambda: sum(mul(X, mul(X, exp(X)))),
    "squared error": lambda: mean_squared_error(matmul(X, transpose(W)), TARGET),
    "cross entropy": lambda: softmax_cross_entropy(matmul(X, transpose(W)), LABELS),
    "softmax": lambda: sum(mul(softmax(X), exp(X))),
    "one layer input made of another": lambda: mean_squared_error(tanh(X), X),
    "convolution": lambda: sum(tanh(conv2d(IMAGE, KERNEL, stride=2, padding=1))),
    "pooling": lambda: sum(exp(avg_pool2d(max_pool2d(conv2d(IMAGE, KERNEL), window=2), window=2))),
    "views": lambda: sum(exp(concat(pad(X, low=(0, 1), high=(0, 0)), EVERY_SECOND, axis=1))),
    "reductions": lambda: sum(mul(max(X, axes=1, keepdims=True), mean(X, axes=1, keepdims=True))),
    "choice": lambda: sum(where(less(X, 0.0), mul(X, X), div(X, add(absolute(X), 1.0)))),
}  # fmt: skip


def inputs_of(output: Node) -> list[Node]:
    found: dict[Node, None] = {}
    waiting = [output]
    while waiting:
        node = waiting.pop()
        waiting.extend(node.inputs)
        if family_of(node) == "input":
            found[node] = None
    return sorted(found, key=lambda i: str(i.attrs["name"]))


def drawn(nodes: list[Node], n: int = 3) -> dict[str, Array]:
    rng = np.random.default_rng(7)
    return {
        node.attrs["name"]: rng.standard_normal(node.tensor.concrete(n))
        if node.tensor.dtype.is_float
        else rng.integers(0, 4, node.tensor.concrete(n)).astype(np.int32)
        for node in nodes
    }


def slope(output: Node, wrt: Node, arrays: dict[str, Array], along: Array) -> float:
    """The derivative of a scalar output along a direction of one input, by central differences."""
    name = wrt.attrs["name"]
    graph = Graph("f", inputs_of(output), [output])
    ahead, back = (
        interpret(graph, arrays | {name: arrays[name] + sign * STEP * along}, 3)[0]
        for sign in (1, -1)
    )
    return float((ahead - back) / (2 * STEP))


@pytest.mark.parametrize("build", SCALARS.values(), ids=SCALARS)
def test_gradients_of_both_orders_equal_central_differences(build: Callable[[], Node]) -> None:
    output = build()
    nodes = inputs_of(output)
    arrays = drawn(nodes)
    rng = np.random.default_rng(1)
    for wrt in (i for i in nodes if i.tensor.dtype.is_float):
        along = rng.standard_normal(arrays[wrt.attrs["name"]].shape)
        direction = variable("direction", str(wrt.type))
        first = sum(mul(gradients(output, [wrt])[0], direction))
        second = sum(mul(gradients(first, [wrt])[0], direction))
        graph = Graph("derivatives", [*nodes, direction], [first, second])
        values = interpret(graph, {**arrays, "direction": along}, 3)
        expected = slope(output, wrt, arrays, along)
        np.testing.assert_allclose(values[0], expected, rtol=1e-6, atol=1e-8)
        curved = slope(first, wrt, {**arrays, "direction": along}, along)
        np.testing.assert_allclose(values[1], curved, rtol=1e-5, atol=1e-7)


def test_a_node_inside_the_graph_can_be_differentiated_for() -> None:
    hidden = exp(X)
    output = sum(mul(hidden, hidden))
    inner, outer = gradients(output, [hidden, X])
    arrays = drawn([X])
    values = interpret(Graph("g", [X], [inner, outer]), arrays)
    np.testing.assert_allclose(values[0], 2 * np.exp(arrays["x"]))
    np.testing.assert_allclose(values[1], 2 * np.exp(2 * arrays["x"]))


def test_the_chain_ends_at_stops() -> None:
    hidden = exp(X)
    output = sum(mul(hidden, X))
    arrays = drawn([X])
    (stopped,) = gradients(output, [X], stops=[hidden])
    (value,) = interpret(Graph("g", [X], [stopped]), arrays)
    np.testing.assert_allclose(value, np.exp(arrays["x"]))


def test_an_input_that_the_output_does_not_read_has_the_gradient_zero() -> None:
    (found,) = gradients(sum(X), [W])
    assert found is full(0.0, shape=(4, 6), dtype=DType.f64)


def test_a_seed_starts_the_chain_of_an_output_that_is_no_scalar() -> None:
    seed = variable("seed", "f64[N,6]")
    (found,) = gradients(exp(X), [X], seed)
    assert found is mul(seed, exp(X))


def test_a_frozen_parameter_leaves_no_gradient_nodes() -> None:
    first, second = (
        variable("first", "f32[8,6]", "parameter"),
        variable("second", "f32[4,8]", "parameter"),
    )
    data = variable("data", "f32[N,6]")
    hidden = relu(matmul(data, transpose(first)))
    output = sum(matmul(hidden, transpose(second)))
    frozen = Graph("frozen", [data, first, second], gradients(output, [second]))
    whole = Graph("whole", [data, first, second], gradients(output, [first, second]))
    products = [sum_of(g, "matmul") for g in (frozen, whole)]
    assert products == [2, 4]
    assert sum_of(frozen, "where") == 0 and sum_of(whole, "where") == 1  # relu's gradient


def sum_of(graph: Graph, op: str) -> int:
    return len([node for node in graph if node.op.name == op])


def test_gradient_nodes_say_what_they_are_for() -> None:
    forward = tanh(X)
    (found,) = gradients(sum(forward), [X])
    assert found.origin == Gradient(forward)
    assert str(found.origin) == "gradient of tanh"


def test_the_gradient_of_a_layer_is_that_of_the_layer_however_it_is_made() -> None:
    loss = mean_squared_error(tanh(X), X)
    graph = Graph("slope", [X], gradients(loss, [X]))
    made_for = {node.origin.node for node in graph if isinstance(node.origin, Gradient)}
    assert made_for == {loss, loss.inputs[0]}


def test_a_chain_of_100_000_nodes_is_differentiated_without_recursion() -> None:
    node = x = variable("x", "f32[]")
    for _ in range(100_000):
        node = exp(node)
    (found,) = gradients(node, [x])
    assert len(Graph("deep", [x], [found])) > 200_000


def test_grad_takes_parameters_by_default_and_names_on_demand() -> None:
    graph = Graph("loss", [X, W], [SCALARS["dense layer"]()])
    assert gc.grad(graph).outputs == tuple(gradients(graph.outputs[0], [W]))
    assert gc.grad(graph, "x").outputs == tuple(gradients(graph.outputs[0], [X]))
    assert gc.grad(graph, ["x", "w"]).outputs == tuple(gradients(graph.outputs[0], [X, W]))
    assert Differentiate(wrt="x+w")(graph) is gc.grad(graph, ["x", "w"])
    plain = Graph("plain", [X], [sum(exp(X))])
    assert gc.grad(plain) is gc.grad(plain, ["x"])


def test_grad_of_grad_of_a_cube() -> None:
    cube = gc.parse(
        """graph cube(%x: f64[]) {
          %two = mul(%x, %x) : f64[]
          %three = mul(%two, %x) : f64[]
          return %three
        }"""
    )
    second = gc.grad(gc.grad(cube))
    assert interpret(second, {"x": np.float64(2.0)})[0] == 12.0


ERRORS = {
    "an output that is no scalar": (lambda: gradients(exp(X), [X]), r"f64\[N,6\], not a scalar"),
    "an output that is no float": (
        lambda: gradients(sum(cast(X, dtype=DType.i32)), [X]), r"the output 'sum' is i32\[\]"),
    "an input that is no float": (
        lambda: gradients(SCALARS["cross entropy"](), [LABELS]), r"the input 'labels' is i32\[N\]"),
    "a name that is no input": (
        lambda: gc.grad(Graph("g", [X], [sum(X)]), ["y"]), "graph g has no input 'y'"),
    "an op without a gradient": (
        lambda: gradients(sum(fused(BODY, X)), [X]), "fused has no gradient"),
    "one of several results": (
        lambda: gradients(sum(get(sgd_update(X, X, X, RATE, momentum=0.9), 0)), [X]),
        "get has no gradient"),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "message"), ERRORS.values(), ids=ERRORS)
def test_what_cannot_be_differentiated_is_said(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(GraphcError, match=message) as caught:
        wrong()
    assert caught.value.remedy


def test_the_error_of_an_op_without_a_gradient_points_at_the_users_line() -> None:
    node = sum(fused(Graph("body", [X], [tanh(X)]), X))
    with pytest.raises(GraphcError) as caught:
        gradients(node, [X])
    assert "test_autodiff.py" in str(caught.value.location)


def test_the_type_of_a_gradient_is_that_of_its_input() -> None:
    for build in SCALARS.values():
        output = build()
        wrt = [i for i in inputs_of(output) if i.tensor.dtype.is_float]
        for w, found in zip(wrt, gradients(output, wrt), strict=True):
            assert found.tensor == TensorType(w.tensor.dtype, w.tensor.shape)


def test_flattened_images_reach_a_dense_layer() -> None:
    head = variable("head", "f64[5,27]", "parameter")
    output = sum(tanh(matmul(flatten(conv2d(IMAGE, KERNEL, stride=2)), transpose(head))))
    nodes = inputs_of(output)
    arrays = drawn(nodes)
    along = np.random.default_rng(2).standard_normal((3, 2, 3, 3))
    (found,) = gradients(output, [KERNEL])
    (value,) = interpret(Graph("g", nodes, [found]), arrays)
    np.testing.assert_allclose(
        (value * along).sum(), slope(output, KERNEL, arrays, along), rtol=1e-6
    )

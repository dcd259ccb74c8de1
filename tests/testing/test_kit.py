"""The testing kit itself: what is wrong is found, what is right is not blamed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph, make_input
from graphc.ir.types import DType, TensorType, parse_type
from graphc.ops import elementwise as e
from graphc.ops.create import random_uniform
from graphc.ops.interpret import interpret
from graphc.ops.op import Op
from graphc.ops.reductions import sum as sum_of
from graphc.passes.base import Pipeline
from graphc.passes.batch_last import BatchLast
from graphc.passes.block_channels import BlockChannels
from graphc.passes.retype import retype
from graphc.testing import Expectation, check_grads, compare, draw, random_graph, random_inputs
from graphc.testing.definition import by_definition
from graphc.testing.draft import sampled_ops
from graphc.tracing.tensor import function

tanh, relu, absolute = function(e.tanh), function(e.relu), function(e.absolute)
X = make_input("x", parse_type("f32[N,3]"))
ROWS = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])


@contextmanager
def _gradient(op: Op, vjp: Any) -> Iterator[None]:
    """`op` with another gradient for a while."""
    right = op.vjp
    object.__setattr__(op, "vjp", vjp)
    try:
        yield
    finally:
        object.__setattr__(op, "vjp", right)


# -- gradient checks -------------------------------------------------------------------------------


def test_right_gradients_of_a_callable_pass() -> None:
    found = check_grads(lambda x, w: tanh(x @ w), {"x": ROWS, "w": np.ones((3, 2))})
    assert set(found.first) == set(found.second) == {"x", "w"}
    assert found.worst < 1e-6


def test_a_wrong_gradient_is_told_with_its_input_and_both_values() -> None:
    wrong = _gradient(e.TANH, lambda g, y, x: (e.mul(g, 1.01),))
    with wrong, pytest.raises(GraphcError) as caught:
        check_grads(lambda x: tanh(x), [ROWS])
    assert "the first gradient of 'x' is wrong: analytic" in str(caught.value)
    assert "numeric" in str(caught.value)


def test_an_error_of_one_part_in_a_thousand_is_found() -> None:
    def almost(g: Any, y: Any, x: Any) -> Any:
        return (e.mul(e.mul(g, 1.001), e.sub(1.0, e.mul(y, y))),)

    with _gradient(e.TANH, almost), pytest.raises(GraphcError, match="first gradient"):
        check_grads(lambda x: tanh(x), [ROWS])


def test_a_wrong_second_gradient_is_found_behind_a_right_first() -> None:
    """tanh's slope is 1 - y*y: the gradient of the subtraction only shows in the second order."""
    with _gradient(e.SUB, lambda g, z, x, y: (g, g)):
        check_grads(lambda x: tanh(x), [ROWS], order=1)
        with pytest.raises(GraphcError, match="second gradient of 'x'"):
            check_grads(lambda x: tanh(x), [ROWS])


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_any_value_between_the_two_slopes_of_a_kink_is_right(slope: float) -> None:
    def at_zero(g: Any, y: Any, x: Any) -> Any:
        return (
            e.where(e.less(0.0, x), g, e.where(e.less(x, 0.0), e.mul(g, 0.0), e.mul(g, slope))),
        )

    with _gradient(e.RELU, at_zero):
        check_grads(lambda x: relu(x), [np.zeros((4,))], order=1)


@pytest.mark.parametrize("slope", [-0.1, 1.1])
def test_a_value_outside_of_both_slopes_of_a_kink_is_wrong(slope: float) -> None:
    wrong = _gradient(e.RELU, lambda g, y, x: (e.mul(g, slope),))
    with wrong, pytest.raises(GraphcError, match="from the left"):
        check_grads(lambda x: relu(x), [np.zeros((1,))], order=1)


def test_parameters_that_are_not_given_get_their_initial_values() -> None:
    layer = gc.nn.Dense(2)
    found = check_grads(gc.nn.Sequential(layer, gc.nn.Tanh()), [ROWS], order=1)
    assert set(found.first) == {"x", "0.weight", "0.bias"}


def test_what_is_given_to_a_check_must_fit() -> None:
    graph = Graph("g", (X,), (e.exp(X),))
    for arguments in ([ROWS, ROWS], [], {"y": ROWS}):
        with pytest.raises(GraphcError):
            check_grads(graph, arguments)
    with pytest.raises(GraphcError, match="order 3"):
        check_grads(graph, [ROWS], order=3)
    with pytest.raises(GraphcError, match="no input 'w'"):
        check_grads(graph, [ROWS], wrt=["w"])


# -- random graphs ---------------------------------------------------------------------------------


def test_a_seed_is_a_graph() -> None:
    one, other = (random_graph(np.random.default_rng(5)) for _ in range(2))
    assert one is other


def test_every_op_with_samples_is_drawn() -> None:
    drawn: Counter[str] = Counter()
    for seed in range(700):
        drawn.update(n.op.name for n in random_graph(np.random.default_rng(seed)).nodes)
    assert {op.name for op in sampled_ops()} <= set(drawn)
    assert drawn["get"] > 0 and drawn["max_pool2d_index"] > 0


def test_a_share_of_the_graphs_is_wide() -> None:
    """At least a tenth can have channels in blocks, some of them with many samples too, and some of
    these have samples in lanes besides.
    """
    passes = Pipeline.parse("decompose,simplify")
    graphs = [passes(random_graph(np.random.default_rng(seed))) for seed in range(200)]
    assert sum(BlockChannels(everywhere=True).run(graph) is not graph for graph in graphs) >= 20
    made = [BlockChannels(batch=64, everywhere=True).run(graph) for graph in graphs]
    many = [BatchLast().run(m) for m, graph in zip(made, graphs, strict=True) if m is not graph]
    assert len(many) >= 8
    layouts = [{n.type.layout for n in g.nodes if isinstance(n.type, TensorType)} for g in many]
    assert sum({"blocked_1", "batch_last"} <= found for found in layouts) >= 4


def test_the_number_of_ops_and_their_names_can_be_chosen() -> None:
    for seed in range(20):
        graph = random_graph(
            np.random.default_rng(seed), max_ops=3, ops=["tanh", "relu"], with_gradients=0
        )
        assert {n.op.name for n in graph.nodes} <= {"tanh", "relu", "input"}
    with pytest.raises(GraphcError, match="samples"):
        random_graph(np.random.default_rng(0), ops=["nothing"])


def test_f64_graphs_have_f64_inputs() -> None:
    for seed in range(20):
        graph = random_graph(np.random.default_rng(seed), dtype=DType.f64)
        assert not any(i.tensor.dtype is DType.f32 for i in graph.inputs)


def test_values_of_random_graphs_are_finite() -> None:
    finite = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng)
        outputs = interpret(graph, random_inputs(graph, 3, rng), 3)
        finite += all(np.isfinite(o).all() for o in outputs)
    assert finite >= 98


# -- the oracle ------------------------------------------------------------------------------------


def _expectation() -> Expectation:
    x = make_input("x", parse_type("f32[N,3]"))
    graph = Graph("g", (x,), (e.mul(x, 3.0), e.less(x, 0.0)))
    return Expectation(graph, {"x": ROWS.astype(np.float32)}, 2)


def test_answers_within_rounding_are_right() -> None:
    expected = _expectation()
    value, negative = expected.single
    expected.check([np.nextafter(value, np.float32(9)), negative], "neighbour")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, b: [v + np.float32(1e-3), b], "6 of 6 elements are wrong"),
        (lambda v, b: [np.where(v < 0, np.float32(np.nan), v), b], "2 of 6"),
        (lambda v, b: [v, ~b], "6 of 6"),
        (lambda v, b: [v.astype(np.float64), b], "float64"),
        (lambda v, b: [v[:1], b], r"float32\[1, 3\] instead of float32\[2, 3\]"),
        (lambda v, b: [v], "1 outputs instead of 2"),
    ],
)
def test_answers_that_are_wrong_are_told(change: Any, message: str) -> None:
    expected = _expectation()
    with pytest.raises(GraphcError, match=message):
        expected.check(change(*expected.single), "the answer")


def test_what_rounding_decides_may_go_either_way() -> None:
    x = make_input("x", parse_type("f32[]"))
    tenth = e.mul(x, 0.1)
    thirds = e.sub(e.add(tenth, e.add(tenth, tenth)), e.mul(x, 0.3))
    graph = Graph("g", (x,), (e.less(thirds, 0.0), e.equal(thirds, 0.0), e.less(x, 0.0)))
    expected = Expectation(graph, {"x": np.float32(1)}, 1)
    assert expected.outputs[0].free.all()
    assert not expected.outputs[2].free.any()


def test_choosing_rounds_nothing_so_that_ties_are_exact() -> None:
    x = make_input("x", parse_type("f32[4]"))
    from graphc.ops.reductions import max as max_of

    graph = Graph("g", (x,), (e.equal(x, e.add(max_of(x), 0.0)), e.equal(x, max_of(x))))
    expected = Expectation(graph, {"x": np.array([1, 2, 3, 4], np.float32)}, 1)
    assert not expected.outputs[1].free.any()


def test_compare_is_an_expectation_in_one_call() -> None:
    graph = Graph("g", (X,), (e.neg(X),))
    inputs = {"x": ROWS.astype(np.float32)}
    compare(graph, inputs, 2, [-inputs["x"]])
    with pytest.raises(GraphcError, match="my backend: output 0"):
        compare(graph, inputs, 2, [inputs["x"]], what="my backend")


def test_f64_keeps_random_bits() -> None:
    key = make_input("key", parse_type("i32[]"))
    graph = Graph("g", (key,), (random_uniform(key, shape=(50,)),))
    single, double = (interpret(g, {"key": np.int32(3)})[0] for g in (graph, retype(graph)))
    assert double.dtype == np.float64
    assert (single == double).all()


# -- drawing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["normal", "positive", "distinct", "unit", "probability"])
def test_kinds_of_values(kind: str) -> None:
    found = draw(parse_type("f64[N,7]"), 5, np.random.default_rng(0), kind)
    assert found.shape == (5, 7) and found.dtype == np.float64
    holds = {
        "normal": found.std() > 0.5,
        "positive": found.min() >= 0.5,
        "distinct": np.diff(np.sort(found.ravel())).min() > 0.05,
        "unit": found.min() > 0 and found.max() < 1,
        "probability": np.allclose(found.sum(axis=1), 1),
    }
    assert holds[kind]


def test_labels_are_below_their_number() -> None:
    found = draw(parse_type("i64[N]"), 100, np.random.default_rng(0), "labels:4")
    assert set(found.tolist()) == {0, 1, 2, 3}
    with pytest.raises(GraphcError, match="'heavy'"):
        draw(parse_type("f32[2]"), 1, np.random.default_rng(0), "heavy")


def test_an_op_that_lowers_by_decomposition_has_no_definition() -> None:
    from graphc.ops.softmax import softmax

    node = softmax(X)
    with pytest.raises(GraphcError, match="decompose it first"):
        by_definition(node, [ROWS], 2)


def test_a_definition_that_differs_is_seen() -> None:
    node = e.exp(X)
    right = by_definition(node, [ROWS.astype(np.float32)], 2)
    np.testing.assert_allclose(right, np.exp(ROWS), rtol=1e-6)
    body = e.EXP.body
    object.__setattr__(e.EXP, "body", lambda s, x: s.tanh(x))
    try:
        assert not np.allclose(by_definition(node, [ROWS.astype(np.float32)], 2), right)
    finally:
        object.__setattr__(e.EXP, "body", body)


def test_sums_of_many_outputs_are_checked_at_once() -> None:
    graph = Graph("g", (X,), (sum_of(e.exp(X)), e.less(X, 0.0), e.tanh(X)))
    assert check_grads(graph, {"x": ROWS}).worst < 1e-6

"""Plain Python on traced tensors builds the graph one would write by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphc as gc
from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph, make_input
from graphc.ir.types import N, parse_type
from graphc.ops import elementwise as e
from graphc.ops.interpret import interpret
from graphc.ops.softmax import softmax
from graphc.tracing.tensor import Tensor, function, function_named
from graphc.tracing.trace import Owner, current_trace, trace, trace_callable, trace_until_error

TYPE = "f32[N,4,6]"
ARRAY = np.arange(48, dtype=np.float32).reshape(2, 4, 6) / 7 - 3


def _run(build: Callable[..., Any], *arrays: np.ndarray, type: str = TYPE) -> Any:
    graph = trace(build, *[type] * len(arrays))
    names = [i.attrs["name"] for i in graph.inputs]
    found = interpret(graph, dict(zip(names, arrays, strict=True)), len(ARRAY))
    return found[0] if len(found) == 1 else found


def test_tracing_builds_the_graph_one_would_write() -> None:
    x = make_input("x", parse_type("f32[N,3]"))
    expected = Graph("affine", (x,), (e.add(e.mul(x, 2.0), 1.0),))
    assert trace(lambda x: x * 2.0 + 1.0, "f32[N,3]", name="affine") is expected


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: x + 2,
        lambda x: 2 + x,
        lambda x: x - 0.5,
        lambda x: 3 - x,
        lambda x: x * x,
        lambda x: 2.5 * x,
        lambda x: x / 4,
        lambda x: 1 / (x * x + 1),
        lambda x: -x,
        lambda x: abs(x),
        lambda x: (x * x) ** 1.5,
        lambda x: 2.0**x,
        lambda x: x < 0,
        lambda x: x <= 0,
        lambda x: x > 0,
        lambda x: x >= 0,
        lambda x: x > 0,
        lambda x: x.sum(),
        lambda x: x.reshape(-1, 24) if isinstance(x, np.ndarray) else x.reshape(N, 24),
        lambda x: x.transpose(0, 2, 1),
        lambda x: x.T,
        lambda x: x[:, 1],
        lambda x: x[:, -1, 2:5],
        lambda x: x[:, 1:, ::2],
        lambda x: x[:, ::3, 1:5],
        lambda x: x[:, 3:, :][:, 0],
        lambda x: x[:, :, 5] - x[:, :, 0],
        lambda x: x.mean(),
    ],
)
def test_arithmetic_and_indexing_are_those_of_numpy(compute: Callable[[Any], Any]) -> None:
    expected = compute(ARRAY)
    found = _run(compute, ARRAY)
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@given(st.data())
def test_any_range_is_that_of_numpy(data: st.DataObject) -> None:
    bound = st.one_of(st.none(), st.integers(-8, 8))
    part = st.one_of(
        st.integers(-4, 3), st.builds(slice, bound, bound, st.one_of(st.none(), st.integers(1, 3)))
    )
    key = (slice(None), data.draw(part))
    expected = ARRAY[key]
    if expected.size == 0:
        with pytest.raises(GraphcError):
            _run(lambda x: x[key], ARRAY)
        return
    np.testing.assert_array_equal(_run(lambda x: x[key], ARRAY), expected)


def test_sums_and_means_take_axes() -> None:
    np.testing.assert_allclose(
        _run(lambda x: x.sum(axes=(1, 2)), ARRAY), ARRAY.sum(axis=(1, 2)), rtol=1e-6
    )
    np.testing.assert_allclose(
        _run(lambda x: x.mean(axes=2, keepdims=True), ARRAY),
        ARRAY.mean(2, keepdims=True),
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda x: function(softmax)(ARRAY),
        lambda x: function(e.where)(x < 0.0, x, ARRAY),
        lambda x: x * ARRAY,
        lambda x: ARRAY - x,
    ],
)
def test_a_function_of_tensors_that_is_given_an_array_says_where_arrays_go(call: Any) -> None:
    with pytest.raises(GraphcError, match=r"was called on an array of shape \[2, 4, 6\]") as caught:
        trace(call, TYPE)
    assert "predict" in str(caught.value.remedy)
    assert "an array of shape" in str(caught.value.node)


def test_arrays_of_numpy_leave_arithmetic_to_the_tensor() -> None:
    """Otherwise numpy would try to make an array of tensors; a number of numpy is a number."""
    assert _run(lambda x: np.float32(2) * x, ARRAY).tolist() == (2 * ARRAY).tolist()
    with pytest.raises(GraphcError):
        trace(lambda x: np.ones(6, np.float32) * x, TYPE)


def test_several_inputs_are_numbered_and_several_results_stay_in_order() -> None:
    graph = trace(lambda a, b: (a + b, a), TYPE, TYPE)
    assert [i.attrs["name"] for i in graph.inputs] == ["x0", "x1"]
    assert len(graph.outputs) == 2


def test_an_op_is_a_function_of_its_name() -> None:
    relu = function_named("relu")
    assert relu is not None and relu.__name__ == "relu" and relu.__doc__
    assert function_named("frobnicate") is None
    assert function_named("fused") is None
    assert function(e.relu).__doc__ == e.relu.__doc__


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: x if x > 0 else -x, "has no value yet"),
        (lambda x: list(x), "has no value yet"),
        (lambda x: x[0], "batch"),
        (lambda x: x[1:], "batch"),
        (lambda x: x[:, 4], "index 4"),
        (lambda x: x[:, "a"], "does not fit"),
        (lambda x: x[:, 0, 0, 0], "does not fit"),
        (lambda x: x[..., 0], "does not fit"),
        (lambda x: x[:, True], "does not fit"),
        (lambda x: x[:, 1.0], "does not fit"),
        (lambda x: x[:, 3:1], "takes nothing"),
        (lambda x: x[:, ::0], "has step 0"),
        (lambda x: x[:, ::-1], "step|takes nothing"),
        (lambda x: x + "1", "number"),
        (lambda x: x + None, "number"),
        (lambda x: x @ x, "matrices"),
        (lambda x: x.reshape(7), "reshape"),
        (lambda x: x.reshape("a"), "reshape|extent"),
        (lambda x: x.transpose(0, 0, 1), "no order"),
        (lambda x: x.sum(axes=3), "axis 3"),
        (lambda x: 5, "returned int"),
        (lambda x: None, "returned NoneType"),
        (lambda x: (), "returned"),
        (lambda x: (x, 1), "returned int"),
        (lambda x: float(x), "has no value yet"),
        (lambda x: int(x), "has no value yet"),
        (lambda x: np.asarray(x), "has no value yet"),
        (lambda x: len(x), "has no value yet|batch"),
        (lambda x: hash(x) and x == x and (-x if x == 1 else x), "has no value yet"),
    ],
)
def test_what_cannot_be_traced_says_so(build: Callable[..., Any], message: str) -> None:
    with pytest.raises(GraphcError, match=message) as caught:
        trace(build, TYPE)
    assert caught.value.remedy
    assert caught.value.location is not None and caught.value.location.file == __file__


@pytest.mark.parametrize("types", [("f32",), ("f32[N,N]",), (3,), (None,)])
def test_types_that_are_none(types: tuple[Any, ...]) -> None:
    with pytest.raises(GraphcError):
        trace(lambda *x: x[0], *types)


def test_the_wrong_number_of_types_is_told() -> None:
    with pytest.raises(GraphcError, match=r"takes \(a\), but the types given are 2"):
        trace(lambda a: a, TYPE, TYPE)


class _Scale(Owner):
    """Owns one parameter and one state."""

    def children(self) -> Iterator[tuple[str, Owner]]:
        return iter(())

    def __call__(self, x: Tensor) -> Tensor:
        run = current_trace()
        ones = lambda shape, rng: np.ones(shape)  # noqa: E731
        weight = run.parameter(self, "weight", x.shape[1:], ones)
        seen = run.state(self, "seen", (), ones)
        run.update(seen, seen + 1.0)
        return x * weight


class _Net(Owner):
    def __init__(self) -> None:
        self.first, self.second = _Scale(), _Scale()

    def children(self) -> Iterator[tuple[str, Owner]]:
        yield "first", self.first
        yield "second", self.second

    def __call__(self, x: Tensor) -> Tensor:
        return self.second(self.first(self.first(x)))


def test_parameters_are_named_by_where_they_are_and_shared_where_they_are() -> None:
    found = trace_callable(_Net(), [TYPE])
    assert list(found.trace.parameters) == ["first.weight", "second.weight"]
    assert set(found.trace.updates) == {"first.seen", "second.seen"}
    kinds = {i.attrs["name"]: i.attrs["kind"] for i in found.graph("net").inputs}
    assert kinds == {"x": "data", "first.weight": "parameter", "second.weight": "parameter"}


def test_a_layer_that_is_no_attribute_is_told() -> None:
    stray = _Scale()
    with pytest.raises(GraphcError, match="not an attribute of the network"):
        trace(lambda x: stray(x), TYPE)


def test_a_layer_outside_of_tracing_is_told() -> None:
    with pytest.raises(GraphcError, match="outside of tracing"):
        _Scale()(Tensor(make_input("x", parse_type(TYPE))))


def test_a_layer_shared_between_shapes_is_told() -> None:
    class Twice(_Net):
        def __call__(self, x: Tensor) -> Tensor:
            return self.first(self.first(x)[:, :2])

    with pytest.raises(GraphcError, match=r"first\.weight was"):
        trace(Twice(), TYPE)


def test_tracing_ends_when_the_function_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        trace(lambda x: 1 / 0, TYPE)
    with pytest.raises(GraphcError, match="outside of tracing"):
        current_trace()


def test_random_keys_are_one_state_and_streams_differ() -> None:
    def noisy(x: Tensor) -> Tensor:
        (key, first), (same, second) = current_trace().random_key(), current_trace().random_key()
        assert key.node is same.node and first != second
        return x + 0.0

    found = trace_callable(noisy, [TYPE])
    assert list(found.trace.states) == ["random_key"]
    assert set(found.trace.updates) == {"random_key"}


def test_a_traced_graph_reads_back() -> None:
    graph = trace(_Net(), TYPE)
    assert gc.parse(str(graph)) is graph


def test_nodes_say_in_which_layer_they_were_written() -> None:
    net = gc.nn.Sequential(gc.nn.Dense(3), gc.nn.Sequential(gc.nn.Tanh()), lambda x: x * 2.0)
    graph = trace(net, "f32[N,87]")
    layers = {n.op.name: n.location.layer for n in graph if n.location is not None}
    assert (layers["matmul"], layers["tanh"], layers["mul"]) == ("0", "1.0", "")


def test_what_was_built_before_an_error_is_kept() -> None:
    def half(x: Tensor) -> Tensor:
        y = x * 2.0
        z = y + 1.0
        return (y, z @ x)

    traced, failure = trace_until_error(half, ["f32[N,88]"])
    assert failure is not None and "inner extents" in failure.error.what
    assert [n.op.name for n in traced.outputs] == ["add"]
    assert str(failure.location).startswith("test_tracing.py:")


def test_without_an_error_tracing_is_as_ever() -> None:
    traced, failure = trace_until_error(_Net(), [TYPE])
    assert failure is None and traced.graph("_net") is trace(_Net(), TYPE)


def test_types_that_do_not_fit_are_an_error_at_once() -> None:
    with pytest.raises(GraphcError, match="the types given are 2"):
        trace_until_error(lambda x: x, [TYPE, TYPE])

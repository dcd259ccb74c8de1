"""Nodes are interned: what is written the same is the same object, and nothing else is."""

from __future__ import annotations

import copy
import gc
import pickle

import pytest

from graphc.base.errors import GraphcError, InternalError
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import (
    Gradient,
    Node,
    _attribute_key,
    form_of,
    make,
    reformed,
    remake,
    value_text,
)
from graphc.ir.types import DType, N, TensorType, parse_type
from graphc.ops.create import full
from graphc.ops.elementwise import add, mul, relu
from graphc.ops.regularization import dropout

X = make_input("x", parse_type("f32[N,3]"))
Y = make_input("y", parse_type("f32[N,3]"))


def test_the_same_expression_is_the_same_node() -> None:
    assert add(X, Y) is add(X, Y)
    assert add(X, Y) is not add(Y, X)
    assert relu(add(X, 1.0)) is relu(add(X, 1.0))


def test_the_order_of_attributes_does_not_matter() -> None:
    attrs = {"value": 1.0, "dtype": DType.f32, "shape": (2,)}
    assert make("full", (), attrs) is make("full", (), dict(reversed(attrs.items())))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (full(1, dtype=DType.i32), full(1.0, dtype=DType.f32)),
        (full(1, dtype=DType.i32), full(True, dtype=DType.bool)),
        (full(1, dtype=DType.i32), full(1, dtype=DType.i64)),
        (full(0.0), full(-0.0)),
        (full(0.0), full(float("nan"))),
        (full(1.0, shape=(1,)), full(1.0)),
        (full(1.0, shape=(1,)), full(1.0, shape=(N,))),
        (make_input("x", parse_type("f32[]")), make_input("x", parse_type("f32[]"), "parameter")),
        (make_input("x", parse_type("f32[]")), make_input("y", parse_type("f32[]"))),
    ],
)
def test_what_differs_at_all_is_another_node(one: Node, other: Node) -> None:
    assert one is not other


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), (1, True), (0, False), (1.0, True), (0.0, -0.0), ((1,), (1.0,))]
)
def test_attributes_tell_numbers_apart_that_python_calls_equal(one: object, other: object) -> None:
    assert one == other
    assert _attribute_key("slope", one) != _attribute_key("slope", other)
    assert _attribute_key("slope", one) == _attribute_key("slope", one)


def test_nan_equals_itself() -> None:
    assert full(float("nan")) is full(-float("nan"))


def test_two_dropouts_never_merge() -> None:
    key, other = (make_input(name, parse_type("i32[]")) for name in ("key", "other"))
    assert dropout(X, key, rate=0.5, stream=0) is not dropout(X, key, rate=0.5, stream=1)
    assert dropout(X, key, rate=0.5) is not dropout(X, other, rate=0.5)
    assert dropout(X, key, rate=0.5) is dropout(X, key, rate=0.5)


def test_where_a_node_was_written_is_not_part_of_what_it_is() -> None:
    first = mul(X, Y)
    second = mul(X, Y)
    assert first is second
    assert first.location is not None
    assert first.location.file == __file__


def test_nodes_that_nothing_holds_are_forgotten() -> None:
    from graphc.ir.node import _interned

    gc.collect()
    before = len(_interned)
    node = X
    for k in range(50):
        node = add(node, float(k) + 0.123)
    assert len(_interned) >= before + 50
    del node
    gc.collect()
    assert len(_interned) <= before + 1


def test_remake_with_nothing_new_is_the_same_node() -> None:
    node = add(X, Y)
    assert remake(node, (X, Y)) is node
    assert remake(node, (Y, X)) is add(Y, X)


def test_nodes_are_immutable_and_are_built_by_make_alone() -> None:
    with pytest.raises(InternalError, match="immutable"):
        X.type = Y.type
    with pytest.raises(InternalError, match="make"):
        Node()
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="not pickled"):
            attempt(X)


@pytest.mark.parametrize("value", [[1], {1: 2}, object(), 1j, b"", (1, [2])])
def test_attributes_of_other_types_are_refused(value: object) -> None:
    with pytest.raises(GraphcError, match="is of type"):
        make("leaky_relu", (X,), {"slope": value})


def test_an_op_that_does_not_exist_is_refused_with_the_list_of_ops() -> None:
    with pytest.raises(GraphcError, match="no op named 'frobnicate'") as caught:
        make("frobnicate", (X,))
    assert "conv2d" in str(caught.value)


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({}, "has the attributes slope, not none"),
        ({"slope": 0.1, "step": 2}, "has the attributes slope, not slope, step"),
        ({"slope": 1}, "slope=1 is a int"),
        ({"slope": "steep"}, "slope='steep' is a str"),
    ],
)
def test_a_node_has_the_attributes_of_its_op(attrs: dict[str, object], message: str) -> None:
    with pytest.raises(GraphcError, match=message) as caught:
        make("leaky_relu", (X,), attrs)
    assert caught.value.remedy


def test_a_wrong_number_of_inputs_is_refused() -> None:
    with pytest.raises(GraphcError, match="add takes 2 inputs, not 1"):
        make("add", (X,))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((), "()"),
        ((1,), "(1,)"),
        ((N, 3), "(N, 3)"),
        (-0.0, "-0.0"),
        (float("inf"), "inf"),
        (DType.f64, "f64"),
        (parse_type("f32[N,2]"), "f32[N,2]"),
        (((1, 2), True, None, "a'b"), '((1, 2), True, None, "a\'b")'),
    ],
)
def test_attributes_as_text(value: object, text: str) -> None:
    assert value_text(value) == text


def test_a_type_of_several_results_has_no_tensor() -> None:
    w = make_input("w", TensorType(DType.f32, (2,)))
    lr = make_input("lr", TensorType(DType.f32, ()))
    attrs = {"momentum": 0.9, "nesterov": False, "weight_decay": 0.0}
    several = make("sgd_update", (w, w, w, lr), attrs)
    assert str(several.type) == "(f32[2], f32[2])"
    with pytest.raises(GraphcError, match="several results"):
        _ = several.tensor
    with pytest.raises(GraphcError, match="several results"):
        add(several, w)
    with pytest.raises(GraphcError, match="has no result 2"):
        make("get", (several,), {"index": 2})
    with pytest.raises(GraphcError, match="several results"):
        Graph("g", (w, lr), (several,))


def test_a_gradient_that_is_rewritten_is_still_that_gradient() -> None:
    forward = make_input("forward", parse_type("f32[86]"))
    origin = reformed(Gradient(forward), "input_grad in tiles")
    assert isinstance(origin, Gradient) and origin.node is forward
    assert str(origin) == "gradient of input, input_grad in tiles"
    assert (form_of(origin), form_of(Gradient(forward))) == ("input_grad in tiles", "")


def test_what_is_rewritten_says_in_what_form() -> None:
    assert reformed(None, "conv2d in tiles") == form_of("conv2d in tiles") == "conv2d in tiles"
    assert form_of(None) == ""

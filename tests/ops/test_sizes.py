"""Sizes that make no sense are errors that say so, never another exception and never a crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graphc.base.errors import GraphcError
from graphc.ir.graph import make_input
from graphc.ir.node import OPERATORS, Node, make
from graphc.ir.types import DType, N, parse_type
from graphc.ops import contractions as c
from graphc.ops import elementwise as e
from graphc.ops import pooling as p
from graphc.ops import views as v
from graphc.ops.contrast import local_contrast_norm
from graphc.ops.create import full, iota, random_uniform
from graphc.ops.indexing import add_along_axis, take_along_axis
from graphc.ops.locally_connected import (
    local_conv2d,
    local_conv2d_input_grad,
    local_conv2d_weight_grad,
)
from graphc.ops.losses import hinge, softmax_cross_entropy, squared_error
from graphc.ops.normalization import local_response_norm, moving_sum, standardize
from graphc.ops.op import Op
from graphc.ops.pooling.adaptive import adaptive_sum_pool2d
from graphc.ops.range_max import range_max, range_max_index
from graphc.ops.reductions import max, mean, min, sum
from graphc.ops.regularization import dropout
from graphc.ops.softmax import log_softmax, softmax
from graphc.testing.draft import good_samples

BAD = (
    0,
    -1,
    2**31,
    2**63 - 1,
    10**30,
    1.5,
    "2",
    None,
    True,
    (1, 2, 3),
    (),
    ("a", "b"),
    float("nan"),
)


def _x(text: str, name: str = "x") -> Node:
    return make_input(name, parse_type(text))


IMAGE, WEIGHTS, MATRIX = _x("f32[N,2,6,6]"), _x("f32[4,2,3,3]", "w"), _x("f32[N,5]", "m")
G = _x("f32[N,4,4,4]", "g")
KEY = _x("i32[]", "key")
FEATURES, BOXES = _x("f32[2,4,6,6]", "features"), _x("f32[N,5]", "boxes")
LOCAL, INDEX = _x("f32[4,4,4,2,3,3]", "local"), _x("i32[N,5]", "index")

SIZED: dict[str, Callable[[Any], Any]] = {
    "conv2d stride": lambda b: c.conv2d(IMAGE, WEIGHTS, stride=b),
    "conv2d dilation": lambda b: c.conv2d(IMAGE, WEIGHTS, dilation=b),
    "conv2d groups": lambda b: c.conv2d(IMAGE, WEIGHTS, groups=b),
    "conv2d_input_grad size": lambda b: c.conv2d_input_grad(G, WEIGHTS, size=(b, b)),
    "conv2d_input_grad stride": lambda b: c.conv2d_input_grad(G, WEIGHTS, size=(6, 6), stride=b),
    "conv2d_input_grad groups": lambda b: c.conv2d_input_grad(G, WEIGHTS, size=(6, 6), groups=b),
    "conv2d_weight_grad window": lambda b: c.conv2d_weight_grad(IMAGE, G, window=(b, b)),
    "conv2d_weight_grad groups": lambda b: c.conv2d_weight_grad(IMAGE, G, window=(3, 3), groups=b),
    "conv2d_weight_grad dilation": lambda b: c.conv2d_weight_grad(
        IMAGE, G, window=(3, 3), dilation=b
    ),
    "max_pool2d window": lambda b: p.max_pool2d(IMAGE, window=b),
    "max_pool2d stride": lambda b: p.max_pool2d(IMAGE, window=2, stride=b),
    "avg_pool2d window": lambda b: p.avg_pool2d(IMAGE, window=b, ceil_mode=True),
    "sum_pool2d window": lambda b: p.sum_pool2d(IMAGE, window=b, ceil_mode=True),
    "max_unpool2d size": lambda b: p.max_unpool2d(
        G, G, size=(b, b), window=2, stride=2, padding=0
    ),
    "sum_unpool2d size": lambda b: p.sum_unpool2d(G, size=(b, b), window=2, stride=2, padding=0),
    "sum_unpool2d window": lambda b: p.sum_unpool2d(G, size=(8, 8), window=b, stride=2, padding=0),
    "sum_unpool2d stride": lambda b: p.sum_unpool2d(G, size=(8, 8), window=2, stride=b, padding=0),
    "conv2d_input_grad dilation": lambda b: c.conv2d_input_grad(
        G, WEIGHTS, size=(6, 6), dilation=b
    ),
    "conv2d_weight_grad stride": lambda b: c.conv2d_weight_grad(
        IMAGE, G, window=(3, 3), stride=b
    ),
    "max_unpool2d window": lambda b: p.max_unpool2d(
        G, G, size=(8, 8), window=b, stride=2, padding=0
    ),
    "max_unpool2d stride": lambda b: p.max_unpool2d(
        G, G, size=(8, 8), window=2, stride=b, padding=0
    ),
    "avg_pool2d stride": lambda b: p.avg_pool2d(IMAGE, window=2, stride=b),
    "sum_pool2d stride": lambda b: p.sum_pool2d(IMAGE, window=2, stride=b),
    "l2_pool2d window": lambda b: p.l2_pool2d(IMAGE, window=b),
    "l2_pool2d stride": lambda b: p.l2_pool2d(IMAGE, window=2, stride=b),
    "l2_pool2d maps": lambda b: p.l2_pool2d(IMAGE, window=2, maps=b),
    "adaptive_avg_pool2d size": lambda b: p.adaptive_avg_pool2d(IMAGE, size=b),
    "adaptive_sum_pool2d size": lambda b: adaptive_sum_pool2d(IMAGE, size=b),
    "roi_max_pool size": lambda b: p.roi_max_pool(FEATURES, BOXES, size=b),
    "local_conv2d stride": lambda b: local_conv2d(IMAGE, LOCAL, stride=b),
    "local_conv2d block": lambda b: local_conv2d(IMAGE, LOCAL, block=b),
    "local_conv2d_input_grad size": lambda b: local_conv2d_input_grad(G, LOCAL, size=(b, b)),
    "local_conv2d_input_grad stride": lambda b: local_conv2d_input_grad(
        G, LOCAL, size=(6, 6), stride=b
    ),
    "local_conv2d_input_grad block": lambda b: local_conv2d_input_grad(
        G, LOCAL, size=(6, 6), block=b
    ),
    "local_conv2d_weight_grad window": lambda b: local_conv2d_weight_grad(
        IMAGE, G, window=(b, b)
    ),
    "local_conv2d_weight_grad stride": lambda b: local_conv2d_weight_grad(
        IMAGE, G, window=(3, 3), stride=b
    ),
    "local_conv2d_weight_grad block": lambda b: local_conv2d_weight_grad(
        IMAGE, G, window=(3, 3), block=b
    ),
    "local_response_norm size": lambda b: local_response_norm(IMAGE, size=b),
    "local_contrast_norm window": lambda b: local_contrast_norm(IMAGE, window=b),
    "add_along_axis extent": lambda b: add_along_axis(MATRIX, INDEX, axis=1, shape=(N, b)),
    "slice step": lambda b: v.slice(MATRIX, start=(0, 0), stop=(None, 4), step=(1, b)),
    "reshape extent": lambda b: v.reshape(_x("f32[6]"), shape=(b, 5)),
    "full extent": lambda b: full(1.0, shape=(b, 2**31 - 1, 2**31 - 1)),
}  # fmt: skip
ALLOWED = (
    *((f"{name}_pool2d stride", None) for name in ("max", "avg", "sum", "l2")),
    ("add_along_axis extent", 0),
    ("full extent", 0),
)
AXES: dict[str, Callable[[Any], Any]] = {
    "sum": lambda b: sum(MATRIX, axes=b),
    "max": lambda b: max(MATRIX, axes=(b,)),
    "mean": lambda b: mean(MATRIX, axes=(b,)),
    "softmax": lambda b: softmax(MATRIX, axis=b),
    "log_softmax": lambda b: log_softmax(MATRIX, axis=b),
    "transpose": lambda b: v.transpose(MATRIX, axes=(b, 0)),
    "reverse": lambda b: v.reverse(MATRIX, axes=(b,)),
    "concat": lambda b: v.concat(MATRIX, MATRIX, axis=b),
    "min": lambda b: min(MATRIX, axes=(b,)),
    "standardize": lambda b: standardize(MATRIX, axes=b),
    "moving_sum": lambda b: moving_sum(MATRIX, axis=b, low=1, high=1),
    "take_along_axis": lambda b: take_along_axis(MATRIX, INDEX, axis=b),
    "add_along_axis": lambda b: add_along_axis(MATRIX, INDEX, axis=b, shape=(N, 7)),
    "range_max": lambda b: range_max(MATRIX, INDEX, INDEX, axis=b),
    "range_max_index": lambda b: range_max_index(MATRIX, MATRIX, INDEX, INDEX, axis=b),
    "iota": lambda b: iota(axis=b, shape=(N, 3)),
    "broadcast": lambda b: v.broadcast(MATRIX, shape=(N, 5, 2), axes=(0, b)),
}
PADDED: dict[str, Callable[[Any], Any]] = {
    "conv2d": lambda b: c.conv2d(IMAGE, WEIGHTS, padding=b),
    "conv2d_input_grad": lambda b: c.conv2d_input_grad(G, WEIGHTS, size=(6, 6), padding=b),
    "max_pool2d": lambda b: p.max_pool2d(IMAGE, window=2, padding=b),
    "avg_pool2d": lambda b: p.avg_pool2d(IMAGE, window=2, padding=b, ceil_mode=True),
    "sum_unpool2d": lambda b: p.sum_unpool2d(G, size=(8, 8), window=2, stride=2, padding=b),
    "conv2d_weight_grad": lambda b: c.conv2d_weight_grad(IMAGE, G, window=(3, 3), padding=b),
    "max_unpool2d": lambda b: p.max_unpool2d(G, G, size=(8, 8), window=2, stride=2, padding=b),
    "sum_pool2d": lambda b: p.sum_pool2d(IMAGE, window=2, padding=b, ceil_mode=True),
    "l2_pool2d": lambda b: p.l2_pool2d(IMAGE, window=2, padding=b),
    "moving_sum low": lambda b: moving_sum(IMAGE, axis=1, low=b, high=0),
    "moving_sum high": lambda b: moving_sum(IMAGE, axis=1, low=0, high=b),
    "random_uniform stream": lambda b: random_uniform(KEY, shape=(3,), stream=b),
    "dropout stream": lambda b: dropout(MATRIX, KEY, rate=0.5, stream=b),
}


def _fails(build: Callable[[Any], Any], bad: Any) -> None:
    with pytest.raises(GraphcError) as caught:
        build(bad)
    assert caught.value.remedy


@pytest.mark.parametrize("bad", BAD, ids=repr)
@pytest.mark.parametrize("name", SIZED)
def test_sizes(name: str, bad: Any) -> None:
    if (name, bad) in ALLOWED:
        assert SIZED[name](bad) is not None
    else:
        _fails(SIZED[name], bad)


@pytest.mark.parametrize("bad", [2, -3, 2**31, 2**63 - 1, 0.5, "0", None, True, (0, 0)], ids=repr)
@pytest.mark.parametrize("name", AXES)
def test_axes(name: str, bad: Any) -> None:
    if bad is None and name in ("sum", "standardize"):
        assert AXES[name](None) is not None
        return
    if name == "broadcast" and bad == 2:
        bad = 3
    _fails(AXES[name], bad)


@pytest.mark.parametrize(
    "bad",
    [-1, 2**31, 2**63 - 1, 10**30, 0.5, "1", None, (1,), (1, 2, 3), (1, -1), ("a", "b")],
    ids=repr,
)
@pytest.mark.parametrize("name", PADDED)
def test_paddings(name: str, bad: Any) -> None:
    _fails(PADDED[name], bad)


@pytest.mark.parametrize("bad", [-(2**31), 2**31, 2**63 - 1, 10**30, 0.5, "1", None], ids=repr)
def test_pads_and_ranges(bad: Any) -> None:
    x = _x("f32[6]")
    for build in (
        lambda: v.pad(x, low=(bad,), high=(0,)),
        lambda: v.pad(x, low=(0,), high=(bad,)),
        lambda: v.pad(x, low=(0,), high=(0,), interior=(bad,)),
        lambda: v.slice(x, start=(bad,), stop=(6,)),
        lambda: v.slice(x, start=(0,), stop=(6,), step=(bad,)),
    ):
        with pytest.raises(GraphcError):
            build()


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan"), float("inf"), "a", None])
def test_rates(rate: Any) -> None:
    with pytest.raises(GraphcError):
        dropout(MATRIX, KEY, rate=rate)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), "a", None])
def test_scales(scale: Any) -> None:
    with pytest.raises(GraphcError):
        p.roi_max_pool(FEATURES, BOXES, size=2, scale=scale)


@pytest.mark.parametrize(
    "build",
    [
        lambda: c.matmul(MATRIX, MATRIX),
        lambda: c.matmul(IMAGE, MATRIX),
        lambda: c.conv2d(MATRIX, WEIGHTS),
        lambda: c.conv2d(_x("f32[2,N,6,6]"), WEIGHTS),
        lambda: c.conv2d(_x("f32[2,2,N,6]"), WEIGHTS),
        lambda: c.conv2d(IMAGE, _x("f32[4,2,3,N]")),
        lambda: c.conv2d(IMAGE, _x("f64[4,2,3,3]")),
        lambda: c.conv2d(_x("i32[N,2,6,6]"), _x("i32[4,2,3,3]")),
        lambda: c.conv2d(_x("f32[N,2,0,6]"), WEIGHTS),
        lambda: c.conv2d(IMAGE, _x("f32[4,2,0,3]")),
        lambda: c.conv2d(IMAGE, _x("f32[0,2,3,3]"), groups=2**40),
        lambda: c.conv2d_input_grad(G, _x("f32[4,N,3,3]"), size=(6, 6)),
        lambda: c.conv2d_weight_grad(_x("f32[2,N,6,6]"), G, window=(3, 3)),
        lambda: p.max_pool2d(MATRIX, window=2),
        lambda: p.max_pool2d(_x("f32[2,2,N,6]"), window=2),
        lambda: p.max_pool2d(_x("f32[2,2,N,6]"), window=2, ceil_mode=True),
        lambda: p.max_pool2d(_x("bool[N,2,6,6]"), window=2),
        lambda: p.avg_pool2d(_x("i32[N,2,6,6]"), window=2),
        lambda: e.add(1.0, 2.0),
        lambda: e.add(MATRIX),
        lambda: e.add(MATRIX, "1"),
        lambda: e.add(MATRIX, None),
        lambda: e.add(_x("i32[3]"), 0.5),
        lambda: e.add(_x("i32[3]"), float("nan")),
        lambda: e.add(_x("i32[3]"), 2**40),
        lambda: e.add(_x("bool[3]"), True),
        lambda: e.where(MATRIX, 1.0, 2.0),
        lambda: e.where(e.less(MATRIX, 0.0), MATRIX, _x("f64[N,5]")),
        lambda: e.leaky_relu(MATRIX, slope="a"),
        lambda: e.cast(MATRIX, dtype="f32"),
        lambda: full(2**40, dtype=DType.i32),
        lambda: full("a"),
        lambda: full(0.0, shape=(N, N)),
        lambda: iota(axis=0, shape=()),
        lambda: iota(axis=0, shape=(3,), dtype=DType.bool),
        lambda: random_uniform(KEY, shape=(N, N)),
        lambda: random_uniform(KEY, shape=(3,), stream=2**40),
        lambda: random_uniform(KEY, shape=(3,), stream=-1),
        lambda: dropout(MATRIX, MATRIX, rate=0.5),
        lambda: v.concat(axis=0),
        lambda: v.concat(MATRIX, IMAGE, axis=1),
        lambda: v.concat(IMAGE, axis=7),
        lambda: v.reshape(MATRIX, shape=(-1, -1)),
        lambda: v.reshape(MATRIX, shape=(N, -5)),
        lambda: v.reshape(MATRIX, shape=(5, -1)),
        lambda: v.reshape(_x("f32[0,3]"), shape=(-1, 0)),
        lambda: v.transpose(MATRIX, axes=(0,)),
        lambda: v.broadcast(MATRIX, shape=(5,)),
        lambda: v.broadcast(MATRIX, shape=(N, N, 5)),
        lambda: v.slice(MATRIX, start=(0,), stop=(1,)),
        lambda: v.slice(MATRIX, start=(1, 0), stop=(None, None)),
        lambda: v.slice(MATRIX, start=(0, 0), stop=(2, None)),
        lambda: v.pad(MATRIX, low=(0,), high=(0,)),
        lambda: v.pad(MATRIX, low=(0, 1), high=(0, 0), value="a"),
        lambda: v.pad(_x("i32[3]"), low=(1,), high=(0,), value=0.5),
        lambda: v.relayout(_x("f32[3]"), layout="batch_last"),
        lambda: v.relayout(MATRIX, layout="nchw"),
        lambda: sum(_x("bool[3]")),
        lambda: max(_x("f32[0,3]"), axes=0),
        lambda: mean(_x("f32[N,0]")),
        lambda: mean(_x("f32[0,3]"), axes=0),
        lambda: softmax(_x("f32[]"), axis=0),
        lambda: softmax_cross_entropy(MATRIX, _x("bool[N]")),
        lambda: softmax_cross_entropy(_x("f32[N]"), _x("f32[N]")),
        lambda: softmax_cross_entropy(_x("f32[]"), _x("i32[]")),
        lambda: softmax_cross_entropy(_x("f32[N,0]"), _x("i32[N]")),
        lambda: softmax_cross_entropy(_x("f32[0,3]"), _x("i32[0]")),
        lambda: hinge(_x("f32[0,3]"), _x("i32[0]")),
        lambda: squared_error(_x("f32[0,3]"), _x("f32[0,3]", "y")),
    ],
)  # fmt: skip
def test_inputs_that_do_not_go_together(build: Callable[[], Any]) -> None:
    with pytest.raises(GraphcError) as caught:
        build()
    assert caught.value.remedy


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_any_attribute_of_any_op_may_be_nonsense(name: str) -> None:
    """`make` is the door that the parser uses: a wrong value of the right type is a GraphcError."""
    op = OPERATORS[name]
    if not isinstance(op, Op):
        return
    for sample in good_samples(op):
        inputs = tuple(make_input(f"x{k}", parse_type(t)) for k, t in enumerate(sample.types))
        for key, value in sample.attrs.items():
            for bad in _nonsense(value):
                _makes_or_fails(op, inputs, {**sample.attrs, key: bad})


def _nonsense(value: Any) -> tuple[Any, ...]:
    if isinstance(value, tuple):
        return ((), (0,) * len(value), (-1,) * len(value), (2**40,) * len(value), (None,) * 9,
                ("a",) * len(value), (0.5,) * len(value), (N,) * len(value))  # fmt: skip
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ()
    return tuple(type(value)(b) for b in (-1, 2**40, 2**70))


def _makes_or_fails(op: Op, inputs: tuple[Node, ...], attrs: dict[str, Any]) -> None:
    try:
        make(op, inputs, attrs)
    except GraphcError as error:
        assert str(error)

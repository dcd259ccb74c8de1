"""The maximum over ranges of one axis, each sample with ranges of its own.

The ranges are data, so nothing is addressed by them: every element is looked at, and counts where
its position is inside. The gradient goes to the first maximum of the range (`range_max_index`).
Regions of interest are pooled so; what the ranges are is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.index import Index
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import Dim, DType, TensorType, normalize_axis
from graphc.ops.families import require_dtype
from graphc.ops.indexing import add_along_axis
from graphc.ops.op import Access, Op, common_layout, sample
from graphc.ops.scalar import Value, Vocabulary

Indices = tuple[Index, ...]


def range_max(x: Node, low: Node, high: Node, *, axis: int) -> Node:
    """max of x[n, ..., low[n, k] : high[n, k], ...] along `axis`, for each sample n and range k.

    low, high: i32 [N,K]; the result has K in the axis' place. x may have extent 1 on axis 0: all
    samples then share it. An empty range gives -inf; nan wins.
    """
    return make(
        RANGE_MAX, (x, low, high), {"axis": normalize_axis(axis, x.tensor.rank, "range_max: axis")}
    )


def _rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    x, low, high = inputs[0], *inputs[-2:]
    require_dtype("range_max", x, "float")
    axis = normalize_axis(attrs["axis"], x.rank, "range_max: axis")
    if axis == 0 or not isinstance(x.shape[axis], int):
        raise GraphcError(
            f"range_max: axis {axis} of {x} holds the samples", remedy="take ranges of another axis"
        )
    whole = low.dtype is DType.i32 and high.dtype is DType.i32
    if not whole or low.rank != 2 or low.shape != high.shape:
        raise GraphcError(
            f"range_max: {low} and {high} are no ranges", remedy="give their ends as i32[N,ranges]"
        )
    if x.shape[0] not in (1, low.shape[0]):
        raise GraphcError(
            f"range_max: ranges {low} do not belong to the samples of {x}",
            remedy="give ranges for each sample, or an x of one sample for all",
        )
    shape = (low.shape[0], *x.shape[1:axis], low.shape[1], *x.shape[axis + 1 :])
    return TensorType(x.dtype, shape).with_layout(common_layout(inputs))


def _access(out: Indices, tap: Indices, inputs: tuple[TensorType, ...], attrs: Attrs) -> Access:
    axis, x = attrs["axis"], inputs[0]
    sample = Index() if x.shape[0] == 1 else out[0]
    read = (sample, *out[1:axis], tap[0], *out[axis + 1 :])
    ends = (out[0], out[axis])
    return Access((read, *[out] * (len(inputs) - 3), ends, ends))


def _domain(inputs: tuple[TensorType, ...], attrs: Attrs) -> tuple[Dim, ...]:
    return (inputs[0].shape[attrs["axis"]],)


def _inside(s: Vocabulary, position: Value, low: Value, high: Value) -> Value:
    return s.binary("logical_and", s.less_equal(low, position), s.less(position, high))


def _body(
    s: Vocabulary, at: Indices, tap: Indices, x: Value, low: Value, high: Value, *, axis: int
) -> Value:
    inside = _inside(s, s.position(tap[0], DType.i32), low, high)
    return s.select(inside, x, s.constant(float("-inf"), x))


def _ranges(
    low: Any, high: Any, shape: tuple[int, ...], axis: int
) -> Iterator[tuple[Any, int, Any]]:
    """(place of the result, first position, what of x is read) for each range with an element."""
    between = (slice(None),) * (axis - 1)
    for n, k in np.ndindex(low.shape):
        first, last = max(int(low[n, k]), 0), min(int(high[n, k]), shape[axis])
        if first < last:
            sample = 0 if shape[0] == 1 else n
            yield (n, *between, k), first, (sample, *between, slice(first, last))


def _numpy(x: Any, low: Any, high: Any, *, n: int, axis: int) -> Any:
    shape = (len(low), *x.shape[1:axis], low.shape[1], *x.shape[axis + 1 :])
    found = np.full(shape, -np.inf, x.dtype)
    for to, _, read in _ranges(low, high, x.shape, axis):
        found[to] = x[read].max(axis - 1)
    return found


RANGE_MAX: Op = Op(
    "range_max", "reduction", _rule, _numpy, range_max,
    vjp=lambda g, y, x, low, high, *, axis: (
        add_along_axis(
            g, range_max_index(x, y, low, high, axis=axis), axis=axis, shape=x.tensor.shape
        ), None, None,
    ),
    body=_body, access=_access, domain=_domain, combine="maximum", arity=3,
    samples=(
        sample("f32[N,2,5,3]", "i32[N,4]", "i32[N,4]", axis=2,
               values=("distinct", "labels:3", "labels:3:7")),
        sample("f32[1,2,6]", "i32[N,3]", "i32[N,3]", axis=2,
               values=("distinct", "labels:3", "labels:3:7")),
        sample("f64[3,4]", "i32[3,2]", "i32[3,2]", axis=1, differentiable=(),
               values=("distinct", "labels:5", "labels:5")),
        sample("f32[N,4]", "i32[N,2]", "i32[N,2]", axis=0, raises="holds the samples"),
        sample("f32[N,4]", "i32[N,2]", "i32[N,3]", axis=1, raises="no ranges"),
        sample("f32[3,4]", "i32[N,2]", "i32[N,2]", axis=1, raises="do not belong"),
    ),
)  # fmt: skip

# -- which element won -----------------------------------------------------------------------------

NONE = np.iinfo(np.int32).max


def range_max_index(x: Node, y: Node, low: Node, high: Node, *, axis: int) -> Node:
    """The first position in each range at which x is y or nan; 2^31 - 1 if there is none."""
    return make(RANGE_MAX_INDEX, (x, y, low, high), {"axis": axis})


def _index_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    x, y, *ends = inputs
    found = _rule((x, *ends), attrs)
    if y.shape != found.shape or y.dtype is not x.dtype:
        raise GraphcError(
            f"range_max_index: {y} is not the maximum {found}", remedy="give range_max's result"
        )
    return TensorType(DType.i32, found.shape).with_layout(common_layout(inputs))


def _index_body(
    s: Vocabulary, at: Indices, tap: Indices, x: Value, y: Value, low: Value, high: Value,
    *, axis: int,
) -> Value:  # fmt: skip
    position = s.position(tap[0], DType.i32)
    hit = s.binary("logical_or", s.equal(x, y), s.not_equal(x, x))
    won = s.binary("logical_and", hit, _inside(s, position, low, high))
    return s.select(won, position, s.literal(NONE, DType.i32))


def _index_numpy(x: Any, y: Any, low: Any, high: Any, *, n: int, axis: int) -> Any:
    found = np.full(y.shape, NONE, np.int32)
    for to, first, read in _ranges(low, high, x.shape, axis):
        hit = (x[read] == np.expand_dims(y[to], axis - 1)) | np.isnan(x[read])
        found[to] = np.where(hit.any(axis - 1), first + hit.argmax(axis - 1), NONE)
    return found


RANGE_MAX_INDEX: Op = Op(
    "range_max_index", "reduction", _index_rule, _index_numpy, range_max_index,
    vjp=lambda g, i, x, y, low, high, **_: (None,) * 4,
    body=_index_body, access=_access, domain=_domain, combine="minimum", arity=4,
    samples=(
        sample("f32[N,2,5,3]", "f32[N,2,4,3]", "i32[N,4]", "i32[N,4]", axis=2,
               values=("labels:3", "labels:3", "labels:3", "labels:3:7")),
        sample("f32[1,7]", "f32[N,3]", "i32[N,3]", "i32[N,3]", axis=1,
               values=("labels:3", "labels:3", "labels:7", "labels:7")),
        sample("f32[N,7]", "f32[N,2]", "i32[N,3]", "i32[N,3]", axis=1, raises="not the maximum"),
    ),
)  # fmt: skip

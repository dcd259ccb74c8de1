"""Elements chosen by an index along one axis, and the transpose: values added where it points.

There are no addresses that depend on data: choosing is a sum over the axis of the elements whose
position the index names, so an index outside the axis names nothing and gives 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.index import Index
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import Dim, DType, N, Shape, TensorType, normalize_axis
from graphc.ops.families import require_dtype
from graphc.ops.op import Access, Op, common_layout, sample
from graphc.ops.scalar import Value, Vocabulary

Indices = tuple[Index, ...]


def _check(what: str, shape: Shape, index: TensorType, axis: int) -> None:
    """Raises GraphcError unless `shape` fits the index on every axis but `axis`, or is 1 there."""
    fits = len(shape) == index.rank and all(
        a == axis or d in (1, i) for a, (d, i) in enumerate(zip(shape, index.shape, strict=True))
    )
    if not fits or index.dtype is not DType.i32 or not isinstance(shape[axis], int):
        raise GraphcError(
            f"{what}: index {index} does not fit {TensorType(DType.f32, shape)} along axis {axis}",
            remedy="give an i32 index of the same extents on every other axis",
        )


def _spread(shape: Shape, index: TensorType, axis: int) -> list[int]:
    """The axes along which one element of `shape` serves several places of the index."""
    return [a for a, d in enumerate(shape) if a != axis and d == 1 and index.shape[a] != 1]


def _at(shape: Shape, index: TensorType, axis: int, place: Indices, along: Index) -> Indices:
    """Where in `shape` the element is that serves `place` of the index."""
    spread = _spread(shape, index, axis)
    return tuple(along if a == axis else Index() if a in spread else i for a, i in enumerate(place))


# -- take ------------------------------------------------------------------------------------------


def take_along_axis(x: Node, index: Node, *, axis: int) -> Node:
    """x[..., index[..., k, ...], ...] for each k along `axis`; 0 where the index is outside.

    x may have extent 1 where the index has more: that element then serves all of them.
    """
    return make(TAKE, (x, index), {"axis": normalize_axis(axis, x.tensor.rank, "take_along_axis")})


def _take_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    x, index = inputs
    require_dtype("take_along_axis", x, "number")
    _check("take_along_axis", x.shape, index, normalize_axis(attrs["axis"], x.rank, "axis"))
    return TensorType(x.dtype, index.shape).with_layout(common_layout(inputs))


def _take_numpy(x: Any, index: Any, *, n: int, axis: int) -> Any:
    if not x.shape[axis]:
        return np.zeros(index.shape, x.dtype)
    whole = np.broadcast_to(x, [x.shape[a] if a == axis else e for a, e in enumerate(index.shape)])
    inside = (index >= 0) & (index < x.shape[axis])
    return np.where(inside, np.take_along_axis(whole, np.where(inside, index, 0), axis), 0)


def _take_access(
    out: Indices, tap: Indices, inputs: tuple[TensorType, ...], attrs: Attrs
) -> Access:
    x, index = inputs
    return Access((_at(x.shape, index, attrs["axis"], out, tap[0]), out))


def _take_body(
    s: Vocabulary, at: Indices, tap: Indices, x: Value, index: Value, *, axis: int
) -> Value:
    return s.select(s.equal(index, s.position(tap[0], DType.i32)), x, s.constant(0, x))


TAKE: Op = Op(
    "take_along_axis", "reduction", _take_rule, _take_numpy, take_along_axis,
    vjp=lambda g, y, x, index, *, axis: (
        add_along_axis(g, index, axis=axis, shape=x.tensor.shape), None,
    ),
    body=_take_body, access=_take_access,
    domain=lambda inputs, attrs: (inputs[0].shape[attrs["axis"]],),
    combine="sum", arity=2,
    samples=(sample("f32[N,5]", "i32[N,3]", axis=1, values=("normal", "labels:5")),
             sample("f32[1,2,5]", "i32[N,2,3]", axis=2, values=("normal", "labels:7")),
             sample("f64[4,3]", "i32[2,3]", axis=0, values=("normal", "labels:4")),
             sample("f32[N,5]", "i64[N,3]", axis=1, raises="i32 index"),
             sample("f32[N,5,2]", "i32[N,3,3]", axis=1, raises="does not fit")),
)  # fmt: skip

# -- add -------------------------------------------------------------------------------------------


def add_along_axis(g: Node, index: Node, *, axis: int, shape: Sequence[Dim]) -> Node:
    """Zeros of `shape` with each element of g added where the index points along `axis`.

    This is the transpose of `take_along_axis` from `shape`, and its gradient.
    """
    axis = normalize_axis(axis, index.tensor.rank, "add_along_axis")
    return make(ADD, (g, index), {"axis": axis, "shape": tuple(shape)})


def _add_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    g, index = inputs
    require_dtype("add_along_axis", g, "number")
    axis = normalize_axis(attrs["axis"], len(attrs["shape"]), "add_along_axis")
    _check("add_along_axis", attrs["shape"], index, axis)
    if g.shape != index.shape:
        raise GraphcError(
            f"add_along_axis: {g} and its index {index} differ in shape",
            remedy="give an index for each element",
        )
    return TensorType(g.dtype, attrs["shape"]).with_layout(common_layout(inputs))


def _add_numpy(g: Any, index: Any, *, n: int, axis: int, shape: Shape) -> Any:
    extents = [d if isinstance(d, int) else n for d in shape]
    out = np.zeros(extents, g.dtype)
    summed = tuple(a for a, e in enumerate(extents) if a == axis or e != index.shape[a])
    for position in range(extents[axis]):
        found = np.where(index == position, g, 0).sum(axis=summed, keepdims=True, dtype=g.dtype)
        out[(slice(None),) * axis + (slice(position, position + 1),)] = found
    return out


def _add_domain(inputs: tuple[TensorType, ...], attrs: Attrs) -> tuple[Dim, ...]:
    _, index = inputs
    axis, shape = attrs["axis"], attrs["shape"]
    return (index.shape[axis], *(index.shape[a] for a in _spread(shape, index, axis)))


def _add_access(
    out: Indices, taps: Indices, inputs: tuple[TensorType, ...], attrs: Attrs
) -> Access:
    axis = attrs["axis"]
    tap_of = dict(zip([axis, *_spread(attrs["shape"], inputs[1], axis)], taps, strict=True))
    place = tuple(tap_of.get(a, i) for a, i in enumerate(out))
    return Access((place, place))


def _add_body(
    s: Vocabulary, at: Indices, taps: Indices, g: Value, index: Value, *, axis: int, shape: Shape
) -> Value:
    return s.select(s.equal(index, s.position(at[axis], DType.i32)), g, s.constant(0, g))


ADD: Op = Op(
    "add_along_axis", "reduction", _add_rule, _add_numpy, add_along_axis,
    vjp=lambda h, y, g, index, *, axis, shape: (take_along_axis(h, index, axis=axis), None),
    body=_add_body, access=_add_access, domain=_add_domain, combine="sum", arity=2,
    samples=(sample("f32[N,3]", "i32[N,3]", axis=1, shape=(N, 5), values=("normal", "labels:5")),
             sample("f32[N,2,3]", "i32[N,2,3]", axis=2, shape=(1, 2, 5),
                    values=("normal", "labels:7")),
             sample("f64[2,3]", "i32[2,3]", axis=0, shape=(4, 3), values=("normal", "labels:4")),
             sample("f32[N,3]", "i32[N,2]", axis=1, shape=(N, 5), raises="differ in shape")),
)  # fmt: skip

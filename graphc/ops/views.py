"""Views: every output element is one input element or a fill value; reshape moves nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.index import Index
from graphc.ir.layouts import BATCH_LAST, ROW_MAJOR, blocked_axes, features
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import (
    Dim,
    N,
    Shape,
    TensorType,
    broadcast_shapes,
    normalize_axes,
    normalize_axis,
    shape_text,
    whole_numbers,
)
from graphc.ops.create import full, iota
from graphc.ops.op import Access, Op, common_layout, sample

Indices = tuple[Index, ...]

# -- broadcast -------------------------------------------------------------------------------------


def _broadcast_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    source, shape, axes = inputs[0], attrs["shape"], attrs["axes"]
    ascending = all(a < b for a, b in pairwise(axes))
    fits = len(axes) == source.rank and ascending and all(0 <= a < len(shape) for a in axes)
    if not fits or any(d not in (1, shape[a]) for d, a in zip(source.shape, axes, strict=True)):
        raise GraphcError(
            f"broadcast: {source} does not spread to {shape_text(shape)} along axes {axes}",
            remedy="each extent must be 1 or that of its axis in the new shape, axes ascending",
        )
    return TensorType(source.dtype, shape).with_layout(source.layout)


def broadcast(x: Node, *, shape: Shape, axes: Sequence[int] | None = None) -> Node:
    """x repeated to `shape`.

    Its axes become `axes` of the result (by default the last ones, as in numpy).
    """
    shape = tuple(shape)
    if axes is None:
        broadcast_shapes([x.tensor.shape, shape], "broadcast")
        axes = range(len(shape) - x.tensor.rank, len(shape))
    axes = whole_numbers(axes, "broadcast: axes")
    if x.tensor.shape == shape and axes == tuple(range(len(shape))):
        return x
    if x.op.name == "full":
        return full(x.attrs["value"], shape=shape, dtype=x.tensor.dtype)
    return make(BROADCAST, (x,), {"shape": shape, "axes": tuple(axes)})


def _broadcast_numpy(x: Any, *, n: int, shape: Shape, axes: tuple[int, ...]) -> Any:
    extents = [d if isinstance(d, int) else n for d in shape]
    placed = [1] * len(shape)
    for axis, extent in zip(axes, x.shape, strict=True):
        placed[axis] = extent
    return np.broadcast_to(x.reshape(placed), extents)


def _broadcast_access(out: Indices, inputs: tuple[TensorType, ...], attrs: Attrs) -> Access:
    axes = attrs["axes"]
    return Access(
        (tuple(Index() if d == 1 else out[a] for d, a in zip(inputs[0].shape, axes, strict=True)),)
    )


def _broadcast_vjp(
    g: Node, y: Node, x: Node, *, shape: Shape, axes: tuple[int, ...]
) -> tuple[Node]:
    from graphc.ops.reductions import sum

    stretched = [
        k
        for k, (d, a) in enumerate(zip(x.tensor.shape, axes, strict=True))
        if d == 1 and shape[a] != 1
    ]
    g = (
        sum(g, axes=[a for a in range(len(shape)) if a not in axes])
        if len(axes) < len(shape)
        else g
    )
    return (sum(g, axes=stretched, keepdims=True) if stretched else g,)


BROADCAST: Op = Op(
    "broadcast", "view", _broadcast_rule, _broadcast_numpy, broadcast,
    vjp=_broadcast_vjp, access=_broadcast_access, arity=1,
    samples=(sample("f32[3]", shape=(N, 3), axes=(1,)),
             sample("f32[3]", shape=(N, 3, 2), axes=(1,)),
             sample("f32[]", shape=(2, N), axes=()), sample("f32[3,1]", shape=(3, 4), axes=(0, 1)),
             sample("f32[3]", shape=(N, 4), axes=(1,), raises="does not spread")),
)  # fmt: skip

# -- transpose -------------------------------------------------------------------------------------


def _transpose_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    axes, source = attrs["axes"], inputs[0]
    if sorted(axes) != list(range(source.rank)):
        raise GraphcError(
            f"transpose: axes {axes} are no order of the {source.rank} axes of {source}",
            remedy="name every axis once",
        )
    layout, cut = source.layout, blocked_axes(source.layout)
    found = features(layout)
    if cut:
        layout = "_".join(["blocked", *(str(axes.index(a)) for a in cut)])
    elif found is not None:
        layout = f"features_{axes.index(found[0])}_{found[1]}"
    return TensorType(source.dtype, tuple(source.shape[a] for a in axes)).with_layout(layout)


def transpose(x: Node, *, axes: Sequence[int] | None = None) -> Node:
    """Axes in another order (reversed by default).

    Axis i of the result is axis ``axes[i]`` of x.
    """
    rank = x.tensor.rank
    order = (
        tuple(range(rank))[::-1]
        if axes is None
        else tuple(normalize_axis(a, rank, "transpose") for a in axes)
    )
    if x.op is TRANSPOSE and len(order) == rank:
        inner = x.attrs["axes"]
        return transpose(x.inputs[0], axes=[inner[a] for a in order])
    return x if order == tuple(range(rank)) else make(TRANSPOSE, (x,), {"axes": order})


def _transpose_access(out: Indices, inputs: tuple[TensorType, ...], attrs: Attrs) -> Access:
    axes = attrs["axes"]
    return Access((tuple(out[axes.index(i)] for i in range(len(axes))),))


TRANSPOSE: Op = Op(
    "transpose", "view", _transpose_rule, lambda x, *, n, axes: np.transpose(x, axes), transpose,
    vjp=lambda g, y, x, *, axes: (transpose(g, axes=[axes.index(i) for i in range(len(axes))]),),
    access=_transpose_access, arity=1,
    samples=(sample("f32[N,3]", axes=(1, 0)), sample("f32[2,3,4]", axes=(2, 0, 1)),
             sample("f32[2,3]", axes=(0, 0), raises="no order")),
)  # fmt: skip

# -- slice, pad, reverse ---------------------------------------------------------------------------


def _fixed(what: str, source: TensorType, axis: int) -> int:
    extent = source.shape[axis]
    if not isinstance(extent, int):
        raise GraphcError(
            f"{what}: axis {axis} of {source} is the batch",
            remedy=f"leave the batch axis out of {what}",
        )
    return extent


def _slice_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    source = inputs[0]
    shape: list[Dim] = []
    for axis, (start, stop, step) in enumerate(
        zip(attrs["start"], attrs["stop"], attrs["step"], strict=True)
    ):
        if (start, stop, step) == (0, None, 1):
            shape.append(source.shape[axis])
            continue
        extent = _fixed("slice", source, axis)
        if step < 1 or not 0 <= start < stop <= extent:
            raise GraphcError(
                f"slice: {start}:{stop}:{step} takes nothing from axis {axis} of {source}",
                remedy="use 0 <= start < stop <= extent and a step above 0",
            )
        shape.append(-(-(stop - start) // step))
    return TensorType(source.dtype, tuple(shape)).with_layout(source.layout)


def slice(
    x: Node, *, start: Sequence[int], stop: Sequence[int | None], step: Sequence[int] | None = None
) -> Node:
    """x[start:stop:step] on every axis; stop None is the end.

    The batch axis stays whole (0, None, 1).
    """
    for name, numbers in (("start", start), ("step", step or ())):
        whole_numbers(numbers, f"slice: {name}")
    whole_numbers([0 if e is None else e for e in stop], "slice: stop")
    steps = tuple(step) if step is not None else (1,) * len(start)
    if not len(start) == len(stop) == len(steps) == x.tensor.rank:
        raise GraphcError(
            f"slice: {len(start)} ranges for {x.type}", remedy="give one for each axis"
        )
    ends = tuple(
        None if (b, s) == (0, 1) and e in (None, d) else (d if e is None else e)
        for b, e, s, d in zip(start, stop, steps, x.tensor.shape, strict=True)
    )
    whole = all(e is None for e in ends)
    return x if whole else make(SLICE, (x,), {"start": tuple(start), "stop": ends, "step": steps})


def _slice_numpy(x: Any, *, n: int, start: Any, stop: Any, step: Any) -> Any:
    return x[tuple(np.s_[b:e:s] for b, e, s in zip(start, stop, step, strict=True))]


def _slice_access(out: Indices, inputs: tuple[TensorType, ...], attrs: Attrs) -> Access:
    return Access(
        (tuple(i * s + b for i, b, s in zip(out, attrs["start"], attrs["step"], strict=True)),)
    )


def _slice_vjp(g: Node, y: Node, x: Node, *, start: Any, stop: Any, step: Any) -> tuple[Node]:
    low, high, interior = [], [], []
    for axis, (b, s) in enumerate(zip(start, step, strict=True)):
        before, after = x.tensor.shape[axis], y.tensor.shape[axis]
        whole = not isinstance(before, int) or not isinstance(after, int)
        low.append(b)
        interior.append(s - 1)
        high.append(0 if whole else before - b - ((after - 1) * s + 1))  # type: ignore[operator]
    return (pad(g, low=low, high=high, interior=interior),)


SLICE: Op = Op(
    "slice", "view", _slice_rule, _slice_numpy, slice,
    vjp=_slice_vjp, access=_slice_access, arity=1,
    samples=(sample("f32[N,7]", start=(0, 1), stop=(None, 6), step=(1, 2)),
             sample("f32[5,4]", start=(2, 0), stop=(5, None), step=(1, 1)),
             sample("f32[5]", start=(3,), stop=(3,), step=(1,), raises="takes nothing"),
             sample("f32[5]", start=(0,), stop=(4,), step=(0,), raises="step above 0")),
)  # fmt: skip


def _pad_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    source, value = inputs[0], attrs["value"]
    if not isinstance(value, float | int) or not (source.dtype.is_float or isinstance(value, int)):
        raise GraphcError(
            f"pad: value {value!r} does not fit {source}", remedy="give a number of that dtype"
        )
    shape: list[Dim] = []
    for axis, (low, high, inner) in enumerate(
        zip(attrs["low"], attrs["high"], attrs["interior"], strict=True)
    ):
        if (low, high, inner) == (0, 0, 0):
            shape.append(source.shape[axis])
            continue
        extent = _fixed("pad", source, axis)
        padded = low + extent + max(extent - 1, 0) * inner + high
        if inner < 0 or padded < 0:
            raise GraphcError(
                f"pad: {low}, {high}, interior {inner} make extent {padded} "
                f"of axis {axis} of {source}",
                remedy="use an interior of 0 or more, and crop less than the extent",
            )
        shape.append(padded)
    return TensorType(source.dtype, tuple(shape)).with_layout(source.layout)


def pad(
    x: Node,
    *,
    low: Sequence[int],
    high: Sequence[int],
    interior: Sequence[int] | None = None,
    value: float = 0.0,
) -> Node:
    """x with `value` put before, after and between the elements of each axis.

    Negative numbers crop.
    """
    for name, numbers in (("low", low), ("high", high), ("interior", interior or ())):
        whole_numbers(numbers, f"pad: {name}")
    inner = tuple(interior) if interior is not None else (0,) * len(low)
    if not len(low) == len(high) == len(inner) == x.tensor.rank:
        raise GraphcError(f"pad: {len(low)} numbers for {x.type}", remedy="give one for each axis")
    if not any((*low, *high, *inner)):
        return x
    filled = full(value, dtype=x.tensor.dtype).attrs["value"]
    return make(
        PAD, (x,), {"low": tuple(low), "high": tuple(high), "interior": inner, "value": filled}
    )


def _pad_numpy(x: Any, *, n: int, low: Any, high: Any, interior: Any, value: float) -> Any:
    spread = [d + max(d - 1, 0) * i for d, i in zip(x.shape, interior, strict=True)]
    middle = np.full(spread, value, x.dtype)
    middle[tuple(np.s_[:: i + 1] for i in interior)] = x
    grown = np.pad(
        middle,
        [(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True)],
        constant_values=value,
    )
    crop = tuple(
        np.s_[max(-a, 0) : d - max(-b, 0)] for a, b, d in zip(low, high, grown.shape, strict=True)
    )
    return grown[crop]


def _pad_access(out: Indices, inputs: tuple[TensorType, ...], attrs: Attrs) -> Access:
    from graphc.ops.op import Bound

    indices, bounds = [], []
    for i, low, inner in zip(out, attrs["low"], attrs["interior"], strict=True):
        shifted = i - low
        indices.append(shifted // (inner + 1))
        if inner:
            bounds.append(Bound(shifted % (inner + 1), 0, 1))
    return Access((tuple(indices),), tuple(bounds))


def _pad_vjp(
    g: Node, y: Node, x: Node, *, low: Any, high: Any, interior: Any, value: float
) -> tuple[Node]:
    cropped = pad(g, low=[-a for a in low], high=[-b for b in high])
    if not any(interior):
        return (cropped,)
    return (
        slice(
            cropped, start=[0] * len(low), stop=[None] * len(low), step=[i + 1 for i in interior]
        ),
    )


PAD: Op = Op(
    "pad", "view", _pad_rule, _pad_numpy, pad,
    vjp=_pad_vjp, access=_pad_access, arity=1,
    samples=(sample("f32[N,3]", low=(0, 1), high=(0, 2), interior=(0, 0), value=0.0),
             sample("f32[N,3,4]", low=(0, 1, 2), high=(0, -1, 1), interior=(0, 0, 2), value=0.5),
             sample("f32[4]", low=(-1,), high=(-1,), interior=(0,), value=0.0),
             sample("i32[N,3]", low=(0, 2), high=(0, 0), interior=(0, 1), value=7),
             sample("f32[4]", low=(-3,), high=(-3,), interior=(0,), value=0.0, raises="crop less"),
             sample("f32[N]", low=(1,), high=(0,), interior=(0,), value=0.0,
                    raises="is the batch")),
    rules=(),
)  # fmt: skip


def _reverse_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    for axis in normalize_axes(attrs["axes"], inputs[0].rank, "reverse"):
        _fixed("reverse", inputs[0], axis)
    return inputs[0]


def reverse(x: Node, *, axes: Sequence[int] | int) -> Node:
    """x with the order of the elements turned round along `axes`."""
    return make(REVERSE, (x,), {"axes": normalize_axes(axes, x.tensor.rank, "reverse")})


def _reverse_access(out: Indices, inputs: tuple[TensorType, ...], attrs: Attrs) -> Access:
    axes, shape = attrs["axes"], inputs[0].shape
    return Access((tuple((_last(shape[a]) - i) if a in axes else i for a, i in enumerate(out)),))


def _last(extent: Dim) -> int:
    assert isinstance(extent, int)
    return extent - 1


REVERSE: Op = Op(
    "reverse", "view", _reverse_rule, lambda x, *, n, axes: np.flip(x, axes), reverse,
    vjp=lambda g, y, x, *, axes: (reverse(g, axes=axes),),
    access=_reverse_access, arity=1,
    samples=(sample("f32[N,3]", axes=(1,)), sample("f32[2,3]", axes=(0, 1)),
             sample("f32[N,3]", axes=(0,), raises="is the batch")),
)  # fmt: skip

# -- relayout --------------------------------------------------------------------------------------


def _relayout_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    return TensorType(inputs[0].dtype, inputs[0].shape, attrs["layout"])


def relayout(x: Node, *, layout: str) -> Node:
    """The same tensor stored in another layout; going back gives the very node one came from, and
    what has a batch goes from one layout to another at once.
    """
    if x.tensor.layout == layout:
        return x
    if x.op is RELAYOUT:
        source = x.inputs[0]
        if source.tensor.layout == layout or source.tensor.batch_axis is not None:
            return relayout(source, layout=layout)
    return make(RELAYOUT, (x,), {"layout": layout})


RELAYOUT: Op = Op(
    "relayout", "view", _relayout_rule, lambda x, *, n, layout: x, relayout,
    vjp=lambda g, y, x, *, layout: (g,),
    access=lambda out, inputs, attrs: Access((out,)), arity=1,
)  # fmt: skip

# -- reshape ---------------------------------------------------------------------------------------


def _inner(shape: Shape) -> int:
    return math.prod(d for d in shape if isinstance(d, int))


def _reshape_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    source, shape = inputs[0], attrs["shape"]
    layout = _reshaped_layout(source, shape)
    if layout is None:
        raise GraphcError(
            f"reshape: {source} is stored {source.layout}, not in row-major order",
            remedy="reshape a copy: relayout to batch_first",
        )
    if (N in shape) != (source.batch_axis is not None):
        having, lacking = ("holds", "does not") if N in source.shape else ("does not hold", "does")
        raise GraphcError(
            f"reshape: {source} {having} the batch N, {shape_text(shape)} {lacking}",
            remedy="keep N as an axis of its own",
        )
    if _inner(shape) != _inner(source.shape):
        raise GraphcError(
            f"reshape: {source} does not have the elements of {shape_text(shape)}",
            remedy="keep the number of elements, and N if there is one",
        )
    if N in shape:
        before = _inner(source.shape[: source.batch_axis])
        after = _inner(shape[: shape.index(N)])
        if before != after:
            raise GraphcError(
                f"reshape: {source} to {shape_text(shape)} would mix the batch with other axes",
                remedy="keep the batch in front of the same elements",
            )
    return TensorType(source.dtype, shape).with_layout(layout)


def _reshaped_layout(source: TensorType, shape: Shape) -> str | None:
    """The layout in which the elements of `source` lie under another shape; None if in none.

    [n, c, y, x] in `blocked_1`  <->  [n, c y x] in `features_1_yx`, flattened images
    """
    found = features(source.layout)
    if source.layout in (ROW_MAJOR, BATCH_LAST):
        return source.layout
    whole = source.shape[1:]
    if source.layout == "blocked_1" and shape == (source.shape[0], _inner(whole)):
        return f"features_1_{_inner(whole[1:])}"
    if found is None or found[0] != 1 or len(shape) < 3 or shape[0] != source.shape[0]:
        return None
    return "blocked_1" if _inner(shape[2:]) == found[1] else None


def reshape(x: Node, *, shape: Sequence[Dim]) -> Node:
    """The same elements in row-major order under another shape; one extent may be -1.

    N stays an axis of its own.
    """
    wanted = tuple(shape)
    if wanted.count(-1) == 1:
        known = math.prod(d for d in wanted if isinstance(d, int) and d != -1)
        total = _inner(x.tensor.shape)
        if known == 0 or total % known:
            raise GraphcError(
                f"reshape: {x.type} does not divide into {shape_text(wanted)}",
                remedy="choose other extents",
            )
        wanted = tuple(total // known if d == -1 else d for d in wanted)
    if x.op is RESHAPE:
        x = x.inputs[0]
    return x if wanted == x.tensor.shape else make(RESHAPE, (x,), {"shape": wanted})


RESHAPE: Op = Op(
    "reshape", "alias", _reshape_rule,
    lambda x, *, n, shape: x.reshape([n if d is N else d for d in shape]),
    reshape,
    vjp=lambda g, y, x, *, shape: (reshape(g, shape=x.tensor.shape),),
    arity=1,
    samples=(sample("f32[N,2,6]", shape=(N, 12)), sample("f32[12]", shape=(3, 4)),
             sample("f32[]", shape=(1, 1)),
             sample("f32[N,2]", shape=(N, 3), raises="does not have the elements"),
             sample("f32[2,N]", shape=(N, 2), raises="mix the batch")),
)  # fmt: skip


def flatten(x: Node, *, first: int = 1) -> Node:
    """All axes from `first` on joined into one."""
    shape = x.tensor.shape
    return reshape(x, shape=(*shape[:first], _inner(shape[first:])))


# -- concat ----------------------------------------------------------------------------------------


def _concat_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    if not inputs:
        raise GraphcError("concat: nothing to join", remedy="give at least one tensor")
    axis = normalize_axis(attrs["axis"], inputs[0].rank, "concat")
    first = inputs[0]
    total = 0
    for other in inputs:
        rest = other.shape[:axis] + other.shape[axis + 1 :]
        same = other.dtype is first.dtype and rest == first.shape[:axis] + first.shape[axis + 1 :]
        if not same or len(other.shape) != first.rank:
            listed = " and ".join(str(i) for i in inputs)
            raise GraphcError(
                f"concat: {listed} differ beside axis {axis}", remedy="make the other axes equal"
            )
        total += _fixed("concat", other, axis)
    shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    return TensorType(first.dtype, shape).with_layout(common_layout(inputs))


def concat(*xs: Node, axis: int) -> Node:
    """Tensors joined along `axis`."""
    if not xs:
        raise GraphcError("concat: nothing to join", remedy="give at least one tensor")
    at = normalize_axis(axis, xs[0].tensor.rank, "concat")
    return xs[0] if len(xs) == 1 else make(CONCAT, xs, {"axis": at})


def _concat_decompose(*xs: Node, axis: int) -> Node:
    from graphc.ops.elementwise import less, where

    total = sum(_fixed("concat", x.tensor, axis) for x in xs)
    shape = tuple(total if a == axis else d for a, d in enumerate(xs[0].tensor.shape))
    at = iota(axis=axis, shape=shape)
    zeros = [0] * len(shape)
    result: Node | None = None
    end = total
    for x in reversed(xs):
        extent = _fixed("concat", x.tensor, axis)
        low, high = list(zeros), list(zeros)
        low[axis], high[axis] = end - extent, total - end
        placed = (
            pad(x, low=low, high=high)
            if x.tensor.dtype.is_float
            else pad(x, low=low, high=high, value=0)
        )
        result = placed if result is None else where(less(at, end), placed, result)
        end -= extent
    assert result is not None
    return result


def _concat_vjp(g: Node, y: Node, *xs: Node, axis: int) -> tuple[Node, ...]:
    parts, begin = [], 0
    for x in xs:
        extent = _fixed("concat", x.tensor, axis)
        start = [begin if a == axis else 0 for a in range(x.tensor.rank)]
        stop = [begin + extent if a == axis else None for a in range(x.tensor.rank)]
        parts.append(slice(g, start=start, stop=stop))
        begin += extent
    return tuple(parts)


CONCAT: Op = Op(
    "concat", "layer", _concat_rule, lambda *xs, n, axis: np.concatenate(xs, axis), concat,
    vjp=_concat_vjp, decompose=_concat_decompose,
    samples=(sample("f32[N,2]", "f32[N,3]", axis=1),
             sample("f32[2,3]", "f32[1,3]", "f32[4,3]", axis=0),
             sample("f32[N,2]", "f32[N,3]", axis=0, raises="is the batch"),
             sample("f32[N,2]", "f32[3,2]", axis=1, raises="differ beside")),
)  # fmt: skip

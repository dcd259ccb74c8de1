"""How the operands and attributes of an op are drawn for a random graph.

One recipe an op, where its samples alone would be too few; a family's recipe serves all of its ops.
A recipe returns None where the pool offers nothing that fits. It knows which attributes an op
takes, and nothing of what the op means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.base.errors import GraphcError
from graphc.ir.node import Node
from graphc.ir.types import Dim, DType, N, Shape, TensorType, broadcast_shapes, parse_type
from graphc.ops.elementwise import absolute, add, maximum, minimum
from graphc.ops.op import Op
from graphc.ops.softmax import softmax
from graphc.ops.structure import get
from graphc.testing import image_recipes as images
from graphc.testing.draft import Draft, from_sample, good_samples

Recipe = Callable[[Draft, Op], Node | None]

# of the floats that are cast to an integer: what one outside of its range becomes is not defined
INTEGER_RANGE = {
    DType.i32: (-1000.0, 1000.0),
    DType.i64: (-1000.0, 1000.0),
    DType.u8: (0.0, 255.0),
}

# -- elementwise -----------------------------------------------------------------------------------


def _elementwise(draft: Draft, op: Op) -> Node | None:
    """Operands of any shapes that broadcast, numbers among them, of the kinds a sample names."""
    chosen = draft.pick(good_samples(op))
    types = [parse_type(text) for text in chosen.types]
    kinds = (chosen.values,) * len(types) if isinstance(chosen.values, str) else chosen.values
    floats = [t.dtype.is_float for t in types]
    base = draft.any(draft.dtype if any(floats) else types[0].dtype)
    operands: list[Any] = []
    for type, kind in zip(types, kinds, strict=True):
        if type.dtype is DType.bool:
            operands.append(draft.truth(base))
        elif not operands:
            operands.append(draft.suited(base, kind))
        else:
            operands.append(_partner(draft, base, kind, type))
    attrs = dict(chosen.attrs)
    target = attrs.get("dtype")
    if target in INTEGER_RANGE and any(floats):
        low, high = INTEGER_RANGE[target]
        operands = [maximum(minimum(o, high), low) for o in operands]
    try:
        built: Node = op.build(*operands, **attrs)
    except GraphcError:  # two operands of the pool that do not broadcast with each other
        return None
    return built


def _partner(draft: Draft, base: Node, kind: str, type: TensorType) -> Any:
    """A number, or a value that broadcasts with `base`."""
    if draft.chance(15):
        return draft.between(1, 4) if not type.dtype.is_float else draft.between(1, 8) / 4
    dtype = base.tensor.dtype if type.dtype.is_float == base.tensor.dtype.is_float else type.dtype
    if dtype.is_float and not base.tensor.dtype.is_float:
        dtype = draft.dtype
    shape = base.tensor.shape

    def smaller() -> Shape:
        start = draft.between(0, len(shape))
        return tuple(1 if draft.chance(25) else d for d in shape[start:])

    found = draft.value(lambda t: _broadcasts(t.shape, shape), smaller, dtype)
    return draft.suited(found, kind)


def _broadcasts(a: Shape, b: Shape) -> bool:
    try:
        broadcast_shapes([a, b], "operands")
    except GraphcError:
        return False
    return True


# -- views -----------------------------------------------------------------------------------------


def _fixed_axes(type: TensorType) -> list[int]:
    return [a for a, d in enumerate(type.shape) if isinstance(d, int) and d > 0]


def _some(draft: Draft, axes: list[int]) -> list[int]:
    """At least one of the axes."""
    kept = [a for a in axes if draft.chance(50)]
    return kept or [draft.pick(axes)]


def _with_fixed_axis(draft: Draft) -> Node:
    return draft.value(lambda t: bool(_fixed_axes(t)), lambda: (*draft.shape(1), draft.extent()))


def _broadcast(draft: Draft, op: Op) -> Node | None:
    x = draft.any()
    shape: list[Dim] = [draft.between(2, 3) if d == 1 else d for d in x.tensor.shape]
    axes = list(range(len(shape)))
    for _ in range(draft.between(0, 2)):
        if len(shape) == 4:
            break
        at = draft.below(len(shape) + 1)
        shape.insert(at, N if N not in shape and draft.chance(40) else draft.between(1, 3))
        axes = [a + 1 if a >= at else a for a in axes]
    built: Node = op.build(x, shape=tuple(shape), axes=tuple(axes))
    return built


def _transpose(draft: Draft, op: Op) -> Node | None:
    x = draft.value(lambda t: t.rank > 1, lambda: draft.shape(draft.between(2, 3)))
    left, order = list(range(x.tensor.rank)), []
    while left:
        order.append(left.pop(draft.below(len(left))))
    built: Node = op.build(x, axes=order)
    return built


def _slice(draft: Draft, op: Op) -> Node | None:
    x = _with_fixed_axis(draft)
    rank = x.tensor.rank
    start, step = [0] * rank, [1] * rank
    stop: list[int | None] = [None] * rank
    for axis in _some(draft, _fixed_axes(x.tensor)):
        extent = x.tensor.shape[axis]
        assert isinstance(extent, int)
        start[axis] = draft.below(extent)
        stop[axis] = draft.between(start[axis] + 1, extent)
        step[axis] = draft.between(1, 3)
    built: Node = op.build(x, start=start, stop=stop, step=step)
    return built


def _pad(draft: Draft, op: Op) -> Node | None:
    x = _with_fixed_axis(draft)
    low, high, interior = ([0] * x.tensor.rank for _ in range(3))
    for axis in _some(draft, _fixed_axes(x.tensor)):
        extent = x.tensor.shape[axis]
        assert isinstance(extent, int)
        least = -1 if extent > 2 else 0
        low[axis], high[axis] = draft.between(least, 2), draft.between(least, 2)
        interior[axis] = draft.pick((0, 0, 1, 2))
    value = draft.pick((0.0, 0.0, 0.5, -1.0))
    built: Node = op.build(x, low=low, high=high, interior=interior, value=value)
    return built


def _reverse(draft: Draft, op: Op) -> Node | None:
    x = _with_fixed_axis(draft)
    built: Node = op.build(x, axes=_some(draft, _fixed_axes(x.tensor)))
    return built


def _reshape(draft: Draft, op: Op) -> Node | None:
    """The extents before and behind the batch are multiplied together and split anew."""
    x = draft.any()
    shape = x.tensor.shape
    at = shape.index(N) if N in shape else len(shape)
    parts = [_split(draft, shape[:at]), _split(draft, shape[at + 1 :])]
    wanted = (*parts[0], *shape[at : at + 1], *parts[1])
    built: Node = op.build(x, shape=wanted)
    return built


def _split(draft: Draft, shape: Shape) -> tuple[int, ...]:
    """Extents of another shape with as many elements."""
    left = 1
    for d in shape:
        left *= d if isinstance(d, int) else 1
    extents: list[int] = []
    while left > 1 and len(extents) < 2 and draft.chance(60):
        factor = draft.pick([k for k in range(1, left + 1) if left % k == 0])
        extents.append(factor)
        left //= factor
    return (*extents, left) if left > 1 or (not extents and shape) else tuple(extents)


def _concat(draft: Draft, op: Op) -> Node | None:
    first = _with_fixed_axis(draft)
    axis = draft.pick(_fixed_axes(first.tensor))
    parts = [first]
    for _ in range(draft.between(1, 2)):
        shape = list(first.tensor.shape)
        shape[axis] = 16 if draft.wide and draft.chance(70) else draft.between(1, 4)
        parts.append(draft.of(TensorType(first.tensor.dtype, tuple(shape))))
    built: Node = op.build(*parts, axis=axis)
    return built


# -- reductions and losses -------------------------------------------------------------------------


def _reduction(draft: Draft, op: Op) -> Node | None:
    x = draft.value(lambda t: t.rank > 0, lambda: draft.shape(draft.between(1, 3)))
    axes = _some(draft, list(range(x.tensor.rank)))
    built: Node = op.build(x, axes=axes, keepdims=draft.chance(40))
    return built


def _along_axis(draft: Draft, op: Op) -> Node | None:
    x = draft.value(lambda t: t.rank > 0, lambda: draft.shape(2))
    built: Node = op.build(x, axis=draft.below(x.tensor.rank))
    return built


def _cross_entropy(draft: Draft, op: Op) -> Node | None:
    def fits(type: TensorType) -> bool:
        return type.rank == 2 and isinstance(type.shape[1], int)

    def shape() -> Shape:
        return (draft.shape(1)[0], draft.between(2, 10))

    logits = draft.value(fits, shape)
    if draft.chance(30):
        labels = softmax(draft.of(logits.tensor))
    else:
        labels = draft.fresh(logits.tensor.shape[:1], draft.pick((DType.i32, DType.i64)))
    built: Node = op.build(logits, labels)
    return built


def _pair_of_a_kind(draft: Draft, op: Op) -> Node | None:
    x = draft.any()
    built: Node = op.build(x, draft.of(x.tensor))
    return built


def _dropout(draft: Draft, op: Op) -> Node | None:
    key = draft.fresh((), DType.i32)
    rate = draft.pick((0.0, 0.1, 0.5, 0.75))
    built: Node = op.build(draft.any(), key, rate=rate, stream=draft.below(5))
    return built


def _random(draft: Draft, op: Op) -> Node | None:
    key = draft.fresh((), DType.i32)
    built: Node = op.build(key, shape=draft.shape(), stream=draft.below(5))
    return built


def _update(draft: Draft, op: Op) -> Node | None:
    """An optimiser's update on tensors of any shape: those that have one shape in the sample."""
    chosen = draft.pick(good_samples(op))
    first = parse_type(chosen.types[0])
    kinds = (
        (chosen.values,) * len(chosen.types) if isinstance(chosen.values, str) else chosen.values
    )
    w = draft.any()
    operands = [w]
    for text, kind in zip(chosen.types[1:], kinds[1:], strict=True):
        same = parse_type(text).shape == first.shape
        shape = w.tensor.shape if same else ()
        found = draft.suited(draft.of(TensorType(w.tensor.dtype, shape)), kind)
        operands.append(found if same else minimum(add(absolute(found), 0.125), 4.0))
    updated: Node = op.build(*operands, **chosen.attrs)
    for k in range(1, draft.between(1, 2)):
        draft.keep(get(updated, k))
    return updated


# -- matrices, and the table of recipes ------------------------------------------------------------


def _matmul(draft: Draft, op: Op) -> Node | None:
    a = draft.value(lambda t: t.rank == 2, lambda: draft.shape(2))
    inner = a.tensor.shape[1]
    columns: Dim = draft.pick((1, 2, 3, 5, 8, 18))
    b = draft.value(
        lambda t: (
            (t.rank == 2 and t.shape[0] is inner) or (t.shape[:1] == (inner,) and t.rank == 2)
        ),
        lambda: (inner, columns),
    )
    try:
        built: Node = op.build(a, b)
    except GraphcError:  # the batch would be an axis of the product twice
        return None
    return built


RECIPES: dict[str, Recipe] = {
    "broadcast": _broadcast,
    "transpose": _transpose,
    "slice": _slice,
    "pad": _pad,
    "reverse": _reverse,
    "reshape": _reshape,
    "concat": _concat,
    "sum": _reduction,
    "max": _reduction,
    "min": _reduction,
    "softmax": _along_axis,
    "log_softmax": _along_axis,
    "softmax_cross_entropy": _cross_entropy,
    "mean_squared_error": _pair_of_a_kind,
    "dropout": _dropout,
    "random_uniform": _random,
    "sgd_update": _update,
    "adagrad_update": _update,
    "rmsprop_update": _update,
    "adam_update": _update,
    "matmul": _matmul,
    "conv2d": images.conv2d,
    "conv2d_input_grad": images.input_grad,
    "conv2d_weight_grad": images.weight_grad,
    "max_pool2d": images.pool,
    "sum_pool2d": images.pool,
    "avg_pool2d": images.pool,
    "max_unpool2d": images.unpool,
    "sum_unpool2d": images.unpool,
    "max_pool2d_take": images.take,
}


def recipe_of(op: Op) -> Recipe:
    """The op's own recipe, else that of its family, else its samples."""
    return RECIPES.get(op.name, _elementwise if op.family == "elementwise" else from_sample)

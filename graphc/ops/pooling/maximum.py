"""Max pooling, its gradient, and its gradient's gradient.

Max pooling remembers which tap of the window won, the first maximum in row-major order
(`max_pool2d_index`), by its number: one byte, in windows of up to 256 taps. Its gradient
(`max_unpool2d`) and the gradient's gradient (`max_pool2d_take`) are each other's transpose. Of
windows side by side the winner is written element by element (`winner`), so that the kernel that
pools finds it too, and the image need not be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import Dim, DType, TensorType
from graphc.ops.contractions import Pair
from graphc.ops.create import full
from graphc.ops.elementwise import cast, equal, logical_or, not_equal, where
from graphc.ops.op import Access, Op, common_layout, sample
from graphc.ops.pooling.windows import (
    WINDOW_SAMPLES,
    Indices,
    elements_at,
    numpy_taps,
    pool_rule,
    pooled_extents,
    reached,
    reaching,
    tap_number,
    taps,
    unpool_access,
    unpool_rule,
    window_attrs,
    window_domain,
)
from graphc.ops.scalar import Value, Vocabulary
from graphc.ops.views import slice


def _max_numpy(x: Any, *, n: int, **attrs: Any) -> Any:
    out = pooled_extents("max_pool2d", x.shape[2:], attrs)
    low = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    best = np.full((*x.shape[:2], *out), low, x.dtype)
    for _, to, source in numpy_taps(x.shape[2:], out, attrs):
        best[:, :, to[0], to[1]] = np.maximum(elements_at(best, to), elements_at(x, source))
    return best


def max_pool2d(
    x: Node, *, window: Pair, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False
) -> Node:
    """The maximum of each window; taps outside the input do not count; nan wins."""
    return make(
        MAX_POOL2D,
        (x,),
        window_attrs("max_pool2d", x.tensor.shape[2:], window, stride, padding, ceil_mode),
    )


MAX_POOL2D: Op = Op(
    "max_pool2d", "reduction", lambda i, a: pool_rule("max_pool2d", i, a), _max_numpy, max_pool2d,
    vjp=lambda g, y, x, **attrs: (
        max_unpool2d(winner(x, y, attrs), g, size=x.tensor.shape[2:], **attrs),
    ),
    body=lambda s, at, tap, x, **_: x,
    access=lambda out, tap, inputs, attrs: Access((taps(out, tap, attrs),)),
    domain=window_domain, combine="maximum", samples=WINDOW_SAMPLES, arity=1,
)  # fmt: skip


def number_type(window: tuple[int, int]) -> DType:
    """The dtype of the numbers of a window's taps: the smallest that holds them."""
    return DType.u8 if window[0] * window[1] <= 256 else DType.i32


def winner(x: Node, y: Node, attrs: Attrs) -> Node:
    """The number of the tap that is each window's maximum y: the first of equals, or of nans."""
    rows, columns = attrs["window"]
    extents = zip(x.tensor.shape[2:], attrs["window"], strict=True)
    covered = not any(attrs["padding"]) and all(int(d) % w == 0 for d, w in extents)  # type: ignore[arg-type]
    dtype = number_type(attrs["window"])
    if attrs["stride"] != attrs["window"] or not covered:
        return cast(make(MAX_POOL2D_INDEX, (x, y), attrs), dtype=dtype)
    index = full(rows * columns - 1, shape=y.tensor.shape, dtype=dtype)
    for number in reversed(range(rows * columns - 1)):
        start = (0, 0, *divmod(number, columns))
        tap = slice(x, start=start, stop=(None,) * 4, step=(1, 1, rows, columns))
        won = logical_or(equal(tap, y), not_equal(tap, tap))
        index = where(won, full(number, shape=y.tensor.shape, dtype=dtype), index)
    return index


def _index_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    pooled = pool_rule("max_pool2d_index", inputs[:1], attrs)
    if inputs[1].shape != pooled.shape:
        raise GraphcError(
            f"max_pool2d_index: {inputs[1]} is not the pooled {pooled}", remedy="give its maximum"
        )
    return TensorType(DType.i32, pooled.shape).with_layout(common_layout(inputs))


def _index_body(
    s: Vocabulary,
    at: Indices,
    tap: Indices,
    x: Value,
    y: Value,
    *,
    window: tuple[int, int],
    **_: Any,
) -> Value:
    hit = s.binary("logical_or", s.equal(x, y), s.not_equal(x, x))
    number = s.position(tap_number({"window": window}, tap[0], tap[1]), DType.i32)
    return s.select(hit, number, s.literal(window[0] * window[1], DType.i32))


def _index_numpy(x: Any, y: Any, *, n: int, **attrs: Any) -> Any:
    found = np.full(y.shape, attrs["window"][0] * attrs["window"][1], np.int32)
    for number, to, source in numpy_taps(x.shape[2:], y.shape[2:], attrs):
        taken, best = elements_at(x, source), elements_at(y, to)
        hit = (taken == best) | np.isnan(taken)
        found[:, :, to[0], to[1]] = np.where(
            hit, np.minimum(elements_at(found, to), number), elements_at(found, to)
        )
    return found


MAX_POOL2D_INDEX: Op = Op(
    "max_pool2d_index", "reduction", _index_rule, _index_numpy,
    lambda x, y, **attrs: make(MAX_POOL2D_INDEX, (x, y), attrs),
    vjp=lambda g, i, x, y, **_: (None, None),
    body=_index_body,
    access=lambda out, tap, inputs, attrs: Access((taps(out, tap, attrs), out)),
    domain=window_domain, combine="minimum", arity=2,
)  # fmt: skip


def _check_index(name: str, index: TensorType, pooled: TensorType, attrs: Attrs) -> None:
    dtype = number_type(attrs["window"])
    if index.shape != pooled.shape or index.dtype is not dtype:
        raise GraphcError(
            f"{name}: {index} is no index of {pooled} pooled from windows {attrs['window']}",
            remedy=f"give the pooling's index, as {TensorType(dtype, pooled.shape)}",
        )


def _unpool_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    whole = unpool_rule("max_unpool2d", inputs, attrs)
    _check_index("max_unpool2d", inputs[0], inputs[1], attrs)
    return whole


def _unpool_body(
    s: Vocabulary, at: Indices, back: Indices, index: Value, g: Value, **attrs: Any
) -> Value:
    _, tap, _ = reached(at, back, attrs)
    number = s.position(tap_number(attrs, tap[0], tap[1]), number_type(attrs["window"]))
    return s.select(s.equal(index, number), g, s.constant(0.0, g))


def _unpool_numpy(index: Any, g: Any, *, n: int, size: tuple[int, int], **attrs: Any) -> Any:
    out = np.zeros((*g.shape[:2], *size), g.dtype)
    for number, to, source in numpy_taps(size, g.shape[2:], attrs):
        hit = elements_at(index, to) == number
        out[:, :, source[0], source[1]] += np.where(hit, elements_at(g, to), 0)
    return out


def max_unpool2d(
    index: Node, g: Node, *, size: Sequence[Dim], window: Pair, stride: Pair, padding: Pair
) -> Node:
    """g sent to the input element that each window's `index` names, zero elsewhere.

    This is max pooling's gradient.
    """
    attrs = {"window": window, "stride": stride, "padding": padding, "size": tuple(size)}
    return make(MAX_UNPOOL2D, (index, g), attrs)


MAX_UNPOOL2D: Op = Op(
    "max_unpool2d", "reduction", _unpool_rule, _unpool_numpy, max_unpool2d,
    vjp=lambda h, y, index, g, *, size, **attrs: (None, make(MAX_POOL2D_TAKE, (index, h), attrs)),
    body=_unpool_body, access=unpool_access,
    domain=lambda inputs, attrs: reaching(attrs), combine="sum", arity=2,
    samples=(
        sample("u8[N,2,3,3]", "f32[N,2,3,3]", window=(2, 2), stride=(2, 2), padding=(0,) * 4,
               size=(6, 6),
               values=("labels:4", "normal")),
        sample("u8[N,1,3,3]", "f32[N,1,3,3]", window=(3, 3), stride=(2, 2), padding=(0,) * 4,
               size=(7, 7),
               values=("labels:9", "normal")),
        sample("u8[2,1,4,3]", "f64[2,1,4,3]", window=(3, 2), stride=(1, 2), padding=(1, 1, 0, 0),
               size=(4, 6),
               values=("labels:3", "normal")),
        sample("i32[N,1,1,1]", "f32[N,1,1,1]", window=(16, 17), stride=(1, 1), padding=(0,) * 4,
               size=(16, 17),
               values=("labels:272", "normal")),
        sample("i32[N,2,3,3]", "f32[N,2,3,3]", window=(2, 2), stride=(2, 2), padding=(0,) * 4,
               size=(6, 6), raises="u8[N,2,3,3]"),
    ),
)  # fmt: skip


def _take_body(
    s: Vocabulary,
    at: Indices,
    tap: Indices,
    index: Value,
    h: Value,
    *,
    window: tuple[int, int],
    **_: Any,
) -> Value:
    number = s.position(tap_number({"window": window}, tap[0], tap[1]), number_type(window))
    return s.select(s.equal(index, number), h, s.constant(0.0, h))


def _take_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    pooled = pool_rule("max_pool2d_take", (inputs[1],), attrs)
    _check_index("max_pool2d_take", inputs[0], pooled, attrs)
    return pooled


def _take_numpy(index: Any, h: Any, *, n: int, **attrs: Any) -> Any:
    out = np.zeros(index.shape, h.dtype)
    for number, to, source in numpy_taps(h.shape[2:], index.shape[2:], attrs):
        out[:, :, to[0], to[1]] += np.where(
            elements_at(index, to) == number, elements_at(h, source), 0
        )
    return out


MAX_POOL2D_TAKE: Op = Op(
    "max_pool2d_take", "reduction", _take_rule, _take_numpy,
    lambda index, h, **attrs: make(MAX_POOL2D_TAKE, (index, h), attrs),
    vjp=lambda g, y, index, h, **attrs: (
        None, max_unpool2d(index, g, size=h.tensor.shape[2:], **attrs),
    ),
    body=_take_body,
    access=lambda out, tap, inputs, attrs: Access((out, taps(out, tap, attrs))),
    domain=window_domain, combine="sum", arity=2,
    samples=(sample("u8[N,2,3,3]", "f32[N,2,6,6]", window=(2, 2), stride=(2, 2), padding=(0,) * 4,
                    values=("labels:4", "normal")),),
)  # fmt: skip

"""Pooling over windows of an image, and its gradients as ops of their own.

Max pooling remembers which tap of the window won, the first maximum in row-major order
(`max_pool2d_index`); its gradient (`max_unpool2d`) and the gradient's gradient (`max_pool2d_take`)
are each other's transpose, and so are `sum_pool2d` and `sum_unpool2d`. Taps outside the input never
count. `ceil_mode` is padding at the far end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.index import Index
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import Dim, DType, TensorType, whole_numbers, window_extent
from graphc.ops.contractions import Pair, check_window_attrs, padding4, pair
from graphc.ops.create import iota
from graphc.ops.elementwise import cast, div, minimum, mul, sub
from graphc.ops.families import layer, require_dtype
from graphc.ops.op import Access, Bound, Op, Sample, common_layout, sample
from graphc.ops.scalar import Value, Vocabulary

Indices = tuple[Index, ...]
KEYS = ("window", "stride", "padding")


def _image(what: str, type: TensorType) -> tuple[int, int]:
    if type.rank != 4 or not isinstance(type.shape[2], int) or not isinstance(type.shape[3], int):
        raise GraphcError(
            f"{what}: {type} is not an image batch", remedy="give [N,channels,height,width]"
        )
    return type.shape[2], type.shape[3]


def pooled_extents(
    what: str, size: Sequence[int], attrs: Attrs, ceil_mode: bool = False
) -> tuple[int, int]:
    """Height and width after pooling an input of `size`."""
    check_window_attrs(what, attrs)
    top, bottom, left, right = attrs["padding"]
    found = [
        window_extent(
            size[a],
            attrs["window"][a],
            stride=attrs["stride"][a],
            low=low,
            high=high,
            ceil_mode=ceil_mode,
            what=what,
        )
        for a, (low, high) in enumerate(((top, bottom), (left, right)))
    ]
    for a, low in enumerate((top, left)):
        if low >= attrs["window"][a]:
            raise GraphcError(
                f"{what}: padding {low} is not smaller than the window {attrs['window'][a]}",
                remedy="use less padding, so that every window sees the input",
            )
    return found[0], found[1]


def window_attrs(
    what: str,
    size: Sequence[Dim],
    window: Pair,
    stride: Pair | None,
    padding: Pair,
    ceil_mode: bool,
) -> dict[str, Any]:
    """Normal attributes of a pooling op.

    `ceil_mode` becomes padding at the bottom and the right.
    """
    attrs = {
        "window": pair(window, f"{what}: window", 1),
        "stride": pair(window if stride is None else stride, f"{what}: stride", 1),
        "padding": padding4(padding),
    }
    if not ceil_mode:
        return attrs
    top, bottom, left, right = attrs["padding"]
    numbers = whole_numbers(size, f"{what}: height and width", count=2)
    reach = [
        (count - 1) * s + w for count, s, w in
        zip(pooled_extents(what, numbers, attrs, True), attrs["stride"], attrs["window"],
            strict=True)
    ]  # fmt: skip
    bottom, right = (
        max(bottom, reach[0] - numbers[0] - top),
        max(right, reach[1] - numbers[1] - left),
    )
    return attrs | {"padding": (top, bottom, left, right)}


def _pool_rule(name: str, inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    require_dtype(name, inputs[-1], "number")
    size = _image(name, inputs[0])
    extents = pooled_extents(name, size, attrs)
    shape = (*inputs[0].shape[:2], *extents)
    return TensorType(inputs[-1].dtype, shape).with_layout(common_layout(inputs))


def _unpool_rule(name: str, inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    require_dtype(name, inputs[-1], "float")
    expected = pooled_extents(name, attrs["size"], attrs)
    for type in inputs:
        if _image(name, type) != expected:
            raise GraphcError(
                f"{name}: {type} is not the {expected} that pooling {attrs['size']} gives",
                remedy="give the gradient of that pooling's output",
            )
    shape = (*inputs[0].shape[:2], *attrs["size"])
    return TensorType(inputs[-1].dtype, shape).with_layout(common_layout(inputs))


def _taps(out: Indices, tap: Indices, attrs: Attrs) -> Indices:
    """Where in the input tap (r, s) of the window of output (n, c, y, x) is."""
    (sy, sx), (top, _, left, _) = attrs["stride"], attrs["padding"]
    return (out[0], out[1], out[2] * sy + tap[0] - top, out[3] * sx + tap[1] - left)


def _tap_number(attrs: Attrs, r: Any, s: Any) -> Any:
    return r * attrs["window"][1] + s


def _window_domain(inputs: tuple[TensorType, ...], attrs: Attrs) -> tuple[Dim, ...]:
    window: tuple[int, int] = attrs["window"]
    return window


def _reaching(attrs: Attrs) -> tuple[int, int]:
    """How many windows can reach one input element, vertically and horizontally."""
    (r, s), (sy, sx) = attrs["window"], attrs["stride"]
    return -(-r // sy), -(-s // sx)


def _reached(
    out: Indices, back: Indices, attrs: Attrs
) -> tuple[Indices, tuple[Index, Index], tuple[Bound, ...]]:
    """(the window `back` steps before the last that reaches input `out`, the tap, its bounds)."""
    (r, s), (sy, sx), (top, _, left, _) = attrs["window"], attrs["stride"], attrs["padding"]
    y, x = out[2] + top, out[3] + left
    tap = (y % sy + back[0] * sy, x % sx + back[1] * sx)
    window = (out[0], out[1], y // sy - back[0], x // sx - back[1])
    return window, tap, (Bound(tap[0], 0, r), Bound(tap[1], 0, s))


def _numpy_taps(
    size: tuple[int, int], out: tuple[int, int], attrs: Attrs
) -> Iterator[tuple[int, Any, Any]]:
    """(tap number, slices of the output, of the input) for each tap, clipped to the input."""
    (rows, columns), (sy, sx), (top, _, left, _) = (
        attrs["window"],
        attrs["stride"],
        attrs["padding"],
    )
    for r in range(rows):
        for s in range(columns):
            ys = [(y, y * sy + r - top) for y in range(out[0]) if 0 <= y * sy + r - top < size[0]]
            xs = [(x, x * sx + s - left) for x in range(out[1]) if 0 <= x * sx + s - left < size[1]]
            to = np.ix_([y for y, _ in ys], [x for x, _ in xs])
            source = np.ix_([i for _, i in ys], [j for _, j in xs])
            yield _tap_number(attrs, r, s), to, source


def _at(array: Any, place: Any) -> Any:
    return array[:, :, place[0], place[1]]


# -- max -------------------------------------------------------------------------------------------

POOL_SAMPLES = tuple(
    sample(type, window=window, stride=stride, padding=padding, raises=raises, values="distinct")
    for type, window, stride, padding, raises in (
        ("f32[N,2,6,6]", (2, 2), (2, 2), (0, 0, 0, 0), None),
        ("f32[N,1,7,5]", (3, 2), (2, 1), (1, 1, 0, 1), None),
        ("f64[2,2,7,7]", (2, 2), (2, 2), (0, 1, 0, 1), None),
        ("f32[N,2,2,2]", (3, 3), (1, 1), (0, 0, 0, 0), "does not fit"),
        ("f32[N,2,6,6]", (2, 2), (0, 2), (0, 0, 0, 0), "stride"),
        ("f32[N,2,6,6]", (2, 2), (2, 2), (2, 0, 0, 0), "padding"),
    )
)


def _max_numpy(x: Any, *, n: int, **attrs: Any) -> Any:
    out = pooled_extents("max_pool2d", x.shape[2:], attrs)
    low = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    best = np.full((*x.shape[:2], *out), low, x.dtype)
    for _, to, source in _numpy_taps(x.shape[2:], out, attrs):
        best[:, :, to[0], to[1]] = np.maximum(_at(best, to), _at(x, source))
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
    "max_pool2d", "reduction", lambda i, a: _pool_rule("max_pool2d", i, a), _max_numpy, max_pool2d,
    vjp=lambda g, y, x, **attrs: (
        max_unpool2d(make(MAX_POOL2D_INDEX, (x, y), attrs), g, size=x.tensor.shape[2:], **attrs),
    ),
    body=lambda s, at, tap, x, **_: x,
    access=lambda out, tap, inputs, attrs: Access((_taps(out, tap, attrs),)),
    domain=_window_domain, combine="maximum", samples=POOL_SAMPLES, arity=1,
)  # fmt: skip


def _index_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    pooled = _pool_rule("max_pool2d_index", inputs[:1], attrs)
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
    number = s.position(_tap_number({"window": window}, tap[0], tap[1]), DType.i32)
    return s.select(hit, number, s.literal(window[0] * window[1], DType.i32))


def _index_numpy(x: Any, y: Any, *, n: int, **attrs: Any) -> Any:
    found = np.full(y.shape, attrs["window"][0] * attrs["window"][1], np.int32)
    for number, to, source in _numpy_taps(x.shape[2:], y.shape[2:], attrs):
        taken, best = _at(x, source), _at(y, to)
        hit = (taken == best) | np.isnan(taken)
        found[:, :, to[0], to[1]] = np.where(
            hit, np.minimum(_at(found, to), number), _at(found, to)
        )
    return found


MAX_POOL2D_INDEX: Op = Op(
    "max_pool2d_index", "reduction", _index_rule, _index_numpy,
    lambda x, y, **attrs: make(MAX_POOL2D_INDEX, (x, y), attrs),
    vjp=lambda g, i, x, y, **_: (None, None),
    body=_index_body,
    access=lambda out, tap, inputs, attrs: Access((_taps(out, tap, attrs), out)),
    domain=_window_domain, combine="minimum", arity=2,
)  # fmt: skip


def _unpool_body(
    s: Vocabulary, at: Indices, back: Indices, index: Value, g: Value, **attrs: Any
) -> Value:
    _, tap, _ = _reached(at, back, attrs)
    number = s.position(_tap_number(attrs, tap[0], tap[1]), DType.i32)
    return s.select(s.equal(index, number), g, s.constant(0.0, g))


def _unpool_numpy(index: Any, g: Any, *, n: int, size: tuple[int, int], **attrs: Any) -> Any:
    out = np.zeros((*g.shape[:2], *size), g.dtype)
    for number, to, source in _numpy_taps(size, g.shape[2:], attrs):
        hit = _at(index, to) == number
        out[:, :, source[0], source[1]] += np.where(hit, _at(g, to), 0)
    return out


def max_unpool2d(
    index: Node, g: Node, *, size: Sequence[Dim], window: Pair, stride: Pair, padding: Pair
) -> Node:
    """g sent to the input element that each window's `index` names, zero elsewhere.

    This is max pooling's gradient.
    """
    attrs = {"window": window, "stride": stride, "padding": padding, "size": tuple(size)}
    return make(MAX_UNPOOL2D, (index, g), attrs)


def _unpool_access(
    out: Indices, back: Indices, inputs: tuple[TensorType, ...], attrs: Attrs
) -> Access:
    window, _, bounds = _reached(out, back, attrs)
    return Access((window,) * len(inputs), bounds)


MAX_UNPOOL2D: Op = Op(
    "max_unpool2d", "reduction", lambda i, a: _unpool_rule("max_unpool2d", i, a), _unpool_numpy,
    max_unpool2d,
    vjp=lambda h, y, index, g, *, size, **attrs: (None, make(MAX_POOL2D_TAKE, (index, h), attrs)),
    body=_unpool_body, access=_unpool_access,
    domain=lambda inputs, attrs: _reaching(attrs), combine="sum", arity=2,
    samples=(
        sample("i32[N,2,3,3]", "f32[N,2,3,3]", window=(2, 2), stride=(2, 2), padding=(0,) * 4,
               size=(6, 6),
               values=("labels:4", "normal")),
        sample("i32[N,1,3,3]", "f32[N,1,3,3]", window=(3, 3), stride=(2, 2), padding=(0,) * 4,
               size=(7, 7),
               values=("labels:9", "normal")),
        sample("i32[2,1,4,3]", "f64[2,1,4,3]", window=(3, 2), stride=(1, 2), padding=(1, 1, 0, 0),
               size=(4, 6),
               values=("labels:3", "normal")),
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
    number = s.position(_tap_number({"window": window}, tap[0], tap[1]), DType.i32)
    return s.select(s.equal(index, number), h, s.constant(0.0, h))


def _take_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    pooled = _pool_rule("max_pool2d_take", (inputs[1],), attrs)
    if inputs[0].shape != pooled.shape:
        raise GraphcError(
            f"max_pool2d_take: index {inputs[0]} for {pooled}", remedy="give the pooling's index"
        )
    return pooled


def _take_numpy(index: Any, h: Any, *, n: int, **attrs: Any) -> Any:
    out = np.zeros(index.shape, h.dtype)
    for number, to, source in _numpy_taps(h.shape[2:], index.shape[2:], attrs):
        out[:, :, to[0], to[1]] += np.where(_at(index, to) == number, _at(h, source), 0)
    return out


MAX_POOL2D_TAKE: Op = Op(
    "max_pool2d_take", "reduction", _take_rule, _take_numpy,
    lambda index, h, **attrs: make(MAX_POOL2D_TAKE, (index, h), attrs),
    vjp=lambda g, y, index, h, **attrs: (
        None, max_unpool2d(index, g, size=h.tensor.shape[2:], **attrs),
    ),
    body=_take_body,
    access=lambda out, tap, inputs, attrs: Access((out, _taps(out, tap, attrs))),
    domain=_window_domain, combine="sum", arity=2,
    samples=(sample("i32[N,2,3,3]", "f32[N,2,6,6]", window=(2, 2), stride=(2, 2), padding=(0,) * 4,
                    values=("labels:4", "normal")),),
)  # fmt: skip

# -- sum and average -------------------------------------------------------------------------------


def _sum_numpy(x: Any, *, n: int, **attrs: Any) -> Any:
    out = np.zeros((*x.shape[:2], *pooled_extents("sum_pool2d", x.shape[2:], attrs)), x.dtype)
    for _, to, source in _numpy_taps(x.shape[2:], out.shape[2:], attrs):
        out[:, :, to[0], to[1]] += _at(x, source)
    return out


def sum_pool2d(
    x: Node, *, window: Pair, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False
) -> Node:
    """The sum of each window; taps outside the input count as zero."""
    return make(
        SUM_POOL2D,
        (x,),
        window_attrs("sum_pool2d", x.tensor.shape[2:], window, stride, padding, ceil_mode),
    )


SUM_POOL2D: Op = Op(
    "sum_pool2d", "reduction", lambda i, a: _pool_rule("sum_pool2d", i, a), _sum_numpy, sum_pool2d,
    vjp=lambda g, y, x, **attrs: (sum_unpool2d(g, size=x.tensor.shape[2:], **attrs),),
    body=lambda s, at, tap, x, **_: x,
    access=lambda out, tap, inputs, attrs: Access((_taps(out, tap, attrs),)),
    domain=_window_domain, combine="sum", samples=POOL_SAMPLES, arity=1,
)  # fmt: skip


def sum_unpool2d(
    g: Node, *, size: Sequence[Dim], window: Pair, stride: Pair, padding: Pair
) -> Node:
    """g added to every input element of its window: sum pooling's gradient."""
    attrs = {"window": window, "stride": stride, "padding": padding, "size": tuple(size)}
    return make(SUM_UNPOOL2D, (g,), attrs)


def _sum_unpool_numpy(g: Any, *, n: int, size: tuple[int, int], **attrs: Any) -> Any:
    out = np.zeros((*g.shape[:2], *size), g.dtype)
    for _, to, source in _numpy_taps(size, g.shape[2:], attrs):
        out[:, :, source[0], source[1]] += _at(g, to)
    return out


SUM_UNPOOL2D: Op = Op(
    "sum_unpool2d", "reduction", lambda i, a: _unpool_rule("sum_unpool2d", i, a), _sum_unpool_numpy,
    sum_unpool2d,
    vjp=lambda h, y, g, *, size, **attrs: (make(SUM_POOL2D, (h,), attrs),),
    body=lambda s, at, back, g, **_: g, access=_unpool_access,
    domain=lambda inputs, attrs: _reaching(attrs), combine="sum", arity=1,
    samples=(
        sample("f32[N,2,3,3]", window=(2, 2), stride=(2, 2), padding=(0,) * 4, size=(7, 6)),
        sample("f64[2,1,3,3]", window=(3, 3), stride=(2, 2), padding=(1, 0, 1, 0), size=(6, 6)),
    ),
)  # fmt: skip


def _average_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    require_dtype("avg_pool2d", inputs[0], "float")
    size = _image("avg_pool2d", inputs[0])
    extents = pooled_extents("avg_pool2d", size, attrs, attrs["ceil_mode"])
    return TensorType(inputs[0].dtype, (*inputs[0].shape[:2], *extents)).with_layout(
        inputs[0].layout
    )


def avg_pool2d(
    x: Node,
    *,
    window: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Node:
    """The mean of each window. Padding counts as zeros unless `count_include_pad` is off.

    What `ceil_mode` adds never counts.
    """
    attrs = window_attrs("avg_pool2d", x.tensor.shape[2:], window, stride, padding, False)
    return make(
        AVG_POOL2D, (x,), attrs | {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
    )


def _counts(axis: int, size: int, out: int, attrs: Attrs) -> tuple[int, int, int]:
    """(offset, lowest, limit) of what a window counts along `axis`.

    Window i counts the positions from max(i*stride - offset, lowest) below limit.
    """
    low, high = attrs["padding"][2 * axis], attrs["padding"][2 * axis + 1]
    return (low, -low, size + high) if attrs["count_include_pad"] else (low, 0, size)


def _average_decompose(x: Node, *, ceil_mode: bool, count_include_pad: bool, **attrs: Any) -> Node:
    total = sum_pool2d(x, ceil_mode=ceil_mode, **attrs)
    type = total.tensor
    full = attrs | {"count_include_pad": count_include_pad}
    result = total
    factor = 1.0
    for axis in range(2):
        size = int(x.tensor.shape[2 + axis])  # type: ignore[arg-type]
        out = int(type.shape[2 + axis])  # type: ignore[arg-type]
        stride, window = attrs["stride"][axis], attrs["window"][axis]
        offset, lowest, limit = _counts(axis, size, out, full)
        first, last = max(-offset, lowest), min((out - 1) * stride - offset + window, limit)
        if first == -offset and last == (out - 1) * stride - offset + window:
            factor /= window
            continue
        begin = sub(mul(iota(axis=2 + axis, shape=type.shape), stride), offset)
        from graphc.ops.elementwise import add, maximum

        counted = sub(minimum(add(begin, window), limit), maximum(begin, lowest))
        result = div(result, cast(counted, dtype=type.dtype))
    return mul(result, factor) if factor != 1.0 else result


def _average_numpy(
    x: Any, *, n: int, ceil_mode: bool, count_include_pad: bool, **attrs: Any
) -> Any:
    out = pooled_extents("avg_pool2d", x.shape[2:], attrs, ceil_mode)
    total = np.zeros((*x.shape[:2], *out), x.dtype)
    for _, to, source in _numpy_taps(x.shape[2:], out, attrs):
        total[:, :, to[0], to[1]] += _at(x, source)
    lines = []
    for axis in range(2):
        low, high = attrs["padding"][2 * axis : 2 * axis + 2]
        counts = []
        for i in range(out[axis]):
            begin = i * attrs["stride"][axis] - low
            covered = np.arange(begin, begin + attrs["window"][axis])
            inside = (covered < x.shape[2 + axis] + high) & (covered >= -low)
            if not count_include_pad:
                inside &= (covered >= 0) & (covered < x.shape[2 + axis])
            counts.append(int(inside.sum()))
        lines.append(np.asarray(counts, x.dtype))
    return total / np.outer(lines[0], lines[1])


AVG_POOL2D: Op = layer(
    "avg_pool2d", rule=_average_rule, numpy=_average_numpy, build=avg_pool2d,
    decompose=_average_decompose, arity=1,
    samples=tuple(
        Sample(s.types, dict(s.attrs) | {"ceil_mode": ceil, "count_include_pad": include},
               raises=s.raises)
        for s in POOL_SAMPLES for ceil in (False, True) for include in (True, False)
    ),
)  # fmt: skip

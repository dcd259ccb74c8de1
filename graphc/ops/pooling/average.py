"""Sum and average pooling; `sum_pool2d` and `sum_unpool2d` are each other's transpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import Dim, TensorType
from graphc.ops.contractions import Pair
from graphc.ops.create import iota
from graphc.ops.elementwise import add, cast, div, maximum, minimum, mul, sub
from graphc.ops.families import layer, require_dtype
from graphc.ops.op import Access, Op, Sample, sample
from graphc.ops.pooling.windows import (
    WINDOW_SAMPLES,
    elements_at,
    image_size,
    numpy_taps,
    pool_rule,
    pooled_extents,
    reaching,
    taps,
    unpool_access,
    unpool_rule,
    window_attrs,
    window_domain,
)


def _sum_numpy(x: Any, *, n: int, **attrs: Any) -> Any:
    out = np.zeros((*x.shape[:2], *pooled_extents("sum_pool2d", x.shape[2:], attrs)), x.dtype)
    for _, to, source in numpy_taps(x.shape[2:], out.shape[2:], attrs):
        out[:, :, to[0], to[1]] += elements_at(x, source)
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
    "sum_pool2d", "reduction", lambda i, a: pool_rule("sum_pool2d", i, a), _sum_numpy, sum_pool2d,
    vjp=lambda g, y, x, **attrs: (sum_unpool2d(g, size=x.tensor.shape[2:], **attrs),),
    body=lambda s, at, tap, x, **_: x,
    access=lambda out, tap, inputs, attrs: Access((taps(out, tap, attrs),)),
    domain=window_domain, combine="sum", samples=WINDOW_SAMPLES, arity=1,
)  # fmt: skip


def sum_unpool2d(
    g: Node, *, size: Sequence[Dim], window: Pair, stride: Pair, padding: Pair
) -> Node:
    """g added to every input element of its window: sum pooling's gradient."""
    attrs = {"window": window, "stride": stride, "padding": padding, "size": tuple(size)}
    return make(SUM_UNPOOL2D, (g,), attrs)


def _sum_unpool_numpy(g: Any, *, n: int, size: tuple[int, int], **attrs: Any) -> Any:
    out = np.zeros((*g.shape[:2], *size), g.dtype)
    for _, to, source in numpy_taps(size, g.shape[2:], attrs):
        out[:, :, source[0], source[1]] += elements_at(g, to)
    return out


SUM_UNPOOL2D: Op = Op(
    "sum_unpool2d", "reduction", lambda i, a: unpool_rule("sum_unpool2d", i, a), _sum_unpool_numpy,
    sum_unpool2d,
    vjp=lambda h, y, g, *, size, **attrs: (make(SUM_POOL2D, (h,), attrs),),
    body=lambda s, at, back, g, **_: g, access=unpool_access,
    domain=lambda inputs, attrs: reaching(attrs), combine="sum", arity=1,
    samples=(
        sample("f32[N,2,3,3]", window=(2, 2), stride=(2, 2), padding=(0,) * 4, size=(7, 6)),
        sample("f64[2,1,3,3]", window=(3, 3), stride=(2, 2), padding=(1, 0, 1, 0), size=(6, 6)),
    ),
)  # fmt: skip


def _average_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    require_dtype("avg_pool2d", inputs[0], "float")
    size = image_size("avg_pool2d", inputs[0])
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
        counted = sub(minimum(add(begin, window), limit), maximum(begin, lowest))
        result = div(result, cast(counted, dtype=type.dtype))
    return mul(result, factor) if factor != 1.0 else result


def _average_numpy(
    x: Any, *, n: int, ceil_mode: bool, count_include_pad: bool, **attrs: Any
) -> Any:
    out = pooled_extents("avg_pool2d", x.shape[2:], attrs, ceil_mode)
    total = np.zeros((*x.shape[:2], *out), x.dtype)
    for _, to, source in numpy_taps(x.shape[2:], out, attrs):
        total[:, :, to[0], to[1]] += elements_at(x, source)
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
        for s in WINDOW_SAMPLES for ceil in (False, True) for include in (True, False)
    ),
)  # fmt: skip

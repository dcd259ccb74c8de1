"""Reductions along axes: sum, the extremes, and the mean that is built from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.index import Index
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import Dim, N, TensorType, normalize_axes
from graphc.ops.create import batch_size
from graphc.ops.elementwise import cast, div, equal, mul
from graphc.ops.families import require_dtype
from graphc.ops.op import Access, Builder, Gradient, Op, common_layout, sample
from graphc.ops.views import broadcast

Axes = int | Sequence[int] | None
SAMPLES = (
    sample("f32[N,3,4]", axes=(0, 2), keepdims=False, values="distinct"),
    sample("f32[N,3]", axes=(1,), keepdims=True, values="distinct"),
    sample("f64[5,3]", axes=(0, 1), keepdims=False, values="distinct"),
    sample("u8[N,19]", axes=(1,), keepdims=False),
    sample("f32[N,3]", axes=(2,), keepdims=False, raises="axis 2"),
)


def _kept(inputs: tuple[TensorType, ...], attrs: Attrs, what: str) -> list[int]:
    axes = normalize_axes(attrs["axes"], inputs[0].rank, what)
    return [a for a in range(inputs[0].rank) if a not in axes]


def _reduction(name: str, combine: str, numpy: Callable[..., Any], vjp: Gradient, doc: str) -> Op:
    def rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
        source = inputs[0]
        require_dtype(name, source, "number")
        kept = _kept(inputs, attrs, name)
        if combine != "sum" and any(
            source.shape[a] == 0 for a in range(source.rank) if a not in kept
        ):
            raise GraphcError(
                f"{name}: {source} has no element to choose from", remedy="reduce a non-empty axis"
            )
        dims: list[Dim] = [
            d if a in kept else 1
            for a, d in enumerate(source.shape)
            if a in kept or attrs["keepdims"]
        ]
        return TensorType(source.dtype, tuple(dims)).with_layout(common_layout(inputs))

    def domain(inputs: tuple[TensorType, ...], attrs: Attrs) -> tuple[Dim, ...]:
        return tuple(
            inputs[0].shape[a] for a in normalize_axes(attrs["axes"], inputs[0].rank, name)
        )

    def access(
        out: tuple[Index, ...],
        reduced: tuple[Index, ...],
        inputs: tuple[TensorType, ...],
        attrs: Attrs,
    ) -> Access:
        kept = _kept(inputs, attrs, name)
        rest, folded = iter(out), iter(reduced)
        indices = []
        for a in range(inputs[0].rank):
            if a in kept:
                indices.append(next(rest))
            else:
                indices.append(next(folded))
                if attrs["keepdims"]:
                    next(rest)
        return Access((tuple(indices),))

    def build(x: Node, *, axes: Axes = None, keepdims: bool = False) -> Node:
        found = normalize_axes(axes, x.tensor.rank, name)
        return make(op, (x,), {"axes": found, "keepdims": bool(keepdims)}) if found else x

    build.__name__, build.__doc__ = name, doc
    op = Op(
        name, "reduction", rule, numpy, build, vjp=vjp, body=lambda s, at, taps, x, **_: x,
        access=access, domain=domain,
        combine=combine, samples=SAMPLES, arity=1,
    )  # fmt: skip
    return op


def _spread(g: Node, x: Node, axes: tuple[int, ...], keepdims: bool) -> Node:
    if keepdims:
        return broadcast(g, shape=x.tensor.shape)
    return broadcast(
        g, shape=x.tensor.shape, axes=[a for a in range(x.tensor.rank) if a not in axes]
    )


def _extreme_vjp(
    g: Node, y: Node, x: Node, *, axes: tuple[int, ...], keepdims: bool
) -> tuple[Node]:
    hit = cast(equal(x, _spread(y, x, axes, keepdims)), dtype=x.tensor.dtype)
    ties = sum(hit, axes=axes, keepdims=keepdims)
    return (mul(hit, _spread(div(g, ties), x, axes, keepdims)),)


def _numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, *, n, axes, keepdims: function(x, axis=axes, keepdims=keepdims)


SUM: Op = _reduction(
    "sum", "sum", _numpy(np.sum),
    lambda g, y, x, *, axes, keepdims: (_spread(g, x, axes, keepdims),),
    "The sum over `axes` (all by default), which stay with extent 1 if `keepdims`.",
)  # fmt: skip
sum: Builder = SUM.build

MAX: Op = _reduction(
    "max", "maximum", _numpy(np.max), _extreme_vjp,
    "The largest element over `axes`; nan if there is one. Ties share the gradient.",
)  # fmt: skip
max: Builder = MAX.build

MIN: Op = _reduction(
    "min", "minimum", _numpy(np.min), _extreme_vjp,
    "The smallest element over `axes`; nan if there is one. Ties share the gradient.",
)  # fmt: skip
min: Builder = MIN.build


def mean(x: Node, *, axes: Axes = None, keepdims: bool = False) -> Node:
    """The mean over `axes` (all by default). Raises GraphcError where there is no element."""
    found = normalize_axes(axes, x.tensor.rank, "mean")
    fixed, batched = counted(x, found)
    if fixed == 0:
        raise GraphcError(
            f"mean: {x.tensor} has no element along axes {found}",
            remedy="average over axes that hold something",
        )
    total = sum(x, axes=found, keepdims=keepdims)
    scaled: Node = mul(total, 1.0 / fixed) if fixed != 1 else total
    return div(scaled, batch_size(dtype=x.tensor.dtype)) if batched else scaled


def counted(x: Node, axes: Sequence[int]) -> tuple[int, bool]:
    """How many elements lie along `axes`: (the product of the extents that are numbers, whether the
    batch is one of the axes).
    """
    extents = [x.tensor.shape[a] for a in axes]
    return math.prod(d for d in extents if isinstance(d, int)), any(d is N for d in extents)

"""Winograd's minimal filtering F(4x4, 3x3): a 3x3 convolution in tiles of 4x4 results, each with 36
products instead of 144.

With d a tile of 6x6 inputs, g the weights and * the product element by element, a tile of results
is A' [(G g G') * (B' d B)] A. Products are summed over channels before A is applied, so that they
are 36 matrix products. The gradients follow from the same matrices: all of it is linear.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016; the points of
interpolation are 0, 1, -1, 2, -2 and infinity.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.index import Index, index
from graphc.ir.layouts import blocked_axes
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import Dim, TensorType
from graphc.ops.families import require_dtype
from graphc.ops.op import Op, Tile, sample
from graphc.ops.scalar import Value, Vocabulary
from graphc.ops.views import slice

OUTPUT = 4  # pixels of a tile's side
INPUT = 6  # inputs that it needs
POINTS = INPUT * INPUT

Matrix = tuple[tuple[Fraction, ...], ...]
Indices = tuple[Index, ...]


def _matrix(*rows: str) -> Matrix:
    return tuple(tuple(map(Fraction, row.split())) for row in rows)


def _transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


TO_INPUT = _matrix(
    "4 0 -5 0 1 0", "0 -4 -4 1 1 0", "0 4 -4 -1 1 0", "0 -2 -1 2 1 0", "0 2 -1 -2 1 0",
    "0 4 0 -5 0 1",
)  # fmt: skip
TO_WEIGHTS = _matrix(
    "1/4 0 0", "-1/6 -1/6 -1/6", "-1/6 1/6 -1/6", "1/24 1/12 1/6", "1/24 -1/12 1/6", "0 0 1"
)
TO_OUTPUT = _matrix("1 1 1 1 1 0", "0 1 -1 2 -2 0", "0 1 1 4 4 0", "0 1 -1 8 -8 1")


def _times(v: Vocabulary, matrix: Matrix, x: Sequence[Value]) -> list[Value]:
    """matrix x, with few operations: neighbouring columns, and neighbouring rows, that differ in
    signs alone share a sum and a difference.
    """
    columns = [list(c) for c in zip(*matrix, strict=True)]
    values = list(x)
    for j, (a, b) in enumerate(itertools.pairwise(columns)):
        same, opposite = _alike(a, b)
        if any(same) and any(opposite):
            first, second = values[j], values[j + 1]
            values[j : j + 2] = v.add(first, second), v.sub(first, second)
            columns[j : j + 2] = same, opposite
    rows = list(zip(*columns, strict=True))
    found: list[Value] = []
    while len(found) < len(rows):
        row, after = rows[len(found)], rows[min(len(found) + 1, len(rows) - 1)]
        even, odd = _alike(row, after)
        if not any(odd) or not any(even):
            found.append(_sum(v, row, values))
            continue
        first = _sum(v, even, values)
        sizes = {abs(factor) for factor in odd if factor}
        size = sizes.pop() if len(sizes) == 1 else Fraction(1)
        second = _sum(v, [factor / size for factor in odd], values)
        found += [_plus(v, first, size, second), _plus(v, first, -size, second)]
    return found


def _alike(a: Sequence[Fraction], b: Sequence[Fraction]) -> tuple[list[Fraction], list[Fraction]]:
    """a as a part that b has too and a part that b has with the opposite sign; zeros if it is not
    made so.
    """
    if any(abs(p) != abs(q) for p, q in zip(a, b, strict=True)):
        return [Fraction(0)] * len(a), [Fraction(0)] * len(a)
    same = [p if p == q else Fraction(0) for p, q in zip(a, b, strict=True)]
    return same, [p - q for p, q in zip(a, same, strict=True)]


def _sum(v: Vocabulary, factors: Sequence[Fraction], x: Sequence[Value]) -> Value:
    """The sum of factor times value, beginning with a value that needs no multiplication."""
    terms = [(factor, value) for factor, value in zip(factors, x, strict=True) if factor]
    terms.sort(key=lambda term: term[0] != 1)
    (factor, value), *others = terms
    total = value if factor == 1 else v.mul(value, v.constant(float(factor), value))
    for factor, value in others:
        total = _plus(v, total, factor, value)
    return total


def _plus(v: Vocabulary, total: Value, factor: Fraction, value: Value) -> Value:
    """total + factor * value."""
    if abs(factor) == 1:
        return v.add(total, value) if factor > 0 else v.sub(total, value)
    return v.fma(value, v.constant(float(factor), value), total)


def _both_sides(matrix: Matrix) -> Callable[..., list[Value]]:
    """The function from the elements of a square X, row by row, to those of matrix X matrix'."""

    def body(v: Vocabulary, values: Sequence[Value], **_: Any) -> list[Value]:
        side = len(matrix[0])
        rows = [values[side * i : side * (i + 1)] for i in range(side)]
        half = [_times(v, matrix, column) for column in zip(*rows, strict=True)]
        return [value for row in zip(*half, strict=True) for value in _times(v, matrix, list(row))]

    return body


def _numbers(matrix: Matrix) -> Any:
    return np.array([[float(c) for c in row] for row in matrix])


def _on_both_sides(matrix: Matrix, tiles: Any) -> Any:
    """matrix X matrix' for X in the last two axes."""
    m = _numbers(matrix).astype(tiles.dtype)
    return m @ tiles @ m.T


# -- images to tiles -------------------------------------------------------------------------------


def _count(extent: int) -> int:
    return -(-extent // OUTPUT)


def _images(what: str, x: TensorType) -> None:
    require_dtype(what, x, "float")
    if x.rank != 4 or not all(isinstance(d, int) for d in x.shape[1:]):
        raise GraphcError(
            f"{what}: {x} is not made of images [N,channels,height,width]", remedy="give images"
        )


def _tiles(what: str, x: TensorType) -> None:
    require_dtype(what, x, "float")
    if x.rank != 5 or x.shape[2] != POINTS or not all(isinstance(d, int) for d in x.shape[1:]):
        raise GraphcError(
            f"{what}: {x} is not made of tiles [N,channels,{POINTS},rows,columns]",
            remedy="give what winograd_input makes",
        )


def _points_of_tile(at: Mapping[str, Index]) -> tuple[Indices, ...]:
    """The 36 places of a tile among [N,channels,36,rows,columns]."""
    return tuple((at["n"], at["c"], index(t), at["y"], at["x"]) for t in range(POINTS))


def _from_images(
    matrix: Matrix, first: Callable[[Attrs], tuple[int, int]]
) -> Callable[[tuple[TensorType, ...], Attrs], Tile]:
    """Geometry: squares of pixels, 4 apart, from `first` on; 36 results each."""
    side = len(matrix[0])

    def geometry(inputs: tuple[TensorType, ...], attrs: Attrs) -> Tile:
        batch, channels = inputs[0].shape[:2]
        rows, columns = attrs["tiles"]
        top, left = first(attrs)

        def reads(at: Mapping[str, Index]) -> tuple[Indices, ...]:
            return tuple(
                (at["n"], at["c"], at["y"] * OUTPUT + (i - top), at["x"] * OUTPUT + (j - left))
                for i in range(side)
                for j in range(side)
            )

        axes = (("n", batch), ("c", channels), ("y", rows), ("x", columns))
        return Tile(axes, reads, _points_of_tile)

    return geometry


def _tiles_rule(name: str) -> Callable[[tuple[TensorType, ...], Attrs], TensorType]:
    def rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
        _images(name, inputs[0])
        batch, channels = inputs[0].shape[:2]
        shape = (batch, channels, POINTS, *attrs["tiles"])
        return TensorType(inputs[0].dtype, shape).with_layout(inputs[0].layout)

    return rule


def _cut(x: Any, side: int, tiles: tuple[int, int], first: tuple[int, int]) -> Any:
    """[N,C,rows,columns,side,side]: squares of `side` pixels, 4 apart; zeros outside."""
    reach = [OUTPUT * (t - 1) + side for t in tiles]
    pads = [(f, max(0, r - f - s)) for f, r, s in zip(first, reach, x.shape[2:], strict=True)]
    wide = np.pad(x, ((0, 0), (0, 0), *pads))
    windows = np.lib.stride_tricks.sliding_window_view(wide, (side, side), (2, 3))
    return windows[:, :, ::OUTPUT, ::OUTPUT][:, :, : tiles[0], : tiles[1]]


def _flat(tiles: Any) -> Any:
    """[N,C,rows,columns,6,6] -> [N,C,36,rows,columns]."""
    n, c, rows, columns = tiles.shape[:4]
    return np.moveaxis(tiles.reshape(n, c, rows, columns, POINTS), 4, 2)


def winograd_input(x: Node, *, tiles: Sequence[int], padding: Sequence[int]) -> Node:
    """B' d B of each 6x6 tile d of x [N,C,H,W], 4 pixels apart: [N,C,36,rows,columns].

    tiles: rows and columns of tiles. padding: zeros above the first row and left of the first
    column.
    """
    return make(WINOGRAD_INPUT, (x,), {"tiles": tuple(tiles), "padding": tuple(padding)})


WINOGRAD_INPUT: Op = Op(
    "winograd_input", "tile", _tiles_rule("winograd_input"),
    lambda x, *, n, tiles, padding: _flat(
        _on_both_sides(TO_INPUT, _cut(x, INPUT, tiles, padding))
    ),
    winograd_input, body=_both_sides(TO_INPUT),
    tile=_from_images(TO_INPUT, lambda attrs: attrs["padding"]), arity=1,
    samples=(sample("f32[N,3,8,6]", tiles=(2, 1), padding=(1, 0), differentiable=()),
             sample("f64[2,2,5,9]", tiles=(2, 3), padding=(1, 1), differentiable=()),
             sample("f32[3,4]", tiles=(1, 1), padding=(0, 0), raises="not made of images")),
)  # fmt: skip


def winograd_output_grad(g: Node, *, tiles: Sequence[int]) -> Node:
    """A g A' of each 4x4 tile g of a gradient [N,K,H,W]: [N,K,36,rows,columns]."""
    return make(WINOGRAD_OUTPUT_GRAD, (g,), {"tiles": tuple(tiles)})


WINOGRAD_OUTPUT_GRAD: Op = Op(
    "winograd_output_grad", "tile", _tiles_rule("winograd_output_grad"),
    lambda g, *, n, tiles: _flat(
        _on_both_sides(_transposed(TO_OUTPUT), _cut(g, OUTPUT, tiles, (0, 0)))
    ),
    winograd_output_grad, body=_both_sides(_transposed(TO_OUTPUT)),
    vjp=lambda h, y, g, *, tiles: (cropped(winograd_output(h), g.tensor.shape[2:]),),
    tile=_from_images(_transposed(TO_OUTPUT), lambda attrs: (0, 0)),
    arity=1,
    samples=(sample("f32[N,3,8,4]", tiles=(2, 1)), sample("f64[2,2,7,9]", tiles=(2, 3)),
             sample("f32[3,4]", tiles=(1, 1), raises="not made of images")),
)  # fmt: skip

# -- tiles to images -------------------------------------------------------------------------------


def _output_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    (m,) = inputs
    _tiles("winograd_output", m)
    batch, maps, _, rows, columns = m.shape
    assert isinstance(rows, int) and isinstance(columns, int)
    return TensorType(m.dtype, (batch, maps, OUTPUT * rows, OUTPUT * columns)).with_layout(m.layout)


def _output_geometry(inputs: tuple[TensorType, ...], attrs: Attrs) -> Tile:
    batch, maps, _, rows, columns = inputs[0].shape

    def writes(at: Mapping[str, Index]) -> tuple[Indices, ...]:
        return tuple(
            (at["n"], at["c"], at["y"] * OUTPUT + i, at["x"] * OUTPUT + j)
            for i in range(OUTPUT)
            for j in range(OUTPUT)
        )

    axes = (("n", batch), ("c", maps), ("y", rows), ("x", columns))
    return Tile(axes, _points_of_tile, writes)


def cropped(x: Node, size: Sequence[Dim]) -> Node:
    """The first rows and columns of images."""
    stop = (None, x.tensor.shape[1], *size)
    return slice(x, start=(0,) * 4, stop=stop, step=(1,) * 4)  # type: ignore[arg-type]


def winograd_output(m: Node) -> Node:
    """A' m A of each tile of summed products [N,K,36,rows,columns]: [N,K,4 rows,4 columns]."""
    return make(WINOGRAD_OUTPUT, (m,), {})


def _output_numpy(m: Any, *, n: int) -> Any:
    batch, maps, _, rows, columns = m.shape
    squares = np.moveaxis(m, 2, 4).reshape(batch, maps, rows, columns, INPUT, INPUT)
    out = np.swapaxes(_on_both_sides(TO_OUTPUT, squares), 3, 4)
    return out.reshape(batch, maps, OUTPUT * rows, OUTPUT * columns)


WINOGRAD_OUTPUT: Op = Op(
    "winograd_output", "tile", _output_rule, _output_numpy, winograd_output,
    vjp=lambda g, y, m: (winograd_output_grad(g, tiles=m.tensor.shape[3:]),),
    body=_both_sides(TO_OUTPUT), tile=_output_geometry, arity=1,
    samples=(sample("f32[N,3,36,2,1]"), sample("f64[2,2,36,1,3]"),
             sample("f32[N,3,35,2,1]", raises="not made of tiles")),
)  # fmt: skip

# -- weights ---------------------------------------------------------------------------------------


def _weights_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    (w,) = inputs
    require_dtype("winograd_weights", w, "float")
    if w.rank != 4 or w.shape[2:] != (3, 3) or w.batch_axis is not None:
        raise GraphcError(
            f"winograd_weights: {w} is not made of 3x3 windows [maps,channels,3,3]",
            remedy="give the weights of a 3x3 convolution",
        )
    type = TensorType(w.dtype, (POINTS, *w.shape[:2]))
    return type.with_layout("blocked_2_1") if blocked_axes(w.layout) else type


def _taps(at: Mapping[str, Index]) -> tuple[Indices, ...]:
    """The 9 places of a window among [maps,channels,3,3]."""
    return tuple((at["k"], at["c"], index(r), index(s)) for r in range(3) for s in range(3))


def _points_of_weights(at: Mapping[str, Index]) -> tuple[Indices, ...]:
    """The 36 places of a window among [36,maps,channels]."""
    return tuple((index(t), at["k"], at["c"]) for t in range(POINTS))


def _weights_geometry(inputs: tuple[TensorType, ...], attrs: Attrs) -> Tile:
    maps, channels = inputs[0].shape[:2]
    return Tile((("k", maps), ("c", channels)), _taps, _points_of_weights)


def winograd_weights(w: Node) -> Node:
    """G w G' of each 3x3 window of w [K,C,3,3]: [36,K,C], in blocks if w is."""
    return make(WINOGRAD_WEIGHTS, (w,), {})


WINOGRAD_WEIGHTS: Op = Op(
    "winograd_weights", "tile", _weights_rule,
    lambda w, *, n: np.moveaxis(
        _on_both_sides(TO_WEIGHTS, w).reshape(*w.shape[:2], POINTS), 2, 0
    ),
    winograd_weights, body=_both_sides(TO_WEIGHTS), tile=_weights_geometry, arity=1,
    vjp=lambda g, y, w: (winograd_weights_grad(g),),
    samples=(sample("f32[4,3,3,3]"), sample("f64[16,32,3,3]"),
             sample("f32[4,3,5,5]", raises="not made of 3x3 windows")),
)  # fmt: skip


def _weights_grad_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    (u,) = inputs
    require_dtype("winograd_weights_grad", u, "float")
    if u.rank != 3 or u.shape[0] != POINTS or u.batch_axis is not None:
        raise GraphcError(
            f"winograd_weights_grad: {u} is not [{POINTS},maps,channels]",
            remedy="give the gradient of what winograd_weights makes",
        )
    type = TensorType(u.dtype, (*u.shape[1:], 3, 3))
    return type.with_layout("blocked_1_0") if blocked_axes(u.layout) else type


def _weights_grad_geometry(inputs: tuple[TensorType, ...], attrs: Attrs) -> Tile:
    _, maps, channels = inputs[0].shape
    return Tile((("k", maps), ("c", channels)), _points_of_weights, _taps)


def winograd_weights_grad(u: Node) -> Node:
    """G' u G of each of the 6x6 points of u [36,K,C]: [K,C,3,3], in blocks if u is."""
    return make(WINOGRAD_WEIGHTS_GRAD, (u,), {})


WINOGRAD_WEIGHTS_GRAD: Op = Op(
    "winograd_weights_grad", "tile", _weights_grad_rule,
    lambda u, *, n: _on_both_sides(
        _transposed(TO_WEIGHTS), np.moveaxis(u, 0, 2).reshape(*u.shape[1:], INPUT, INPUT)
    ),
    winograd_weights_grad, body=_both_sides(_transposed(TO_WEIGHTS)), tile=_weights_grad_geometry,
    vjp=lambda g, y, u: (winograd_weights(g),), arity=1,
    samples=(sample("f32[36,4,3]"), sample("f64[36,16,32]"),
             sample("f32[35,4,3]", raises="is not")),
)  # fmt: skip

"""What an op's declaration for compilers means: its scalar body, access or contraction, run in
numpy.

An op says what it means twice: `numpy` is the oracle, and `body`, `access` and `contraction` are
what loops are made of. `by_definition` runs the second, slowly, over whole index grids, so that a
test can hold it against the first without any backend.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.index import Index, Variable, index
from graphc.ir.node import Node
from graphc.ir.types import Dim, DType
from graphc.ops.create import BATCH
from graphc.ops.elementwise import erf_numpy
from graphc.ops.op import Access, op_of
from graphc.ops.scalar import Value, Vocabulary

Array = np.ndarray[Any, Any]
Grid = Mapping[Variable, Array]


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)), x.dtype)


def _shift_right(x: Array, bits: Array) -> Array:
    return (x.view(np.uint32) >> np.asarray(bits).view(np.uint32)).view(np.int32)


UNARY: dict[str, Callable[..., Any]] = {
    "neg": np.negative, "abs": np.abs, "exp": np.exp, "log": np.log, "sqrt": np.sqrt,
    "tanh": np.tanh, "sigmoid": _sigmoid, "erf": erf_numpy, "floor": np.floor,
    "logical_not": np.logical_not,
}  # fmt: skip
BINARY: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "maximum": np.maximum, "minimum": np.minimum, "pow": np.power, "less": np.less,
    "less_equal": np.less_equal, "equal": np.equal, "not_equal": np.not_equal,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "bit_xor": np.bitwise_xor,
    "shift_left": np.left_shift, "shift_right": _shift_right,
}  # fmt: skip
COMBINE = {"sum": np.add, "maximum": np.maximum, "minimum": np.minimum}


class Arrays(Vocabulary):
    """Scalar code on arrays: every element of a grid at once."""

    def __init__(self, grid: Grid, shape: tuple[int, ...]) -> None:
        self.grid = grid
        self.shape = shape

    def constant(self, value: float | int | bool, like: Value) -> Value:
        return np.full(self.shape, value, like.dtype)

    def literal(self, value: float | int | bool, dtype: DType) -> Value:
        return np.full(self.shape, value, dtype.numpy)

    def unary(self, name: str, x: Value) -> Value:
        return UNARY[name](x)

    def binary(self, name: str, x: Value, y: Value) -> Value:
        return BINARY[name](x, y)

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        return np.where(condition, x, y)

    def cast(self, x: Value, dtype: DType) -> Value:
        return x.astype(dtype.numpy)

    def position(self, index: Index, dtype: DType) -> Value:
        return np.broadcast_to(_at(index, self.grid), self.shape).astype(dtype.numpy)


def by_definition(node: Node, arrays: Sequence[Any], n: int) -> Array:
    """The result of one op for N = n, by its body, access or contraction.

    arrays: its inputs. Raises GraphcError for families that lower by decomposition or not at all.
    """
    op = op_of(node)
    evaluators = {
        "elementwise": _elementwise,
        "create": _create,
        "view": _view,
        "reduction": _reduction,
        "contraction": _contraction,
        "tile": _tile,
    }
    if op.family not in evaluators:
        raise GraphcError(
            f"{op.name} is a {op.family}, which has no definition in scalar code",
            remedy="decompose it first",
        )
    inputs = [np.asarray(a) for a in arrays]
    with np.errstate(all="ignore"):
        result = evaluators[op.family](node, inputs, n)
    return np.asarray(result, node.tensor.dtype.numpy)


def _at(expression: Index, grid: Grid) -> Any:
    return expression.evaluate(lambda v: grid[v])  # type: ignore[arg-type, return-value]


def _grid(extents: Sequence[int], n: int) -> tuple[tuple[Index, ...], dict[Variable, Array]]:
    """One variable an axis, and what each is everywhere on the grid."""
    variables = [Variable(f"i{k}") for k in range(len(extents))]
    places = np.indices(tuple(extents))
    grid = {v: places[k] for k, v in enumerate(variables)}
    return tuple(index(v) for v in variables), grid | {BATCH: np.asarray(n)}


def _numbers(dims: Sequence[Dim], n: int) -> list[int]:
    return [d if isinstance(d, int) else n for d in dims]


def _read(array: Array, indices: Sequence[Index], grid: Grid, shape: Any) -> tuple[Array, Array]:
    """(the elements, whether each is inside the array)."""
    places = [np.broadcast_to(_at(i, grid), shape) for i in indices]
    inside = np.ones(shape, bool)
    for place, extent in zip(places, array.shape, strict=True):
        inside &= (place >= 0) & (place < extent)
    clipped = tuple(
        np.clip(place, 0, extent - 1) for place, extent in zip(places, array.shape, strict=True)
    )
    return np.asarray(array[clipped] if clipped else np.broadcast_to(array, shape)), inside


def _gathered(
    access: Access, arrays: Sequence[Array], grid: Grid, shape: Any, n: int
) -> tuple[list[Array], Array]:
    values, counts = [], np.ones(shape, bool)
    for array, indices in zip(arrays, access.indices, strict=True):
        value, inside = _read(array, indices, grid, shape)
        values.append(value)
        counts &= inside
    for bound in access.bounds:
        value = _at(bound.value, grid)
        counts &= (value >= bound.low) & (value < (n if bound.high is None else bound.high))
    return values, counts


def _elementwise(node: Node, arrays: Sequence[Array], n: int) -> Any:
    body = op_of(node).body
    assert body is not None
    return body(Arrays({}, node.tensor.concrete(n)), *arrays, **node.attrs)


def _create(node: Node, arrays: Sequence[Array], n: int) -> Any:
    body = op_of(node).body
    assert body is not None
    shape = node.tensor.concrete(n)
    at, grid = _grid(shape, n)
    scalars = [np.broadcast_to(a, shape) for a in arrays]
    return body(Arrays(grid, shape), at, *scalars, **node.attrs)


def _view(node: Node, arrays: Sequence[Array], n: int) -> Any:
    access = op_of(node).access
    assert access is not None
    shape = node.tensor.concrete(n)
    at, grid = _grid(shape, n)
    found = access(at, tuple(i.tensor for i in node.inputs), node.attrs)
    values, counts = _gathered(found, arrays, grid, shape, n)
    return np.where(counts, values[0], np.asarray(node.attrs.get("value", 0), values[0].dtype))


def _reduction(node: Node, arrays: Sequence[Array], n: int) -> Any:
    op = op_of(node)
    assert op.access is not None and op.domain is not None and op.body is not None
    assert op.combine is not None
    types = tuple(i.tensor for i in node.inputs)
    out, domain = node.tensor.concrete(n), _numbers(op.domain(types, node.attrs), n)
    shape = (*out, *domain)
    at, grid = _grid(shape, n)
    outer, inner = at[: len(out)], at[len(out) :]
    access = op.access(outer, inner, types, node.attrs)
    values, counts = _gathered(access, arrays, grid, shape, n)
    result = op.body(Arrays(grid, shape), outer, inner, *values, **node.attrs)
    dtype = node.tensor.dtype.numpy
    taken = np.where(counts, result, _identity(op.combine, dtype)).astype(dtype)
    flat = taken.reshape((*out, math.prod(domain)))
    return COMBINE[op.combine].reduce(flat, axis=-1, dtype=dtype)


def _identity(combine: str, dtype: np.dtype[Any]) -> Any:
    if combine == "sum":
        return 0
    low = combine == "maximum"
    if dtype.kind == "f":
        return -np.inf if low else np.inf
    limits = np.iinfo(dtype)
    return limits.min if low else limits.max


def _contraction(node: Node, arrays: Sequence[Array], n: int) -> Any:
    op = op_of(node)
    assert op.contraction is not None
    found = op.contraction(tuple(i.tensor for i in node.inputs), node.attrs)
    names = [name for name, _ in (*found.axes, *found.reduced)]
    shape = tuple(_numbers([extent for _, extent in (*found.axes, *found.reduced)], n))
    at, grid = _grid(shape, n)
    output, left, right = found.access(dict(zip(names, at, strict=True)))
    a, a_inside = _read(arrays[0], left, grid, shape)
    b, b_inside = _read(arrays[1], right, grid, shape)
    products = np.where(a_inside & b_inside, a * b, 0)
    result = np.zeros(node.tensor.concrete(n), products.dtype)
    places = tuple(np.broadcast_to(_at(i, grid), shape) for i in output)
    np.add.at(result, places, products)
    return result


def _tile(node: Node, arrays: Sequence[Array], n: int) -> Any:
    op = op_of(node)
    assert op.tile is not None and op.body is not None
    spec = op.tile(tuple(i.tensor for i in node.inputs), node.attrs)
    shape = tuple(_numbers([extent for _, extent in spec.axes], n))
    at, grid = _grid(shape, n)
    where = dict(zip((name for name, _ in spec.axes), at, strict=True))
    found = [_read(arrays[0], place, grid, shape) for place in spec.reads(where)]
    values = [np.where(inside, value, 0).astype(value.dtype) for value, inside in found]
    results = op.body(Arrays(grid, shape), values, **node.attrs)
    out = np.zeros(node.tensor.concrete(n), node.tensor.dtype.numpy)
    for place, result in zip(spec.writes(where), results, strict=True):
        out[tuple(np.broadcast_to(_at(i, grid), shape) for i in place)] = result
    return out

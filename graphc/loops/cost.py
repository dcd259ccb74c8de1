"""What a kernel costs whatever its schedule: floating point operations and bytes that must
move, by batch size.
"""

from __future__ import annotations

import math

from graphc.ir.types import Batch, Dim
from graphc.loops.definition import Axis, Definition
from graphc.loops.language import Amount, Buffer, Expression, Scalar

FREE = frozenset({"select", "cast", "within", "logical_and", "logical_or", "logical_not"})


def flops_of(definition: Definition) -> Amount:
    """Arithmetic of the reduction and of what follows it; a product that is summed counts two."""
    outer = definition.axes
    total = Amount()
    for output in definition.outputs:
        total += _times(_operations(output.value), outer)
    if definition.term is not None:
        each = _operations(definition.term) + 1
        total += _times(each, (*outer, *definition.reduced))
    return total


def bytes_of(buffers: tuple[Buffer, ...]) -> Amount:
    """Every buffer once."""
    total = Amount()
    for buffer in buffers:
        total += _volume(buffer.shape, buffer.dtype.itemsize)
    return total


def _times(each: int, axes: tuple[Axis, ...]) -> Amount:
    return _volume(tuple(a.extent for a in axes), each)


def _volume(extents: tuple[Dim, ...], each: int) -> Amount:
    count = each * math.prod(d for d in extents if isinstance(d, int))
    return Amount(0, count) if any(isinstance(d, Batch) for d in extents) else Amount(count, 0)


def _operations(e: Expression) -> int:
    found, seen, stack = 0, set(), [e]
    while stack:
        e = stack.pop()
        if isinstance(e, Scalar) and id(e) not in seen:
            seen.add(id(e))
            found += e.function not in FREE
            stack.extend(e.arguments)
    return found

"""Axes in the order in which they lie in memory, and flat numbers taken apart into them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from graphc.ir.index import Index, Variable, index
from graphc.loops.definition import Axis
from graphc.loops.language import BATCH, Buffer

BLOCK = Variable("block")
THREAD = "thread"


@dataclass(frozen=True)
class Access:
    """One read or write: the element of a buffer at `indices`."""

    buffer: Buffer
    indices: tuple[Index, ...]

    def step(self, axis: Axis) -> int | None:
        """Elements from one index of `axis` to the next; None if it is not a fixed number."""
        fixed, _ = self.buffer.offset(self.indices)
        return fixed.coefficient(axis.variable) if fixed.is_linear_in(axis.variable) else None


def in_memory_order(axes: Sequence[Axis], access: Access) -> tuple[Axis, ...]:
    """`axes` by the steps of an access, the longest first: the batch, then as the others lie."""
    steps = {axis: access.step(axis) for axis in axes}
    if None in steps.values():
        return tuple(axes)
    return tuple(sorted(axes, key=lambda axis: (not axis.is_batch, -(steps[axis] or 0))))


def count(axes: Sequence[Axis]) -> Index:
    """How many points `axes` have."""
    product = math.prod(a.extent for a in axes if isinstance(a.extent, int))
    return index(BATCH) * product if any(a.is_batch for a in axes) else index(product)


def taken_apart(flat: Index, axes: Sequence[Axis]) -> dict[Variable, Index]:
    """The index along each of `axes` (the last is the fastest) of point number `flat`."""
    found: dict[Variable, Index] = {}
    for k, axis in reversed(list(enumerate(axes))):
        if isinstance(axis.extent, int) and k > 0:
            found[axis.variable] = flat % axis.extent
            flat = flat // axis.extent
        else:
            found[axis.variable] = flat
            flat = Index()
    return found


def blocks_for(points: Index, size: int) -> Index:
    """How many blocks of `size` it takes for so many points."""
    return (points + (size - 1)) // size

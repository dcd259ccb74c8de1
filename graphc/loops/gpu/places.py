"""Axes in the order in which they lie in memory, as few as possible, and flat numbers taken apart
into them.

    images with channels innermost:   n, y, x, c   ->  one span of 64 * 56 * 56 numbers a sample
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from graphc.ir.index import Index, Variable, index
from graphc.ir.types import DType
from graphc.loops.axes import Loops, offsets
from graphc.loops.definition import ACCUMULATOR, Axis, Definition
from graphc.loops.language import (
    BATCH,
    Expression,
    For,
    Position,
    Read,
    Scalar,
    Statement,
    loop,
    parts,
    reads,
)
from graphc.loops.memory import Buffer, Stride
from graphc.loops.rows import RowDefinition
from graphc.ops.op import Bound

BLOCK = "block"
THREAD = "thread"
ONCE = Variable("once", 1)
USUAL_BATCH = 32  # samples, for choices that must be made before the batch is known


@dataclass(frozen=True)
class Span:
    """Axes that lie one behind the other wherever they are read or written, as one loop: from 0
    to `extent`, or to `extent` times the batch if `samples`.
    """

    variable: Variable
    extent: int
    samples: bool = False

    @property
    def usual(self) -> int:
        """Its length for a usual batch."""
        return self.extent * (USUAL_BATCH if self.samples else 1)

    @property
    def end(self) -> Index:
        """Its length."""
        return count((self,))

    def inside(self, place: Index) -> Bound:
        """That `place` is not beyond its end."""
        if self.samples:
            return Bound(place // self.extent, 0, None)
        return Bound(place, 0, self.extent)


@dataclass(frozen=True)
class Access:
    """One read or write: the element of a buffer at `indices`."""

    buffer: Buffer
    indices: tuple[Index, ...]

    def step(self, variable: Variable) -> int | None:
        """Elements from one index to the next; None if it is not a fixed number."""
        fixed, _ = self.buffer.offset(self.indices)
        return fixed.coefficient(variable) if fixed.is_linear_in(variable) else None


@dataclass(frozen=True)
class Spanned(Generic[Loops]):
    """A definition over spans. kept, reduced: outermost first."""

    definition: Loops
    kept: tuple[Span, ...]
    reduced: tuple[Span, ...]


def spanned(definition: Loops) -> Spanned[Loops]:
    """`definition` over as few loops as there can be, in the order of the first result (of what is
    read most, for those that are reduced, and for rows), the samples outermost.
    """
    if isinstance(definition, RowDefinition):
        first = most = longest_read(*definition.expressions)
    else:
        first = Access(definition.outputs[0].buffer, definition.outputs[0].indices)
        most = longest_read(definition.term) if definition.term is not None else first
    kept = _in_memory_order(definition.axes, first)
    reduced = _in_memory_order(definition.reduced, most)
    places = [*offsets(definition), *_positions(definition)]
    fixed = _looked_at(definition, places)
    values: dict[Variable, Index] = {}
    spans: list[tuple[Span, ...]] = []
    for axes in (kept, reduced):
        found: list[Span] = []
        for axis in axes:
            span = _span(axis)
            before = found[-1] if found else None
            if before is None or span.samples or not _run_on(places, before, span, fixed):
                found.append(span)
                continue
            extent = before.extent * span.extent
            both = Variable(before.variable.name, None if before.samples else extent)
            step = {before.variable: Index(), span.variable: index(both)}
            values = {v: i.substitute(step) for v, i in values.items()} | step
            places = [p.substitute(step) for p in places]
            found[-1] = Span(both, extent, before.samples)
        spans.append(tuple(found))
    return Spanned(definition.replaced(values) if values else definition, spans[0], spans[1])


def _span(axis: Axis) -> Span:
    extent = axis.extent if isinstance(axis.extent, int) else 1
    return Span(axis.variable, extent, axis.is_batch)


def longest_read(*expressions: Expression) -> Access:
    """The read that most variables move, by their extents: most of what `expressions` read."""
    found = [Access(r.buffer, r.indices) for r in reads(*expressions) if r.buffer.shape]
    found = [a for a in found if a.buffer.name != ACCUMULATOR.name]
    return max(found, key=_points, default=Access(Buffer("", ACCUMULATOR.dtype, (), ()), ()))


def _points(access: Access) -> int:
    variables = {v for i in access.indices for v in i.variables}
    return math.prod(v.extent or USUAL_BATCH for v in variables)


def _in_memory_order(axes: Sequence[Axis], access: Access) -> tuple[Axis, ...]:
    """`axes` by the steps of an access, the longest first, the samples before all; axes that lie
    nowhere in it stay where they are among themselves.
    """
    steps = {axis: access.step(axis.variable) for axis in axes}
    if not access.buffer.shape or None in steps.values():
        return tuple(sorted(axes, key=lambda axis: not axis.is_batch))
    return tuple(sorted(axes, key=lambda axis: (not axis.is_batch, -abs(steps[axis] or 0))))


def _positions(definition: Definition | RowDefinition) -> list[Index]:
    return [e.index for e in parts(*definition.expressions) if isinstance(e, Position)]


def _looked_at(
    definition: Definition | RowDefinition, places: Sequence[Index]
) -> frozenset[Variable]:
    """Variables of conditions and quotients: they stay what they are."""
    found: set[Variable] = set()
    for e in parts(*definition.expressions):
        if isinstance(e, Read | Scalar):
            found |= {v for bound in e.bounds for v in bound.value.variables}
    for place in places:
        for atom, _ in place.terms:
            if not isinstance(atom, Variable):
                found |= atom.value.variables
    return frozenset(found)


def _run_on(places: Sequence[Index], outer: Span, inner: Span, fixed: frozenset[Variable]) -> bool:
    """Whether a step of `outer` is always as long as all of `inner`."""
    if fixed & {outer.variable, inner.variable}:
        return False
    return all(
        p.coefficient(outer.variable) == p.coefficient(inner.variable) * inner.extent
        for p in places
    )


# -- flat numbers ----------------------------------------------------------------------------------


def count(spans: Sequence[Span], lanes: int = 1) -> Index:
    """How many points `spans` have, in groups of `lanes`."""
    product = math.prod(s.extent for s in spans) // lanes
    return index(BATCH) * product if any(s.samples for s in spans) else index(product)


def usual_count(spans: Sequence[Span]) -> int:
    """How many points `spans` have for a usual batch."""
    return math.prod(s.usual for s in spans)


def taken_apart(flat: Index, spans: Sequence[Span], lanes: int = 1) -> dict[Variable, Index]:
    """The index along each of `spans` (the last is the fastest) of the first point of group number
    `flat`. lanes: of a group, neighbours along the last span.
    """
    found: dict[Variable, Index] = {}
    for k, span in reversed(list(enumerate(spans))):
        each = lanes if k == len(spans) - 1 else 1
        if k == 0:
            found[span.variable] = flat * each
        else:
            found[span.variable] = flat % (span.extent // each) * each
            flat = flat // (span.extent // each)
    return found


def with_lane(
    place: Mapping[Variable, Index], spans: Sequence[Span], lane: Variable
) -> dict[Variable, Index]:
    """`place`, but of the neighbour number `lane` along the last span."""
    last = spans[-1].variable
    return {**place, last: place[last] + index(lane)}


def blocks_for(points: Index, size: int) -> Index:
    """How many blocks of `size` it takes for so many points."""
    return (points + (size - 1)) // size


def grid(blocks: Index) -> Variable:
    """The variable of a loop over so many blocks."""
    return Variable(BLOCK, blocks.constant if blocks.is_constant else None)


def where(limits: Sequence[Index], body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """`body` if all `limits` are above zero: a loop that runs once or not at all."""
    needed = []
    for limit in limits:
        low, _ = limit.bounds()
        if low is None or low < 1:
            needed.append(limit)
    if not needed:
        return body
    return (For(ONCE, (Index(),), (index(1), *needed), "unroll", body),)


def unrolled(body: Any, *variables: Variable) -> For:
    """Loops over `variables`, the first outermost, whose turns are all written out."""
    for variable in reversed(variables):
        assert variable.extent is not None
        body = loop(variable, variable.extent, "unroll", body)
    assert isinstance(body, For)
    return body


def lanes_along(span: Span, most: int) -> int:
    """How many neighbours one access can move: a power of two up to `most` that fills the span."""
    return math.gcd(span.extent, most)


def own_array(name: str, dtype: DType, shape: tuple[int, ...], shared: bool = False) -> Buffer:
    """A row-major array of a kernel's own."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(Stride(step))
        step *= extent
    return Buffer(name, dtype, shape, tuple(reversed(strides)), local=True, shared=shared)

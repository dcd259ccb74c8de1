"""In which order the blocks of a contraction follow each other: so that what is read again is
still in a cache; and sums taken in pieces, where one sum would visit too many pages.

Of every order of the block loops, the model asks how many bytes come from behind each cache. Let
the loops inside some level touch no more than the cache holds, and that level be the outermost
such one. Then all that these loops touch is fetched once for each turn of the loops outside,
except that turns of the loop just outside share what it does not move along. What fits no cache
and goes to another page with each turn of the innermost loop costs twice: memory likes long lines.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphc.ir.index import Index, Variable
from graphc.loops.definition import ACCUMULATOR, Axis, Definition
from graphc.loops.language import Buffer, Read, reads
from graphc.loops.schedule import Schedule

USUAL_BATCH = 4
ENOUGH_TASKS = 8
MOST_LOOPS = 6
# (bytes that a cache leaves for a kernel's data, what a byte from behind it costs)
CACHES = ((24 << 10, 1.0), (512 << 10, 6.0))


PAGE = 4096
FEW_PAGES = 16


@dataclass(frozen=True)
class _Operand:
    """What a contraction reads or writes, as elements along each axis of its buffer."""

    buffer: Buffer
    indices: tuple[Index, ...]

    def bytes(self, spans: dict[Variable, int]) -> int:
        """Bytes touched while each variable runs through that many numbers."""
        elements = 1
        for i in self.indices:
            reach = 1
            for variable in i.variables:
                factor = abs(i.coefficient(variable)) or 1
                reach += factor * (spans.get(variable, 1) - 1)
            elements *= reach
        return elements * self.buffer.dtype.itemsize

    def step(self, variable: Variable) -> int:
        """Bytes from one number of a variable to the next."""
        fixed, _ = self.buffer.offset(self.indices)
        return abs(fixed.coefficient(variable)) * self.buffer.dtype.itemsize


def block_order(definition: Definition, schedule: Schedule) -> tuple[Axis, ...]:
    """The output axes of a contraction that is not stored `batch_last`, outermost loop first; ()
    if there is nothing to choose.
    """
    if not definition.is_contraction or any(b.batch_last for b in definition.buffers):
        return ()
    assert definition.term is not None
    trips = {a: _trips(a, schedule) for a in definition.axes}
    loops = [a for a in definition.axes if trips[a] > 1]
    if not 1 < len(loops) <= MOST_LOOPS:
        return ()
    operands = [_Operand(r.buffer, r.indices) for r in reads(definition.term)]
    operands += [_Operand(o.buffer, o.indices) for o in definition.outputs]
    operands += [
        _Operand(r.buffer, r.indices)
        for o in definition.outputs
        for r in reads(o.value)
        if r.buffer.name != ACCUMULATOR.name
    ]
    block = {a.variable: _span(a, schedule) for a in definition.axes}
    block |= {a.variable: _extent(a) for a in definition.reduced}
    touched = {
        frozenset(inside): [
            o.bytes(block | {a.variable: _extent(a) for a in inside}) for o in operands
        ]
        for count in range(len(loops) + 1)
        for inside in itertools.combinations(loops, count)
    }
    best = min(
        (order for order in itertools.permutations(loops) if _splits(order, trips)),
        key=lambda order: _cost(order, trips, operands, touched),
    )
    return (*best, *(a for a in definition.axes if a not in best))


def _extent(axis: Axis) -> int:
    return axis.extent if isinstance(axis.extent, int) else USUAL_BATCH


def _span(axis: Axis, schedule: Schedule) -> int:
    """Numbers of an axis within one block."""
    if axis == schedule.vector:
        return min(schedule.lanes * schedule.vectors, _extent(axis))
    return min(schedule.tile(axis), _extent(axis))


def _trips(axis: Axis, schedule: Schedule) -> int:
    return -(-_extent(axis) // _span(axis, schedule))


def _splits(order: Sequence[Axis], trips: dict[Axis, int]) -> bool:
    """Whether there are tasks enough for threads outside of the loop over the batch, whose
    extent is not known.
    """
    place = next((k for k, a in enumerate(order) if a.is_batch), 0)
    return place == 0 or math.prod(trips[a] for a in order[:place]) >= ENOUGH_TASKS


def _cost(
    order: Sequence[Axis],
    trips: dict[Axis, int],
    operands: Sequence[_Operand],
    touched: Mapping[frozenset[Axis], Sequence[int]],
) -> float:
    """touched: bytes of each operand that a set of loops touches, taken together."""
    inside = [touched[frozenset(order[k:])] for k in range(len(order) + 1)]
    total = 0.0
    for size, price in CACHES:
        level = next((k for k, each in enumerate(inside) if sum(each) <= size), len(order))
        turns = math.prod(trips[a] for a in order[:level])
        for operand, each in zip(operands, inside[level], strict=True):
            shared = level > 0 and not _moves(operand, order[level - 1])
            total += price * each * turns / (trips[order[level - 1]] if shared else 1)
    everything = touched[frozenset(order)]
    size, price = CACHES[-1]
    return total + sum(
        price * each
        for operand, each in zip(operands, everything, strict=True)
        if each > size and operand.step(order[-1].variable) >= PAGE
    )


def _moves(operand: _Operand, axis: Axis) -> bool:
    return any(axis.variable in i.variables for i in operand.indices)


def pieces(definition: Definition, schedule: Schedule) -> int:
    """In how many pieces to take the sums of a contraction; partial sums wait in the result.

    A sum along which every read is on another page (down a column of a wide matrix) goes through
    few pages at a time, so that their lines are read one after the other and their addresses are
    known.
    """
    if not definition.is_contraction or len(definition.reduced) != 1:
        return 1
    (summed,) = definition.reduced
    (output, *others) = definition.outputs
    plain = isinstance(output.value, Read) and output.value.buffer.name == ACCUMULATOR.name
    if others or not plain or summed == schedule.vector or not isinstance(summed.extent, int):
        return 1
    assert definition.term is not None
    steps = [
        abs(fixed.coefficient(summed.variable)) * r.buffer.dtype.itemsize
        for r in reads(definition.term)
        for fixed, padded in [r.buffer.offset(r.indices)]
        if not padded.terms
    ]
    if max(steps, default=0) < PAGE or summed.extent <= FEW_PAGES:
        return 1
    size = max(d for d in range(1, 2 * FEW_PAGES + 1) if summed.extent % d == 0)
    return summed.extent // size if size >= FEW_PAGES // 2 else 1

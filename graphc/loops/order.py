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
from graphc.loops.language import Read, reads
from graphc.loops.memory import Buffer
from graphc.loops.schedule import FIRST_CACHE, Schedule, guard_variables

USUAL_BATCH = 4
ENOUGH_TASKS = 8
MOST_LOOPS = 6
# (bytes that a cache leaves for a kernel's data, what a byte from behind it costs)
CACHES = ((FIRST_CACHE, 1.0), (512 << 10, 6.0))
PAGE = 4096
FEW_PAGES = 16
MUCH_MORE = 4
FEW_STEPS = 64


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

    def moves(self, variable: Variable) -> bool:
        """Whether it moves along a variable."""
        return any(variable in i.variables for i in self.indices)

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
    block |= {a.variable: size for a, size in schedule.pieces}
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
            shared = level > 0 and not operand.moves(order[level - 1].variable)
            total += price * each * turns / (trips[order[level - 1]] if shared else 1)
    everything = touched[frozenset(order)]
    size, price = CACHES[-1]
    return total + sum(
        price * each
        for operand, each in zip(operands, everything, strict=True)
        if each > size and operand.step(order[-1].variable) >= PAGE
    )


def pieces(definition: Definition, schedule: Schedule) -> tuple[tuple[Axis, int], ...]:
    """How many numbers of which summed axes a contraction adds at a time, while partial sums wait
    in the result; () if it adds all at once.
    """
    (output, *others) = definition.outputs
    plain = isinstance(output.value, Read) and output.value.buffer.name == ACCUMULATOR.name
    if not definition.is_contraction or others or not plain:
        return ()
    if schedule.vector in definition.reduced:
        return ()
    if guard_variables(definition) & {a.variable for a in definition.reduced}:
        return ()  # their loops end where images do, not with a piece
    if len(definition.reduced) == 1:
        return _few_pages(definition)
    if not definition.reduced or any(b.batch_last for b in definition.buffers):
        return ()
    return _near(definition, schedule)


def _few_pages(definition: Definition) -> tuple[tuple[Axis, int], ...]:
    """A sum along which every read is on another page (down a column of a wide matrix) goes through
    few pages at a time, so that their lines are read one after the other and their addresses are
    known.
    """
    (summed,) = definition.reduced
    assert definition.term is not None
    if not isinstance(summed.extent, int) or summed.extent <= FEW_PAGES:
        return ()
    steps = [
        abs(fixed.coefficient(summed.variable)) * r.buffer.dtype.itemsize
        for r in reads(definition.term)
        for fixed, padded in [r.buffer.offset(r.indices)]
        if not padded.terms
    ]
    if max(steps, default=0) < PAGE:
        return ()
    size = max(d for d in range(1, 2 * FEW_PAGES + 1) if summed.extent % d == 0)
    return ((summed, size),) if size >= FEW_PAGES // 2 else ()


def _near(definition: Definition, schedule: Schedule) -> tuple[tuple[Axis, int], ...]:
    """Sums over more than a cache holds, for few results (the gradient of a first layer's
    weights): all blocks go through a few rows of one image before the next rows are read.

    Worth it if what blocks read again and again from behind the cache is much more than the partial
    sums that come and go instead.
    """
    samples, rows = definition.reduced[:2]
    if not samples.is_batch or not isinstance(rows.extent, int):
        return ()
    assert definition.term is not None
    (output,) = definition.outputs
    operands = [_Operand(r.buffer, r.indices) for r in reads(definition.term)]
    whole = {a.variable: _extent(a) for a in (*definition.axes, *definition.reduced)}
    cache, _ = CACHES[-1]
    one = whole | {samples.variable: 1}
    sizes = [
        d
        for d in range(1, rows.extent + 1)
        if rows.extent % d == 0
        and sum(o.bytes(one | {rows.variable: d}) for o in operands) <= cache
    ]
    if not sizes:
        return ()
    results = _Operand(output.buffer, output.indices).bytes(whole)
    steps = sizes[-1] * math.prod(_extent(a) for a in definition.reduced[2:])
    if steps < FEW_STEPS and results > 2 * cache:
        return ()
    count = USUAL_BATCH * rows.extent // sizes[-1]
    once = sum(o.bytes(whole) for o in operands)
    partial = 2 * count * results
    trips = {a.variable: _trips(a, schedule) for a in definition.axes}
    again = sum(
        o.bytes(whole) * math.prod(t for v, t in trips.items() if not o.moves(v)) for o in operands
    )
    return ((samples, 1), (rows, sizes[-1])) if again > MUCH_MORE * (once + partial) else ()

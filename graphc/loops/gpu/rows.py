"""Kernels over rows: a few rows a block, several threads for each, through all stages of a row.

    for each stage:  numbers of the row, by one thread;  along it, by all: keep, add up, store

A thread meets the same elements in every stage: what it kept, it alone reads again. Sums end as in
`reduction`, half of the threads at a time; the last step and the numbers that wait for it are one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphc.ir.index import Index, Variable, index
from graphc.ir.types import DType
from graphc.loops.definition import Output, identity
from graphc.loops.gpu.device import ACCESS, GPU, WARP
from graphc.loops.gpu.places import (
    THREAD,
    Spanned,
    blocks_for,
    count,
    grid,
    lanes_along,
    longest_read,
    own_array,
    spanned,
    taken_apart,
    usual_count,
    where,
    with_lane,
)
from graphc.loops.gpu.pointwise import LANE, in_lanes
from graphc.loops.gpu.reduction import LINE, SHARE, STEP, THREADS, Shape, combined, halving, power
from graphc.loops.language import (
    Accumulate,
    Allocate,
    Expression,
    Literal,
    Read,
    Statement,
    Store,
    loop,
    map_reads,
    substitute,
)
from graphc.loops.memory import Buffer
from graphc.loops.rows import RowDefinition, Stage, Sum

KEPT = 3  # a third of shared memory, at most, holds what is kept of one row
MOST_HELPERS = 512
APART = Variable("apart", 1)


def rows(definition: RowDefinition, gpu: GPU) -> tuple[tuple[Statement, ...], str]:
    """The loops of a definition over rows, and the choice made, in words."""
    loops = spanned(_placeless(definition))
    shape = choose(loops, gpu)
    words = f"{shape.results} a block x {shape.helpers} threads x {shape.lanes} numbers"
    stages = len(definition.stages)
    return _Builder(loops, shape).result(), f"rows in {stages} stages, {words}"


def choose(spanned: Spanned[RowDefinition], gpu: GPU) -> Shape:
    """As many threads a row as have two groups of numbers each, or one where rows are few; then as
    many rows a block as leave no multiprocessor idle, and room for another block.
    """
    definition, reduced = spanned.definition, spanned.reduced
    access = longest_read(*definition.expressions)
    along = access.step(reduced[-1].variable) == 1
    widest = max(b.dtype.itemsize for b in definition.buffers)
    lanes = lanes_along(reduced[-1], ACCESS // widest) if along else 1
    # Where rows lie side by side, threads beside each other read across them.
    fewest = 1 if along else LINE
    units, total = usual_count(reduced) // lanes, usual_count(spanned.kept)
    helpers = power(units // SHARE, MOST_HELPERS if along else THREADS // WARP)
    if total * helpers < THREADS * gpu.multiprocessors:
        helpers = power(units, MOST_HELPERS // fewest)
    results = max(fewest, THREADS // helpers)
    while results > fewest and helpers * results > WARP and total < results * gpu.multiprocessors:
        results //= 2
    length = usual_count(reduced)
    while _shared_bytes(definition, length, results, helpers) > gpu.shared_bytes // 2:
        results, helpers = (results // 2, helpers) if results > 1 else (1, helpers // 2)
    return Shape(results, helpers, lanes, along)


def _shared_bytes(definition: RowDefinition, length: int, results: int, helpers: int) -> int:
    """What rows of `length` take of shared memory, about."""
    row = length * sum(b.dtype.itemsize for b in definition.kept)
    sums = helpers * sum(dtype.itemsize for _, dtype in _partials(definition))
    numbers = sum(b.dtype.itemsize for b in definition.numbers)
    return results * (row + sums + numbers)


def _partials(definition: RowDefinition) -> list[tuple[int, DType]]:
    """(number of a sum in its stage, its dtype): sums of different stages share memory."""
    numbered = (each for stage in definition.stages for each in enumerate(stage.sums))
    return list(dict.fromkeys((k, s.term.dtype) for k, s in numbered))


def _placeless(definition: RowDefinition) -> RowDefinition:
    """`definition` with arrays of a row as numbers of an element: where they lie is up to whoever
    shares the row out.
    """
    own = {b: replace(b, shape=(), strides=(), local=True) for b in definition.kept}

    def element(read: Read) -> Read:
        return Read(own[read.buffer], ()) if read.buffer in own else read

    def output(o: Output) -> Output:
        indices = () if o.buffer in own else o.indices
        return Output(own.get(o.buffer, o.buffer), indices, map_reads(o.value, element))

    stages = tuple(
        Stage(
            tuple(map(output, s.numbers)),
            tuple(map(output, s.kept)),
            tuple(replace(each, term=map_reads(each.term, element)) for each in s.sums),
            tuple(map(output, s.results)),
        )
        for s in definition.stages
    )
    return replace(definition, stages=stages)


def _together(body: Sequence[Statement], lanes: int = 1) -> Statement:
    """Statements that read everything before they write anything, apart from those beside them."""
    return loop(APART, 1, "unroll", tuple(body)) if lanes == 1 else in_lanes(lanes, tuple(body))[0]


class _Builder:
    def __init__(self, spanned: Spanned[RowDefinition], shape: Shape) -> None:
        self.definition, self.shape = spanned.definition, shape
        self.kept, self.reduced = spanned.kept, spanned.reduced
        self.blocks = blocks_for(count(self.kept), shape.results)
        self.block = grid(self.blocks)
        length, results = usual_count(self.reduced), shape.results
        self.numbers = {
            b: own_array(b.name, b.dtype, (results,), shared=True) for b in self.definition.numbers
        }
        extents = (results, length) if shape.along else (length, results)
        self.elements = {
            b: own_array(b.name, b.dtype, extents, shared=True) for b in self.definition.kept
        }
        extents = (shape.helpers, results)
        self.partials = {
            (k, dtype): own_array(f"partial{k}_{dtype}", dtype, extents, shared=True)
            for k, dtype in _partials(self.definition)
        }

    def result(self) -> tuple[Statement, ...]:
        body: list[Statement] = []
        sums: list[tuple[Sum, Buffer]] = []
        for stage in self.definition.stages:
            body += self._numbers(sums, stage.numbers)
            sums = [(s, self.partials[k, s.term.dtype]) for k, s in enumerate(stage.sums)]
            if stage.kept or stage.sums or stage.results:
                body.append(self._along(stage, sums))
            if sums:
                body += halving([(p, s.combine) for s, p in sums], self.shape, until=2)
        assert not sums, "sums that nothing reads"
        for array in (*self.partials.values(), *self.elements.values(), *self.numbers.values()):
            body = [Allocate(array, tuple(body))]
        return (loop(self.block, self.blocks, "block", tuple(body)),)

    def _row(self, result: Index) -> tuple[dict[Variable, Index], Index]:
        """The place of a block's row, and how many rows are left from there on."""
        row = index(self.block) * self.shape.results + result
        return taken_apart(row, self.kept), count(self.kept) - row

    # -- numbers of a row --------------------------------------------------------------------------

    def _numbers(
        self, sums: Sequence[tuple[Sum, Buffer]], numbers: Sequence[Output]
    ) -> list[Statement]:
        """What the last two helpers of each row found made one, and what is computed from it."""
        thread = Variable(THREAD, self.shape.results)
        row = index(thread)
        place, left = self._row(row)
        stores = []
        for s, partial in sums:
            last = [Read(partial, (index(h), row)) for h in range(min(2, self.shape.helpers))]
            stores.append(Store(self.numbers[s.result], (row,), combined(s.combine, *last)))
        stores += [self._stored(o, place, row, Index()) for o in numbers]
        # Each may read what stands above it.
        apart = tuple(_together([store]) for store in stores)
        return [loop(thread, self.shape.results, "thread", where([left], apart))] if stores else []

    # -- along a row -------------------------------------------------------------------------------

    def _along(self, stage: Stage, sums: Sequence[tuple[Sum, Buffer]]) -> Statement:
        """Every helper takes its elements: what is kept first, for sums and results read it."""
        shape = self.shape
        thread = Variable(THREAD, shape.threads)
        row, helper = shape.share(index(thread))
        place, left = self._row(row)
        group = index(STEP) * shape.helpers + helper
        place |= taken_apart(group, self.reduced, shape.lanes)
        element, lane = group * shape.lanes, Index()
        if shape.lanes > 1:
            place, lane = with_lane(place, self.reduced, LANE), index(LANE)
        element += lane
        totals = [
            own_array(f"total{k}", s.term.dtype, (shape.lanes,)) for k, (s, _) in enumerate(sums)
        ]
        groups: list[list[Statement]] = [[self._stored(o, place, row, element)] for o in stage.kept]
        groups.append(
            [
                Accumulate(total, (lane,), s.combine, self._value(s.term, place, row, element))
                for total, (s, _) in zip(totals, sums, strict=True)
            ]
        )
        groups.append([self._stored(o, place, row, element) for o in stage.results])
        turn = tuple(_together(g, shape.lanes) for g in groups if g)
        steps = blocks_for(count(self.reduced, shape.lanes) - helper, shape.helpers)
        body = where([left], (loop(STEP, steps, "serial", turn),))
        for total, (s, partial) in zip(totals, sums, strict=True):
            zero = Literal(identity(s.combine, total.dtype), total.dtype)
            found = [Read(total, (index(k),)) for k in range(shape.lanes)]
            start = in_lanes(shape.lanes, (Store(total, (lane,), zero),))
            end = Store(partial, (helper, row), combined(s.combine, *found))
            body = (Allocate(total, (*start, *body, end)),)
        return loop(thread, shape.threads, "thread", body)

    # -- values ------------------------------------------------------------------------------------

    def _stored(
        self, o: Output, place: Mapping[Variable, Index], row: Index, element: Index
    ) -> Store:
        indices = tuple(i.substitute(place) for i in o.indices)
        value = self._value(o.value, place, row, element)
        return Store(*self._where(o.buffer, indices, row, element), value)

    def _value(
        self, e: Expression, place: Mapping[Variable, Index], row: Index, element: Index
    ) -> Expression:
        def own(read: Read) -> Read:
            buffer, indices = self._where(read.buffer, read.indices, row, element)
            return replace(read, buffer=buffer, indices=indices)

        return map_reads(substitute(e, place), own)

    def _where(
        self, buffer: Buffer, indices: tuple[Index, ...], row: Index, element: Index
    ) -> tuple[Buffer, tuple[Index, ...]]:
        """What is a row's own, in the block's shared arrays; others as they are."""
        if buffer in self.numbers:
            return self.numbers[buffer], (row,)
        if buffer in self.elements:
            at = (row, element) if self.shape.along else (element, row)
            return self.elements[buffer], at
        return buffer, indices

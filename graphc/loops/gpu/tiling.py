"""Contractions as products of matrices, cut into tiles: what the kernels for threads and for tensor
cores share.

    out[n, k, y, x] = sum over c, r, s of a[n, c, y + r, x + s] b[k, c, r, s]
    ->  rows n y x, columns k, summed r s c, no groups

Rows are spans of the result that move the left operand alone, columns those that move the right
one, groups those that move both. The side along which the result lies in memory are the columns. A
block computes a tile of rows x columns; along what is summed it advances by `depth`. In each step
its threads bring a piece of either operand into shared memory (`Staging`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from graphc.ir.index import Index, Variable, index
from graphc.ir.types import DType
from graphc.loops.definition import Definition
from graphc.loops.gpu.device import ACCESS
from graphc.loops.gpu.places import (
    Span,
    Spanned,
    blocks_for,
    count,
    longest_read,
    own_array,
    taken_apart,
    unrolled,
    usual_count,
    where,
)
from graphc.loops.gpu.pointwise import LANE, in_lanes
from graphc.loops.language import (
    CopyAsync,
    Expression,
    Literal,
    Position,
    Read,
    Scalar,
    Statement,
    Store,
    loop,
    parts,
    substitute,
)
from graphc.loops.memory import Buffer
from graphc.ops.op import Bound

FEW = 4  # numbers of a line that are moved at a time, if one by one
MOST_CHUNKS = 16  # moves to shared memory whose places a thread keeps
LEAST = 8  # rows, columns and numbers to sum that make a product of matrices


@dataclass(frozen=True)
class Factor:
    """One operand: its value, and the rows or columns that move it, outermost first."""

    value: Expression
    spans: tuple[Span, ...]

    def lies_along(self, span: Span) -> bool:
        """Whether its memory runs along `span`."""
        return longest_read(self.value).step(span.variable) == 1

    @property
    def itemsize(self) -> int:
        """Bytes of a number in memory."""
        return longest_read(self.value).buffer.dtype.itemsize


@dataclass(frozen=True)
class Matrices:
    """A contraction seen as products of matrices, one for each point of `groups`."""

    spanned: Spanned[Definition]
    groups: tuple[Span, ...]
    left: Factor
    right: Factor
    summed: tuple[Span, ...]

    @property
    def definition(self) -> Definition:
        """What is computed."""
        return self.spanned.definition

    @property
    def dtype(self) -> DType:
        """Of the sums."""
        assert self.spanned.definition.term is not None
        return self.spanned.definition.term.dtype

    def tiles(self, rows: int, columns: int) -> Tiles:
        """Its tiles of so many rows and columns."""
        return Tiles(self.groups, self.left.spans, self.right.spans, rows, columns)

    def usual_blocks(self, rows: int, columns: int) -> int:
        """How many tiles there are in all, for a usual batch."""
        down = -(-usual_count(self.left.spans) // rows)
        across = -(-usual_count(self.right.spans) // columns)
        return usual_count(self.groups) * down * across


def matrices(spanned: Spanned[Definition]) -> Matrices | None:
    """`spanned` as products of matrices; None if it is none, or if those are too thin for tiles."""
    definition = spanned.definition
    if not definition.is_contraction:
        return None
    assert isinstance(definition.term, Scalar)
    left, right = definition.term.arguments
    moving = _variables(left), _variables(right)
    sides: tuple[list[Span], list[Span]] = ([], [])
    groups = []
    for span in spanned.kept:
        moves = [span.variable in variables for variables in moving]
        if moves[0] == moves[1]:
            groups.append(span)
        else:
            sides[moves[1]].append(span)
    if spanned.kept and spanned.kept[-1] in sides[0]:
        left, right = right, left
        sides = sides[1], sides[0]
    if min(map(usual_count, (*sides, spanned.reduced))) < LEAST:
        return None
    factors = Factor(left, tuple(sides[0])), Factor(right, tuple(sides[1]))
    return Matrices(spanned, tuple(groups), *factors, spanned.reduced)


def _variables(expression: Expression) -> frozenset[Variable]:
    """Everything that moves what `expression` reads, or whether it does."""
    found: set[Variable] = set()
    for e in parts(expression):
        if isinstance(e, Read):
            found |= {v for i in e.indices for v in i.variables}
        if isinstance(e, Position):
            found |= e.index.variables
        if isinstance(e, Read | Scalar):
            found |= {v for b in e.bounds for v in b.value.variables}
    return frozenset(found)


@dataclass(frozen=True)
class Tiles:
    """Tiles of `rows` x `columns` of products of matrices, and which is which. down, across: the
    spans of their rows and columns.
    """

    groups: tuple[Span, ...]
    down: tuple[Span, ...]
    across: tuple[Span, ...]
    rows: int
    columns: int

    @cached_property
    def counts(self) -> tuple[Index, ...]:
        """How many groups, tiles of rows and tiles of columns there are."""
        return (
            count(self.groups),
            blocks_for(count(self.down), self.rows),
            blocks_for(count(self.across), self.columns),
        )

    @property
    def number(self) -> Index:
        """How many tiles there are in all. One count at most depends on the batch."""
        fixed = math.prod(c.constant for c in self.counts if c.is_constant)
        return next((c for c in self.counts if not c.is_constant), index(1)) * fixed

    def place(self, tile: Variable | Index) -> tuple[dict[Variable, Index], Index, Index]:
        """(where its group lies, its number among the tiles of rows, and among those of columns) of
        tile number `tile`: columns are the fastest, but what depends on the batch is the slowest.
        """
        order = sorted(range(len(self.counts)), key=lambda k: self.counts[k].is_constant)
        found: dict[int, Index] = {}
        flat = index(tile)
        for k in reversed(order):
            if k == order[0]:
                found[k] = flat
            else:
                found[k] = flat % self.counts[k].constant
                flat = flat // self.counts[k].constant
        return taken_apart(found[0], self.groups), found[1], found[2]


# -- along what is summed --------------------------------------------------------------------------


@dataclass(frozen=True)
class Steps:
    """What is summed, `depth` numbers a step, a power of two. Where the length of the innermost of
    several spans allows, a step keeps to one line of it: then no thread needs quotients of its own.
    """

    spans: tuple[Span, ...]
    depth: int

    @cached_property
    def unit(self) -> int:
        """Numbers that surely lie in one line."""
        return math.gcd(self.spans[-1].extent, self.depth)

    @cached_property
    def number(self) -> Index:
        """How many steps there are."""
        if len(self.spans) == 1:
            return blocks_for(count(self.spans), self.depth)
        return blocks_for(count(self.spans, self.unit), self.depth // self.unit)

    @cached_property
    def variable(self) -> Variable:
        """The step under way."""
        return Variable("step", self.number.constant if self.number.is_constant else None)

    def place(self, step: Index, inside: Index) -> dict[Variable, Index]:
        """Where number `inside` of a step lies."""
        if len(self.spans) == 1:
            return {self.spans[0].variable: step * self.depth + inside}
        units = step * (self.depth // self.unit) + inside // self.unit
        place = taken_apart(units, self.spans, self.unit)
        place[self.spans[-1].variable] += inside % self.unit
        return place


# -- bringing operands to shared memory ------------------------------------------------------------


@dataclass(frozen=True)
class Staging:
    """How the threads of a block bring a piece of an operand, `extent` rows or columns by a step,
    into shared memory.

    inner: whether rows or columns lie innermost there, [stage, depth, extent], else what is summed:
    [stage, extent, depth]. padding: numbers between lines, so that those who read a column meet no
    conflicts. stages: how many pieces there are at a time. groups: which of the products it is.
    """

    name: str
    factor: Factor
    steps: Steps
    extent: int
    threads: int
    dtype: DType
    inner: bool = True
    padding: int = 0
    stages: int = 2
    groups: Mapping[Variable, Index] = field(default_factory=dict)

    @cached_property
    def array(self) -> Buffer:
        """The pieces in shared memory."""
        lines = (self.steps.depth, self.extent) if self.inner else (self.extent, self.steps.depth)
        shape = (self.stages, lines[0], lines[1] + self.padding)
        return own_array(self.name, self.dtype, shape, shared=True)

    @cached_property
    def along_summed(self) -> bool:
        """Whether the memory of the operand runs along what is summed."""
        own = self.factor.spans[-1]
        return self.factor.lies_along(self.steps.spans[-1]) and not self.factor.lies_along(own)

    @cached_property
    def lanes(self) -> int:
        """Neighbours that a thread moves at a time: several only if they stay neighbours, or go
        through registers.
        """
        if self._pure and self.inner == self.along_summed:
            return 1
        lanes = ACCESS // self.factor.itemsize
        if self.along_summed:
            lanes = math.gcd(self.steps.unit, lanes)
        elif self.factor.lies_along(self.factor.spans[-1]):
            lanes = math.gcd(self.factor.spans[-1].extent, lanes)
        else:
            return 1
        return lanes if not self._pure or self._aligned(lanes) else 1

    @property
    def copies(self) -> bool:
        """Whether pieces are copied while threads go on: no arithmetic, and accesses of 4 to 16
        bytes.
        """
        return self._pure and self.lanes * self.dtype.itemsize in (4, 8, 16)

    @property
    def _pure(self) -> bool:
        return isinstance(self.factor.value, Read) and self.factor.value.dtype is self.dtype

    @property
    def _threads_along(self) -> int:
        """How many threads beside each other move one line: all of it. But numbers that come one by
        one come four at a time, so that a thread has to do with few lines and knows their places.
        """
        line = (self.steps.depth if self.along_summed else self.extent) // self.lanes
        if self.along_summed and self.lanes == 1:
            line = min(line, max(FEW, self.threads // self.extent))
        return min(line, self.threads)

    def load(self, thread: Variable, tile: Index, step: Index, stage: Index) -> Statement:
        """The thread's share of the piece of a tile and a step."""
        across = self._threads_along
        down = self.threads // across
        line = (self.steps.depth if self.along_summed else self.extent) // self.lanes
        lines = self.extent if self.along_summed else self.steps.depth
        each = -(-line // across)
        chunks = each * -(-lines // down)
        # Places of many chunks would take all registers if every turn were written out.
        together = chunks if chunks <= MOST_CHUNKS else MOST_CHUNKS
        turns = -(-chunks // together)
        rounds, chunk = Variable("round", turns), Variable("chunk", together)
        turn = index(rounds) * together + index(chunk)
        number = turn // each * down + index(thread) // across
        along = turn % each * across + index(thread) % across
        limits = [lines - number, line - along]
        along *= self.lanes
        own, inside = (number, along) if self.along_summed else (along, number)
        body: tuple[Statement, ...]
        if self.copies:
            source = self._source(tile, own, step, inside, Index())
            assert isinstance(source, Read)
            body = (CopyAsync(self.array, self._target(own, inside, stage), source, self.lanes),)
        else:
            lane = index(LANE) if self.lanes > 1 else Index()
            value = _as(self._source(tile, own, step, inside, lane), self.dtype)
            if self.along_summed:
                inside += lane
            else:
                own += lane
            body = (Store(self.array, self._target(own, inside, stage), value),)
            body = in_lanes(self.lanes, body)
        moved = unrolled(where(limits, body), chunk)
        return moved if turns == 1 else loop(rounds, turns, "serial", moved)

    def _source(
        self, tile: Index, own: Index, step: Index, inside: Index, lane: Index
    ) -> Expression:
        """The operand at row or column `own` of a tile, number `inside` of a step, and `lane`
        further; 0 beyond the ends.
        """
        spans, lanes = self.factor.spans, 1 if self.along_summed else self.lanes
        place = taken_apart(tile * (self.extent // lanes) + own // lanes, spans, lanes)
        place |= {**self.groups, **self.steps.place(step, inside)}
        ends = [s.inside(place[s.variable]) for s in (spans[0], self.steps.spans[0])]
        place[(self.steps.spans if self.along_summed else spans)[-1].variable] += lane
        return bounded(substitute(self.factor.value, place), ends)

    def _target(self, own: Index, inside: Index, stage: Index) -> tuple[Index, ...]:
        return (stage, inside, own) if self.inner else (stage, own, inside)

    def _aligned(self, lanes: int) -> bool:
        """Whether groups of `lanes` neighbours lie at multiples of them, and their bounds hold for
        all or none.
        """
        moved = (self.steps.spans if self.along_summed else self.factor.spans)[-1].variable
        value = self.factor.value
        assert isinstance(value, Read)
        rest = value.buffer.offset(value.indices)[0].without(moved)
        alone = all(moved not in b.value.variables for b in value.bounds)
        return alone and rest % lanes == Index()


def _as(value: Expression, dtype: DType) -> Expression:
    return value if value.dtype is dtype else Scalar("cast", (value,), dtype)


def bounded(value: Expression, bounds: Sequence[Bound]) -> Expression:
    """`value` where `bounds` hold, 0 elsewhere; memory is touched only where they do."""
    needed = tuple(b for b in bounds if not _certain(b))
    if not needed:
        return value
    done: dict[int, Expression] = {}

    def visit(e: Expression) -> Expression:
        if id(e) not in done:
            done[id(e)] = e
            if isinstance(e, Read) and e.buffer.shape:
                done[id(e)] = Read(e.buffer, e.indices, tuple(dict.fromkeys((*e.bounds, *needed))))
            elif isinstance(e, Scalar):
                done[id(e)] = Scalar(e.function, tuple(map(visit, e.arguments)), e.dtype, e.bounds)
        return done[id(e)]

    inside = visit(value)
    if isinstance(inside, Read):
        return inside
    zero = Literal(0.0 if inside.dtype.is_float else 0, inside.dtype)
    return Scalar("select", (Scalar("within", (), DType.bool, needed), inside, zero), inside.dtype)


def _certain(bound: Bound) -> bool:
    low, high = bound.value.bounds()
    if low is None or high is None or bound.high is None:
        return False
    return bound.low <= low and high < bound.high

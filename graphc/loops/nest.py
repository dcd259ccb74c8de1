"""From a definition and a schedule to loops.

The output's index space is cut into regions: along each blocked axis whole blocks, then the rest;
in every region the same nest stands with other extents:

    parallel blocks: local acc; unroll acc = identity; for reduced: unroll acc += term; unroll out
    = value(acc)
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

from graphc.ir.index import Index, Variable, index
from graphc.ir.types import Batch, DType
from graphc.loops.definition import Axis, Definition, identity, with_accumulator
from graphc.loops.language import (
    BATCH,
    Accumulate,
    Allocate,
    Expression,
    Lanes,
    Literal,
    Prefetch,
    Read,
    Scalar,
    Statement,
    Store,
    loop,
    map_reads,
    reads,
    substitute,
)
from graphc.loops.memory import PADDED, Buffer, Stride
from graphc.loops.rows import RowDefinition
from graphc.loops.schedule import Schedule, guard_variables
from graphc.loops.tasks import spread
from graphc.ops.op import Bound

FEW_TASKS = 8
LANE = Variable("l")
# Image rows are split between threads first, in every kernel alike: what a thread wrote it then
# reads itself.
ROWS = ("y", "i2")


@dataclass(frozen=True)
class Part:
    """A piece of one output axis: `count` blocks from `base`, each `tile` long (in vectors along
    the vector axis).

    active: lanes in use in the last, partial vector; None if all are.
    """

    axis: Axis
    base: Index
    count: Index
    tile: int
    active: Index | None = None


def build(definition: Definition, schedule: Schedule) -> tuple[Statement, ...]:
    """The loops of a kernel."""
    parts = [parts_along(a, definition, schedule) for a in definition.axes]
    statements: list[Statement] = []
    for region in itertools.product(*parts):
        statements.append(_Region(definition, schedule, region).statement())
    return tuple(statements)


def _exact(definition: Definition | RowDefinition) -> bool:
    """Whether a batch loop must end at N: some buffer it runs along is not padded."""
    return any(
        not b.batch_last and any(isinstance(d, Batch) for d in b.shape) for b in definition.buffers
    )


def parts_along(
    axis: Axis, definition: Definition | RowDefinition, schedule: Schedule
) -> list[Part]:
    """The pieces of an output axis that have loops of their own."""
    extent = index(BATCH) if isinstance(axis.extent, Batch) else index(axis.extent)
    if axis != schedule.vector:
        tile = schedule.tile(axis)
        if tile == 1:
            return [Part(axis, Index(), extent, 1)]
        if isinstance(axis.extent, Batch):
            return _batch_parts(axis, extent, 1, tile)
        whole, rest = divmod(axis.extent, tile)
        parts = [Part(axis, Index(), index(whole), tile)]
        return parts + ([Part(axis, index(whole * tile), index(1), rest)] if rest else [])
    lanes, vectors = schedule.lanes, schedule.vectors
    if isinstance(axis.extent, int):
        return fixed_parts(axis, axis.extent, lanes, vectors)
    if _exact(definition):
        found = _batch_parts(axis, index(BATCH) // lanes, lanes, vectors)
        full = index(BATCH) // lanes
        partial = Part(
            axis,
            full * lanes,
            (index(BATCH) + (lanes - 1)) // lanes - full,
            1,
            index(BATCH) - full * lanes,
        )
        return [*found, partial]
    return _batch_parts(axis, index(PADDED) // lanes, lanes, vectors)


def fixed_parts(axis: Axis, extent: int, lanes: int, vectors: int) -> list[Part]:
    """Blocks of as many vectors, then what vectors are left, then a partial one."""
    step = lanes * vectors
    whole, rest = divmod(extent, step)
    parts = [Part(axis, Index(), index(whole), vectors)] if whole else []
    full, active = divmod(rest, lanes)
    if full:
        parts.append(Part(axis, index(whole * step), index(1), full))
    if active:
        parts.append(Part(axis, index(extent - active), index(1), 1, index(active)))
    return parts


def _batch_parts(axis: Axis, full: Index, lanes: int, vectors: int) -> list[Part]:
    """Blocks of as many vectors (of one lane: samples), then one at a time."""
    if vectors == 1:
        return [Part(axis, Index(), full, 1)]
    blocks = full // vectors
    return [
        Part(axis, Index(), blocks, vectors),
        Part(axis, blocks * (vectors * lanes), full - blocks * vectors, 1),
    ]


class _Region:
    """The nest of one region."""

    def __init__(self, definition: Definition, schedule: Schedule, parts: tuple[Part, ...]) -> None:
        self.definition, self.schedule, self.parts = definition, schedule, parts
        self.lanes = schedule.lanes
        self.vector = schedule.vector
        self.in_lanes = self.vector is not None and self.vector in definition.reduced
        self.place: dict[Variable, Index] = {}
        self.outer: list[tuple[Variable, Index]] = []
        self.axis: dict[Variable, Axis] = {}
        self.unrolled: list[tuple[Variable, int]] = []
        self.active: Index | None = None
        for part in parts:
            self._place(part)
        moving = self._moving()
        # Where both factors are vectors, the shorter loop is the inner: as few of them are held.
        self.unrolled.sort(
            key=lambda u: (self.axis[u[0]].variable in moving, -u[1] if self.in_lanes else 0)
        )
        dtype = definition.term.dtype if definition.term is not None else DType.f32
        shape = [t for _, t in self.unrolled] + ([self.lanes] if self.vector is not None else [])
        strides = [Stride(math.prod(shape[k + 1 :])) for k in range(len(shape))]
        self.accumulator = Buffer("acc", dtype, tuple(shape), tuple(strides), local=True)

    def _place(self, part: Part) -> None:
        name = part.axis.variable.name
        at = part.base
        is_vector = part.axis == self.vector
        step = part.tile * (self.lanes if is_vector else 1)
        if part.count != index(1):
            extent = part.count.constant if part.count.is_constant else None
            outer = Variable(f"{name}o" if step > 1 else name, extent)
            self.outer.append((outer, part.count))
            self.axis[outer] = part.axis
            at = at + index(outer) * step
        if part.tile > 1:
            inner = Variable(f"{name}u", part.tile)
            self.unrolled.append((inner, part.tile))
            self.axis[inner] = part.axis
            at = at + index(inner) * (self.lanes if is_vector else 1)
        if is_vector:
            at = at + index(self._lane())
            self.active = part.active
        self.place[part.axis.variable] = at

    def _moving(self) -> frozenset[Variable]:
        """The axes along which the vectors that are read change: unrolled innermost, so that
        these few stay in registers while the many numbers spread over lanes pass by.
        """
        if self.vector is None or self.definition.term is None:
            return frozenset()
        return frozenset(
            v
            for read in reads(self.definition.term)
            if any(self.vector.variable in i.variables for i in read.indices)
            for i in read.indices
            for v in i.variables
        )

    def _lane(self) -> Variable:
        return replace(LANE, extent=self.lanes)

    def statement(self) -> Statement:
        body = self._reduction() if self.definition.combine is not None else self._finish(None)
        statement = self._outer_loops(body)
        # Outside of the tasks, which every thread takes the same share of each time.
        for variable, count in reversed(self._pieces()):
            statement = loop(variable, count, "serial", statement)
        return statement

    def _pieces(self) -> list[tuple[Variable, Index]]:
        """The loops over pieces of the sums."""
        found = []
        for axis, size in self.schedule.pieces:
            count = index(BATCH) if axis.is_batch else index(axis.extent // size)  # type: ignore[operator]
            found.append((_piece(axis, size), count))
        return found

    # -- the parts of the nest
    # ---------------------------------------------------------------------------------------

    def _at_accumulator(self) -> tuple[Index, ...]:
        at = [index(v) for v, _ in self.unrolled]
        return (*at, index(self._lane())) if self.vector is not None else tuple(at)

    def _unroll(
        self, statements: tuple[Statement, ...], lanes: bool, active: Index | None
    ) -> Statement:
        """`statements` for every element of the block, in lanes where the vector axis says so."""
        body = statements
        if lanes and self.vector is not None:
            high = () if active is None else (active,)
            body = (loop(self._lane(), self.lanes, "vector", body, lanes=self.lanes, high=high),)
        for variable, extent in reversed(self.unrolled):
            body = (loop(variable, extent, "unroll", body),)
        return body[0] if len(body) == 1 else loop(Variable("once", 1), 1, "unroll", body)

    def _reduction(self) -> tuple[Statement, ...]:
        definition, acc = self.definition, self.accumulator
        assert definition.combine is not None and definition.term is not None
        at = self._at_accumulator()
        start = Store(acc, at, self._start(acc))
        first = self._unroll((start,), True, None)
        sums = (first, *self._reduced_loops(), *self._finish(acc))
        return (*self._ahead(), Allocate(acc, sums))

    def _ahead(self) -> tuple[Statement, ...]:
        """Asks for what the epilogue reads once for each result, before the sum: a sum is longer
        than what a processor looks ahead, so that reads behind it would start only when it ends.
        """
        if not self.definition.is_contraction or self.in_lanes or self.vector is None:
            return ()
        axes = {a.variable for a in self.definition.axes}
        found = dict.fromkeys(
            Prefetch(read.buffer, tuple(i.substitute(self.place) for i in read.indices))
            for output in self.definition.outputs
            for read in reads(output.value)
            if {v for i in read.indices for v in i.variables} == axes and not read.bounds
        )
        return (self._unroll(tuple(found), True, None),) if found else ()

    def _start(self, acc: Buffer) -> Expression:
        """What an accumulator begins with: nothing, or behind the first piece what there is."""
        assert self.definition.combine is not None
        nothing = Literal(identity(self.definition.combine, acc.dtype), acc.dtype)
        if not self.schedule.pieces:
            return nothing
        (output,) = self.definition.outputs
        before = Read(output.buffer, tuple(i.substitute(self.place) for i in output.indices))
        bounds = tuple(Bound(index(variable), 0, 1) for variable, _ in self._pieces())
        first = Scalar("within", (), DType.bool, bounds)
        return Scalar("select", (first, nothing, before), acc.dtype)

    def _reduced_loops(self) -> list[Statement]:
        """The loops over reduced axes; along a reduced vector axis whole vectors first, then
        the rest.
        """
        definition = self.definition
        assert definition.term is not None and definition.combine is not None
        term = substitute(definition.term, self.place)
        limits, term = self._limits(term)
        ways: list[tuple[Index, Index, Index | None]] = [(Index(), index(1), None)]
        if self.in_lanes and self.vector is not None:
            extent = index(BATCH) if self.vector.is_batch else index(self.vector.extent)  # type: ignore[arg-type]
            full = extent // self.lanes
            rest = (extent + (self.lanes - 1)) // self.lanes - full
            ways = [(Index(), full, None), (full * self.lanes, rest, extent - full * self.lanes)]
            ways = [w for w in ways if w[1] != Index()]
        pieces = dict(self.schedule.pieces)
        found: list[Statement] = []
        for base, count, active in ways:
            place: dict[Variable, Index] = {}
            loops: list[tuple[Variable, Index]] = []
            for axis in definition.reduced:
                if axis == self.vector:
                    outer = Variable(
                        f"{axis.variable.name}o", count.constant if count.is_constant else None
                    )
                    place[axis.variable] = base + index(outer) * self.lanes + index(self._lane())
                    loops.append((outer, count))
                else:
                    high = index(BATCH) if axis.is_batch else index(axis.extent)  # type: ignore[arg-type]
                    size = pieces.get(axis)
                    if size is not None:
                        within = Variable(f"{axis.variable.name}p", size)
                        place[axis.variable] = index(_piece(axis, size)) * size + index(within)
                        loops.append((within, index(size)))
                        continue
                    loops.append((axis.variable, high))
            value = substitute(term, place)
            add = Accumulate(self.accumulator, self._at_accumulator(), definition.combine, value)
            statement = self._unroll((add,), True, active if self.in_lanes else self.active)
            for variable, high in reversed(loops):
                low, more = limits.get(variable, ((), ()))
                if high == index(1) and not low and not more:
                    continue
                statement = loop(variable, high, "serial", statement, low=low, high=more)
            found.append(statement)
        return found

    def _limits(
        self, term: Expression
    ) -> tuple[dict[Variable, tuple[tuple[Index, ...], tuple[Index, ...]]], Expression]:
        """A contraction's bounds as loop limits of its reduced variables; bounds that cannot be
        stay on the reads.
        """
        if not guard_variables(self.definition):
            return {}, term
        reduced = {a.variable for a in self.definition.reduced if a != self.vector}
        fixed = {v for v, _ in self.outer}
        lows: dict[Variable, list[Index]] = {}
        highs: dict[Variable, list[Index]] = {}
        turned: set[Bound] = set()
        whole = next(
            (
                (a.variable, a.extent)
                for a in self.definition.reduced
                if a.variable in reduced and isinstance(a.extent, int)
            ),
            None,
        )
        for read in reads(term):
            for bound in read.bounds:
                if whole is not None and bound.value.variables <= fixed and bound.high is not None:
                    # Nothing to sum in this block unless the bound holds: the loop ends below 0.
                    inside_by = (bound.value - (bound.low - 1), bound.high - bound.value)
                    highs.setdefault(whole[0], []).extend(b * whole[1] for b in inside_by)
                    turned.add(bound)
                    continue
                inside = [v for v in bound.value.variables if v in reduced]
                if (
                    len(inside) != 1
                    or bound.value.variables - fixed - {inside[0]}
                    or bound.high is None
                ):
                    continue
                variable = inside[0]
                factor = bound.value.coefficient(variable)
                if not factor or not bound.value.is_linear_in(variable):
                    continue
                rest = bound.value.without(variable)
                least, most = (bound.low - rest, (bound.high - 1) - rest)
                if factor < 0:
                    least, most, factor = -most, -least, -factor
                lows.setdefault(variable, []).append((least + (factor - 1)) // factor)
                highs.setdefault(variable, []).append(most // factor + 1)
                turned.add(bound)
        limits = {
            v: (tuple(dict.fromkeys(lows.get(v, []))), tuple(dict.fromkeys(highs.get(v, []))))
            for v in lows.keys() | highs.keys()
        }
        return limits, _without_bounds(term, turned)

    def _finish(self, acc: Buffer | None) -> tuple[Statement, ...]:
        stores: list[Statement] = []
        for output in self.definition.outputs:
            value = substitute(output.value, self.place)
            if acc is not None:
                at = self._at_accumulator()
                products = self.definition.combine in ("fma", "dot")
                combine = "sum" if products else str(self.definition.combine)
                value = with_accumulator(
                    value, Lanes(combine, acc, at[:-1]) if self.in_lanes else Read(acc, at)
                )
            indices = tuple(i.substitute(self.place) for i in output.indices)
            stores.append(Store(output.buffer, indices, value))
        return (self._unroll(tuple(stores), not self.in_lanes, self.active),)

    def _in_order(self) -> list[tuple[Variable, Index]]:
        """The loops over blocks, outermost first: as the schedule says; else as they lie in
        memory, or, if lanes are samples, rows of an image first and samples last.
        """
        order = self.schedule.order
        if order:
            return sorted(self.outer, key=lambda loop: order.index(self.axis[loop[0]]))
        samples = [o for o in self.outer if not o[1].is_constant]
        others = [o for o in self.outer if o[1].is_constant]
        if self.vector is None or not self.vector.is_batch:
            return samples + others
        others.sort(key=lambda block: block[0].name.rstrip("o") not in ROWS)
        enough = math.prod(c.constant for _, c in others) >= FEW_TASKS
        return others + samples if enough else samples + others

    def _outer_loops(self, body: tuple[Statement, ...]) -> Statement:
        """Loops over blocks. Leading ones of known extent join into one parallel loop of enough
        tasks.
        """
        outer = self._in_order()
        work = (
            math.prod(c.constant for _, c in outer if c.is_constant)
            * math.prod(t for _, t in self.unrolled)
            * max(self.lanes, 1)
            * len(self.definition.outputs)
        )
        for axis in self.definition.reduced:
            work *= axis.extent if isinstance(axis.extent, int) else 64
        return spread(outer, body, work)


def _piece(axis: Axis, size: int) -> Variable:
    """The number of a piece along a summed axis."""
    count = axis.extent // size if isinstance(axis.extent, int) else None
    return Variable(f"{axis.variable.name}piece", count)


def _without_bounds(e: Expression, gone: set[Bound]) -> Expression:
    return map_reads(e, lambda r: replace(r, bounds=tuple(b for b in r.bounds if b not in gone)))

"""From rows and what runs in lanes to loops.

    parallel rows: for each stage: numbers; acc = identity; for elements: keep, acc += term, store

Lanes are rows (samples, most often) or elements of one row, whose sums end with all lanes made one
number. A sum has up to `CHAINS` accumulators, so that an addition need not wait for the one before.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from graphc.ir.index import Index, Variable, index
from graphc.loops.definition import Output, identity
from graphc.loops.language import (
    Accumulate,
    Allocate,
    Expression,
    Lanes,
    Literal,
    Read,
    Scalar,
    Statement,
    Store,
    loop,
    map_reads,
    substitute,
)
from graphc.loops.memory import Buffer, Stride
from graphc.loops.nest import LANE, Part, fixed_parts, parts_along
from graphc.loops.rows import RowDefinition, Stage, Sum
from graphc.loops.schedule import Schedule
from graphc.loops.tasks import spread

CHAINS = 4
MOST_ACCUMULATORS = 8
COMBINED = {"sum": "add", "maximum": "maximum", "minimum": "minimum"}


def build_rows(definition: RowDefinition, schedule: Schedule) -> tuple[Statement, ...]:
    """The loops of a kernel over rows."""
    parts = [parts_along(a, definition, schedule) for a in definition.axes]
    regions = itertools.product(*parts)
    return tuple(_Rows(definition, schedule, region).statement() for region in regions)


class _Rows:
    """The loops over some of the rows: whole vectors of them, say, or the rest."""

    def __init__(
        self, definition: RowDefinition, schedule: Schedule, parts: Sequence[Part]
    ) -> None:
        self.definition, self.vector = definition, schedule.vector
        self.lane = index(replace(LANE, extent=schedule.lanes))
        self.lanes = schedule.lanes
        self.rows_in_lanes = self.vector in definition.axes
        self.active: Index | None = None
        self.outer: list[tuple[Variable, Index]] = []
        self.place: dict[Variable, Index] = {}
        for part in parts:
            self._place(part)
        # The axis along which a sum has several accumulators is the innermost.
        *self.others, self.inner = sorted(definition.reduced, key=lambda a: a == self.vector)
        self.own = {b: self._in_lanes(b) for b in (*definition.numbers, *definition.kept)}

    def _place(self, part: Part) -> None:
        variable, at = part.axis.variable, part.base
        step = self.lanes if part.axis == self.vector else 1
        if part.count != index(1):
            extent = part.count.constant if part.count.is_constant else None
            outer = Variable(f"{variable.name}o" if step > 1 else variable.name, extent)
            self.outer.append((outer, part.count))
            at = at + index(outer) * step
        if part.axis == self.vector:
            at, self.active = at + self.lane, part.active
        self.place[variable] = at

    def _in_lanes(self, buffer: Buffer) -> Buffer:
        """A number or array of one row, or of as many rows as there are lanes."""
        if not self.rows_in_lanes:
            return buffer
        strides = tuple(Stride(s.fixed * self.lanes) for s in buffer.strides)
        return replace(buffer, shape=(*buffer.shape, self.lanes), strides=(*strides, Stride(1)))

    def statement(self) -> Statement:
        """All of it."""
        definition = self.definition
        body = tuple(s for stage in definition.stages for s in self._stage(stage))
        for buffer in reversed(self.own.values()):
            body = (Allocate(buffer, body),)
        counts = [c.constant for _, c in self.outer if c.is_constant]
        elements = math.prod(a.extent for a in definition.reduced)  # type: ignore[misc]
        work = math.prod(counts) * elements * self.lanes * len(definition.expressions)
        samples = [o for o in self.outer if not o[1].is_constant]
        return spread(samples + [o for o in self.outer if o not in samples], body, work)

    def _stage(self, stage: Stage) -> list[Statement]:
        found = [
            self._grouped([self._stored(o)], self.rows_in_lanes, self.active) for o in stage.numbers
        ]
        chains = self._chains(stage)
        sums = [(s, self._accumulator(s, chains)) for s in stage.sums]
        body = [self._cleared(acc, s.combine) for s, acc in sums]
        if stage.kept or stage.sums or stage.results:
            body.append(self._along(stage, sums, chains))
        body += [statement for s, acc in sums for statement in self._total(s, acc)]
        for _, acc in reversed(sums):
            body = [Allocate(acc, tuple(body))]
        return found + body

    # -- values and places --------------------------------------------------------------------

    def _grouped(
        self, statements: Sequence[Statement], in_lanes: bool, active: Index | None = None
    ) -> Statement:
        """Statements that read everything before they write anything."""
        if not in_lanes:
            return loop(Variable("once", 1), 1, "unroll", tuple(statements))
        (lane,) = self.lane.variables
        high = () if active is None else (active,)
        return loop(lane, self.lanes, "vector", tuple(statements), lanes=self.lanes, high=high)

    def _stored(self, output: Output, inside: dict[Variable, Index] | None = None) -> Store:
        place = self.place | (inside or {})
        indices = tuple(i.substitute(place) for i in output.indices)
        value = self._value(output.value, place)
        return Store(*self._where(output.buffer, indices), value)

    def _value(self, e: Expression, place: dict[Variable, Index]) -> Expression:
        def own(read: Read) -> Read:
            buffer, indices = self._where(read.buffer, read.indices)
            return replace(read, buffer=buffer, indices=indices)

        return map_reads(substitute(e, place), own)

    def _where(
        self, buffer: Buffer, indices: tuple[Index, ...]
    ) -> tuple[Buffer, tuple[Index, ...]]:
        """The kernel's own numbers and arrays, with their lanes; other buffers as they are."""
        if buffer not in self.own:
            return buffer, indices
        return self.own[buffer], (*indices, self.lane) if self.rows_in_lanes else indices

    # -- sums ----------------------------------------------------------------------------------

    def _chains(self, stage: Stage) -> int:
        """How many steps of a row are taken at a time, each with accumulators of its own."""
        extent = self.inner.extent
        assert isinstance(extent, int)
        fitting = MOST_ACCUMULATORS // max(1, len(stage.sums))
        return max(1, min(CHAINS, fitting, extent // self._width))

    @property
    def _width(self) -> int:
        """Elements of a row that one step takes."""
        return 1 if self.rows_in_lanes or self.vector is None else self.lanes

    def _accumulator(self, sum: Sum, chains: int) -> Buffer:
        shape = (chains, self.lanes) if self.vector is not None else (chains,)
        strides = (Stride(self.lanes), Stride(1))[-len(shape) :]
        return Buffer(f"{sum.result.name}_acc", sum.term.dtype, shape, strides, local=True)

    def _at(self, acc: Buffer, chain: Index) -> tuple[Index, ...]:
        return (chain, self.lane) if len(acc.shape) > 1 else (chain,)

    def _cleared(self, acc: Buffer, combine: str) -> Statement:
        chains = int(acc.shape[0])  # type: ignore[arg-type]
        chain = Variable("u", chains)
        nothing = Literal(identity(combine, acc.dtype), acc.dtype)
        start = Store(acc, self._at(acc, index(chain)), nothing)
        lanes = self._grouped([start], self.vector is not None)
        return loop(chain, chains, "unroll", lanes)

    def _total(self, sum: Sum, acc: Buffer) -> list[Statement]:
        """The accumulators made one number."""
        chains = [Read(acc, self._at(acc, index(k))) for k in range(int(acc.shape[0]))]  # type: ignore[arg-type]
        total: Expression = chains[0]
        for chain in chains[1:]:
            total = Scalar(COMBINED[sum.combine], (total, chain), acc.dtype)
        whole = Store(*self._where(sum.result, ()), total)
        if self.vector is None or self.rows_in_lanes:
            return [self._grouped([whole], self.rows_in_lanes)]
        first = [self._grouped([Store(acc, self._at(acc, Index()), total)], True)]
        across = Store(self.own[sum.result], (), Lanes(sum.combine, acc, (Index(),)))
        return (first if len(chains) > 1 else []) + [self._grouped([across], False)]

    # -- along a row ---------------------------------------------------------------------------

    def _along(self, stage: Stage, sums: Sequence[tuple[Sum, Buffer]], chains: int) -> Statement:
        """One loop along the row: what is kept first, for sums and results read it."""
        extent = self.inner.extent
        assert isinstance(extent, int)
        pieces = [
            self._piece(part, stage, sums)
            for part in fixed_parts(self.inner, extent, self._width, chains)
        ]
        body: tuple[Statement, ...] = tuple(pieces)
        for axis in reversed(self.others):
            body = (loop(axis.variable, index(axis.extent), "serial", body),)  # type: ignore[arg-type]
        return body[0] if len(body) == 1 else loop(Variable("once", 1), 1, "unroll", body)

    def _piece(self, part: Part, stage: Stage, sums: Sequence[tuple[Sum, Buffer]]) -> Statement:
        name = part.axis.variable.name
        many = part.count != index(1)
        steps, chain = Variable(f"{name}o", part.count.constant), Variable(f"{name}u", part.tile)
        at = part.base + index(chain) * self._width
        at = at + index(steps) * (part.tile * self._width) if many else at
        in_lanes = self.vector is not None
        inside = {part.axis.variable: at + self.lane if in_lanes and not self.rows_in_lanes else at}
        place = self.place | inside
        groups: list[list[Statement]] = [[self._stored(o, inside)] for o in stage.kept]
        groups.append(
            [
                Accumulate(acc, self._at(acc, index(chain)), s.combine, self._value(s.term, place))
                for s, acc in sums
            ]
        )
        groups.append([self._stored(o, inside) for o in stage.results])
        active = self.active if self.rows_in_lanes else part.active
        body = tuple(self._grouped(g, in_lanes, active) for g in groups if g)
        unrolled = loop(chain, part.tile, "unroll", body)
        return loop(steps, part.count, "serial", unrolled) if many else unrolled

"""What a kernel computes that goes over each row several times: a row is a sample's classes, say.

    for each row:  numbers of the row;  for all elements: keep, add up, store;  numbers;  for ...

`define_rows` puts everything into the earliest stage in which what it needs is known: a sum over
the row is known one stage later than its terms. Arithmetic that several sums or results share is
kept in an array of its own for one row; everything cheap is computed where it is read.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from graphc.base.errors import InternalError
from graphc.ir.graph import Graph
from graphc.ir.index import Index, Variable, index
from graphc.ir.node import Node
from graphc.ir.types import DType
from graphc.loops.definition import Axis, Definer, Indices, Output, axis_of, running
from graphc.loops.language import Expression, Read, substitute
from graphc.loops.memory import Buffer, Stride, buffer_of, stored
from graphc.ops.op import Bound, additions_of, family_of, op_of
from graphc.ops.rows import Row

COSTLY = 4  # additions: as much as a division; less is as fast as reading it
MOST_KEPT = 4


@dataclass(frozen=True)
class Sum:
    """result = combine over a row of `term`."""

    result: Buffer
    combine: str
    term: Expression


@dataclass(frozen=True)
class Stage:
    """First numbers of the row, then one loop along it: what is kept, sums, and results."""

    numbers: tuple[Output, ...]
    kept: tuple[Output, ...]
    sums: tuple[Sum, ...]
    results: tuple[Output, ...]

    def replaced(self, place: Mapping[Variable, Index]) -> Stage:
        """Itself with variables replaced."""
        return Stage(
            tuple(o.replaced(place) for o in self.numbers),
            tuple(o.replaced(place) for o in self.kept),
            tuple(replace(s, term=substitute(s.term, place)) for s in self.sums),
            tuple(o.replaced(place) for o in self.results),
        )


@dataclass(frozen=True)
class RowDefinition:
    """Stages for every index of `axes`, each along `reduced`: the axes of a row."""

    inputs: tuple[Buffer, ...]
    axes: tuple[Axis, ...]
    reduced: tuple[Axis, ...]
    stages: tuple[Stage, ...]

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        """All that is written element by element or row by row, in order."""
        return tuple(o for s in self.stages for o in (*s.numbers, *s.kept, *s.results))

    @property
    def written(self) -> tuple[Buffer, ...]:
        """The buffers of the results, by name."""
        own = {*self.kept, *self.numbers}
        found = {o.buffer for o in self.outputs} - own
        return tuple(sorted(found, key=lambda b: int(b.name.removeprefix("out"))))

    @property
    def kept(self) -> tuple[Buffer, ...]:
        """The arrays for one row."""
        return tuple(dict.fromkeys(o.buffer for s in self.stages for o in s.kept))

    @property
    def numbers(self) -> tuple[Buffer, ...]:
        """What holds one number of a row: sums, and what is computed from them."""
        numbers = (o.buffer for s in self.stages for o in s.numbers if o.buffer.local)
        sums = (s.result for stage in self.stages for s in stage.sums)
        return tuple(dict.fromkeys((*sums, *numbers)))

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """All of the memory that is not its own."""
        return (*self.inputs, *self.written)

    @property
    def expressions(self) -> list[Expression]:
        """All that it computes."""
        terms = [s.term for stage in self.stages for s in stage.sums]
        return [*terms, *(o.value for o in self.outputs)]

    def replaced(self, place: Mapping[Variable, Index]) -> RowDefinition:
        """Itself with variables replaced in everything but its lists of axes."""
        return replace(self, stages=tuple(s.replaced(place) for s in self.stages))


def define_rows(body: Graph, row: Row, room: int = 1 << 31) -> RowDefinition:
    """The definition of a kernel for `body`, which goes over `row` more than once.

    room: bytes for what is kept of a row; what goes beyond them is computed again.
    """
    return _RowDefiner(body, row, room).rows()


class _RowDefiner(Definer):
    """Values of nodes in a row: sums, numbers that are known before a loop, and kept elements."""

    def __init__(self, body: Graph, row: Row, room: int) -> None:
        super().__init__(body)
        self.row, self.room = row, room
        self.inside = tuple(index(row.variables[a]) for a in row.within)
        self.names = itertools.count()
        self.level: dict[Node, int] = {}
        for node in body.nodes:
            above = max((self.level[i] for i in node.inputs), default=0)
            self.level[node] = above + (family_of(node) == "reduction")
        self.sums = {n: self.number(n) for n in body.nodes if family_of(n) == "reduction"}
        self.kept = {node: self.array(k, node) for k, node in enumerate(self.worth_keeping())}
        self.numbers: list[list[Output]] = [[] for _ in range(max(self.level.values()) + 1)]

    def number(self, node: Node) -> Buffer:
        """What holds one number of a row."""
        name = f"{node.op.name}{next(self.names)}"
        return Buffer(name, node.tensor.dtype, (), (), local=True)

    def rows(self) -> RowDefinition:
        """Every stage, from the first."""
        axes = [axis_of(v.name, d) for v, d in zip(self.row.variables, self.row.shape, strict=True)]
        inside = [a for k, a in enumerate(axes) if k in self.row.within]
        outside = [a for k, a in enumerate(axes) if k not in self.row.within]
        parts = [
            (self.keeping(level), self.summing(level), self.resulting(level))
            for level in range(len(self.numbers))
        ]
        stages = (Stage(tuple(n), *p) for n, p in zip(self.numbers, parts, strict=True))
        return RowDefinition(
            tuple(self.buffers.values()),
            running(tuple(outside)),
            running(tuple(inside)),
            tuple(s for s in stages if s != Stage((), (), (), ())),
        )

    # -- what is kept --------------------------------------------------------------------------

    def worth_keeping(self) -> list[Node]:
        """Costly nodes that several sums or results need, each computed for one of them."""
        sites: dict[Node, set[object]] = {n: set() for n in self.body.nodes}
        for k, output in enumerate(self.body.outputs):
            sites[output].add(k)
        found = []
        for node in reversed(self.body.nodes):
            needed = sites[node]
            if family_of(node) == "reduction":
                needed = {node}
            elif len(needed) > 1 and self.is_element(node) and self.cost(node) >= COSTLY:
                found.append(node)
                needed = {node}
            for source in node.inputs:
                sites[source] |= needed
        found = found[: -MOST_KEPT - 1 : -1]
        while sum(n.tensor.dtype.itemsize for n in found) * self.row.length > self.room:
            found.pop()
        return found

    def is_element(self, node: Node) -> bool:
        """Whether a node is computed for every element of a row."""
        return family_of(node) == "elementwise" and self.row.is_whole(node)

    def cost(self, node: Node) -> int:
        """About how many additions an element takes, with all that is computed in its place."""
        total, seen, stack = 0, {node}, [node]
        while stack:
            current = stack.pop()
            total += additions_of(current)
            for i in current.inputs:
                once = self.row.place(i.tensor) is not None and not self.row.is_whole(i)
                if i not in seen and not once:
                    seen.add(i)
                    stack.append(i)
        return total

    def array(self, k: int, node: Node) -> Buffer:
        """An array for the elements of one row."""
        extents = [self.row.shape[a] for a in self.row.within]
        strides, step = [Stride(0)] * len(extents), 1
        for a in reversed(range(len(extents))):
            strides[a] = Stride(step)
            step *= extents[a]  # type: ignore[operator]
        return Buffer(f"row{k}", node.tensor.dtype, tuple(extents), tuple(strides))

    # -- stages --------------------------------------------------------------------------------

    def keeping(self, level: int) -> tuple[Output, ...]:
        """What is kept as soon as it is known: at this level."""
        return tuple(
            Output(buffer, self.inside, self.computed(node, self.place(node), ()))
            for node, buffer in self.kept.items()
            if self.level[node] == level
        )

    def summing(self, level: int) -> tuple[Sum, ...]:
        """The sums over what is known at this level."""
        return tuple(
            Sum(self.sums[n], str(op_of(n).combine), self.term(n))
            for n in self.sums
            if self.level[n] == level + 1
        )

    def resulting(self, level: int) -> tuple[Output, ...]:
        """The results with as many elements as a row that are known at this level; those of one
        number become its numbers.
        """
        found: list[Output] = []
        for k, node in enumerate(self.body.outputs):
            if self.level[node] != level:
                continue
            place = self.place(node)
            to = found if self.row.is_whole(node) else self.numbers[level]
            value = self.value(node, place, ())
            to.append(Output(buffer_of(f"out{k}", node.tensor), stored(node.tensor, place), value))
        return tuple(found)

    def place(self, node: Node) -> Indices:
        """The index at which every row reads a node."""
        place = self.row.place(node.tensor)
        if place is None:
            raise InternalError(f"{self.body.name}: {node.tensor} is no part of rows {self.row}")
        return place

    def term(self, node: Node) -> Expression:
        """What a reduction adds up."""
        op, (source,) = op_of(node), node.inputs
        assert op.body is not None
        value = self.value(source, self.place(source), ())
        found: Expression = op.body(
            self.vocabulary, self.place(node), self.inside, value, **node.attrs
        )
        return found

    # -- values --------------------------------------------------------------------------------

    def compute(self, node: Node, at: Indices, bounds: tuple[Bound, ...]) -> Expression:
        """Sums, kept elements and numbers are read; everything else is computed in place."""
        if node in self.sums:
            if at != self.place(node):
                raise InternalError(f"{self.body.name}: a row needs {node.op.name} of another")
            return Read(self.sums[node], ())
        if node in self.kept and at == self.place(node):
            return Read(self.kept[node], self.inside)
        value = self.computed(node, at, bounds)
        if bounds or not self.is_number(node, at):
            return value
        buffer = self.number(node)
        self.numbers[self.level[node]].append(Output(buffer, (), value))
        return Read(buffer, ())

    def computed(self, node: Node, at: Indices, bounds: tuple[Bound, ...]) -> Expression:
        """The value of a node, computed in place."""
        return super().compute(node, at, bounds)

    def is_number(self, node: Node, at: Indices) -> bool:
        """Whether a node's value is computed once a row: it is the same along the row, but not
        for all rows.
        """
        if family_of(node) != "elementwise" or node.tensor.dtype is DType.bool:
            return False
        moving = any(i.variables for i in at)
        inside = {v for i in self.inside for v in i.variables}
        return (moving or self.level[node] > 0) and not any(i.variables & inside for i in at)

"""What a kernel computes, before any choice of how: loops over output indices, perhaps a
reduction, output expressions.

`define` reads a fused body (or a single node): at most one reduction or contraction, everything
elementwise before it is computed in place of each read, everything after it from the accumulated
value. It switches on op families only. Several reductions over the same rows: `rows`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from graphc.base.errors import InternalError
from graphc.ir.graph import Graph, make_input
from graphc.ir.index import Index, Variable, index
from graphc.ir.node import Node, remake
from graphc.ir.types import Batch, Dim, DType, TupleType
from graphc.loops.language import Expression, Literal, Position, Read, Scalar, map_reads, substitute
from graphc.loops.memory import Buffer, buffer_of, stored
from graphc.ops.op import Access, Bound, Op, op_of
from graphc.ops.scalar import COMPARISONS, LOGICAL, Value, Vocabulary

Indices = tuple[Index, ...]
ACCUMULATOR = Buffer("accumulator", DType.f32, (), ())


@dataclass(frozen=True)
class Axis:
    """One loop: its variable and its extent, a number or the batch."""

    variable: Variable
    extent: Dim

    @property
    def is_batch(self) -> bool:
        """Whether it runs over the samples."""
        return isinstance(self.extent, Batch)


@dataclass(frozen=True)
class Output:
    """One result: where it goes and its value; the accumulated value occurs as a read of
    ACCUMULATOR.
    """

    buffer: Buffer
    indices: Indices
    value: Expression

    def replaced(self, place: Mapping[Variable, Index]) -> Output:
        """Itself with variables replaced."""
        indices = tuple(i.substitute(place) for i in self.indices)
        return replace(self, indices=indices, value=substitute(self.value, place))


@dataclass(frozen=True)
class Definition:
    """out[axes] = value(combine over `reduced` of `term`)."""

    inputs: tuple[Buffer, ...]
    outputs: tuple[Output, ...]
    axes: tuple[Axis, ...]
    reduced: tuple[Axis, ...] = ()
    combine: str | None = None
    term: Expression | None = None
    is_contraction: bool = False

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """All that it touches."""
        return (*self.inputs, *(o.buffer for o in self.outputs))

    @property
    def written(self) -> tuple[Buffer, ...]:
        """The buffers of the results, each once."""
        return tuple(dict.fromkeys(o.buffer for o in self.outputs))

    @property
    def expressions(self) -> list[Expression]:
        """All that it computes."""
        values = [o.value for o in self.outputs]
        return values if self.term is None else [self.term, *values]

    def replaced(self, place: Mapping[Variable, Index]) -> Definition:
        """Itself with variables replaced in everything but its lists of axes."""
        outputs = tuple(o.replaced(place) for o in self.outputs)
        term = None if self.term is None else substitute(self.term, place)
        return replace(self, outputs=outputs, term=term)


class Expressions(Vocabulary):
    """The scalar vocabulary, building loop expressions."""

    def constant(self, value: float | int | bool, like: Value) -> Value:
        return self.literal(value, like.dtype)

    def literal(self, value: float | int | bool, dtype: DType) -> Value:
        kind = float if dtype.is_float else bool if dtype is DType.bool else int
        return Literal(kind(value), dtype)

    def unary(self, name: str, x: Value) -> Value:
        return Scalar(name, (x,), DType.bool if name in LOGICAL else x.dtype)

    def binary(self, name: str, x: Value, y: Value) -> Value:
        return Scalar(name, (x, y), DType.bool if name in COMPARISONS | LOGICAL else x.dtype)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        return Scalar("fma", (x, y, z), x.dtype)

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        return Scalar("select", (condition, x, y), x.dtype)

    def cast(self, x: Value, dtype: DType) -> Value:
        return x if x.dtype is dtype else Scalar("cast", (x,), dtype)

    def position(self, index: Index, dtype: DType) -> Value:
        return Position(index, dtype)


def body_of(node: Node) -> Graph:
    """The body of a fused node; for any other node a body of just it."""
    if node.op.name == "fused":
        body: Graph = node.attrs["body"]
        return body
    inputs: dict[Node, Node] = {}
    for source in node.inputs:
        inputs.setdefault(source, make_input(f"in{len(inputs)}", source.tensor))
    copy = remake(node, tuple(inputs[i] for i in node.inputs))
    if isinstance(copy.type, TupleType):
        raise InternalError(
            f"{node.op.name} has several results and no fused body: decompose it first"
        )
    return Graph(node.op.name, list(inputs.values()), [copy])


def define(body: Graph) -> Definition:
    """The definition of a kernel for `body`. Raises InternalError if it holds more than one
    reduction.
    """
    return Definer(body).result()


class Definer:
    """Values of a body's nodes as expressions, and the definition they make."""

    def __init__(self, body: Graph) -> None:
        self.body = body
        self.vocabulary = Expressions()
        self.buffers = {
            node: buffer_of(f"in{k}", node.tensor) for k, node in enumerate(body.inputs)
        }
        self.heroes = [
            n
            for n in body.nodes
            if isinstance(n.op, Op) and n.op.family in ("reduction", "contraction", "tile")
        ]
        self.hero = self.heroes[0] if self.heroes else None
        self.done: dict[tuple[Node, Indices, tuple[Bound, ...]], Expression] = {}

    def result(self) -> Definition:
        """One loop nest for all outputs. Raises InternalError if there are several reductions."""
        if len(self.heroes) > 1:
            raise InternalError(
                f"{self.body.name} holds {len(self.heroes)} reductions, but no rows they share"
            )
        inputs = tuple(self.buffers.values())
        if self.hero is None:
            axes = self.axes_of(self.body.outputs[0])
            at = tuple(index(a.variable) for a in axes)
            return Definition(inputs, self.outputs(at), running(axes))
        op = op_of(self.hero)
        if op.family == "contraction":
            return self.contraction(op, self.hero)
        if op.family == "tile":
            return self.tile(op, self.hero)
        return self.reduction(op, self.hero)

    def axes_of(self, node: Node) -> tuple[Axis, ...]:
        return tuple(
            axis_of("n" if isinstance(d, Batch) else f"i{k}", d)
            for k, d in enumerate(node.tensor.shape)
        )

    def outputs(self, at: Indices) -> tuple[Output, ...]:
        return tuple(
            Output(
                buffer_of(f"out{k}", node.tensor), stored(node.tensor, at), self.value(node, at, ())
            )
            for k, node in enumerate(self.body.outputs)
        )

    def contraction(self, op: Op, hero: Node) -> Definition:
        assert op.contraction is not None
        spec = op.contraction(tuple(i.tensor for i in hero.inputs), hero.attrs)
        axes = tuple(axis_of(name, extent) for name, extent in spec.axes)
        reduced = tuple(axis_of(name, extent) for name, extent in spec.reduced)
        where = {a.variable.name: index(a.variable) for a in (*axes, *reduced)}
        out, left, right = spec.access(where)
        dtype = hero.tensor.dtype
        factors = [
            self.vocabulary.cast(self.factor(source, at), dtype)
            for source, at in zip(hero.inputs, (left, right), strict=True)
        ]
        term = Scalar("mul", tuple(factors), dtype)
        return Definition(
            tuple(self.buffers.values()),
            self.outputs(out),
            running(axes),
            running(reduced),
            "fma",
            term,
            True,
        )

    def tile(self, op: Op, hero: Node) -> Definition:
        """Every result of a tile is an output of its own, all of them to the same buffers."""
        assert op.tile is not None and op.body is not None
        spec = op.tile(tuple(i.tensor for i in hero.inputs), hero.attrs)
        axes = tuple(axis_of(name, extent) for name, extent in spec.axes)
        where = {a.variable.name: index(a.variable) for a in axes}
        values = [self.factor(hero.inputs[0], at) for at in spec.reads(where)]
        results = op.body(self.vocabulary, values, **hero.attrs)
        places = spec.writes(where)
        for at, result in zip(places, results, strict=True):
            self.done[hero, at, ()] = result
        outputs = tuple(output for at in places for output in self.outputs(at))
        return Definition(tuple(self.buffers.values()), outputs, running(axes))

    def factor(self, source: Node, at: Indices) -> Expression:
        """An operand of a contraction or a tile, 0 where its index is outside."""
        bounds = _outside(at, source.tensor.shape)
        value = self.value(source, at, bounds)
        if not bounds or _gives_zero_outside(value):
            return value
        zero = self.vocabulary.literal(0.0, source.tensor.dtype)
        inside = Scalar("within", (), DType.bool, bounds)
        return Scalar("select", (inside, value, zero), source.tensor.dtype)

    def reduction(self, op: Op, hero: Node) -> Definition:
        assert op.access is not None and op.domain is not None and op.body is not None
        types = tuple(i.tensor for i in hero.inputs)
        axes = self.axes_of(hero)
        reduced = tuple(
            axis_of("n" if isinstance(d, Batch) else f"r{k}", d)
            for k, d in enumerate(op.domain(types, hero.attrs))
        )
        at = tuple(index(a.variable) for a in axes)
        taps = tuple(index(a.variable) for a in reduced)
        access: Access = op.access(at, taps, types, hero.attrs)
        bounds = access.bounds + tuple(
            b
            for place, source in zip(access.indices, hero.inputs, strict=True)
            for b in _outside(place, source.tensor.shape)
        )
        bounds = tuple(dict.fromkeys(b for b in bounds if not _certain(b)))
        values = [
            self.value(s, p, bounds) for s, p in zip(hero.inputs, access.indices, strict=True)
        ]
        term: Expression = op.body(self.vocabulary, at, taps, *values, **hero.attrs)
        if bounds:
            missing = Literal(identity(str(op.combine), hero.tensor.dtype), hero.tensor.dtype)
            term = Scalar(
                "select",
                (Scalar("within", (), DType.bool, bounds), term, missing),
                hero.tensor.dtype,
            )
        return Definition(
            tuple(self.buffers.values()),
            self.outputs(at),
            running(axes),
            running(reduced),
            op.combine,
            term,
        )

    def value(self, node: Node, at: Indices, bounds: tuple[Bound, ...]) -> Expression:
        """The value of `node` at an index; under `bounds` its reads give 0 where they do not
        hold.
        """
        key = (node, at, bounds)
        found = self.done.get(key)
        if found is None:
            found = self.done[key] = self.compute(node, at, bounds)
        return found

    def compute(self, node: Node, at: Indices, bounds: tuple[Bound, ...]) -> Expression:
        """What `value` is, the first time."""
        if node is self.hero:
            if node.tensor.dtype is DType.f32:
                return Read(ACCUMULATOR, ())
            return Read(Buffer(ACCUMULATOR.name, node.tensor.dtype, (), ()), ())
        if node in self.buffers:
            return Read(self.buffers[node], stored(node.tensor, at), bounds if at else ())
        op = op_of(node)
        if op.family == "elementwise":
            assert op.body is not None
            arguments = [self.value(i, at, bounds) for i in node.inputs]
            return op.body(self.vocabulary, *arguments, **node.attrs)  # type: ignore[no-any-return]
        if op.family == "create":
            assert op.body is not None
            scalars = [self.value(i, (), bounds) for i in node.inputs]
            return op.body(self.vocabulary, at, *scalars, **node.attrs)  # type: ignore[no-any-return]
        if op.family == "view":
            return self.view(op, node, at, bounds)
        raise InternalError(f"{op.name} of family {op.family} cannot be part of a kernel")

    def view(self, op: Op, node: Node, at: Indices, bounds: tuple[Bound, ...]) -> Expression:
        assert op.access is not None
        source = node.inputs[0]
        access: Access = op.access(at, (source.tensor,), node.attrs)
        (place,) = access.indices
        extra = tuple(
            b for b in (*access.bounds, *_outside(place, source.tensor.shape)) if not _certain(b)
        )
        inner = self.value(source, place, tuple(dict.fromkeys((*bounds, *extra))))
        if not extra:
            return inner
        fill = node.attrs.get("value", 0)
        if _gives_zero_outside(inner) and fill == 0 and str(fill) != "-0.0":
            return inner
        dtype = node.tensor.dtype
        filling = self.vocabulary.literal(fill, dtype)
        return Scalar("select", (Scalar("within", (), DType.bool, extra), inner, filling), dtype)


def with_accumulator(value: Expression, total: Expression) -> Expression:
    """`value` with what was accumulated put in."""
    return map_reads(value, lambda r: total if r.buffer.name == ACCUMULATOR.name else r)


def identity(combine: str, dtype: DType) -> float | int:
    """What combining starts from."""
    if combine in ("sum", "fma", "dot"):
        return 0.0 if dtype.is_float else 0
    if dtype.is_float:
        return float("-inf") if combine == "maximum" else float("inf")
    limits = np.iinfo(dtype.value)
    return int(limits.min if combine == "maximum" else limits.max)


def axis_of(name: str, extent: Dim) -> Axis:
    """A loop over an extent."""
    return Axis(Variable(name, None if isinstance(extent, Batch) else extent), extent)


def running(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The axes that need a loop."""
    return tuple(a for a in axes if a.extent != 1)


def _outside(at: Indices, shape: tuple[Dim, ...]) -> tuple[Bound, ...]:
    """Bounds for the indices that may leave their axis; the batch variable never does."""
    found = []
    for i, extent in zip(at, shape, strict=True):
        if isinstance(extent, Batch):
            continue
        low, high = i.bounds()
        if low is None or high is None or low < 0 or high >= extent:
            found.append(Bound(i, 0, extent))
    return tuple(found)


def _gives_zero_outside(value: Expression) -> bool:
    """Whether `value` is a read under bounds; a single number is read without any."""
    return isinstance(value, Read) and bool(value.bounds)


def _certain(bound: Bound) -> bool:
    low, high = bound.value.bounds()
    if low is None or low < bound.low or bound.high is None:
        return False
    return high is not None and high < bound.high

"""An op in one place: the record, and the families it can belong to.

A family supplies what its ops share: how the shape rule checks inputs, how the op lowers to loops,
how many floating point operations it costs. Lowering, fusion and the numpy interpreter switch on
the family, never on an op's name.

===========  ================================================  ===========================
family       meaning                                           lowers by
===========  ================================================  ===========================
elementwise  out[i] = body(a[i], b[i], ...), all of one shape  `body`
view         out[i] = a[access(i)], or a fill value outside    `access`
create       out[i] = body(i, scalars ...)                     `body`
reduction    out[i] = combine over r of                        `access`, `body`, `combine`
             body(a[access(i, r)], ...)
contraction  out[i] = sum over r of a[f(i, r)] * b[g(i, r)]    `contraction`
tile         out[w1(i)], out[w2(i)], ... =                     `tile`, `body`
             body(a[r1(i)], a[r2(i)], ...)
alias        the same elements in the same order               nothing to run
layer        what its decomposition means                      `decompose`
===========  ================================================  ===========================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from graphc.base.errors import GraphcError
from graphc.ir import layouts
from graphc.ir.index import Index, Variable, index
from graphc.ir.node import Attrs, Node, Operator, register
from graphc.ir.rewrite import Rule
from graphc.ir.types import Batch, Dim, DType, TensorType, Type
from graphc.ops.scalar import Value, WeighOperations

FAMILIES = (
    "elementwise",
    "view",
    "create",
    "reduction",
    "contraction",
    "tile",
    "alias",
    "layer",
    "structure",
)


@dataclass(frozen=True)
class Bound:
    """The condition low <= value < high; high None is the batch size."""

    value: Index
    low: int
    high: int | None

    def __str__(self) -> str:
        return f"{self.low} <= {self.value} < {'N' if self.high is None else self.high}"


@dataclass(frozen=True)
class Access:
    """Which element of each input is read, and when the read counts at all.

    An index outside its input's extents never counts; `bounds` are conditions beyond that.
    """

    indices: tuple[tuple[Index, ...], ...]
    bounds: tuple[Bound, ...] = ()


@dataclass(frozen=True)
class Contraction:
    """out[output(i)] = sum over r of a[left(i, r)] * b[right(i, r)]; an index outside its input
    counts as zero.

    axes: names and extents of the output's loops; reduced: of the summed loops. `access` maps their
    indices to (output indices, left indices, right indices).
    """

    axes: tuple[tuple[str, Dim], ...]
    reduced: tuple[tuple[str, Dim], ...]
    access: Callable[
        [Mapping[str, Index]], tuple[tuple[Index, ...], tuple[Index, ...], tuple[Index, ...]]
    ]


@dataclass(frozen=True)
class Tile:
    """Several results at a time from several elements of one input; an index outside counts as
    zero.

    axes: names and extents of the loops. reads and writes: from their indices to those of the
    input's elements and of the results; `body` makes the ones of the others.
    """

    axes: tuple[tuple[str, Dim], ...]
    reads: Callable[[Mapping[str, Index]], tuple[tuple[Index, ...], ...]]
    writes: Callable[[Mapping[str, Index]], tuple[tuple[Index, ...], ...]]


@dataclass(frozen=True)
class Sample:
    """Inputs that drive the generated tests of an op.

    types: input types as text. attrs: the node's attributes, every one of them. values: how to
    draw each input ("normal", "positive", "distinct", "labels:10", "labels:3:10", "probability",
    "unit"), one for all or one each. raises: part of the message a bad sample must raise.
    differentiable: which inputs have a gradient worth checking (None: all floats).
    """

    types: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    values: str | tuple[str, ...] = "normal"
    raises: str | None = None
    differentiable: tuple[int, ...] | None = None


def sample(
    *types: str,
    values: str | tuple[str, ...] = "normal",
    raises: str | None = None,
    differentiable: tuple[int, ...] | None = None,
    **attrs: Any,
) -> Sample:
    """A `Sample`, written short."""
    return Sample(types, attrs, values, raises, differentiable)


Gradient = Callable[..., Sequence[Node | None]]
Builder = Callable[..., Node]


@dataclass(frozen=True, eq=False)
class Op(Operator):
    """One op. Fields that a family does not use stay None.

    rule: (input types, attrs) -> result type. numpy: the meaning, on arrays, attributes as keywords
    (and the batch size `n`, but for elementwise ops and contractions); the oracle of every test; a
    layer without one means its decomposition. build: the function users call. vjp: (g, y, *inputs,
    **attrs) -> one gradient, or None, for each input. storage: whether it takes bf16, as ops
    that move or multiply do.
    """

    name: str
    family: str
    rule: Callable[[tuple[TensorType, ...], Attrs], Type]
    numpy: Callable[..., Any] | None
    build: Callable[..., Any]
    vjp: Gradient | None = None
    body: Callable[..., Value] | None = None
    access: Callable[..., Any] | None = None
    domain: Callable[[tuple[TensorType, ...], Attrs], tuple[Dim, ...]] | None = None
    combine: str | None = None
    contraction: Callable[[tuple[TensorType, ...], Attrs], Contraction] | None = None
    tile: Callable[[tuple[TensorType, ...], Attrs], Tile] | None = None
    decompose: Callable[..., Any] | None = None
    samples: tuple[Sample, ...] = ()
    rules: tuple[Rule, ...] = ()
    arity: int | None = None
    storage: bool = False

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise GraphcError(
                f"op {self.name}: there is no family {self.family!r}",
                remedy="families: " + ", ".join(FAMILIES),
            )
        register(self)

    @cached_property
    def attributes(self) -> Mapping[str, frozenset[type]] | None:
        """The types that each attribute can have, as the samples show; None without samples."""
        good = [s.attrs for s in self.samples if s.raises is None]
        if not good:
            return None
        return {name: frozenset(type(attrs[name]) for attrs in good) for name in good[0]}

    def _check_attributes(self, attrs: Attrs) -> None:
        known = self.attributes
        if known is None:
            return
        if attrs.keys() != known.keys():
            own = f"the attributes {', '.join(sorted(known))}" if known else "no attributes"
            raise GraphcError(
                f"{self.name} has {own}, not {', '.join(sorted(attrs)) or 'none'}",
                remedy="give each of its attributes, and no other",
            )
        wrong = next((n for n in attrs if type(attrs[n]) not in known[n]), None)
        if wrong is not None:
            kinds = " or ".join(sorted(t.__name__ for t in known[wrong]))
            raise GraphcError(
                f"{self.name}: {wrong}={attrs[wrong]!r} is a {type(attrs[wrong]).__name__}",
                remedy=f"give {wrong} as {kinds}",
            )

    def infer(self, inputs: tuple[Type, ...], attrs: Attrs) -> Type:
        self._check_attributes(attrs)
        if self.arity is not None and len(inputs) != self.arity:
            raise GraphcError(
                f"{self.name} takes {self.arity} input{'s' if self.arity != 1 else ''}, "
                f"not {len(inputs)}",
                remedy="give it that many tensors",
            )
        if not self._takes_storage:
            stored = next((i for i in inputs if _is_storage(i)), None)
            if stored is not None:
                raise GraphcError(
                    f"{self.name}: input {stored} is only for storage", remedy="cast it to f32"
                )
        several = next((i for i in inputs if not isinstance(i, TensorType)), None)
        if several is not None and self.family != "structure":
            raise GraphcError(
                f"{self.name}: an input has several results {several}", remedy="take one with get"
            )
        return self.rule(inputs, attrs)  # type: ignore[arg-type]

    @property
    def _takes_storage(self) -> bool:
        return self.storage or self.family in ("view", "alias", "contraction", "structure")

    @property
    def doc(self) -> str:
        """What the op does, from its builder's docstring."""
        return (self.build.__doc__ or "").strip()

    def __repr__(self) -> str:
        return f"<op {self.name}>"


def _is_storage(type: Type) -> bool:
    return isinstance(type, TensorType) and type.dtype is DType.bf16


def op_of(node: Node) -> Op:
    """The op record of a node that is not an input."""
    assert isinstance(node.op, Op)
    return node.op


def family_of(node: Node) -> str:
    """The family of a node's op; "input" for inputs."""
    return node.op.family if isinstance(node.op, Op) else "input"


def additions_of(node: Node) -> int:
    """About how many additions one element of an elementwise or created node takes; 0 for others.

    >>> from graphc.ir.text import parse
    >>> additions_of(parse("graph g(%x: f32[]) { %y = div(%x, %x) : f32[] return %y }").outputs[0])
    4
    """
    if family_of(node) not in ("elementwise", "create"):
        return 0
    op, counter = op_of(node), WeighOperations()
    assert op.body is not None
    at = [index(Variable(f"i{k}")) for k in range(node.tensor.rank)]
    place = (tuple(at),) if op.family == "create" else ()
    op.body(counter, *place, *[None] * len(node.inputs), **node.attrs)
    return counter.count


def common_layout(inputs: Sequence[TensorType]) -> str:
    """The layout of a result, as its inputs' layouts have it."""
    return layouts.common([t.layout for t in inputs])


def extent_product(extents: Sequence[Dim], n: int) -> int:
    """Product of extents with N = n."""
    return math.prod(n if isinstance(e, Batch) else e for e in extents)

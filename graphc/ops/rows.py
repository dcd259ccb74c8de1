"""What can be computed row by row: reductions along the same axes of tensors of one shape, and the
elementwise ops around them.

    m = max(x, axes=1); e = exp(x - m); y = e / sum(e, axes=1)     x: [N,10], N rows of 10

A `Row` is that shape with the axes that lie inside a row. Its tensors are *whole* (of the shape) or
hold one number a row; all of them are read at the same place, so that no row needs another. The
place is data, `place(type)`: fusion checks with it what may join, lowering makes loops of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from graphc.ir.graph import Graph
from graphc.ir.index import Index, Variable, index
from graphc.ir.layouts import BATCH_LAST, CHANNELS_LAST, ROW_MAJOR
from graphc.ir.node import Node
from graphc.ir.types import Batch, Dim, DType, Shape, TensorType
from graphc.ops.op import Access, family_of, op_of

Indices = tuple[Index, ...]
PLAIN = (ROW_MAJOR, BATCH_LAST, CHANNELS_LAST)


@dataclass(frozen=True)
class Row:
    """Tensors of a shape, and the axes that one row has, ascending. The batch is never one of them.

    layout: that of what is summed; others may differ, as long as none lies in blocks.

    >>> from graphc.ir.types import N, parse_type
    >>> row = Row((N, 10), (1,), "batch_first")
    >>> row.place(parse_type("f32[N,10]")), row.place(parse_type("f32[N,1]"))
    ((Index(n), Index(i1)), (Index(n), Index(0)))
    """

    shape: Shape
    within: tuple[int, ...]
    layout: str

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """The loop variable of each axis of the shape."""
        return tuple(
            Variable("n") if isinstance(d, Batch) else Variable(f"i{a}", d)
            for a, d in enumerate(self.shape)
        )

    @property
    def length(self) -> int:
        """Numbers of one row of a whole tensor."""
        return math.prod(d for a in self.within if isinstance(d := self.shape[a], int))

    @property
    def count(self) -> int | None:
        """How many rows there are; None if that depends on the batch."""
        others = [d for a, d in enumerate(self.shape) if a not in self.within]
        fixed = [d for d in others if isinstance(d, int)]
        return math.prod(fixed) if len(fixed) == len(others) else None

    def place(self, type: TensorType) -> Indices | None:
        """The index at which a tensor is read; None if it is neither whole nor one number a row."""
        if type.layout not in PLAIN:
            return None
        whole = tuple(map(index, self.variables))
        if type.shape == self.shape:
            return whole
        kept = [a for a in range(len(self.shape)) if a not in self.within]
        if type.shape == tuple(self.shape[a] for a in kept):
            return tuple(whole[a] for a in kept)
        ones: tuple[Dim, ...] = tuple(d if a in kept else 1 for a, d in enumerate(self.shape))
        if type.shape == ones:
            return tuple(i if a in kept else Index() for a, i in enumerate(whole))
        return None

    def is_whole(self, node: Node) -> bool:
        """Whether a node holds all numbers of a row."""
        return node.tensor.shape == self.shape

    def holds(self, node: Node) -> bool:
        """Whether a node of these rows is computed by an op that reads them row by row."""
        family = family_of(node)
        if family not in ("elementwise", "view", "reduction"):
            return False
        wide = isinstance(node.type, TensorType) and node.type.dtype is not DType.bf16
        place = self.place(node.tensor) if wide else None
        if place is None or family == "elementwise":
            return place is not None
        if family == "reduction":
            return row_of(node) == self
        (source,) = node.inputs
        access = op_of(node).access
        assert access is not None
        read: Access = access(place, (source.tensor,), node.attrs)
        return not read.bounds and read.indices == (self.place(source.tensor),)


def row_of(node: Node) -> Row | None:
    """The rows that a reduction along axes reads; None for any other node."""
    if family_of(node) != "reduction" or len(node.inputs) != 1:
        return None
    op, source = op_of(node), node.inputs[0].tensor
    assert op.access is not None and op.domain is not None
    taps = [Variable(f"r{k}") for k, _ in enumerate(op.domain((source,), node.attrs))]
    at = tuple(index(Variable(f"o{k}")) for k in range(node.tensor.rank))
    read: Access = op.access(at, tuple(map(index, taps)), (source,), node.attrs)
    (places,) = read.indices
    if read.bounds or any(p not in at and p not in map(index, taps) for p in places):
        return None
    within = tuple(a for a, p in enumerate(places) if p not in at)
    if len(set(places)) < len(places) or len(within) != len(taps) or not within:
        return None
    if any(isinstance(source.shape[a], Batch) for a in within) or source.layout not in PLAIN:
        return None
    row = Row(source.shape, within, source.layout)
    wide = node.tensor.dtype is not DType.bf16
    return row if wide and row.length > 1 and row.place(node.tensor) is not None else None


def row_of_body(body: Graph) -> Row | None:
    """The rows of a fused body that goes over each of them more than once; None if it does not."""
    families = [family_of(n) for n in body.nodes]
    if "reduction" not in families or {"contraction", "tile"} & set(families):
        return None
    first = body.nodes[families.index("reduction")]
    once = families.count("reduction") == 1
    if once and all(o.tensor.shape == first.tensor.shape for o in body.outputs):
        return None
    return row_of(first)

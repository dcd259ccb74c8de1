"""Shape inference as a report: every node's type with the formula behind it, numbers filled in.

Types are computed when a node is made, so there is nothing left to infer; this file shows how they
came about and, as a pass, proves them again. It states no shape rule of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.text import verify
from graphc.ops.op import family_of
from graphc.passes.base import Pass

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class InferredShape:
    """One node: the types of its inputs and of its result, as text.

    formula: for ops that slide a window, ``(32 - 5 + 0)/1 + 1 = 28`` vertically and horizontally.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    result: str
    formula: str


@dataclass(frozen=True)
class ShapeReport:
    """Every node of a graph but its inputs, in order."""

    graph: str
    rows: tuple[InferredShape, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for JSON."""
        return {"graph": self.graph, "nodes": [vars(row) for row in self.rows]}

    def __str__(self) -> str:
        lines = []
        for row in self.rows:
            given = ", ".join(row.inputs)
            formula = f"   {row.formula}" if row.formula else ""
            lines.append(f"{row.name}: {row.op}({given}) -> {row.result}{formula}")
        return "\n".join(lines)

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table(title=f"shapes of {self.graph}")
        for column in ("node", "inputs", "result", "formula"):
            table.add_column(column)
        for row in self.rows:
            table.add_row(row.name, ", ".join(row.inputs), row.result, row.formula)
        return table


def infer_shapes(graph: Graph) -> ShapeReport:
    """How every type of `graph` came about."""
    rows = tuple(
        InferredShape(
            graph.names[node],
            node.op.name,
            tuple(str(i.type) for i in node.inputs),
            str(node.type),
            window_formula(node),
        )
        for node in graph.nodes
        if family_of(node) != "input"
    )
    return ShapeReport(graph.name, rows)


def window_formula(node: Node) -> str:
    """(W - F + P)/S + 1 for both axes, numbers filled in; "" for an op of which it is not true.

    W is the size of the input, F the reach of the window (with dilation), P the padding of both
    sides and S the stride; the quotient is rounded down, or up in ceil_mode.
    """
    attrs = node.attrs
    if not {"stride", "padding"} <= attrs.keys() or "size" in attrs or not node.inputs:
        return ""
    contracted = family_of(node) == "contraction"
    window = node.inputs[1].tensor.concrete(1)[2:] if contracted else attrs["window"]
    sizes, results = (t.concrete(1)[2:] for t in (node.inputs[0].tensor, node.tensor))
    dilation, ceil_mode = attrs.get("dilation", (1, 1)), attrs.get("ceil_mode", False)
    found = []
    for axis in (0, 1):
        reach = dilation[axis] * (window[axis] - 1) + 1
        stride, padding = attrs["stride"][axis], sum(attrs["padding"][2 * axis : 2 * axis + 2])
        room = sizes[axis] - reach + padding
        if results[axis] not in (room // stride + 1, -(-room // stride) + 1):
            return ""
        end = " rounded up" if ceil_mode and room % stride else ""
        found.append(f"({sizes[axis]} - {reach} + {padding})/{stride} + 1 = {results[axis]}{end}")
    return found[0] if found[0] == found[1] else " and ".join(found)


@dataclass(frozen=True)
class InferShapes(Pass):
    """Proves every type again by its shape rule, and returns the very graph.

    conv2d(x, w) : f32[N,6,28,28]  ->  the same, since (32 - 5 + 0)/1 + 1 = 28

    Raises InternalError at the first node whose type is not what its rule says.
    """

    name: ClassVar[str] = "infer_shapes"

    def run(self, graph: Graph) -> Graph:
        verify(graph)
        return graph

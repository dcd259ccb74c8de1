"""A network at a glance: one row a layer with shape, parameters, FLOPs and memory.

A layer is what reads one owner's parameters ("3.weight" and "3.bias" make layer "3"); an op that
reads none has a row of its own. It knows a graph's nodes and their costs, not the front end.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from graphc.inspect.cost import flops, type_bytes
from graphc.inspect.render import as_text, counted, scaled, table
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.types import TensorType
from graphc.ops.op import family_of

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class SummaryRow:
    """One layer, all numbers for one sample.

    layer: the path of its parameters, "" without any. ops: what it does, in order. output: its
    result's type. parameters: how many trained numbers it is the first to use. flops, bytes: of
    floating point operations, and of its result. receptive_field: height and width in the input's
    pixels that one pixel of the result sees; None where that is no window.
    """

    layer: str
    ops: tuple[str, ...]
    output: str
    parameters: int
    flops: int
    bytes: int
    receptive_field: tuple[int, int] | None


@dataclass(frozen=True)
class Summary:
    """Every layer of a graph, in order, and their totals."""

    graph: str
    rows: tuple[SummaryRow, ...]

    @property
    def parameters(self) -> int:
        """Trained numbers in all."""
        return sum(row.parameters for row in self.rows)

    @property
    def flops(self) -> int:
        """Floating point operations for one sample."""
        return sum(row.flops for row in self.rows)

    @property
    def bytes(self) -> int:
        """Bytes of every layer's result for one sample."""
        return sum(row.bytes for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain data, ready for JSON."""
        return {
            "graph": self.graph,
            "layers": [asdict(row) for row in self.rows],
            "parameters": self.parameters,
            "flops": self.flops,
            "bytes": self.bytes,
        }

    def __rich__(self) -> Table:
        columns = ("layer", "ops", "output", "parameters", "FLOPs", "bytes", "sees")
        rows = [
            (
                row.layer,
                " ".join(row.ops),
                row.output,
                counted(row.parameters),
                scaled(row.flops),
                scaled(row.bytes, "B"),
                "x".join(map(str, row.receptive_field or ())),
            )
            for row in self.rows
        ]
        sums = (counted(self.parameters), scaled(self.flops), scaled(self.bytes, "B"))
        title = f"{self.graph}, for one sample"
        return table(title, columns, rows, numbers=columns[3:6], total=("all", "", "", *sums, ""))

    def __str__(self) -> str:
        return as_text(self)


@dataclass
class _Layer:
    """A row in the making."""

    path: str
    last: Node
    nodes: list[Node] = field(default_factory=list)
    parameters: int = 0
    flops: int = 0


def summary(graph: Graph) -> Summary:
    """One row for each layer of a forward graph."""
    layers: list[_Layer] = []
    owners = _owners(graph)
    fed = _depending_on_data(graph)
    fields = _receptive_fields(graph)
    counted_nodes: set[Node] = set()
    for node in graph.nodes:
        if node not in fed or family_of(node) == "input":
            continue
        path = _owner_of(node, fed, owners)
        layer = layers[-1] if layers and path and layers[-1].path == path else None
        if layer is None:
            layer = _Layer(path, node)
            layers.append(layer)
        layer.last = node
        layer.nodes.append(node)
        for held in _newly_used(node, fed, counted_nodes):
            layer.flops += flops(held)
            if family_of(held) == "input" and held.attrs["kind"] == "parameter":
                layer.parameters += held.tensor.count()
    rows = (
        SummaryRow(
            layer.path,
            tuple(n.op.name for n in layer.nodes),
            str(layer.last.type),
            layer.parameters,
            layer.flops,
            type_bytes(layer.last.type),
            fields.get(layer.last),
        )
        for layer in layers
    )
    return Summary(graph.name, tuple(rows))


def _depending_on_data(graph: Graph) -> set[Node]:
    found: set[Node] = set()
    for node in graph.nodes:
        if family_of(node) == "input":
            is_fed = node.attrs["kind"] == "data"
        else:
            is_fed = any(i in found for i in node.inputs)
        if is_fed:
            found.add(node)
    return found


def _owners(graph: Graph) -> dict[Node, str]:
    """For every node without data in it, the path of the parameters that it is made of."""
    found: dict[Node, str] = {}
    for node in graph.nodes:
        if family_of(node) == "input":
            if node.attrs["kind"] != "data":
                found[node] = str(node.attrs["name"]).rpartition(".")[0] or graph.name
            continue
        paths = [found[i] for i in node.inputs if found.get(i)]
        found[node] = paths[0] if paths else ""
    return found


def _owner_of(node: Node, fed: set[Node], owners: dict[Node, str]) -> str:
    return next((owners[i] for i in node.inputs if i not in fed and owners[i]), "")


def _newly_used(node: Node, fed: set[Node], counted_nodes: set[Node]) -> list[Node]:
    """The node and whatever held values it is the first to need."""
    found, waiting = [], [node]
    while waiting:
        at = waiting.pop()
        if at in counted_nodes:
            continue
        counted_nodes.add(at)
        found.append(at)
        waiting.extend(i for i in at.inputs if i not in fed)
    return found


def _receptive_fields(graph: Graph) -> dict[Node, tuple[int, int]]:
    """What one pixel of each image sees of the input image, from the front on.

    A window of F taps, `jump` input pixels apart, adds (F - 1) * jump; a stride multiplies jump.
    """
    sees: dict[Node, tuple[int, int]] = {}
    jumps: dict[Node, tuple[int, int]] = {}
    for node in graph.nodes:
        if not isinstance(node.type, TensorType) or node.type.rank != 4:
            continue
        if family_of(node) == "input":
            if node.attrs["kind"] == "data":
                sees[node], jumps[node] = (1, 1), (1, 1)
            continue
        sources = [i for i in node.inputs if i in sees]
        if not sources:
            continue
        reach = (max(sees[i][0] for i in sources), max(sees[i][1] for i in sources))
        jump = jumps[sources[0]]
        if "stride" in node.attrs and "size" not in node.attrs:
            reach, jump = _through_window(node, reach, jump)
        elif family_of(node) != "elementwise":
            continue
        sees[node], jumps[node] = reach, jump
    return sees


def _through_window(
    node: Node, reach: tuple[int, int], jump: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    window = node.attrs.get("window") or node.inputs[1].tensor.concrete(1)[-2:]
    dilation, stride = node.attrs.get("dilation", (1, 1)), node.attrs["stride"]
    y, x = (reach[a] + (window[a] - 1) * dilation[a] * jump[a] for a in (0, 1))
    return (y, x), (jump[0] * stride[0], jump[1] * stride[1])

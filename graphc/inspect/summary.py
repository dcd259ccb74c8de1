"""A network at a glance: one row a layer with shape, parameters, FLOPs and memory.

A layer is what was built in one layer of the front end; of a graph that does not say (one read from
text), what reads one owner's parameters ("3.weight" and "3.bias" make layer "3"). An op outside of
layers has a row of its own. A network that fails shape inference has its rows up to the layer that
fails. It knows a graph's nodes and their costs, not the front end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from graphc.base.arguments import check_whole
from graphc.inspect.cost import flops, type_bytes
from graphc.inspect.memory import StepMemory
from graphc.inspect.receptive_field import receptive_fields
from graphc.inspect.render import Sheet, as_text, counted, scaled
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.types import TensorType
from graphc.ops.op import family_of
from graphc.tracing.trace import Failure, trace_until_error

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("layer", "ops", "output", "parameters", "FLOPs", "bytes", "sees")
PLANNED = ("layer", "ops", "output", "parameters", "FLOPs", "activations", "gradients", "sees")
NUMBERS = ("parameters", "FLOPs", "bytes", "activations", "gradients")
OUTSIDE = ("parameters", "states", "data", "results")
FAILED = "\N{BALLOT X}"


@dataclass(frozen=True)
class SummaryRow:
    """One layer, all numbers for one batch.

    layer: its path, "" for an op outside of layers. ops: what it does, in order. output: its
    result's type. parameters: how many trained numbers it is the first to use. flops, bytes: of
    floating point operations, and of its result. receptive_field: height and width in the input's
    pixels that one pixel of the result sees; None where that is no window. activations, gradients:
    bytes of both while a training step runs, as it is planned; None without a plan.
    """

    layer: str
    ops: tuple[str, ...]
    output: str
    parameters: int
    flops: int
    bytes: int
    receptive_field: tuple[int, int] | None
    activations: int | None = None
    gradients: int | None = None


@dataclass(frozen=True)
class Summary:
    """Every layer of a graph, in order, and their totals.

    batch: how many samples all numbers are for. memory: of a step, as it is planned. failure: why
    the network ends early, and in which layer, if it fails shape inference; the rows are then those
    before.
    """

    graph: str
    rows: tuple[SummaryRow, ...]
    batch: int = 1
    memory: StepMemory | None = None
    failure: Failure | None = None

    @property
    def parameters(self) -> int:
        """Trained numbers in all."""
        return sum(row.parameters for row in self.rows)

    @property
    def flops(self) -> int:
        """Floating point operations for one batch."""
        return sum(row.flops for row in self.rows)

    @property
    def bytes(self) -> int:
        """Bytes of every layer's result for one batch."""
        return sum(row.bytes for row in self.rows)

    @property
    def rest(self) -> tuple[int, int]:
        """Bytes of activations and gradients that belong to no layer: of the loss and the update,
        and of what was computed outside of layers. 0 without a plan.
        """
        if self.memory is None:
            return 0, 0
        shown = [row for row in self.rows if row.activations is not None]
        activations = sum(self.memory.activations.values()) - sum(r.activations or 0 for r in shown)
        gradients = sum(self.memory.gradients.values()) - sum(r.gradients or 0 for r in shown)
        return activations, gradients

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain data, ready for JSON."""
        found: dict[str, Any] = {
            "graph": self.graph,
            "batch": self.batch,
            "layers": [asdict(row) for row in self.rows],
            "parameters": self.parameters,
            "flops": self.flops,
            "bytes": self.bytes,
        }
        if self.memory is not None:
            found["rest"] = dict(zip(("activations", "gradients"), self.rest, strict=True))
            found["planned_bytes"] = self.memory.planned
            found["step_bytes"] = {
                name: getattr(self.memory, name) for name in ("peak", "planned", *OUTSIDE)
            }
        if self.failure is not None:
            error = self.failure.error
            found["failed"] = {
                "layer": self.failure.layer,
                "text": self.failure.text,
                "error": error.what,
                "at": str(self.failure.location or ""),
                "do": error.remedy,
            }
        return found

    def __rich__(self) -> Table:
        return self.sheet().rich()

    def _repr_html_(self) -> str:
        return self.sheet().html()

    def __str__(self) -> str:
        return as_text(self)

    def sheet(self) -> Sheet:
        """The rows as a table for people."""
        columns = COLUMNS if self.memory is None else PLANNED
        rows = [_cells(row, columns) for row in self.rows]
        total = {
            "layer": "all",
            "parameters": counted(self.parameters),
            "FLOPs": scaled(self.flops),
            "bytes": scaled(self.bytes, "B"),
        }
        caption = ""
        if self.memory is not None:
            others = [scaled(number, "B") for number in self.rest]
            rest = dict(zip(("layer", "activations", "gradients"), ("rest", *others), strict=True))
            rows.append(tuple(rest.get(c, "") for c in columns))
            total["activations"] = scaled(sum(self.memory.activations.values()), "B")
            total["gradients"] = scaled(sum(self.memory.gradients.values()), "B")
            outside = (f"{n} {scaled(getattr(self.memory, n), 'B')}" for n in OUTSIDE)
            caption = (
                f"{scaled(self.memory.planned, 'B')} of memory for all of them: values that are "
                f"done with make room; a step takes {scaled(self.memory.peak, 'B')} in all: "
                f"{', '.join(outside)}"
            )
        failed = None
        if self.failure is not None:
            error = self.failure.error
            what = {"ops": self.failure.text, "output": error.what}
            what["layer"] = f"{FAILED} {self.failure.layer}".strip()
            failed = tuple(what.get(c, "") for c in columns)
            caption = f"at {self.failure.location}: {error.remedy}"
        samples = "one sample" if self.batch == 1 else f"a batch of {self.batch}"
        return Sheet(
            f"{self.graph}, for {samples}",
            columns,
            tuple(rows),
            numbers=NUMBERS,
            total=tuple(total.get(c, "") for c in columns),
            failed=failed,
            caption=caption,
        )


def _cells(row: SummaryRow, columns: tuple[str, ...]) -> tuple[str, ...]:
    cells = {
        "layer": row.layer,
        "ops": " ".join(row.ops),
        "output": row.output,
        "parameters": counted(row.parameters),
        "FLOPs": scaled(row.flops),
        "bytes": scaled(row.bytes, "B"),
        "activations": "" if row.activations is None else scaled(row.activations, "B"),
        "gradients": "" if row.gradients is None else scaled(row.gradients, "B"),
        "sees": "x".join(map(str, row.receptive_field or ())),
    }
    return tuple(cells[c] for c in columns)


@dataclass
class LayerNodes:
    """The nodes of one layer, in order, with its path, "" outside of layers. last: its result.
    parameters, flops: of what it is the first to use.
    """

    path: str
    last: Node
    nodes: list[Node] = field(default_factory=list)
    parameters: int = 0
    flops: int = 0


def summary(
    network: Graph | Callable[..., Any],
    *types: str | TensorType,
    batch: int = 1,
    memory: StepMemory | None = None,
    name: str | None = None,
) -> Summary:
    """One row for each layer of a forward graph, or of a network for inputs of `types`.

    batch: how many samples the numbers are for. memory: of a step, for the columns of activations
    and gradients; the numbers are then for its batch. name: of the network, its own by default. A
    network that fails shape inference has its rows up to the layer that fails, which the last row
    names with the reason. Raises GraphcError for types that are not what the network takes.
    """
    check_whole("batch", batch)
    if isinstance(network, Graph):
        return _summary(network, batch, memory)
    title = name or getattr(network, "__name__", type(network).__name__).strip("<>").lower()
    traced, failure = trace_until_error(network, types)
    found = _summary(traced.graph(title), batch, memory)
    rows = list(found.rows)
    while failure is not None and failure.layer and rows and rows[-1].layer == failure.layer:
        rows.pop()  # it got as far as a part of the layer
    return replace(found, rows=tuple(rows), failure=failure)


def _summary(graph: Graph, batch: int, memory: StepMemory | None) -> Summary:
    fields = receptive_fields(graph)
    batch = batch if memory is None else memory.batch
    rows: list[SummaryRow] = []
    for layer in layers_of(graph, batch):
        planned: tuple[int | None, int | None] = None, None
        first = layer.path and all(row.layer != layer.path for row in rows)
        if memory is not None and memory.layered and first:
            planned = memory.activations.get(layer.path, 0), memory.gradients.get(layer.path, 0)
        rows.append(
            SummaryRow(
                layer.path,
                tuple(n.op.name for n in layer.nodes),
                str(layer.last.type),
                layer.parameters,
                layer.flops,
                type_bytes(layer.last.type, batch),
                fields.get(layer.last),
                *planned,
            )
        )
    return Summary(graph.name, tuple(rows), batch, memory)


def layers_of(graph: Graph, batch: int = 1) -> list[LayerNodes]:
    """The nodes that depend on the data, by layer: by where they were written, or in a graph that
    does not know, such as a loaded one, by whose parameters they read.
    """
    layers: list[LayerNodes] = []
    owners = _owners(graph)
    fed = _depending_on_data(graph)
    counted_nodes: set[Node] = set()
    for node in graph.nodes:
        if node not in fed or family_of(node) == "input":
            continue
        path = _layer_of(node) or _owner_of(node, fed, owners)
        layer = layers[-1] if layers and path and layers[-1].path == path else None
        if layer is None:
            layer = LayerNodes(path, node)
            layers.append(layer)
        layer.last = node
        layer.nodes.append(node)
        for held in _newly_used(node, fed, counted_nodes):
            layer.flops += flops(held, batch)
            if family_of(held) == "input" and held.attrs["kind"] == "parameter":
                layer.parameters += held.tensor.count()
    return layers


def _layer_of(node: Node) -> str:
    return node.location.layer if node.location is not None else ""


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

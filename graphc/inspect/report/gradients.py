"""The forward and the backward part of a training step, paired: beside each node its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphc.inspect.cost import flops
from graphc.ir.graph import Graph
from graphc.ir.node import Gradient, Node
from graphc.ir.text import node_text

OPTIMIZER = "optimizer"


def gradient_data(graph: Graph, names: Mapping[Node, str]) -> dict[str, Any]:
    """Rows in the order of the graph, and the optimiser's nodes; no rows if nothing is a gradient.

    Each row: a forward node, the nodes of its gradient, FLOPs of both for one sample, and what the
    gradient reads of the forward part, which must be kept until then.
    """
    parts: dict[Node, list[Node]] = {}
    update = []
    for node in graph.nodes:
        if isinstance(node.origin, Gradient):
            parts.setdefault(node.origin.node, []).append(node)
        elif str(node.origin or "").startswith(OPTIMIZER):
            update.append(node)
    backward = {node for nodes in parts.values() for node in nodes} | {*update}
    if not parts:
        return {"rows": [], "optimizer": []}
    forward = [n for n in graph.nodes if n.inputs and n not in backward]
    forward += [n for n in parts if n not in names]  # what only its gradient is left of
    rows = []
    for node in forward:
        gradient = parts.get(node, [])
        kept = dict.fromkeys(i for g in gradient for i in g.inputs if i not in backward)
        rows.append({
            "layer": node.location.layer if node.location else "",
            "line": str(node.location or ""),
            "forward": _described(node, names),
            "backward": [_described(g, names) for g in gradient],
            "flops": [flops(node), sum(map(flops, gradient))],
            "keeps": [names[node] for node in kept if node.inputs],
        })  # fmt: skip
    return {"rows": rows, "optimizer": [_described(n, names) for n in update]}


def _described(node: Node, names: Mapping[Node, str]) -> list[str]:
    """[name, type, whole text]; of what is not in the graph, its op."""
    if node not in names:
        return [node.op.name, str(node.type), ""]
    return [names[node], str(node.type), node_text(node, names)]

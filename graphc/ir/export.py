"""Graphs for other tools: as a networkx view and in Graphviz's DOT language.

Vertices have the names of the text form. The body of a fused node is not taken apart: its ops are
in the vertex's label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.text import origin_text

if TYPE_CHECKING:
    import networkx


def to_networkx(graph: Graph) -> networkx.MultiDiGraph:
    """See `Graph.to_networkx`."""
    import networkx

    view = networkx.MultiDiGraph(
        name=graph.name, outputs=[graph.names[output] for output in graph.outputs]
    )
    for node, name in graph.names.items():
        view.add_node(
            name,
            op=node.op.name,
            type=str(node.type),
            attrs=dict(node.attrs),
            location=str(node.location or ""),
            origin=origin_text(node, graph.names),
        )
    for node, name in graph.names.items():
        for position, source in enumerate(node.inputs):
            view.add_edge(graph.names[source], name, position=position)
    return view


def to_dot(graph: Graph) -> str:
    """See `Graph.to_dot`."""
    lines = [f"digraph {_quoted(graph.name)} {{", '  node [shape=box, style="rounded"];']
    for node, name in graph.names.items():
        lines.append(f"  {_quoted(name)} [{_attributes(node, name, graph)}];")
    for node, name in graph.names.items():
        for position, source in enumerate(node.inputs):
            lines.append(
                f'  {_quoted(graph.names[source])} -> {_quoted(name)} [headlabel="{position}"];'
            )
    return "\n".join([*lines, "}"])


def _attributes(node: Node, name: str, graph: Graph) -> str:
    """Name, what is computed and its type in the label; the user's line in the tooltip."""
    body = node.attrs.get("body")
    inside = [n.op.name for n in body if n.op.name != "input"] if isinstance(body, Graph) else []
    does = " ".join(inside) or str(node.attrs.get("kind", node.op.name))
    label = "\n".join(dict.fromkeys((f"%{name}", does, str(node.type))))
    about = ", ".join(filter(None, (str(node.location or ""), origin_text(node, graph.names))))
    found = {"label": label}
    if about:
        found["tooltip"] = about
    if node.op.name == "input":
        found["style"] = "filled" if node.attrs["kind"] == "data" else "dashed"
    if node in graph.outputs:
        found["peripheries"] = "2"
    return ", ".join(f"{key}={_quoted(value)}" for key, value in found.items())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'

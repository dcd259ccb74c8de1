"""What a pipeline did to a graph, pass by pass: drawings, differences, times, rules fired.

A node keeps its name from the first graph to the last, so that one can ask which pass removed it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphc.inspect.drawing import draw
from graphc.ir.diff import names_after
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.text import graph_text, node_text
from graphc.passes.instruments import Run

CONTEXT = 2


def pass_data(first: Graph, runs: Sequence[Run]) -> tuple[dict[str, Any], dict[Node, str]]:
    """(the passes and the graphs between them as plain data, a name for every node).

    graphs: each as a drawing, with the name and the text of every node. passes: each with the
    numbers of the graphs before and after it, the nodes that it removed, added and changed.
    """
    names = dict(first.names)
    stages = [_Stage(first, names)]
    passes = []
    for run in runs:
        before = stages[-1]
        if run.after is not run.before:
            names = names | names_after(run.before, run.after, before.names)
            stages.append(_Stage(run.after, names))
        after = stages[-1]
        passes.append({
            "name": run.step,
            "seconds": run.seconds,
            "rules": sorted(run.rules.items(), key=lambda item: -item[1]),
            "before": stages.index(before),
            "after": stages.index(after),
            **_difference(before, after),
        })  # fmt: skip
    return {"graphs": [stage.data() for stage in stages], "passes": passes}, names


class _Stage:
    """A graph between two passes, with the names its nodes have in the whole report."""

    def __init__(self, graph: Graph, names: Mapping[Node, str]) -> None:
        self.graph = graph
        self.all_names = names
        self.names = {node: names[node] for node in graph.nodes}
        self.lines = {self.names[n]: node_text(n, names, notes=False) for n in graph.nodes}

    def data(self) -> dict[str, Any]:
        """The drawing, and [name, text, layer] of every node."""
        nodes = [
            [self.names[n], node_text(n, self.all_names), n.location.layer if n.location else ""]
            for n in self.graph.nodes
        ]
        return {
            "name": self.graph.name,
            "svg": draw(self.graph, names=self.all_names, embedded=True),
            "nodes": nodes,
        }

    def text(self) -> list[str]:
        return graph_text(self.graph, names=self.all_names).splitlines()


def _difference(before: _Stage, after: _Stage) -> dict[str, Any]:
    """Places of nodes, before and after, whose name or whose line the other does not have."""
    changed = {name for name, line in after.lines.items() if before.lines.get(name, line) != line}
    text = difflib.unified_diff(
        before.text(), after.text(), "before", "after", lineterm="", n=CONTEXT
    )
    return {
        "removed": _places(before, lambda name: name not in after.lines),
        "added": _places(after, lambda name: name not in before.lines),
        "changed": [_places(before, changed.__contains__), _places(after, changed.__contains__)],
        "diff": "\n".join(text),
    }


def _places(stage: _Stage, chosen: Callable[[str], bool]) -> list[int]:
    return [k for k, node in enumerate(stage.graph.nodes) if chosen(stage.names[node])]

"""Every output of a graph gets memory of its own."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.base.source import written_at
from graphc.ir.graph import Graph
from graphc.ops.elementwise import copy
from graphc.passes.base import Pass
from graphc.passes.plan_memory import source_of


@dataclass(frozen=True)
class SeparateOutputs(Pass):
    """An output that is an input, or that another output already is, is copied.

    return %x, %y, %y  ->  return copy(%x), %y, copy(%y)
    """

    name = "separate_outputs"
    required = True

    def run(self, graph: Graph) -> Graph:
        taken = set()
        outputs = []
        for output in graph.outputs:
            source = source_of(output)
            if source[0].op.name == "input" or source in taken:
                with written_at(output.location, output.origin):
                    output = copy(output)
                    if source_of(output) in taken:
                        output = copy(output)
            taken.add(source_of(output))
            outputs.append(output)
        if all(a is b for a, b in zip(outputs, graph.outputs, strict=True)):
            return graph
        return Graph(graph.name, graph.inputs, outputs, graph.donations)

"""The numpy backend: interprets a graph op by op.

Slow, and the meaning that every other backend is tested against.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.ir.graph import Graph
from graphc.ops.interpret import interpret
from graphc.passes.bfloat16 import Bfloat16
from graphc.passes.decompose import Decompose
from graphc.runtime.backend import Backend, Runner

Array = np.ndarray[Any, Any]


class Interpreter(Runner):
    """Runs a graph through each op's numpy function."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def run(self, inputs: Sequence[Array], n: int, token: object = None) -> list[Array]:
        names = [i.attrs["name"] for i in self.graph.inputs]
        named = dict(zip(names, inputs, strict=True))
        outputs = [np.array(o, order="C") for o in interpret(self.graph, named, n)]
        for output, source in self.graph.donations:
            inputs[source][...] = outputs[output]
        return outputs


class NumpyBackend(Backend):
    """The oracle."""

    name = "numpy"

    def prepare(self, graph: Graph, threads: int | None, precision: str = "f32") -> Interpreter:
        if precision == "bf16":
            graph = Bfloat16().run(Decompose().run(graph))
        return Interpreter(graph)

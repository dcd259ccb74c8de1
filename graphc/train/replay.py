"""Networks made of graphs: what was traced, read from a file or rewritten, as a network again.

A `Replay` builds the nodes of its graphs anew whenever it is called on traced tensors, so that a
graph can be trained, or be a part of another network. It knows no op and runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.node import Node, remake
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import RANDOM_KEY, Owner, Trace, Traced, current_trace

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TrainingForm:
    """A network in training as one graph: its results, the next values of `states`, penalties.

    graph: with those outputs, in that order. results: how many of them are the network's.
    """

    graph: Graph
    results: int
    states: tuple[str, ...]

    @classmethod
    def of(cls, traced: Traced) -> TrainingForm:
        """What was traced in training. The key of random numbers advances by itself."""
        trace = traced.trace
        held = [node for node, _ in (*trace.parameters.values(), *trace.states.values())]
        updates = {name: node for name, node in trace.updates.items() if name != RANDOM_KEY}
        outputs = [*traced.outputs, *updates.values(), *trace.penalties]
        graph = Graph("training", (*traced.data, *held), outputs)
        return cls(graph, len(traced.outputs), tuple(updates))

    def rewritten(self, rewrite: Callable[[Graph], Graph]) -> TrainingForm:
        """The same after a pass that keeps the outputs in their order."""
        return TrainingForm(rewrite(self.graph), self.results, self.states)


class Replay(Owner):
    """A network that is a graph.

    graph: the network in evaluation. training: in training, if it differs (dropout, batch
    normalisation, penalties). values: what its parameters and states begin with, by name; they keep
    their names, behind the name that the replay has in a larger network. Raises GraphcError for
    values that are absent or of another shape; when traced, for inputs of another type.

    >>> import numpy as np
    >>> from graphc.ir.text import parse
    >>> from graphc.tracing.trace import trace
    >>> graph = parse('''graph double(%x: f32[N,3], %w: parameter f32[3]) {
    ...   %b = broadcast(%w) {axes=(1,), shape=(N, 3)} : f32[N,3]
    ...   %y = mul(%x, %b) : f32[N,3]
    ...   return %y
    ... }''')
    >>> network = Replay(graph, {"w": np.full(3, 2.0, np.float32)})
    >>> trace(network, "f32[N,3]", name="double") is graph
    True
    """

    def __init__(
        self, graph: Graph, values: Mapping[str, Any], training: TrainingForm | None = None
    ) -> None:
        self.graph = graph
        self.training = training or TrainingForm(graph, len(graph.outputs), ())
        self.values: dict[str, Array] = {}
        for node in (*graph.inputs, *self.training.graph.inputs):
            name, shape = node.attrs["name"], node.tensor.concrete(1)
            if node.attrs["kind"] == "data" or name == RANDOM_KEY:
                continue
            found = np.asarray(values[name]) if name in values else None
            if found is None or found.shape != shape:
                given = "not given" if found is None else f"of shape {list(found.shape)}"
                raise GraphcError(
                    f"the value of {name!r}, {node.tensor}, is {given}",
                    remedy="give an array for every parameter and state of the graph",
                )
            self.values[name] = found

    def children(self) -> Iterator[tuple[str, Owner]]:
        """None: a graph holds its parameters itself."""
        return iter(())

    def __call__(self, *inputs: Tensor) -> Any:
        """The graph's result, a traced tensor, or a tuple of them if there are several."""
        trace = current_trace()
        form = self.training
        graph = form.graph if trace.training else self.graph
        copies = self._copied(graph, inputs, trace)
        outputs = [Tensor(copies[o]) for o in graph.outputs]
        results = tuple(outputs)
        if trace.training:
            results, rest = results[: form.results], outputs[form.results :]
            for name, value in zip(form.states, rest, strict=False):
                trace.update(self._held(trace, graph.input_named(name)), value)
            for penalty in rest[len(form.states) :]:
                trace.penalty(penalty)
        return results[0] if len(results) == 1 else results

    def _copied(self, graph: Graph, inputs: tuple[Tensor, ...], trace: Trace) -> dict[Node, Node]:
        """For every node of `graph` its copy, reading `inputs` and what `trace` holds."""
        data = [i for i in graph.inputs if i.attrs["kind"] == "data"]
        types = [i.tensor for i in data]
        if [x.type for x in inputs] != types:
            given, wanted = (", ".join(map(str, t)) for t in ([x.type for x in inputs], types))
            raise GraphcError(
                f"graph {graph.name} takes {wanted}, not {given}",
                remedy="give inputs of the types that the graph was traced for",
            )
        new = {node: x.node for node, x in zip(data, inputs, strict=True)}
        streams: dict[int, int] = {}
        for node in graph.nodes:
            if node in new:
                continue
            if node.op.name == "input":
                shared = node.attrs["name"] == RANDOM_KEY
                new[node] = node if shared else self._held(trace, node).node
                continue
            attrs = node.attrs
            if "stream" in attrs:
                number = attrs["stream"]
                if number not in streams:
                    _, streams[number] = trace.random_key()
                attrs = {**attrs, "stream": streams[number]}
            new[node] = remake(node, tuple(new[i] for i in node.inputs), attrs)
        return new

    def _held(self, trace: Trace, node: Node) -> Tensor:
        """A parameter or state of the graph as one of the network that is traced."""
        name, type = node.attrs["name"], node.tensor
        ask = trace.parameter if node.attrs["kind"] == "parameter" else trace.state
        return ask(self, name, type.shape, partial(_copy, self.values[name]), type.dtype)

    def __repr__(self) -> str:
        return f"Replay({self.graph!r})"


def _copy(value: Array, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """The initialiser of what has a value already."""
    return value

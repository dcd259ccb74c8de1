"""Reverse-mode differentiation, graph to graph. Gradients are ordinary nodes: they print, fuse and differentiate again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from graphc.base.errors import GraphcError
from graphc.base.source import written_at
from graphc.ir.graph import Graph, topological_order
from graphc.ir.node import Node
from graphc.ops.create import full
from graphc.ops.elementwise import add
from graphc.ops.op import op_of
from graphc.passes.base import Pass
from graphc.passes.decompose import decomposed


def gradients(output: Node, wrt: Sequence[Node], seed: Node | None = None) -> list[Node]:
    """d output / d w for each w, by the chain rule in reverse order of the graph.

    seed: the gradient of the output, 1 by default (then the output must be a scalar). Only nodes between `wrt` and
    the output get a gradient: what is frozen costs nothing. A w that the output does not depend on gets zeros.
    """
    if not output.tensor.dtype.is_float:
        raise GraphcError(
            f"cannot differentiate a {output.tensor} output", remedy="differentiate a float"
        )
    if seed is None:
        if output.tensor.shape != ():
            raise GraphcError(
                f"the output to differentiate is {output.tensor}, not a scalar",
                remedy="reduce it with sum or mean, or use a loss",
            )
        seed = full(1.0, dtype=output.tensor.dtype)
    order = topological_order([output])
    needed = _depending_on(order, set(wrt))
    waiting: dict[Node, Node] = {output: seed}
    for node in reversed(order):
        gradient = waiting.get(node)
        if gradient is None or node not in needed or node.op.name == "input":
            continue
        with written_at(node.location, f"gradient of {node.op.name}"):
            for source, part in zip(node.inputs, _pull_back(node, gradient), strict=True):
                if part is not None and source in needed:
                    earlier = waiting.get(source)
                    waiting[source] = part if earlier is None else add(earlier, part)
    return [waiting.get(w) or full(0.0, shape=w.tensor.shape, dtype=w.tensor.dtype) for w in wrt]


def _depending_on(order: Iterable[Node], sources: set[Node]) -> set[Node]:
    found = set(sources)
    for node in order:
        if any(i in found for i in node.inputs):
            found.add(node)
    return found


def _pull_back(node: Node, gradient: Node) -> Sequence[Node | None]:
    """The gradient of each input of `node`; a layer without a rule is differentiated through its decomposition."""
    op = op_of(node)
    if op.vjp is not None:
        return op.vjp(gradient, node, *node.inputs, **node.attrs)
    if op.decompose is None:
        raise GraphcError(
            f"{op.name} has no gradient",
            location=node.location,
            remedy="differentiate before fusing or compressing",
        )
    inner = decomposed(node)
    floats = [i for i in node.inputs if i.tensor.dtype.is_float]
    found = dict(zip(floats, gradients_within(inner, floats, gradient), strict=True))
    seen: set[Node] = set()
    parts: list[Node | None] = []
    for source in node.inputs:  # an input that occurs twice gets its whole gradient once
        parts.append(None if source in seen else found.get(source))
        seen.add(source)
    return parts


def gradients_within(output: Node, stops: Sequence[Node], seed: Node) -> list[Node]:
    """As `gradients`, but the chain ends at `stops` however they were made."""
    order = topological_order([output], stops)
    needed = _depending_on([n for n in order if n not in set(stops)], set(stops))
    waiting: dict[Node, Node] = {output: seed}
    for node in reversed(order):
        gradient = waiting.get(node)
        if gradient is None or node not in needed or node in stops or node.op.name == "input":
            continue
        for source, part in zip(node.inputs, _pull_back(node, gradient), strict=True):
            if part is not None and source in needed:
                earlier = waiting.get(source)
                waiting[source] = part if earlier is None else add(earlier, part)
    return [waiting.get(w) or full(0.0, shape=w.tensor.shape, dtype=w.tensor.dtype) for w in stops]


def grad(graph: Graph, wrt: Sequence[str] | None = None) -> Graph:
    """The graph of d output / d w for each named input w (every parameter by default, else every float input).

    The graph must have one scalar output to differentiate: its first. May be applied again.
    """
    if wrt is None:
        parameters = [i for i in graph.inputs if i.attrs["kind"] == "parameter"]
        nodes = parameters or [i for i in graph.inputs if i.tensor.dtype.is_float]
    else:
        nodes = [graph.input_named(name) for name in ([wrt] if isinstance(wrt, str) else wrt)]
    return Graph(f"grad_{graph.name}", graph.inputs, gradients(graph.outputs[0], nodes))


@dataclass(frozen=True)
class Differentiate(Pass):
    """Replaces a scalar output by its gradients with respect to every parameter (or the inputs named in `wrt`).

    mean_squared_error(x, y)  ->  its gradient, in nodes like any other
    """

    name = "differentiate"
    wrt: str = ""

    def run(self, graph: Graph) -> Graph:
        return grad(graph, self.wrt.split("+") if self.wrt else None)

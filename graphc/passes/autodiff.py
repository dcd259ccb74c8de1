"""Reverse-mode differentiation, graph to graph.

Gradients are ordinary nodes: they print, simplify, fuse and differentiate again. The chain rule is
here once; what an op contributes is its `vjp`, or its decomposition's. It knows no op by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphc.base.errors import GraphcError
from graphc.base.source import origin, written_at
from graphc.ir.graph import Graph, topological_order
from graphc.ir.node import Gradient, Node
from graphc.ir.types import TensorType
from graphc.ops.create import full
from graphc.ops.elementwise import add
from graphc.ops.op import family_of, op_of
from graphc.passes.base import Pass
from graphc.passes.decompose import decomposed


def gradients(
    output: Node, wrt: Sequence[Node], seed: Node | None = None, *, stops: Iterable[Node] = ()
) -> list[Node]:
    """d output / d w for each w, by the chain rule in reverse order of the graph.

    seed: the gradient of the output, of its type; 1 by default, and then the output is a scalar.
    stops: nodes that count as inputs however they were made; the chain ends there.
    Only nodes between `wrt` and the output get a gradient: what is frozen costs nothing. A w that
    the output does not depend on gets zeros.

    Raises GraphcError for an output or a w that is no float, an output that is no scalar, or an op
    on the way that has no gradient.
    """
    for node, role in [(output, "output"), *((w, "input") for w in wrt)]:
        _require_float(node, role)
    if seed is None:
        if output.tensor.shape != ():
            raise GraphcError(
                f"the output to differentiate is {output.tensor}, not a scalar",
                location=output.location,
                remedy="reduce it with sum or mean, or use a loss",
            )
        seed = _constant(1.0, output.tensor)
    ends = frozenset(stops)
    outer = origin()
    within = outer if isinstance(outer, Gradient) else None  # a layer's, through what it means
    order = topological_order([output], tuple(ends))
    needed = _depending_on(wrt, (n for n in order if n not in ends))
    found: dict[Node, Node] = {output: seed}
    for node in reversed(order):
        gradient = found.get(node)
        if gradient is None or node not in needed or node in ends or not node.inputs:
            continue
        with written_at(node.location, within or Gradient(node)):
            for source, part in zip(node.inputs, _pull_back(node, gradient), strict=True):
                if part is None or source not in needed:
                    continue
                earlier = found.get(source)
                found[source] = part if earlier is None else add(earlier, part)
    return [found[w] if w in found else _constant(0.0, w.tensor) for w in wrt]


def _require_float(node: Node, role: str) -> None:
    if isinstance(node.type, TensorType) and node.type.dtype.is_float:
        return
    name = node.attrs["name"] if family_of(node) == "input" else node.op.name
    raise GraphcError(
        f"cannot differentiate: the {role} {name!r} is {node.type}",
        location=node.location,
        remedy="differentiate a float with respect to floats",
    )


def _constant(value: float, like: TensorType) -> Node:
    return full(value, shape=like.shape, dtype=like.dtype)


def _depending_on(sources: Iterable[Node], order: Iterable[Node]) -> set[Node]:
    """The sources and, of a topological order, every node that reads one of them."""
    found = set(sources)
    for node in order:
        if any(i in found for i in node.inputs):
            found.add(node)
    return found


def _pull_back(node: Node, gradient: Node) -> Sequence[Node | None]:
    """The gradient of each input of `node`, by its op's rule or through its decomposition."""
    op = op_of(node)
    if op.vjp is not None:
        return op.vjp(gradient, node, *node.inputs, **node.attrs)
    if op.decompose is None:
        raise GraphcError(
            f"{op.name} has no gradient",
            location=node.location,
            remedy="differentiate before fusing or compressing",
        )
    floats = [i for i in dict.fromkeys(node.inputs) if i.tensor.dtype.is_float]
    parts = gradients(decomposed(node), floats, gradient, stops=node.inputs)
    unused = dict(zip(floats, parts, strict=True))
    return [unused.pop(i, None) for i in node.inputs]  # one that occurs twice has it all at once


def grad(graph: Graph, wrt: Sequence[str] | str | None = None) -> Graph:
    """The graph of d output / d w for each named input w.

    wrt: names of inputs; by default every parameter, or every float input if there is none. The
    first output is differentiated, and must be a scalar. May be applied again to a graph whose
    gradient is a scalar. Raises GraphcError as `gradients`, and for a name that is no input.

    >>> from graphc.ir.text import parse
    >>> from graphc.passes.simplify import Simplify
    >>> square = parse("graph square(%x: f32[]) { %y = mul(%x, %x) : f32[] return %y }")
    >>> print(Simplify()(grad(square)))  # doctest: +ELLIPSIS
    graph grad_square(%x: f32[]) {
      %add = add(%x, %x) : f32[]...
      return %add
    }
    """
    if not isinstance(graph, Graph):
        raise GraphcError(
            f"{graph!r} is not a graph",
            remedy='trace a function first: gc.grad(gc.trace(function, "f32[N,3]"))',
        )
    if wrt is None:
        parameters = [i for i in graph.inputs if i.attrs["kind"] == "parameter"]
        nodes = parameters or [i for i in graph.inputs if i.tensor.dtype.is_float]
    else:
        nodes = [graph.input_named(name) for name in ([wrt] if isinstance(wrt, str) else wrt)]
    return Graph(f"grad_{graph.name}", graph.inputs, gradients(graph.outputs[0], nodes))


@dataclass(frozen=True)
class Differentiate(Pass):
    """Replaces a scalar output by its gradients with respect to every parameter.

    y = sum(mul(w, x))  ->  broadcast(1.0), times x: the gradient of w, in nodes like any other

    wrt: names of inputs instead of every parameter, joined by +.
    """

    name: ClassVar[str] = "differentiate"
    changes_values: ClassVar[bool] = True
    wrt: str = ""

    def run(self, graph: Graph) -> Graph:
        return grad(graph, self.wrt.split("+") if self.wrt else None)

"""What a node costs: floating point operations and bytes moved, from its family alone.

Contractions count a multiplication and an addition for each product, reads of padding included;
elementwise ops what their body does; reductions one operation for each element they read; layers
what they decompose into. Moving, choosing, making constants and drawing random bits cost none.
It knows no machine: a roofline is someone else's.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node
from graphc.ir.types import TensorType, Type
from graphc.ops.op import extent_product, family_of, op_of
from graphc.ops.scalar import CountOperations


def flops(node: Node, n: int = 1) -> int:
    """Floating point operations of one node with N = n (2 * m * n * k for a matrix product)."""
    counter = _COUNTERS.get(family_of(node))
    return counter(node, n) if counter is not None else 0


def graph_flops(graph: Graph, n: int = 1) -> int:
    """Floating point operations of a whole graph with N = n."""
    return sum(flops(node, n) for node in graph.nodes)


def bytes_moved(node: Node, n: int = 1) -> int:
    """Bytes read and written by one node with N = n, each input and result once.

    A view reads at most what it writes; a reshape moves nothing, and neither does an input.
    """
    family = family_of(node)
    if family in ("input", "alias") or node.op.name == "get":
        return 0
    written = type_bytes(node.type, n)
    read = sum(type_bytes(i.type, n) for i in dict.fromkeys(node.inputs))
    return written + (min(read, written) if family == "view" else read)


def type_bytes(type: Type, n: int = 1) -> int:
    """Bytes of a value of `type` with N = n, without padding."""
    elements = (type,) if isinstance(type, TensorType) else type.elements
    return sum(element.bytes(n) for element in elements)


def _contraction_flops(node: Node, n: int) -> int:
    op = op_of(node)
    assert op.contraction is not None
    loops = op.contraction(tuple(i.tensor for i in node.inputs), node.attrs)
    extents = [extent for _, extent in (*loops.axes, *loops.reduced)]
    return 2 * extent_product(extents, n)


def _elementwise_flops(node: Node, n: int) -> int:
    op = op_of(node)
    assert op.body is not None
    counter = CountOperations()
    op.body(counter, *[None] * len(node.inputs), **node.attrs)
    return counter.count * node.tensor.count(n)


def _reduction_flops(node: Node, n: int) -> int:
    op = op_of(node)
    assert op.domain is not None
    domain = op.domain(tuple(i.tensor for i in node.inputs), node.attrs)
    return node.tensor.count(n) * extent_product(domain, n)


def _layer_flops(node: Node, n: int) -> int:
    op = op_of(node)
    assert op.decompose is not None
    stand_ins = [make_input(f"input{k}", i.tensor) for k, i in enumerate(node.inputs)]
    found = op.decompose(*stand_ins, **node.attrs)
    outputs = found if isinstance(found, tuple) else (found,)
    return graph_flops(Graph(op.name, stand_ins, outputs), n)


def _structure_flops(node: Node, n: int) -> int:
    bodies = [value for value in node.attrs.values() if isinstance(value, Graph)]
    return sum(graph_flops(body, n) for body in bodies)


_COUNTERS: dict[str, Callable[[Node, int], int]] = {
    "contraction": _contraction_flops,
    "elementwise": _elementwise_flops,
    "reduction": _reduction_flops,
    "layer": _layer_flops,
    "structure": _structure_flops,
}

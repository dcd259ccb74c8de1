"""Nodes that group others.

`get` takes one result of a node with several, `fused` holds a kernel's worth of nodes.
"""

from __future__ import annotations

from typing import Any

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import TensorType, TupleType, Type
from graphc.ops.op import Op


def _get_rule(inputs: tuple[Any, ...], attrs: Attrs) -> Type:
    several = inputs[0]
    if not isinstance(several, TupleType) or not 0 <= attrs["index"] < len(several.elements):
        raise GraphcError(
            f"get: {several} has no result {attrs['index']}", remedy="take one that is there"
        )
    return several.elements[attrs["index"]]


def get(several: Node, index: int) -> Node:
    """Result `index` of a node with several results."""
    return make(GET, (several,), {"index": index})


GET: Op = Op(
    "get", "structure", _get_rule, lambda several, *, n, index: several[index], get, arity=1
)


def _fused_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> Type:
    body: Graph = attrs["body"]
    expected = tuple(i.tensor for i in body.inputs)
    if inputs != expected:
        raise GraphcError(
            f"fused: inputs {', '.join(map(str, inputs))} "
            f"for a body of {', '.join(map(str, expected))}",
            remedy="give what the body's inputs say",
        )
    outputs = tuple(o.tensor for o in body.outputs)
    return outputs[0] if len(outputs) == 1 else TupleType(outputs)


def _interpret_body(*arrays: Any, n: int, body: Graph) -> Any:
    from graphc.ops.interpret import interpret

    names = [i.attrs["name"] for i in body.inputs]
    results = interpret(body, dict(zip(names, arrays, strict=True)), n=n)
    return results[0] if len(results) == 1 else tuple(results)


def fused(body: Graph, *inputs: Node) -> Node:
    """One kernel: the nodes of `body` computed together."""
    return make(FUSED, inputs, {"body": body})


FUSED: Op = Op("fused", "structure", _fused_rule, _interpret_body, fused)

"""A graph in another float dtype: the same meaning at another precision.

f64 is what gradient checks and the tolerance of comparisons are computed in. Integers and bools
stay
what they are, and so do random bits: numbers drawn in f32 are cast, never drawn anew.
"""

from __future__ import annotations

from typing import Any

from graphc.ir.graph import INPUT, Graph, make_input
from graphc.ir.node import Node, remake
from graphc.ir.types import DType, TensorType, TupleType, Type
from graphc.ops.elementwise import cast


def retype(graph: Graph, dtype: DType = DType.f64) -> Graph:
    """`graph` with every float tensor, constant and attribute in `dtype`; inputs keep their names.

    The same object if every float is of `dtype` already.
    """
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        if node.op is INPUT:
            type = _type(node.tensor, dtype)
            new[node] = (
                node
                if type == node.tensor
                else make_input(node.attrs["name"], type, node.attrs["kind"])
            )
            continue
        attrs = {name: _value(value, dtype) for name, value in node.attrs.items()}
        made = remake(node, tuple(new[i] for i in node.inputs), attrs)
        new[node] = _as_wanted(made, node.type, dtype)
    return Graph(
        graph.name,
        [new[i] for i in graph.inputs],
        [new[o] for o in graph.outputs],
        graph.donations,
    )


def _as_wanted(made: Node, before: Type, dtype: DType) -> Node:
    """A float that the op itself fixes (random numbers are f32) is cast to `dtype`."""
    if isinstance(before, TupleType) or not before.dtype.is_float or made.tensor.dtype is dtype:
        return made
    return cast(made, dtype=dtype)


def _type(type: TensorType, dtype: DType) -> TensorType:
    return TensorType(dtype if type.dtype.is_float else type.dtype, type.shape, type.layout)


def _value(value: Any, dtype: DType) -> Any:
    if isinstance(value, DType):
        return dtype if value.is_float else value
    if isinstance(value, TensorType):
        return _type(value, dtype)
    return retype(value, dtype) if isinstance(value, Graph) else value

"""A graph in another float dtype: the same meaning at another precision.

In f64 rounding is out of the way, so answers can be compared and differentiated numerically.
Integers and bools stay what they are, and so do random bits: numbers drawn in f32 are cast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from graphc.base.errors import GraphcError
from graphc.base.source import written_at
from graphc.ir.graph import INPUT, Graph, make_input
from graphc.ir.node import Node, remake
from graphc.ir.types import DType, TensorType, Type
from graphc.ops.elementwise import CAST, cast
from graphc.passes.base import Pass


def retype(graph: Graph, dtype: DType = DType.f64) -> Graph:
    """`graph` with every float tensor, constant and attribute in `dtype`; inputs keep their names.

    The same object if every float is of `dtype` already.
    """
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        attrs = {name: _value(value, dtype) for name, value in node.attrs.items()}
        if node.op is INPUT:
            new[node] = make_input(attrs["name"], attrs["type"], attrs["kind"])
            continue
        inputs = tuple(new[i] for i in node.inputs)
        with written_at(node.location, node.origin):
            if node.op is CAST:
                new[node] = cast(inputs[0], dtype=attrs["dtype"])
            else:
                new[node] = _in(dtype, remake(node, inputs, attrs), node.type)
    outputs = [new[o] for o in graph.outputs]
    return Graph(graph.name, [new[i] for i in graph.inputs], outputs, graph.donations)


def _in(dtype: DType, made: Node, before: Type) -> Node:
    """A float whose dtype the op itself fixes (random numbers are f32) is cast."""
    floating = isinstance(before, TensorType) and before.dtype.is_float
    return cast(made, dtype=dtype) if floating else made


def _value(value: Any, dtype: DType) -> Any:
    if isinstance(value, DType):
        return dtype if value.is_float else value
    if isinstance(value, TensorType):
        return TensorType(_value(value.dtype, dtype), value.shape, value.layout)
    return retype(value, dtype) if isinstance(value, Graph) else value


@dataclass(frozen=True)
class Retype(Pass):
    """Every float becomes one of `dtype`: f64 for checking, f32 for speed.

    %y = exp(%x) : f32[N]  ->  %y = exp(%x) : f64[N]
    """

    name: ClassVar[str] = "retype"
    changes_values: ClassVar[bool] = True
    dtype: str = "f64"

    def run(self, graph: Graph) -> Graph:
        if self.dtype not in ("f32", "f64"):
            raise GraphcError(
                f"retype: {self.dtype!r} is not a float dtype", remedy="use f32 or f64"
            )
        return retype(graph, DType[self.dtype])

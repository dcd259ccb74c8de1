"""A node, fused or not, becomes a kernel for a graphics processor."""

from __future__ import annotations

from graphc.base.errors import InternalError
from graphc.ir.node import Node
from graphc.loops.axes import normalized
from graphc.loops.cost import flops_of
from graphc.loops.definition import Definition, body_of, define
from graphc.loops.gpu.device import GPU
from graphc.loops.gpu.pointwise import pointwise
from graphc.loops.language import Kernel, Statement


def lower(node: Node, gpu: GPU, precision: str = "tf32") -> Kernel:
    """The kernel of `node` for `gpu`. Its buffers are the inputs of the node's body, then its
    results.

    precision: how products of f32 are multiplied: "f32", or "tf32" on tensor cores.
    """
    body = body_of(node)
    definition = normalized(define(body))
    statements, words = _scheduled(definition, gpu, precision)
    written = tuple(dict.fromkeys(o.buffer for o in definition.outputs))
    return Kernel(
        name=body.name,
        buffers=(*definition.inputs, *written),
        written=written,
        body=statements,
        ops=tuple(n.op.name for n in body.nodes if n.op.name not in ("input", "full", "broadcast")),
        schedule=words,
        flops=flops_of(definition),
    )


def _scheduled(
    definition: Definition, gpu: GPU, precision: str
) -> tuple[tuple[Statement, ...], str]:
    """The loops of a definition, and the choices made, in words."""
    if any(a.extent == 0 for a in definition.axes):
        return (), "nothing to compute"
    if definition.term is None:
        return pointwise(definition)
    raise InternalError("reductions and products are being written")

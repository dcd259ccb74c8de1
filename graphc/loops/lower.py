"""A node, fused or not, becomes a kernel."""

from __future__ import annotations

from graphc.ir.node import Node
from graphc.loops.axes import normalized
from graphc.loops.cost import flops_of
from graphc.loops.definition import body_of, define
from graphc.loops.language import Kernel
from graphc.loops.nest import build
from graphc.loops.relayout import is_relayout, relayout_kernel
from graphc.loops.schedule import Machine, choose


def lower(node: Node, machine: Machine) -> Kernel:
    """The kernel of `node` for `machine`. Its buffers are the inputs of the node's body, then
    its results.
    """
    body = body_of(node)
    if is_relayout(body):
        return relayout_kernel(body, machine)
    definition = normalized(define(body))
    schedule = choose(definition, machine)
    written = tuple(o.buffer for o in definition.outputs)
    return Kernel(
        name=body.name,
        buffers=(*definition.inputs, *written),
        written=written,
        body=build(definition, schedule),
        ops=tuple(n.op.name for n in body.nodes if n.op.name not in ("input", "full", "broadcast")),
        schedule=str(schedule),
        flops=flops_of(definition),
    )

"""Copies from one layout to the other, a tile of samples x features at a time through registers.

parallel features by lanes: for samples by lanes: transpose lanes x lanes
"""

from __future__ import annotations

import math

from graphc.ir.graph import Graph
from graphc.ir.index import Variable, index
from graphc.ir.layouts import BATCH_LAST, BATCH_PADDING, ROW_MAJOR
from graphc.ir.node import Node
from graphc.ir.types import N, TensorType
from graphc.loops.language import PADDED, Buffer, Kernel, Statement, Stride, Transpose, loop
from graphc.loops.schedule import Machine


def is_relayout(body: Graph) -> bool:
    """Whether `body` only moves the batch of an input, in elements a tile can hold."""
    (output,) = body.outputs[:1]
    alone = (
        len(body.outputs) == 1 and output.op.name == "relayout" and output.inputs[0] in body.inputs
    )
    if not alone or output.tensor.dtype.itemsize < 4:
        return False
    return {output.tensor.layout, output.inputs[0].tensor.layout} == {ROW_MAJOR, BATCH_LAST}


def relayout_kernel(body: Graph, machine: Machine) -> Kernel:
    """The kernel of a body for which `is_relayout` holds."""
    output = body.outputs[0]
    features = math.prod(d for d in output.tensor.shape if isinstance(d, int))
    source, target = (
        _flat("in0", output.inputs[0].tensor, features),
        _flat("out0", output.tensor, features),
    )
    lanes = min(machine.lanes(output.tensor.dtype.itemsize), BATCH_PADDING)
    whole, rest = divmod(features, lanes)
    body_of: list[Statement] = []
    if whole:
        f = Variable("f", whole)
        body_of.append(
            loop(f, whole, "parallel", _tiles(source, target, index(f) * lanes, lanes, lanes))
        )
    if rest:
        body_of.append(_tiles(source, target, index(whole * lanes), rest, lanes))
    return Kernel(
        body.name,
        (source, target),
        (target,),
        tuple(body_of),
        _ops(output),
        f"tiles {lanes} x {lanes}",
    )


def _ops(output: Node) -> tuple[str, ...]:
    return (f"relayout to {output.tensor.layout}",)


def _tiles(source: Buffer, target: Buffer, feature: object, features: int, lanes: int) -> Statement:
    n = Variable("no")
    tile = Transpose(target, source, index(n) * lanes, feature, features, lanes)  # type: ignore[arg-type]
    return loop(n, index(PADDED) // lanes, "serial", tile)


def _flat(name: str, type: TensorType, features: int) -> Buffer:
    last = type.layout == BATCH_LAST
    strides = (Stride(1), Stride(0, 1)) if last else (Stride(features), Stride(1))
    return Buffer(name, type.dtype, (N, features), strides, batch_last=last)

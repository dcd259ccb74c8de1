"""A node, fused or not, becomes a kernel for a graphics processor."""

from __future__ import annotations

from graphc.ir.node import Node
from graphc.loops.axes import cut
from graphc.loops.definition import Definition, body_of, define
from graphc.loops.gpu.device import GPU
from graphc.loops.gpu.hopper import hopper
from graphc.loops.gpu.matrix import instruction_for, matrix
from graphc.loops.gpu.places import spanned
from graphc.loops.gpu.pointwise import pointwise
from graphc.loops.gpu.product import product
from graphc.loops.gpu.reduction import reduction
from graphc.loops.gpu.rows import KEPT, rows
from graphc.loops.gpu.tiling import matrices
from graphc.loops.language import Kernel, Statement
from graphc.loops.lower import kernel_of
from graphc.loops.rows import RowDefinition, define_rows
from graphc.ops.rows import row_of_body


def lower(node: Node, gpu: GPU, precision: str = "tf32") -> Kernel:
    """The kernel of `node` for `gpu`. Its buffers are the inputs of the node's body, then its
    results.

    precision: how products of f32 are multiplied: "f32", or "tf32" on tensor cores.
    """
    body = body_of(node)
    row = row_of_body(body)
    definition: Definition | RowDefinition
    if row is None:
        definition = cut(define(body))
        statements, words = _scheduled(definition, gpu, precision)
    else:
        definition = define_rows(body, row, gpu.shared_bytes // KEPT)
        statements, words = rows(definition, gpu)
    return kernel_of(body, definition, statements, words)


def _scheduled(
    definition: Definition, gpu: GPU, precision: str
) -> tuple[tuple[Statement, ...], str]:
    """The loops of a definition, and the choices made, in words."""
    if any(a.extent == 0 for a in definition.axes):
        return (), "nothing to compute"
    loops = spanned(definition)
    if definition.term is None:
        return pointwise(loops, gpu)
    product_of = matrices(loops)
    if product_of is not None:
        instruction = instruction_for(product_of, precision)
        if instruction is not None:
            boxed = hopper(product_of, gpu, instruction.operands)
            return boxed or matrix(product_of, gpu, instruction)
        return product(product_of, gpu)
    return reduction(loops, gpu)

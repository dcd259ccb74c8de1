"""A node, fused or not, becomes a kernel."""

from __future__ import annotations

from dataclasses import replace

from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.loops.axes import merged, normalized
from graphc.loops.cost import flops_of
from graphc.loops.definition import Definition, body_of, define
from graphc.loops.language import Kernel, Statement
from graphc.loops.nest import build
from graphc.loops.order import block_order, pieces
from graphc.loops.relayout import batch_kernel, moves_batch, split_padding, tiles
from graphc.loops.row_nest import build_rows
from graphc.loops.rows import RowDefinition, define_rows
from graphc.loops.schedule import Machine, choose, choose_lanes
from graphc.ops.rows import row_of_body


def lower(node: Node, machine: Machine) -> Kernel:
    """The kernel of `node` for `machine`. Its buffers are the inputs of the node's body, then
    its results.
    """
    body = body_of(node)
    if moves_batch(body):
        return batch_kernel(body, machine)
    row = row_of_body(body)
    definition: Definition | RowDefinition
    if row is None:
        definition = normalized(define(body))
        statements, words = _scheduled(definition, machine)
    else:
        definition = merged(define_rows(body, row))
        lanes = choose_lanes(definition, machine)
        statements = build_rows(definition, lanes)
        words = f"rows in {len(definition.stages)} stages, {lanes}"
    return replace(kernel_of(body, definition, statements, words), pairs=machine.pairs)


def kernel_of(
    body: Graph,
    definition: Definition | RowDefinition,
    statements: tuple[Statement, ...],
    words: str,
) -> Kernel:
    """The kernel of a body: its definition, the loops that were made of it, and their schedule."""
    return Kernel(
        name=body.name,
        buffers=(*definition.inputs, *definition.written),
        written=definition.written,
        body=statements,
        ops=tuple(n.op.name for n in body.nodes if n.op.name not in ("input", "full", "broadcast")),
        schedule=words,
        flops=flops_of(definition),
    )


def _scheduled(definition: Definition, machine: Machine) -> tuple[tuple[Statement, ...], str]:
    """The loops of a definition, and the choices made, in words."""
    if any(a.extent == 0 for a in definition.axes):
        return (), "nothing to compute"
    inside, *around = split_padding(definition) or (definition,)
    copied = tiles(inside, machine)
    if copied is not None:
        zeros = [statement for part in around for statement in _scheduled(part, machine)[0]]
        return (*copied, *zeros), "tiles through registers"
    schedule = choose(definition, machine)
    schedule = replace(schedule, order=block_order(definition, schedule))
    schedule = replace(schedule, pieces=pieces(definition, schedule))
    if schedule.pieces:
        schedule = replace(schedule, order=block_order(definition, schedule))
    return build(definition, schedule), str(schedule)

"""Sums of many numbers to few results, in two steps: a device of thousands of threads needs more
results than that at a time.

Partial results of a reduction are those of each sample, and of each row of it if that is not
enough; those of a convolution's weight gradient are of so many rows of all samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphc.ir.graph import Graph
from graphc.ir.node import Node, remake
from graphc.ir.rewrite import rebuild
from graphc.ir.types import Batch
from graphc.ops.op import extent_product, op_of
from graphc.ops.reductions import sum as total
from graphc.ops.weight_pieces import conv2d_weight_grad_pieces
from graphc.passes.base import Pass

REDUCTIONS = ("sum", "max", "min")
USUAL_BATCH = 64
MANY = 1 << 14  # numbers for one result that are too many for one block of threads
ENOUGH = 1 << 12  # results that keep a device busy, with several threads for each
LEAST = 32  # numbers of a partial result
TILE = 64  # rows and columns of a small tile of a product of matrices
ENOUGH_TILES = 256


@dataclass(frozen=True)
class SplitReductions(Pass):
    """Reductions of many numbers to few results first reduce the inner axes, then the outer ones.

    sum(x, axes=(0, 2, 3))  ->  sum(sum(x, axes=(2, 3), keepdims=True), axes=(0, 2, 3))
    conv2d_weight_grad(x, g)  ->  sum(conv2d_weight_grad_pieces(x, g, pieces=14), axes=(2,))
    """

    name: ClassVar[str] = "split_reductions"

    def run(self, graph: Graph) -> Graph:
        return rebuild(graph, _split)


def _split(node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.op.name in REDUCTIONS:
        later = _later(node)
        if later:
            now = tuple(a for a in node.attrs["axes"] if a not in later)
            return remake(node, (op_of(node).build(*inputs, axes=now, keepdims=True),))
    if node.op.name == "conv2d_weight_grad":
        pieces = _pieces(node)
        if pieces > 1:
            return total(conv2d_weight_grad_pieces(*inputs, pieces=pieces, **node.attrs), axes=(2,))
    return remake(node, inputs)


def _later(node: Node) -> tuple[int, ...]:
    """The axes that are reduced in a second step: as many of the outer ones as it takes."""
    shape, axes = node.inputs[0].tensor.shape, node.attrs["axes"]
    numbers = extent_product([shape[a] for a in axes], USUAL_BATCH)
    if numbers < MANY:
        return ()
    results = node.tensor.count(USUAL_BATCH)
    later: list[int] = []
    for axis in sorted(axes, key=lambda a: not isinstance(shape[a], Batch)):
        extent = extent_product([shape[axis]], USUAL_BATCH)
        if results >= ENOUGH or numbers // extent < LEAST:
            break
        results, numbers = results * extent, numbers // extent
        later.append(axis)
    return tuple(later)


def _pieces(node: Node) -> int:
    """Into how many pieces to cut the rows of a weight gradient's images: the fewest that make
    enough tiles of them, unless partial sums are then more than what is read.
    """
    x, g = (i.tensor for i in node.inputs)
    maps, channels, *window = node.tensor.shape
    rows, groups = g.shape[2], node.attrs["groups"]
    assert isinstance(rows, int) and isinstance(maps, int)
    across = extent_product([channels, *window], 1)
    tiles = groups * -(-maps // groups // TILE) * -(-across // TILE)
    read = x.count(USUAL_BATCH) + g.count(USUAL_BATCH)
    fitting = [p for p in range(1, rows + 1) if rows % p == 0]
    fitting = [p for p in fitting if p == 1 or p * maps * across <= read]
    return next((p for p in fitting if p * tiles >= ENOUGH_TILES), fitting[-1])

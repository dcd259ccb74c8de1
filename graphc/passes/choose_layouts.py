"""Which part of a network has its channels in blocks.

A node costs what `layout_costs` says with its channels in blocks, or as it runs otherwise: samples
in lanes if there are many, rows of pixels if there are few. Where a node on one side reads from the
other, a copy costs more. The cheapest way to part the network in two is a minimum cut:

    in blocks --[cost otherwise]--> node --[cost in blocks]--> otherwise
    every reader in blocks --[no end]--> copy in blocks --[copy]--> read
    read --[copy]--> copy back --[no end]--> every other reader

An edge from a node in blocks to one that is not is cut, and its cost paid. Gradients read what the
forward pass computes, so that a layer and its gradients mostly end up on one side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from graphc.ir.graph import Graph
from graphc.ir.index import Index, Variable, index
from graphc.ir.layouts import BATCH_PADDING, BLOCK, IMAGES
from graphc.ir.node import Node
from graphc.ir.types import Batch, DType, TensorType
from graphc.ops.op import family_of, op_of
from graphc.passes.layout_costs import (
    CONVOLUTIONS,
    FUSED,
    MOVED,
    START,
    in_channels,
    in_rows,
    in_rows_pooled,
    in_samples,
    products,
    tiles_share,
    weights_of,
)

OTHERWISE, IN_BLOCKS = "otherwise", "in blocks"
CUT_TO_TILES = ("winograd_input", "winograd_output_grad")
NO_IMAGES = ("broadcast", "conv2d_weight_grad", "winograd_weights", "winograd_weights_grad")


def nodes_in_blocks(
    graph: Graph, batch: int, *, everywhere: bool = False, rate: float = 1.0, tiles: bool = False
) -> frozenset[Node]:
    """The nodes that had better have their channels in blocks.

    batch: how many samples there are, about. everywhere: all that can be, whatever it costs. rate:
    how many times as fast as in f32 convolutions and gradients of images run in blocks. tiles:
    whether Winograd's algorithm is to be had.
    """
    images, given = _images(graph), _given(graph)
    readers = [n for n in graph.nodes if n not in given and any(i in images for i in n.inputs)]
    costs = {n: _costs(n, batch, rate, tiles) for n in readers}
    wide = [c for n, c in costs.items() if n.op.name in CONVOLUTIONS or is_tiled(n)]
    if not any(blocks < (math.inf if everywhere else otherwise) for otherwise, blocks in wide):
        return frozenset()
    if everywhere:
        return frozenset(n for n, (_, blocks) in costs.items() if not math.isinf(blocks))
    cut = _Cut(batch)
    for node, (otherwise, blocks) in costs.items():
        cut.edge(OTHERWISE, node, blocks)
        cut.edge(node, IN_BLOCKS, otherwise)
    users = graph.users()
    for read in images:
        inside = [n for n in users[read] if n in costs]
        cut.copies(read, inside, read in given, len(users[read]) == 1)
    for output in graph.outputs:
        if output in images and output in costs:
            cut.result(output)
    return cut.in_blocks()


@dataclass(frozen=True)
class _Cut:
    """The network of which the minimum cut is asked."""

    batch: int
    capacities: dict[tuple[object, object], float] = field(default_factory=dict)

    @property
    def many(self) -> bool:
        """Whether samples run in lanes where channels are not in blocks."""
        return self.batch >= BATCH_PADDING

    def edge(self, start: object, end: object, cost: float) -> None:
        """`cost` is paid if `start` stays otherwise and `end` is in blocks."""
        if cost:
            whole = cost if math.isinf(cost) else round(cost)
            self.capacities[end, start] = self.capacities.get((end, start), 0) + whole

    def copies(self, read: Node, readers: Sequence[Node], given: bool, alone: bool) -> None:
        """What is paid if readers want `read` stored in another way than it is computed: once for
        all that want it so. given: it lies in rows, on neither side. alone: one node reads it.
        """
        cost, fits = self._copy(read), _fits_blocks(read.tensor)
        if fits or (self.many and not given):
            self.edge(OTHERWISE if given else read, (read, IN_BLOCKS), cost)
            for reader in readers:
                self.edge((read, IN_BLOCKS), reader, math.inf)
        if self.many or (fits and not given):
            self.edge((read, OTHERWISE), IN_BLOCKS if given else read, cost)
            for reader in readers:
                self.edge(reader, (read, OTHERWISE), math.inf)
        if family_of(read) in ("contraction", "tile") or alone:
            for reader in readers:
                if family_of(reader) == "elementwise":
                    self.edge(read, reader, FUSED / MOVED * cost)
                    self.edge(reader, read, FUSED / MOVED * cost)

    def result(self, output: Node) -> None:
        """Results leave in rows."""
        cost = self._copy(output)
        if _fits_blocks(output.tensor):
            self.edge(OTHERWISE, output, cost)
        if self.many:
            self.edge(output, IN_BLOCKS, cost)

    def in_blocks(self) -> frozenset[Node]:
        """The nodes before the cut; of cuts that cost the same, that with the most."""
        import networkx  # only here: most small networks need no cut, and it loads slowly

        network = networkx.DiGraph()
        network.add_nodes_from((OTHERWISE, IN_BLOCKS))
        for (start, end), capacity in self.capacities.items():
            network.add_edge(start, end, capacity=capacity)
        _, (chosen, _) = networkx.minimum_cut(network, IN_BLOCKS, OTHERWISE)
        return frozenset(n for n in chosen if isinstance(n, Node))

    def _copy(self, read: Node) -> float:
        return MOVED * read.tensor.count(1) + START / self.batch


def _images(graph: Graph) -> dict[Node, None]:
    """What may be stored in blocks, or is computed from it, in order; not weights, which kernels
    have in the order in which they read, nor what is computed where it is read.
    """
    batched = any(i.tensor.batch_axis is not None for i in graph.inputs)
    convolutions = [n for n in graph.nodes if n.op.name in CONVOLUTIONS]
    read = {i for n in convolutions for i in n.inputs if i is not weights_of(n)}
    read |= {n.inputs[0] for n in graph.nodes if n.op.name in CUT_TO_TILES}
    found: dict[Node, None] = {}
    for node in graph.nodes:
        if node.op.name in NO_IMAGES or not isinstance(node.type, TensorType):
            continue
        if node.tensor.rank < 3 or (batched and node.tensor.batch_axis is None):
            continue
        if node in read or node.op.name == "input" or any(i in found for i in node.inputs):
            found[node] = None
    return found


def _given(graph: Graph) -> set[Node]:
    """Inputs, and what is computed from nothing else element by element."""
    found: set[Node] = set()
    for node in graph.nodes:
        plain = family_of(node) in ("input", "elementwise", "view", "create")
        if plain and all(i in found for i in node.inputs):
            found.add(node)
    return found


def _costs(node: Node, batch: int, rate: float, tiles: bool) -> tuple[float, float]:
    """What `node` costs otherwise and in blocks; infinity where it cannot be."""
    if is_tiled(node):
        return math.inf, 0.0
    if node.op.name not in CONVOLUTIONS:
        otherwise = 0.0 if batch >= BATCH_PADDING else in_rows_pooled(node)
        return otherwise, 0.0 if _keeps_blocks(node) else math.inf
    otherwise = in_samples(node) if batch >= BATCH_PADDING else in_rows(node)
    direct = in_channels(node)
    if direct is None:
        return otherwise, math.inf
    rate = 1.0 if node.op.name == "conv2d_weight_grad" else rate
    share = tiles_share(node, rate) if tiles else None
    rounded = any(i.tensor.dtype is DType.bf16 for i in node.inputs)
    blocks = direct / rate if share is None else share * products(node)
    return math.inf if rounded else otherwise, blocks


def is_tiled(node: Node) -> bool:
    """Whether `node` is a part of Winograd's algorithm."""
    if node.op.name == "einsum":
        return any(family_of(i) == "tile" for i in node.inputs)
    return family_of(node) == "tile"


def _fits_blocks(type: TensorType) -> bool:
    return type.with_layout(IMAGES).layout == IMAGES


def _keeps_blocks(node: Node) -> bool:
    """Whether a node runs through whole blocks of channels: it reads channel c + 16 k where it
    writes channel c, or it sums over all of them.
    """
    if not isinstance(node.type, TensorType):
        return False
    types = tuple(i.tensor.with_layout(IMAGES) for i in node.inputs)
    if not any(type.layout == IMAGES for type in types):
        return False
    family = family_of(node)
    if family == "elementwise":
        return True
    if family not in ("reduction", "view"):
        return False
    op = op_of(node)
    assert op.access is not None
    at = _variables("i", node.tensor.shape)
    taps: tuple[Index, ...] = ()
    if family == "reduction":
        assert op.domain is not None
        taps = _variables("r", op.domain(types, node.attrs))
        access = op.access(at, taps, types, node.attrs)
    else:
        access = op.access(at, types, node.attrs)
    kept = at[1:2] if len(at) > 2 else at  # a vector or a matrix has no blocks of its own
    whole = [v for i in (*kept, *taps) for v in i.variables]
    return all(
        type.layout != IMAGES or _is_one_of(place[1], whole)
        for place, type in zip(access.indices, types, strict=True)
    )


def _variables(name: str, shape: tuple[object, ...]) -> tuple[Index, ...]:
    return tuple(
        index(Variable(f"{name}{k}", None if isinstance(d, Batch) else int(d)))  # type: ignore[call-overload]
        for k, d in enumerate(shape)
    )


def _is_one_of(place: Index, variables: list[Variable]) -> bool:
    """Whether an index is one of the variables, give or take whole blocks."""
    if len(place.terms) != 1 or place.constant % BLOCK:
        return False
    atom, factor = place.terms[0]
    return factor == 1 and atom in variables

"""Which nodes become one kernel that goes over rows several times: softmax, losses of classifiers
with their gradients, normalisation over layers.

Every node that `Row` holds could be part of it, but nothing may leave the kernel and come back. So
each gets a round: one more than that of what it needs by way of nodes outside. Nodes of a round
that read each other are a group; those of it that need memory become the kernel, if it goes over a
row more than once: for several sums, or for what a sum is needed for. While a row stays in a cache,
going over it again costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from graphc.ir.graph import Graph
from graphc.ir.layouts import BATCH_LAST, BATCH_PADDING
from graphc.ir.node import Node
from graphc.ops.op import family_of
from graphc.ops.rows import Row, row_of

LONGEST_ROW = 64 << 10  # bytes: a few rows fit the second cache
FEWEST_ROWS = 8  # else threads would wait for one that goes over them
LARGEST_GROUP = 64
PRODUCTS = ("contraction", "tile")


def row_groups(graph: Graph, stored: Collection[Node]) -> list[list[Node]]:
    """Groups of stored nodes that may each be one kernel, members in the graph's order."""
    rows = (row_of(n) for n in graph.nodes if family_of(n) == "reduction")
    taken: set[Node] = set()
    found = []
    for row in dict.fromkeys(r for r in rows if r is not None and _fits(r)):
        able = {n for n in graph.nodes if n not in taken and row.holds(n)}
        able -= {n for n in able if n.op.name == "relayout" and n.inputs[0] in stored}  # in tiles
        rounds, behind = _rounds(graph, able)
        for group in _connected(rounds):
            members = [n for n in group[:LARGEST_GROUP] if n in stored]
            if _is_worth_it(row, members, behind):
                taken.update(members)
                found.append(members)
    return found


def _fits(row: Row) -> bool:
    """Whether a row, or as many as there are lanes, stays in a cache, and there are several."""
    lanes = BATCH_PADDING if row.layout == BATCH_LAST else 1
    several = row.count is None or row.count >= FEWEST_ROWS
    return several and 0 not in row.shape and row.length * lanes * 4 <= LONGEST_ROW


def _rounds(graph: Graph, able: Collection[Node]) -> tuple[dict[Node, int], set[Node]]:
    """(the round of each node that may be a member, those that need a reduction of their round).

    An epilogue stays with its contraction: elementwise ops behind it, unless they need a reduction.
    """
    rounds: dict[Node, int] = {}
    inside: dict[Node, int] = {}
    behind: set[Node] = set()
    epilogue: set[Node] = set()
    for node in graph.nodes:
        rounds[node] = max((rounds[i] for i in node.inputs), default=0)
        near = [i for i in node.inputs if i in behind and rounds[i] == rounds[node]]
        needs = node in able and (family_of(node) == "reduction" or bool(near))
        if not needs and _follows(node, epilogue):
            epilogue.add(node)
        if needs or (node in able and node not in epilogue):
            inside[node] = rounds[node]
            behind |= {node} if needs else set()
        else:
            rounds[node] = max((rounds[i] + (i in inside) for i in node.inputs), default=0)
    return inside, behind


def _follows(node: Node, epilogue: Collection[Node]) -> bool:
    """Whether `node` is a contraction or what its kernel computes behind it."""
    if family_of(node) in PRODUCTS:
        return True
    if family_of(node) != "elementwise":
        return False
    return any(i in epilogue and i.tensor.shape == node.tensor.shape for i in node.inputs)


def _connected(rounds: Mapping[Node, int]) -> list[list[Node]]:
    """Nodes of the same round that read each other, in groups, each in the given order."""
    groups: dict[Node, list[Node]] = {}
    for node in rounds:
        same = (i for i in node.inputs if i in groups and rounds[i] == rounds[node])
        near = {id(groups[i]): groups[i] for i in same}
        joined = max(near.values(), key=len, default=[])
        for group in near.values():
            if group is not joined:
                joined += group
                groups.update(dict.fromkeys(group, joined))
        joined.append(node)
        groups[node] = joined
    order = {node: k for k, node in enumerate(rounds)}
    apart = {id(group): group for group in groups.values()}
    return [sorted(group, key=order.__getitem__) for group in apart.values()]


def _is_worth_it(row: Row, members: Iterable[Node], behind: Collection[Node]) -> bool:
    """Whether a row is gone over several times: for several sums, or for what one is needed for."""
    sums = [n for n in members if family_of(n) == "reduction"]
    again = any(row.is_whole(n) and n in behind and n not in sums for n in members)
    return len(sums) > 1 or again

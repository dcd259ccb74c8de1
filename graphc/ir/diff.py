"""What changed between two graphs, as a unified diff of their texts.

Nodes are interned, so a node that is in both graphs is one object and keeps its name; a new one
takes the name of one that is gone if it does the same with other inputs. So a line differs where
something happened, not because numbers in names have moved. It knows no pass.
"""

from __future__ import annotations

import difflib
from collections import defaultdict, deque
from collections.abc import Hashable, Mapping
from itertools import chain, count

from graphc.ir.graph import Graph
from graphc.ir.node import Node, attributes_text
from graphc.ir.text import graph_text
from graphc.ir.types import TupleType

CONTEXT = 2


def diff(before: Graph, after: Graph) -> str:
    """A unified diff of the two texts; empty if the graphs are the same."""
    if before is after:
        return ""
    lines = difflib.unified_diff(
        graph_text(before).splitlines(),
        graph_text(after, names=before.names | names_after(before, after)).splitlines(),
        before.name,
        after.name,
        lineterm="",
        n=CONTEXT,
    )
    return "\n".join(lines)


def names_after(
    before: Graph, after: Graph, given: Mapping[Node, str] | None = None
) -> dict[Node, str]:
    """A name for every node of `after`, that of `before` wherever the node had one there, or one
    that is gone did what it does: at the same line, whatever the layout; elsewhere; or at the same
    line with other attributes.

    given: the names in `before`, if they are not its own.
    """
    given = before.names if given is None else given
    names = {i: str(i.attrs["name"]) for i in after.inputs}
    reserved = set(names.values())
    earlier = {node: name for node, name in given.items() if name not in reserved}
    names |= {node: earlier[node] for node in after.nodes if node in earlier}
    gone = {node: name for node, name in earlier.items() if node not in names}
    for likeness in (_same, _alike, _in_its_place):
        left: dict[Hashable, deque[Node]] = defaultdict(deque)
        for node in gone:
            left[likeness(node)].append(node)
        for node in after.nodes:
            if node not in names and left[likeness(node)]:
                names[node] = gone.pop(left[likeness(node)].popleft())
    taken = reserved | {*given.values()}
    for node in after.nodes:
        if node not in names:
            names[node] = _free(after.names[node], taken)
            taken.add(names[node])
    return names


def _same(node: Node) -> Hashable:
    return _what(node), _in_its_place(node)


def _alike(node: Node) -> Hashable:
    return node.op.name, _what(node), str(node.type)


def _in_its_place(node: Node) -> Hashable:
    types = node.type.elements if isinstance(node.type, TupleType) else (node.type,)
    shapes = tuple((type.dtype, type.shape) for type in types)
    return node.op.name, shapes, node.location, node.origin


def _what(node: Node) -> str:
    """What a node does, whatever to."""
    body = node.attrs.get("body")
    return body.name if isinstance(body, Graph) else attributes_text(node.attrs)


def _free(name: str, taken: set[str]) -> str:
    """`name` if nothing has it, else its base with the first number that is free."""
    base, _, number = name.rpartition("_")
    stem = base if number.isdigit() else name
    return next(n for n in chain([name], (f"{stem}_{k}" for k in count(1))) if n not in taken)

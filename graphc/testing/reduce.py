"""The smallest graph that still fails: delta debugging on nodes, then on extents.

Nodes are taken out in chunks, halves first: what others read of a chunk becomes an input, and where
it held an output its operands are put out. A node that cannot go is replaced by an operand of its
type. At last extents are made smaller, wherever the number occurs. It knows no op: a candidate that
the shape rules refuse is none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphc.base.errors import GraphcError
from graphc.base.files import write_file
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node, make, remake
from graphc.ir.text import graph_text
from graphc.ir.types import TensorType, TupleType
from graphc.testing.failure import Failure, Trial

SMALL_EXTENTS = (1, 2, 3)


def reduce(graph: Graph, is_failing: Callable[[Graph], bool]) -> Graph:
    """The smallest graph found that still fails: no node can be taken out and no extent shrunk.

    is_failing: tells whether a graph fails as `graph` does; one for which it raises GraphcError
    does not. Raises GraphcError if `graph` itself does not fail.
    """
    if not is_failing(graph):
        raise GraphcError(
            f"graph {graph.name} of {len(graph)} nodes does not fail",
            remedy="give the graph that does, and a function that is true for it",
        )
    tried = {graph}
    while True:
        for candidate in _candidates(graph):
            if candidate in tried or _size(candidate) >= _size(graph):
                continue
            tried.add(candidate)
            if _fails(candidate, is_failing):
                graph = candidate
                break
        else:
            return graph


@dataclass(frozen=True)
class Reduction:
    """A reduced graph, what is done to it, and how that fails. before: the graph that was given."""

    before: Graph
    graph: Graph
    trial: Trial
    failure: Failure

    def as_test(self) -> str:
        """A file for pytest in which the trial is made: it fails as long as the defect is there,
        and keeps it from coming back.
        """
        imports, body = self.trial.test_lines()
        imports = sorted(
            ["import graphc as gc", *imports], key=lambda line: (line.startswith("from"), line)
        )
        text = graph_text(self.graph, notes=False).replace("\\", r"\\")
        lines = [
            f'"""{self.failure.where}: {len(self.graph)} of the {len(self.before)} nodes of '
            f'{self.before.name}."""',
            *("", *imports, ""),
            *('GRAPH = gc.parse("""', text, '""")'),
            *("", "", "def test_it_is_right() -> None:"),
            *(f"    {line}" for line in body),
        ]
        return "\n".join(lines) + "\n"

    def write_test(self, path: str | os.PathLike[str]) -> Path:
        """Writes that file; returns its path. Raises GraphcError if it cannot be written."""
        return write_file(path, self.as_test())


def reduce_failure(graph: Graph, trial: Trial) -> Reduction:
    """The smallest graph with which `trial` fails as it does with `graph`.

    Of several passes the one that fails is tried alone, on the graph as it was before it. Raises
    GraphcError if nothing fails.
    """
    start, narrow = trial.narrowed(graph)
    first = narrow.failure(start)
    small = reduce(start, lambda g: first is not None and narrow.failure(g) == first)
    found = narrow.failure(small)
    assert found is not None
    return Reduction(graph, small, narrow, found)


def _fails(graph: Graph, is_failing: Callable[[Graph], bool]) -> bool:
    try:
        return is_failing(graph)
    except GraphcError:
        return False  # it cannot even be asked: not the failure that is looked for


def _size(graph: Graph) -> tuple[int, int, int, int]:
    """What becomes smaller with every reduction: nodes, inputs, donations, sum of extents."""
    types = [i.tensor for i in graph.inputs]
    extents = sum(d for t in types for d in t.shape if isinstance(d, int))
    computed = len(graph) - len(graph.inputs)
    return computed, len(graph.inputs), len(graph.donations), extents


def _candidates(graph: Graph) -> Iterator[Graph]:
    """Smaller graphs, the boldest first."""
    if graph.donations:
        yield Graph(graph.name, graph.inputs, graph.outputs)
    yield from _with_fewer_outputs(graph)
    computed = [node for node in graph.nodes if not _is_input(node)]
    length = len(computed)
    while length:
        # From the end: what comes behind the fault is most often the larger part.
        for begin in reversed(range(0, len(computed), length)):
            yield from _without(graph, computed[begin : begin + length])
        length //= 2
    for node in computed:
        for operand in dict.fromkeys(node.inputs):
            if operand.type == node.type:
                yield from _replaced(graph, {node: operand})
    yield from _with_fewer_inputs(graph)
    yield from _with_smaller_extents(graph)


def _with_fewer_outputs(graph: Graph) -> Iterator[Graph]:
    """One output alone, or all but one."""
    if len(graph.outputs) == 1:
        return
    places = range(len(graph.outputs))
    for kept in (*((k,) for k in places), *(tuple(j for j in places if j != k) for k in places)):
        into = dict(graph.donations)
        outputs = [graph.outputs[k] for k in kept]
        donated = [(j, graph.inputs[into[k]]) for j, k in enumerate(kept) if k in into]
        yield _graph(graph, outputs, donated)


def _without(graph: Graph, chunk: Sequence[Node]) -> Iterator[Graph]:
    """The graph with the nodes of `chunk` taken out, if anything is left."""
    removed = set(chunk)
    for node in graph.nodes:  # what takes one of several results goes with them
        if any(i in removed and isinstance(i.type, TupleType) for i in node.inputs):
            removed.add(node)
    outputs = list(dict.fromkeys(o for output in graph.outputs for o in _kept(output, removed)))
    if not outputs:
        return
    into = dict(graph.donations)
    donated = [
        (outputs.index(output), graph.inputs[into[k]])
        for k, output in enumerate(graph.outputs)
        if k in into and output not in removed
    ]
    names = graph.names
    taken = {i.attrs["name"] for i in graph.inputs}
    stand_ins = {
        node: make_input(_fresh(names[node], taken), node.tensor)
        for node in removed
        if isinstance(node.type, TensorType)
    }
    yield from _replaced(_graph(graph, outputs, donated), stand_ins)


def _kept(output: Node, removed: set[Node]) -> list[Node]:
    """What is put out instead of `output`: itself, or the nearest operands that stay."""
    found: dict[Node, None] = {}
    waiting, seen = [output], set[Node]()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in removed or isinstance(node.type, TupleType):
            waiting.extend(reversed(node.inputs))
        else:
            found[node] = None
    return list(found)


def _replaced(graph: Graph, replacements: dict[Node, Node]) -> Iterator[Graph]:
    """The graph with other nodes for some; nothing if an op refuses them."""
    new: dict[Node, Node] = {}
    try:
        for node in graph.nodes:
            stand_in = replacements.get(node)
            if stand_in is not None:
                new[node] = new.get(stand_in, stand_in)
            else:
                new[node] = remake(node, tuple(new[i] for i in node.inputs))
        donated = [(o, graph.inputs[i]) for o, i in graph.donations]
        yield _graph(graph, [new[o] for o in graph.outputs], donated)
    except GraphcError:
        return


def _graph(
    graph: Graph, outputs: Sequence[Node], donated: Sequence[tuple[int, Node]] = ()
) -> Graph:
    """A graph of these outputs, with the inputs that they read or overwrite."""
    reached = Graph(graph.name, _inputs_of(outputs), outputs)
    overwritten = [i for _, i in donated if i not in reached.inputs]
    inputs = [*reached.inputs, *overwritten]
    return Graph(graph.name, inputs, outputs, [(o, inputs.index(i)) for o, i in donated])


def _inputs_of(outputs: Sequence[Node]) -> list[Node]:
    found: list[Node] = []
    waiting, seen = list(reversed(outputs)), set[Node]()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if _is_input(node):
            found.append(node)
        waiting.extend(reversed(node.inputs))
    return found


def _with_fewer_inputs(graph: Graph) -> Iterator[Graph]:
    """One input for two of a type."""
    for k, node in enumerate(graph.inputs):
        for other in graph.inputs[:k]:
            if other.type == node.type:
                yield from _replaced(graph, {node: other})


def _with_smaller_extents(graph: Graph) -> Iterator[Graph]:
    """Every extent of an input replaced by a smaller one, everywhere or in inputs alone."""
    extents = {d for i in graph.inputs for d in i.tensor.shape if isinstance(d, int)}
    for extent in sorted(extents, reverse=True):
        for smaller in (*SMALL_EXTENTS, extent // 2, extent - 1):
            if 0 < smaller < extent:
                yield from _resized(graph, extent, smaller, everywhere=True)
                yield from _resized(graph, extent, smaller, everywhere=False)


def _resized(graph: Graph, extent: int, smaller: int, *, everywhere: bool) -> Iterator[Graph]:
    """The graph with a smaller extent, in the attributes too if `everywhere`; nothing if an op
    refuses it.
    """

    def changed(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(smaller if _is_extent(v, extent) else changed(v) for v in value)
        if isinstance(value, TensorType):
            return TensorType(value.dtype, changed(value.shape), value.layout)
        if isinstance(value, Graph):
            return next(_resized(value, extent, smaller, everywhere=everywhere))
        return value

    new: dict[Node, Node] = {}
    try:
        for node in graph.nodes:
            attrs = node.attrs
            if everywhere or _is_input(node):
                attrs = {name: changed(value) for name, value in attrs.items()}
            operands = tuple(new[i] for i in node.inputs)
            new[node] = make(node.op, operands, attrs)
        inputs = [new[i] for i in graph.inputs]
        yield Graph(graph.name, inputs, [new[o] for o in graph.outputs], graph.donations)
    except (GraphcError, StopIteration):
        return


def _is_extent(value: Any, extent: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value == extent


def _is_input(node: Node) -> bool:
    return node.op.name == "input"


def _fresh(name: str, taken: set[str]) -> str:
    """`name`, with a number if it is taken; takes it."""
    found, number = name, 0
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found

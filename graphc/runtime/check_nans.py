"""Where a nan or an infinity comes from: the first node whose result is not finite although all
that it reads is.

A `NanCheck` runs a graph as fast as ever, and only when a result is not finite runs it again, node
by node with the numpy oracle, on the inputs as they were. It knows no backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.text import node_text
from graphc.ops.interpret import interpret
from graphc.passes.base import Pipeline
from graphc.runtime.backend import Runner
from graphc.runtime.profile import Profile

Array = np.ndarray[Any, Any]
KINDS: dict[str, Callable[[Array], Any]] = {
    "nan": np.isnan,
    "inf": np.isposinf,
    "-inf": np.isneginf,
}


class NanCheck(Runner):
    """A runner whose every result must be finite.

    Donated inputs are copied before each run, so that what is overwritten can be put back: a run
    that fails has changed nothing. Parameters stay row-major, as the oracle reads them: whether
    they may be packed is not handed on.
    """

    def __init__(self, graph: Graph, runner: Runner) -> None:
        self.graph = graph
        self.runner = runner

    def run(self, inputs: Sequence[Array], n: int, token: object = None) -> list[Array]:
        """As of the runner. Raises GraphcError naming the node at which nan or infinity begins."""
        kept = {source: inputs[source].copy() for _, source in self.graph.donations}
        outputs = self.runner.run(inputs, n, token)
        wrong = next((k for k, output in enumerate(outputs) if not is_finite(output)), None)
        if wrong is None:
            return outputs
        bad = _bad_element(outputs[wrong])
        for source, array in kept.items():
            inputs[source][...] = array
        names = [i.attrs["name"] for i in self.graph.inputs]
        found = first_not_finite(self.graph, dict(zip(names, inputs, strict=True)), n)
        if found is not None:
            raise found.error()
        node = self.graph.outputs[wrong]
        raise GraphcError(
            f"output {wrong} has {bad}, but every node of {self.graph.name} is finite in numpy",
            node=node_text(node, self.graph.names, notes=False),
            location=node.location,
            remedy="numbers overflow in an order of summation, or the backend is wrong: "
            "graphc reduce FILE --backend NAME",
        )

    def explain(self) -> str:
        return self.runner.explain()

    def profiles(self) -> tuple[Profile, ...]:
        return self.runner.profiles()

    def pipeline(self, n: int) -> Pipeline:
        return self.runner.pipeline(n)

    def profile(self, n: int) -> Profile | None:
        return self.runner.profile(n)

    def report(self) -> dict[str, Any]:
        return self.runner.report()


@dataclass(frozen=True)
class Range:
    """What a node's result holds: its least and largest finite number, and what is not finite.

    bad: "nan at [0, 3] (2 of 15 elements)", say; empty if all is finite. kinds: which of nan, inf
    and -inf there are.
    """

    least: float
    largest: float
    bad: str
    kinds: frozenset[str]

    @staticmethod
    def of(value: Any) -> Range:
        """The range of an array, or of several."""
        arrays = value if isinstance(value, tuple) else (value,)
        bad = next((_bad_element(a) for a in arrays if not is_finite(a)), "")
        kinds = frozenset(kind for a in arrays for kind, is_it in KINDS.items() if is_it(a).any())
        finite = np.concatenate([np.ravel(a[np.isfinite(a)]).astype(np.float64) for a in arrays])
        if not finite.size:
            return Range(np.nan, np.nan, bad, kinds)
        return Range(float(finite.min()), float(finite.max()), bad, kinds)

    def __str__(self) -> str:
        if np.isnan(self.least):
            return "holds no finite number"
        if self.least == self.largest:
            return f"is {self.least:.6g}"
        return f"is in [{self.least:.6g}, {self.largest:.6g}]"


@dataclass(frozen=True)
class NotFinite:
    """The node at which nan or infinity begins: what it holds, and the ranges of what it reads."""

    graph: Graph
    node: Node
    bad: str
    operands: tuple[tuple[str, Range], ...]

    def error(self) -> GraphcError:
        """The error that says so."""
        node = self.node
        if node.op.name == "input":
            kind, name = node.attrs["kind"], node.attrs["name"]
            what, remedy = kind, "check from the first step on, or load finite values"
            if kind == "data":
                what, remedy = "input", "look for it in the data"
            return GraphcError(
                f"{what} {name!r} has {self.bad}", node=f"%{name}: {node.type}", remedy=remedy
            )
        about = f", {node.origin}," if node.origin else ""
        layer = f" in layer {node.location.layer}" if node.location and node.location.layer else ""
        read = "".join(f"; %{name} {found}" for name, found in self.operands)
        return GraphcError(
            f"{node.op.name}{about} gives {self.bad}, and nothing before it did{read}",
            node=node_text(node, self.graph.names, notes=False) + layer,
            location=node.location,
            remedy=f"keep what {node.op.name} reads in the range in which it is finite: lower the "
            "learning rate, scale the data, or add a small number",
        )


def first_not_finite(graph: Graph, inputs: Mapping[str, Array], n: int) -> NotFinite | None:
    """The first node whose result is not finite although its operands are, among those from which
    an output that is not finite comes; None if every output is finite.

    Infinities are often written on purpose, as in masks: a constant is blamed only if nothing else
    is, and what reads it if it holds another kind, nan for an infinity, say.
    """
    ranges: dict[Node, Range] = {}
    interpret(graph, inputs, n, lambda node, value: ranges.setdefault(node, Range.of(value)))
    waiting = [o for o in graph.outputs if ranges[o].bad]
    guilty = set(waiting)
    while waiting:
        for source in waiting.pop().inputs:
            if ranges[source].bad and source not in guilty:
                guilty.add(source)
                waiting.append(source)
    if not guilty:
        return None
    node = _origin([node for node in graph.nodes if node in guilty], ranges)
    operands = tuple((graph.names[i], ranges[i]) for i in dict.fromkeys(node.inputs))
    return NotFinite(graph, node, ranges[node].bad, operands)


def _origin(suspects: Sequence[Node], ranges: Mapping[Node, Range]) -> Node:
    """The first of the suspects, in the order in which they run, that is to blame."""
    written: set[Node] = set()  # hold infinities that were written, and no others
    for node in suspects:
        bad = [i for i in node.inputs if ranges[i].bad]
        if not written.issuperset(bad):
            continue
        inherited = frozenset[str]().union(*(ranges[i].kinds for i in bad))
        constant = not node.inputs and node.op.name != "input"
        if not constant and not ranges[node].kinds <= inherited:
            return node
        written.add(node)
    return suspects[0]


def is_finite(array: Array) -> bool:
    """Whether every element is a number; whole numbers are."""
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _bad_element(array: Array) -> str:
    """The first element that is not finite, where it is, and how many there are."""
    places = np.argwhere(~np.isfinite(array))
    first = tuple(int(i) for i in places[0])
    return f"{array[first]} at {list(first)} ({len(places)} of {array.size} elements)"

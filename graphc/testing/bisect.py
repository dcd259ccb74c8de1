"""Which pass, or which rule inside of a pass, turns a right graph into a wrong one: by halving.

The steps of a pipeline are counted as they are applied (`graphc.passes.limit`); the first n are the
same whatever comes later, so a run with a limit is a prefix of the whole. It knows no pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.passes.base import Pipeline
from graphc.passes.instruments import Check
from graphc.passes.limit import Limit, Steps


@dataclass(frozen=True)
class Culprit:
    """The step that made a graph wrong.

    step: "rule mul-one of simplify" or "pass fuse". number: which step it is, from 1, and of how
    many. before, after: the graph without and with it.
    """

    step: str
    number: int
    of: int
    before: Graph
    after: Graph

    def __str__(self) -> str:
        head = f"step {self.number} of {self.of}, the {self.step}, changes the answer:"
        return f"{head}\n{self.before.diff(self.after)}"


def bisect(
    graph: Graph, pipeline: Pipeline, is_wrong: Callable[[Graph], bool] | None = None
) -> Culprit:
    """The first step of `pipeline` on `graph` after which the result is wrong.

    is_wrong: tells from the graph as the steps so far left it; by default, whether the numpy oracle
    gives it other values than `graph` (see `Check`). It is asked about log2 of the steps.

    If it turns wrong and right again several times, one place where it turns wrong is found. Raises
    GraphcError if it is wrong before the first step, or right after the last, and for a pass that
    is meant to change values if there is no is_wrong.
    """
    meant = [step for step in pipeline.passes if step.changes_values]
    if meant and is_wrong is None:
        raise GraphcError(
            f"pass {meant[0]} is meant to change values",
            remedy="leave it out, or give is_wrong, which tells what is wrong after it",
        )
    wrong = is_wrong or (lambda made: bool(Check().problem(graph, made)))
    whole, names = _limited(graph, pipeline, math.inf)
    if wrong(graph):
        raise GraphcError(
            f"graph {graph.name} is wrong before the first step of {pipeline}",
            remedy="the fault is in the graph or in what judges it, not in a pass",
        )
    if not wrong(whole):
        raise GraphcError(
            f"graph {graph.name} is right after all {len(names)} steps of {pipeline or 'no pass'}",
            remedy="give the graph and the passes with which the answer is wrong",
        )
    right, found = 0, len(names)
    before, after = graph, whole
    while found - right > 1:
        middle = (right + found) // 2
        made, _ = _limited(graph, pipeline, middle)
        if wrong(made):
            found, after = middle, made
        else:
            right, before = middle, made
    return Culprit(names[found - 1], found, len(names), before, after)


def _limited(graph: Graph, pipeline: Pipeline, limit: float) -> tuple[Graph, list[str]]:
    """The graph after at most `limit` steps, and their names."""
    steps = Steps(limit)
    return pipeline(graph, [Limit(steps)]), steps.applied

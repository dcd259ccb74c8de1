"""Holding steps back: passes counted as they change a graph, and only the first so many applied.

A step is a pass that changed the graph or, in a pass that is made of rules, one firing of a rule.
The first n are the same whatever the limit, so the step that changes an answer is found by halving:
by `graphc.testing.bisect` for one graph, by ``GRAPHC_BISECT=n`` for a whole program.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import TextIO

from graphc.base import settings
from graphc.ir.graph import Graph
from graphc.ir.rewrite import RuleSet
from graphc.passes.base import Instrument, Pass, RulePass


@dataclass
class Steps:
    """The steps applied so far, by name; at most `limit` of them.

    required: whether passes without which no code can be generated are applied beyond the limit.
    held: whether a step was held back.
    """

    limit: float = math.inf
    required: bool = False
    applied: list[str] = field(default_factory=list)
    held: bool = False

    def allow(self, name: str) -> bool:
        """Whether one more step may be applied; if so, it is counted."""
        if len(self.applied) >= self.limit:
            self.held = True
            return False
        self.applied.append(name)
        return True


@dataclass
class Limit(Instrument):
    """Applies only the first steps. stream: where it says which was the last; None is silence."""

    steps: Steps
    stream: TextIO | None = None

    def run(self, step: Pass, graph: Graph) -> Graph:
        if isinstance(step, RulePass):

            def allows(rule: str) -> bool:
                return self.steps.allow(f"rule {rule} of {step}")

            return RuleSet(step.rules(), allows).simplified(graph)
        new = step.run(graph)
        if new is graph:
            return graph
        allowed = self.steps.allow(f"pass {step}")
        return new if allowed or (step.required and self.steps.required) else graph

    def after(self, step: Pass, old: Graph, new: Graph, seconds: float) -> None:
        if self.stream is None:
            return
        count, steps = len(self.steps.applied), self.steps
        last = f"; the last applied is the {steps.applied[-1]}" if steps.held and count else ""
        print(f"-- {step} on {old.name}: {count} steps{last}", file=self.stream)


_of_the_process: dict[int, Steps] = {}


def limit_from_settings() -> Limit | None:
    """The limit that GRAPHC_BISECT sets, counted over the whole process; None if it is unset."""
    number = settings.BISECT.integer(least=0)
    if number is None:
        return None
    steps = _of_the_process.setdefault(number, Steps(number, required=True))
    return Limit(steps, sys.stderr)

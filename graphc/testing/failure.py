"""What can go wrong with a graph, as trials that can be made again: of a smaller one, or in a test.

A `Failure` says where and of which kind, so that a graph that is being reduced is known to fail as
it did at first and not in some other way. It knows no pass and no backend by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from graphc.base.errors import GraphcError
from graphc.compiler import compile
from graphc.ir.graph import Graph
from graphc.passes.base import Instrument, Pass, Pipeline
from graphc.passes.instruments import Check, Verify
from graphc.testing.draw import random_inputs
from graphc.testing.oracle import compare


@dataclass(frozen=True)
class Failure:
    """where: "pass simplify", say. kind: the class of the error. message: not compared."""

    where: str
    kind: str
    message: str = field(compare=False)

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}: {self.message}"


class Trial(ABC):
    """Something that is done to a graph, and may fail."""

    @abstractmethod
    def failure(self, graph: Graph) -> Failure | None:
        """How `graph` fails; None if it does not."""

    def narrowed(self, graph: Graph) -> tuple[Graph, Trial]:
        """A later graph and a smaller trial that fail as this one does with `graph`."""
        return graph, self

    @abstractmethod
    def test_lines(self) -> tuple[list[str], list[str]]:
        """(imports, body) of a test that does it to GRAPH and raises if that fails."""


@dataclass(frozen=True)
class PassesTrial(Trial):
    """A pipeline must raise nothing, build well-typed graphs and keep every answer."""

    pipeline: Pipeline

    def failure(self, graph: Graph) -> Failure | None:
        return self._run(graph, _Last())

    def narrowed(self, graph: Graph) -> tuple[Graph, Trial]:
        """The graph as it was before the pass that fails, and that pass alone."""
        last = _Last()
        if self._run(graph, last) is None or last.step is None or last.graph is None:
            return graph, self
        return last.graph, PassesTrial(Pipeline((last.step,)))

    def _run(self, graph: Graph, last: _Last) -> Failure | None:
        try:
            self.pipeline(graph, [last, Verify(), Check()])
        except Exception as error:  # whatever a pass raises is its failure
            return Failure(f"pass {last.step}", type(error).__name__, _first_line(error))
        return None

    def test_lines(self) -> tuple[list[str], list[str]]:
        imports = [
            "from graphc.passes.base import Pipeline",
            "from graphc.passes.instruments import Check, Verify",
        ]
        return imports, [f'Pipeline.parse("{self.pipeline}")(GRAPH, [Verify(), Check()])']


@dataclass(frozen=True)
class BackendTrial(Trial):
    """A backend must compute what the numpy oracle says, for random inputs and a batch of `n`."""

    backend: str
    n: int = 3

    def failure(self, graph: Graph) -> Failure | None:
        where = f"backend {self.backend}"
        inputs = random_inputs(graph, self.n, np.random.default_rng(0))
        try:
            outputs = compile(graph, self.backend)(**inputs)
        except Exception as error:  # whatever a backend raises is its failure
            return Failure(where, type(error).__name__, _first_line(error))
        try:
            compare(graph, inputs, self.n, outputs if isinstance(outputs, tuple) else (outputs,))
        except GraphcError as error:
            return Failure(where, "wrong answer", error.what)
        return None

    def test_lines(self) -> tuple[list[str], list[str]]:
        imports = ["import numpy as np", "from graphc.testing import compare, random_inputs"]
        return imports, [
            f"inputs = random_inputs(GRAPH, {self.n}, np.random.default_rng(0))",
            f'outputs = gc.compile(GRAPH, "{self.backend}")(**inputs)',
            "answers = outputs if isinstance(outputs, tuple) else (outputs,)",
            f"compare(GRAPH, inputs, {self.n}, answers)",
        ]


@dataclass
class _Last(Instrument):
    """Remembers the pass that runs, or ran last, and what it was given."""

    step: Pass | None = None
    graph: Graph | None = None

    def before(self, step: Pass, graph: Graph) -> None:
        self.step, self.graph = step, graph

    def after(self, step: Pass, old: Graph, new: Graph, seconds: float) -> None:
        """Nothing: it remembers what begins."""


def _first_line(error: Exception) -> str:
    return str(error.args[0] if error.args else error).splitlines()[0]

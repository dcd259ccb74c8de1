"""The public testing kit: gradient checks, random graphs, and comparison with the oracle.

Whoever writes an op, a pass or a backend tests it with this. It knows every op only through what
the op declares, and refuses to know any backend. `graphs` needs hypothesis, which is loaded when it
is first asked for; everything else needs numpy alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphc.passes.retype import retype
from graphc.testing.bisect import Culprit, bisect
from graphc.testing.draw import draw, random_inputs, sample_inputs
from graphc.testing.failure import BackendTrial, Failure, PassesTrial, Trial
from graphc.testing.generate import random_graph
from graphc.testing.gradients import GradientCheck, check_grads
from graphc.testing.oracle import Expectation, compare
from graphc.testing.reduce import Reduction, reduce, reduce_failure

if TYPE_CHECKING:
    from graphc.testing.strategies import graphs

__all__ = [
    "BackendTrial",
    "Culprit",
    "Expectation",
    "Failure",
    "GradientCheck",
    "PassesTrial",
    "Reduction",
    "Trial",
    "bisect",
    "check_grads",
    "compare",
    "draw",
    "graphs",
    "random_graph",
    "random_inputs",
    "reduce",
    "reduce_failure",
    "retype",
    "sample_inputs",
]


def __getattr__(name: str) -> Any:
    if name == "graphs":
        from graphc.testing.strategies import graphs

        return graphs
    raise AttributeError(f"module 'graphc.testing' has no attribute {name!r}")

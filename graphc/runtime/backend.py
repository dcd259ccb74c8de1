"""What a backend is, and how one is found: by entry point, loaded when it is first asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.runtime.profile import Profile

Array = np.ndarray[Any, Any]
GROUP = "graphc.backends"
BUILT_IN = {"numpy": "graphc_numpy:NumpyBackend", "llvm": "graphc_llvm:LLVMBackend"}


class Runner(ABC):
    """A graph made ready to run."""

    @abstractmethod
    def run(self, inputs: Sequence[Array], n: int, token: object = None) -> list[Array]:
        """The graph's outputs for batch size `n`; donated inputs are overwritten in place.

        inputs: checked, C-contiguous arrays of the right dtype, in the order of the graph's inputs.
        token: if it equals that of the call before, and is not None, the inputs that are no data
        hold what they held then.
        """

    def explain(self) -> str:
        """What runs: per kernel the ops fused, the algorithm, FLOPs and bytes."""
        return "interpreted op by op in numpy"

    def profiles(self) -> tuple[Profile, ...]:
        """What `explain` says as data, for each variant that has run; nothing if none was timed."""
        return ()

    def report(self) -> dict[str, Any]:
        """What preparing has cost so far: seconds by "phases" (a mapping), and "planned_bytes"."""
        return {"phases": {}, "planned_bytes": 0}


class Backend(ABC):
    """Turns graphs into runners."""

    name: ClassVar[str]

    @abstractmethod
    def prepare(self, graph: Graph, threads: int | None) -> Runner:
        """A runner for `graph`; work may be put off to the first run."""

    def describe(self) -> dict[str, Any]:
        """What it generates code with and for, as plain data: versions, processor, vectors."""
        return {}


@cache
def load_backend(name: str) -> Backend:
    """The backend of that name. Raises GraphcError if there is none or it cannot be imported."""
    import importlib

    targets = BUILT_IN | {e.name: e.value for e in entry_points(group=GROUP)}
    if name not in targets:
        raise GraphcError(
            f"there is no backend named {name!r}", remedy="backends: " + ", ".join(sorted(targets))
        )
    module, _, attribute = targets[name].partition(":")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise GraphcError(
            f"the backend {name!r} cannot be imported: {error}",
            remedy=f"install what {module} needs, or choose another backend",
        ) from error
    backend: Backend = getattr(found, attribute)()
    return backend

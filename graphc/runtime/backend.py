"""What a backend is, and how one is found: by entry point, loaded when it is first asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar

import numpy as np

from graphc.base.errors import GraphcError, InternalError
from graphc.ir.graph import Graph
from graphc.passes.base import Pipeline
from graphc.runtime.kept import Kept
from graphc.runtime.profile import Profile

Array = np.ndarray[Any, Any]
GROUP = "graphc.backends"
PRECISIONS = ("f32", "tf32", "bf16")
BUILT_IN = {
    "numpy": "graphc_numpy:NumpyBackend",
    "llvm": "graphc_llvm:LLVMBackend",
    "cuda": "graphc_cuda:CUDABackend",
}


class Runner(ABC):
    """A graph made ready to run. ahead: how many runs it is worth to begin before the results of
    an earlier one are read.
    """

    ahead: ClassVar[int] = 0

    @abstractmethod
    def run(self, inputs: Sequence[Array], n: int, token: object = None) -> list[Array]:
        """The graph's outputs for batch size `n`; donated inputs are overwritten in place.

        inputs: checked, C-contiguous arrays of the right dtype, in the order of the graph's inputs.
        token: if it equals that of the call before, and is not None, the inputs that are no data
        hold what they held then.
        """

    def pack(self, on: bool) -> None:  # noqa: B027
        """Whether inputs that are no data may lie in other layouts than row-major from now on, as
        `layouts` says. Before this is called they may not; many backends have no use for it.
        """

    def layouts(self, n: int) -> Mapping[str, str]:
        """By name the layout, for batch size `n`, of every input that is not row-major then."""
        return {}

    def start(
        self, inputs: Sequence[Array], n: int, token: object = None
    ) -> Callable[[], list[Array]]:
        """Begins `run`; what it returns waits for the outputs. Inputs may change at once."""
        outputs = self.run(inputs, n, token)
        return lambda: outputs

    def bring(self, held: Kept, names: Sequence[str], n: int) -> None:
        """Has the named arrays where, and in the layouts in which, a run for batch size `n` takes
        them. The caller holds their lock.
        """
        held.recall()
        held.bring(names, self.layouts(n))

    def explain(self) -> str:
        """What runs: per kernel the ops fused, the algorithm, FLOPs and bytes."""
        return "interpreted op by op in numpy"

    def profiles(self) -> tuple[Profile, ...]:
        """What `explain` says as data, for each variant that has run; nothing if none was timed."""
        return ()

    def pipeline(self, n: int) -> Pipeline:
        """The passes whose result runs for batch size `n`; none if the graph itself does."""
        return Pipeline(())

    def profile(self, n: int) -> Profile | None:
        """That of the variant for batch size `n`; None if it has not run or was not timed."""
        return None

    def report(self) -> dict[str, Any]:
        """What preparing has cost so far: seconds by "phases" (a mapping), and "planned_bytes" of
        memory for what is computed on the way, the same block for every batch size.
        """
        return {"phases": {}, "planned_bytes": 0}


@dataclass(frozen=True)
class KernelSource:
    """What a backend generates for one kernel. texts: by form, such as "loops", "llvm", "asm"."""

    kernel: str
    texts: Mapping[str, str]


class Backend(ABC):
    """Turns graphs into runners.

    forms: in what texts it can show the code that it generates. precisions: those it can multiply
    in, of `PRECISIONS`; the first is what it does unless told otherwise.
    """

    name: ClassVar[str]
    forms: ClassVar[tuple[str, ...]] = ()
    precisions: ClassVar[tuple[str, ...]] = ("f32", "bf16")

    @abstractmethod
    def prepare(self, graph: Graph, threads: int | None, precision: str = "f32") -> Runner:
        """A runner for `graph`; work may be put off to the first run.

        precision: one of `precisions`: how products of f32 are multiplied.
        """

    def check_precision(self, precision: str | None) -> str:
        """The precision itself, or the backend's own for None. Raises GraphcError for one that is
        unknown, that the backend does not have, or that would only make things slower.
        """
        if precision is None:
            return self.precisions[0]
        if precision not in PRECISIONS:
            raise GraphcError(
                f"there is no precision {precision!r}",
                remedy="precisions: " + ", ".join(PRECISIONS),
            )
        if precision not in self.precisions:
            raise GraphcError(
                f"the backend {self.name!r} has no precision {precision!r}",
                remedy=f"use one of {', '.join(self.precisions)}, or another backend",
            )
        return precision

    def sources(self, graph: Graph, forms: Sequence[str] = ()) -> tuple[KernelSource, ...]:
        """The code for every kernel of `graph` as the passes left it, in the order they run.

        forms: which of the backend's forms; all if none is named. A kernel that runs several times
        is listed each time. Raises GraphcError for a form that the backend does not have.
        """
        strange = [form for form in forms if form not in self.forms]
        if strange or not self.forms:
            what = f"no {strange[0]} code" if strange else "no code"
            raise GraphcError(
                f"the backend {self.name!r} generates {what}",
                remedy=f"it shows: {', '.join(self.forms) or 'nothing, it interprets'}",
            )
        return self._sources(graph, tuple(forms) or self.forms)

    def _sources(self, graph: Graph, forms: Sequence[str]) -> tuple[KernelSource, ...]:
        """`sources` for checked forms; to be written by every backend that has any."""
        raise InternalError(f"the backend {self.name!r} has forms of code and shows none")

    def missing(self) -> str | None:
        """What this machine lacks to run graphs, in words; None if nothing."""
        return None

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

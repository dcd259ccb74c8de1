"""What was compiled in this process, and why: the answer to "why is it compiling again?".

A backend notes each variant where it compiles it; the reason is found by comparing with what was
compiled before under the same name. Only the last `KEPT` are remembered; no graph is kept alive.
"""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass, field

from graphc.ir.graph import Graph
from graphc.ir.types import TensorType

KEPT = 1000


@dataclass(frozen=True)
class Compilation:
    """One variant of a graph that was compiled.

    variant: "small" or "large": for what batches. batch: of how many samples the run was that
    needed it. inputs: name -> type. seconds: what it took. cached: whether the code was on disk
    from an earlier run. why: in words.
    """

    graph: str
    backend: str
    variant: str
    batch: int
    inputs: dict[str, TensorType]
    seconds: float
    cached: bool
    why: str
    _graph: weakref.ref[Graph] = field(repr=False, compare=False)

    def __str__(self) -> str:
        source = "from the cache" if self.cached else "compiled"
        what = f"{self.graph} for {self.variant} batches on {self.backend}"
        return f"{what}: {source} in {self.seconds:.2f} s, {self.why}"


class Compilations(tuple[Compilation, ...]):
    """Compilations, the oldest first; printed, one a line."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "nothing was compiled"


_noted: deque[Compilation] = deque(maxlen=KEPT)


def explain_recompiles() -> Compilations:
    """Everything that was compiled in this process so far, with the reason: a first use, a first
    large batch, other types, another graph of the name, another executable of the same graph.
    """
    return Compilations(_noted)


def note_compilation(
    graph: Graph, *, backend: str, variant: str, batch: int, seconds: float, cached: bool
) -> None:
    """To be called by a backend when it has compiled a variant."""
    inputs = {str(i.attrs["name"]): i.tensor for i in graph.inputs}
    why = _reason(graph, inputs, backend, variant, batch)
    _noted.append(
        Compilation(
            graph.name, backend, variant, batch, inputs, seconds, cached, why, weakref.ref(graph)
        )
    )


def _reason(
    graph: Graph, inputs: dict[str, TensorType], backend: str, variant: str, batch: int
) -> str:
    before = [c for c in _noted if (c.graph, c.backend) == (graph.name, backend)]
    if not before:
        return f"the first use of a graph named {graph.name}"
    same = [c for c in before if c._graph() is graph]
    if any(c.variant == variant for c in same):
        return "another executable of the same graph: another model, or other options"
    if same:
        return f"the first run with a {variant} batch, of {batch}"
    last = before[-1].inputs
    for name, type in inputs.items():
        if name in last and last[name] != type:
            return f"{name!r} is {type}; in the last graph of that name it was {last[name]}"
    differing = inputs.keys() ^ last.keys()
    if differing:
        name = min(differing)
        return (
            f"{name!r} is {'new' if name in inputs else 'gone'} since the last graph of that name"
        )
    return "another graph of that name: its inputs are the same, its nodes are not"

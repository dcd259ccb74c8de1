"""A program: a graph taken through a pipeline, scheduled, lowered to kernels, its memory numbered.

This is what a backend that generates code starts from. `Program.plan(n)` packs the temporaries for
one batch size. Knows loops and passes, no backend.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.text import node_text
from graphc.loops.cost import bytes_of
from graphc.loops.definition import body_of
from graphc.loops.language import Amount, Kernel
from graphc.loops.memory import buffer_bytes
from graphc.ops.op import family_of
from graphc.passes.base import Pipeline
from graphc.passes.instruments import from_settings
from graphc.passes.plan_memory import (
    MemoryPlan,
    Scheduled,
    Step,
    Storage,
    plan,
    schedule,
    source_of,
)
from graphc.runtime.backend import KernelSource


@dataclass(frozen=True)
class Call:
    """One kernel of a step: the slots of its buffers, and the phase it runs in."""

    kernel: Kernel
    slots: tuple[int, ...]
    phase: int

    @property
    def bytes(self) -> Amount:
        """Bytes of its buffers, each once."""
        return bytes_of(self.kernel.buffers)


@dataclass(frozen=True)
class Program:
    """Kernels in the order they run, and the slots (addresses) they name.

    slots: storage -> its number; inputs come first, in the graph's order. seconds: what the passes
    and the lowering took.
    """

    graph: Graph
    scheduled: Scheduled
    calls: tuple[Call, ...]
    slots: dict[Storage, int]
    seconds: dict[str, float]

    @cached_property
    def outputs(self) -> tuple[tuple[int, int], ...]:
        """(slot, number) of every output that is not written over an input."""
        return tuple((slot, s.number) for s, slot in self.slots.items() if s.kind == "output")

    @property
    def phases(self) -> int:
        """How often all threads meet, and once more."""
        return self.scheduled.phases

    def plan(self, n: int) -> MemoryPlan:
        """Where every temporary lies for batch size n."""
        return plan(self.scheduled, [buffer_bytes(s.type, n) for s in self.scheduled.temporaries])

    def flops(self, n: int) -> int:
        """Arithmetic of one run."""
        return sum(call.kernel.flops.at(n) for call in self.calls)


def sources_of(
    graph: Graph, lower: Callable[[Node], Kernel], written: Callable[[Kernel], KernelSource]
) -> tuple[KernelSource, ...]:
    """The code of every kernel of `graph` as the passes left it, in the order they run. written:
    that of one kernel. Raises GraphcError for a layer, which is several kernels.
    """
    layer = next((n for n in graph.nodes if family_of(n) == "layer"), None)
    if layer is not None:
        raise GraphcError(
            f"{layer.op.name} is made of several kernels",
            node=node_text(layer, graph.names, notes=False),
            remedy="decompose the graph first: -p decompose,simplify,fuse",
        )
    calls = build_program(graph, Pipeline(()), lower).calls
    kernels = {id(call.kernel): call.kernel for call in calls}
    found = {key: written(kernel) for key, kernel in kernels.items()}
    return tuple(found[id(call.kernel)] for call in calls)


def build_program(graph: Graph, pipeline: Pipeline, lower: Callable[[Node], Kernel]) -> Program:
    """Runs `pipeline` on `graph` (watched as the settings say) and lowers what comes out.

    lower: makes the kernel of a node, for the processor that it will run on.
    """
    begin = time.perf_counter()
    lowered = pipeline(graph, from_settings())
    passed = time.perf_counter()
    scheduled = schedule(lowered)
    storages = _storages(lowered, scheduled)
    slots: dict[Storage, int] = {storages[i, 0]: k for k, i in enumerate(lowered.inputs)}
    calls = []
    kernels: dict[
        Graph, Kernel
    ] = {}  # nodes of one body share a kernel: deep nets repeat themselves
    for step in scheduled.steps:
        buffers = _buffers(step, storages)
        for storage in buffers:
            slots.setdefault(storage, len(slots))
        body = body_of(step.node)
        kernel = kernels.get(body)
        if kernel is None:
            kernel = kernels[body] = lower(step.node)
        calls.append(Call(kernel, tuple(slots[b] for b in buffers), step.phase))
    seconds = {"passes": passed - begin, "lowering": time.perf_counter() - passed}
    return Program(lowered, scheduled, tuple(calls), slots, seconds)


def inner_batches(nodes: Sequence[Node]) -> dict[int, int]:
    """Place -> batch axis of inputs or outputs whose batch is not in front, where generated code
    keeps it.
    """
    return {k: n.tensor.batch_axis for k, n in enumerate(nodes) if n.tensor.batch_axis}


def _storages(graph: Graph, scheduled: Scheduled) -> dict[tuple[Node, int], Storage]:
    found = {(node, 0): Storage("input", k, node.tensor) for k, node in enumerate(graph.inputs)}
    for step in scheduled.steps:
        found.update({(step.node, k): storage for k, storage in enumerate(step.writes)})
    return found


def _buffers(step: Step, storages: dict[tuple[Node, int], Storage]) -> tuple[Storage, ...]:
    """Storages in the order of the kernel's buffers: the body's inputs, then the results."""
    fused = step.node.op.name == "fused"
    read = step.node.inputs if fused else tuple(dict.fromkeys(step.node.inputs))
    return (*(storages[source_of(i)] for i in read), *step.writes)

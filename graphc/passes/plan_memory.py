"""Where every value of a lowered graph lives, when it is computed, and how large the one arena
must be.

`schedule` orders kernels so that what overwrites a donated input comes after its last reader, and
cuts the order into phases: kernels of one phase do not depend on each other, between phases all
threads meet. `plan` packs the values that are neither inputs nor outputs into one arena by their
lifetimes in phases, largest first, each at the lowest place that is free while it lives. A reshape
or `get` is another name for the same memory.

    a = k1(x); b = k2(a); c = k3(b)   ->   a at 0, b behind it, c at 0 again
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from graphc.base.errors import InternalError
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.types import TensorType, TupleType
from graphc.ops.op import family_of

ALIGNMENT = 64


@dataclass(frozen=True)
class Storage:
    """Memory of one value: an input's, an output's, or a temporary's place in the arena."""

    kind: str
    number: int
    type: TensorType = field(compare=False)


@dataclass(frozen=True)
class Step:
    """One kernel: its node, what it reads and writes, and the phase it runs in."""

    node: Node
    reads: tuple[Storage, ...]
    writes: tuple[Storage, ...]
    phase: int


@dataclass(frozen=True)
class Scheduled:
    """A lowered graph in the order it runs."""

    graph: Graph
    steps: tuple[Step, ...]

    @cached_property
    def temporaries(self) -> tuple[Storage, ...]:
        """Storages of the arena, in order of their numbers."""
        found = {
            s for step in self.steps for s in (*step.reads, *step.writes) if s.kind == "temporary"
        }
        return tuple(sorted(found, key=lambda s: s.number))

    @property
    def phases(self) -> int:
        """How many phases there are."""
        return max((s.phase for s in self.steps), default=-1) + 1

    @cached_property
    def lifetimes(self) -> dict[Storage, tuple[int, int]]:
        """First and last phase in which each temporary is used."""
        found: dict[Storage, tuple[int, int]] = {}
        for step in self.steps:
            for storage in (*step.writes, *step.reads):
                if storage.kind == "temporary":
                    first, last = found.get(storage, (step.phase, step.phase))
                    found[storage] = (min(first, step.phase), max(last, step.phase))
        return found


@dataclass(frozen=True)
class MemoryPlan:
    """Offsets of the temporaries in one arena of `bytes`, for one batch size."""

    offsets: dict[Storage, int]
    bytes: int


def is_kernel(node: Node) -> bool:
    """Whether a node runs at all."""
    return node.op.name not in ("input", "get") and family_of(node) != "alias"


def source_of(node: Node) -> tuple[Node, int]:
    """(kernel or input node, result number) whose memory `node` names."""
    while not is_kernel(node) and node.op.name != "input":
        if node.op.name == "get":
            return node.inputs[0], node.attrs["index"]
        node = node.inputs[0]
    return node, 0


def schedule(graph: Graph) -> Scheduled:
    """Orders the kernels of a lowered graph and assigns memory.

    Raises InternalError if an output has no memory of its own (see `separate_outputs`).
    """
    storages = _storages(graph)
    order = _order(graph, storages)
    steps: list[Step] = []
    unsettled: list[tuple[set[Storage], set[Storage]]] = []
    phase = 0
    for node in order:
        reads = tuple(dict.fromkeys(storages[source_of(i)] for i in node.inputs))
        writes = tuple(storages[node, k] for k in range(len(_results(node))))
        for earlier_reads, earlier_writes in unsettled:
            if earlier_writes & {*reads, *writes} or earlier_reads & set(writes):
                phase += 1
                unsettled = []
                break
        unsettled.append((set(reads), set(writes)))
        steps.append(Step(node, reads, writes, phase))
    return Scheduled(graph, tuple(steps))


def plan(scheduled: Scheduled, sizes: Sequence[int]) -> MemoryPlan:
    """Packs the temporaries, `sizes` bytes each, into one arena."""
    return packed({s: scheduled.lifetimes[s] for s in scheduled.temporaries}, sizes)


def packed(lifetimes: Mapping[Storage, tuple[int, int]], sizes: Sequence[int]) -> MemoryPlan:
    """Packs what is used from a first to a last phase into one arena: largest first, each at the
    lowest place that is free while it lives.
    """
    placed: list[tuple[int, int, int, int]] = []
    offsets: dict[Storage, int] = {}
    by_size = sorted(zip(lifetimes, sizes, strict=True), key=lambda p: (-p[1], p[0].number))
    for storage, size in by_size:
        size = -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
        first, last = lifetimes[storage]
        offset = 0
        for begin, end, other_first, other_last in placed:
            if (
                other_first <= last
                and first <= other_last
                and begin < offset + size
                and offset < end
            ):
                offset = end
        bisect.insort(placed, (offset, offset + size, first, last))
        offsets[storage] = offset
    return MemoryPlan(offsets, max((end for _, end, _, _ in placed), default=0))


def _results(node: Node) -> tuple[TensorType, ...]:
    return node.type.elements if isinstance(node.type, TupleType) else (node.type,)


def _storages(graph: Graph) -> dict[tuple[Node, int], Storage]:
    found: dict[tuple[Node, int], Storage] = {}
    donated = dict(graph.donations)
    for k, node in enumerate(graph.inputs):
        found[node, 0] = Storage("input", k, node.tensor)
    for k, output in enumerate(graph.outputs):
        source = source_of(output)
        if source in found:
            raise InternalError(f"output {k} of {graph.name} has no memory of its own")
        kind, number = ("input", donated[k]) if k in donated else ("output", k)
        found[source] = Storage(kind, number, _results(source[0])[source[1]])
    count = 0
    for node in graph.nodes:
        if not is_kernel(node):
            continue
        for k, type in enumerate(_results(node)):
            if (node, k) not in found:
                found[node, k] = Storage("temporary", count, type)
                count += 1
    return found


def _order(graph: Graph, storages: dict[tuple[Node, int], Storage]) -> list[Node]:
    """Kernels after what they read, and writers of a donated input after its readers."""
    kernels = [n for n in graph.nodes if is_kernel(n)]
    position = {node: k for k, node in enumerate(kernels)}
    after: dict[Node, set[Node]] = {node: set() for node in kernels}
    readers: dict[Storage, list[Node]] = {}
    for node in kernels:
        for source in node.inputs:
            found, k = source_of(source)
            if found in position:
                after[node].add(found)
            else:
                readers.setdefault(storages[found, k], []).append(node)
    for node in kernels:
        for k in range(len(_results(node))):
            for reader in readers.get(storages[node, k], ()):
                if reader is not node:
                    after[node].add(reader)
    waiting = {node: len(before) for node, before in after.items()}
    followers: dict[Node, list[Node]] = {node: [] for node in kernels}
    for node, before in after.items():
        for earlier in before:
            followers[earlier].append(node)
    ready = [position[n] for n, count in waiting.items() if not count]
    heapq.heapify(ready)
    order: list[Node] = []
    while ready:
        node = kernels[heapq.heappop(ready)]
        order.append(node)
        for follower in followers[node]:
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, position[follower])
    if len(order) != len(kernels):
        raise InternalError(f"{graph.name}: a donated input is overwritten before it is read")
    return order

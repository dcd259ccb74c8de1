"""Running lowered graphs: variants by batch size, the arena, the table of addresses, and the
one call a step.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.loops.language import Kernel, buffer_bytes, padded_batch
from graphc.loops.lower import lower
from graphc.passes.plan_memory import MemoryPlan, Scheduled, Storage, plan, schedule
from graphc.runtime.backend import Runner
from graphc_llvm.engine import Code, machine_of
from graphc_llvm.module import STEP, Call, step_module
from graphc_llvm.threads import pool

Array = np.ndarray[Any, Any]
ARENA_PAGE = 4096
LARGE_BATCH = 16
SMALL_WORK = 2_000_000


@dataclass
class Prepared:
    """A variant made ready for one batch size: its plan, arena, and table of addresses."""

    plan: MemoryPlan
    arena: Array
    table: Array
    address: int
    outputs: tuple[tuple[int, int, tuple[int, ...], np.dtype[Any]], ...]
    threads: int
    bound: dict[int, Array] = field(default_factory=dict)


class Variant:
    """A graph lowered for small or for large batches, compiled when first run."""

    def __init__(self, graph: Graph, pipeline: Any) -> None:
        begin = time.perf_counter()
        self.graph = pipeline(graph)
        self.scheduled: Scheduled = schedule(self.graph)
        self.slots = self._slots()
        machine = machine_of()
        kernels = [lower(step.node, machine) for step in self.scheduled.steps]
        self.calls = tuple(
            Call(kernel, tuple(self.slots[s] for s in self._buffers(step)), step.phase)
            for kernel, step in zip(kernels, self.scheduled.steps, strict=True)
        )
        self.lowering_seconds = time.perf_counter() - begin
        begin = time.perf_counter()
        self.text = step_module(self.calls, llvm.get_process_triple())
        self.emission_seconds = time.perf_counter() - begin
        begin = time.perf_counter()
        self.code = Code(self.text)
        arguments = (
            ctypes.c_void_p,
            ctypes.c_int64,
            ctypes.c_int64,
            ctypes.c_int64,
            ctypes.c_int64,
            ctypes.c_void_p,
        )
        self.step = self.code.function(STEP, None, *arguments)
        self.address = int(self.code.engine.get_function_address(STEP))
        self.compile_seconds = time.perf_counter() - begin
        self.prepared: dict[int, Prepared] = {}

    def _buffers(self, step: Any) -> tuple[Storage, ...]:
        """Storages in the order of the kernel's buffers: the body's inputs, then the results."""
        from graphc.passes.plan_memory import source_of

        storages = {}
        for earlier in self.scheduled.steps:
            for k, storage in enumerate(earlier.writes):
                storages[earlier.node, k] = storage
        for k, node in enumerate(self.graph.inputs):
            storages[node, 0] = Storage("input", k, node.tensor)
        read = (
            step.node.inputs
            if step.node.op.name == "fused"
            else tuple(dict.fromkeys(step.node.inputs))
        )
        return (*(storages[source_of(i)] for i in read), *step.writes)

    def _slots(self) -> dict[Storage, int]:
        found: dict[Storage, int] = {}
        for k, node in enumerate(self.graph.inputs):
            found[Storage("input", k, node.tensor)] = k
        for step in self.scheduled.steps:
            for storage in (*step.reads, *step.writes):
                found.setdefault(storage, len(found))
        return found

    def prepare(self, n: int, threads: int, moved: Mapping[int, int]) -> Prepared:
        """Everything that depends on the batch size but not on the data."""
        sizes = [buffer_bytes(s.type, n) for s in self.scheduled.temporaries]
        memory = plan(self.scheduled, sizes)
        raw = np.empty(memory.bytes + ARENA_PAGE, np.uint8)
        start = -raw.ctypes.data % ARENA_PAGE
        arena = raw[start : start + max(memory.bytes, 1)]
        table = np.zeros(len(self.slots), np.int64)
        outputs = []
        for storage, slot in self.slots.items():
            if storage.kind == "temporary":
                table[slot] = arena.ctypes.data + memory.offsets[storage]
            elif storage.kind == "output":
                type = self.graph.outputs[storage.number].tensor
                shape = type.concrete(n)
                if storage.number in moved:
                    axis = moved[storage.number]
                    shape = (shape[axis], *shape[:axis], *shape[axis + 1 :])
                outputs.append((slot, storage.number, shape, type.dtype.numpy))
        work = sum(c.kernel.flops.at(n) for c in self.calls)
        used = 1 if work < SMALL_WORK else threads
        return Prepared(memory, arena, table, table.ctypes.data, tuple(outputs), used)


class LLVMRunner(Runner):
    """A graph on the LLVM backend: at most two variants, both made when first needed."""

    def __init__(self, graph: Graph, threads: int | None, pipelines: Mapping[str, Any]) -> None:
        self.graph = graph
        self.threads = threads or available_threads()
        self.pipelines = pipelines
        self.variants: dict[str, Variant] = {}
        self.has_batch = any(i.tensor.batch_axis is not None for i in graph.inputs)
        self.making = threading.Lock()
        self.meeting = (ctypes.c_int64 * 24)()
        self.donated = dict(graph.donations)
        self.moved_inputs = {k: a for k, a in enumerate(map(_inner_batch, graph.inputs)) if a}
        self.moved_outputs = {k: a for k, a in enumerate(map(_inner_batch, graph.outputs)) if a}

    def variant(self, n: int) -> Variant:
        """The variant for batch size n."""
        name = "large" if self.has_batch and n >= LARGE_BATCH else "small"
        found = self.variants.get(name)
        if found is None:
            with self.making:
                if name not in self.variants:
                    self.variants[name] = Variant(self.graph, self.pipelines[name])
                found = self.variants[name]
        return found

    def run(self, inputs: Mapping[str, Array], n: int) -> list[Array]:
        variant = self.variant(n)
        workers = pool()
        with workers.lock:
            prepared = variant.prepared.get(n)
            if prepared is None:
                prepared = variant.prepared[n] = variant.prepare(
                    n, self.threads, self.moved_outputs
                )
            table = prepared.table
            bound = prepared.bound
            for k, node in enumerate(self.graph.inputs):
                array = inputs[node.attrs["name"]]
                if k in self.moved_inputs:
                    array = np.ascontiguousarray(np.moveaxis(array, self.moved_inputs[k], 0))
                if bound.get(k) is not array:
                    bound[k] = array
                    table[k] = array.__array_interface__["data"][0]
            results: list[Any] = [None] * len(self.graph.outputs)
            for slot, number, shape, dtype in prepared.outputs:
                result = np.empty(shape, dtype)
                results[number] = result
                table[slot] = result.__array_interface__["data"][0]
            padded = padded_batch(n)
            if prepared.threads == 1:
                variant.step(prepared.address, n, padded, 0, 1, self.meeting)
            else:
                workers.run(variant.address, prepared.address, n, padded, prepared.threads)
        for k, axis in self.moved_outputs.items():
            results[k] = np.ascontiguousarray(np.moveaxis(results[k], 0, axis))
        for output, source in self.donated.items():
            results[output] = inputs[self.graph.inputs[source].attrs["name"]]
        return results

    def explain(self) -> str:
        lines = []
        for name, variant in self.variants.items():
            lines.append(
                f"{name} batches: {len(variant.calls)} kernels in {variant.scheduled.phases} phases"
            )
            lines.extend(_row(c.kernel, c.phase) for c in variant.calls)
        return "\n".join(lines) or "not compiled yet: run it once"

    def report(self) -> dict[str, Any]:
        variants = self.variants.values()
        phases = {
            "passes and loops": sum(v.lowering_seconds for v in variants),
            "LLVM text": sum(v.emission_seconds for v in variants),
            "machine code": sum(v.compile_seconds for v in variants),
        }
        arenas = [prepared.plan.bytes for v in variants for prepared in v.prepared.values()]
        return {"phases": phases, "planned_bytes": sum(arenas)}


def _inner_batch(node: Node) -> int:
    """Where the batch axis of an input or output is, if not in front: native code keeps it
    outermost.
    """
    return node.tensor.batch_axis or 0


def _row(kernel: Kernel, phase: int) -> str:
    return f"  {phase:3d}  {kernel.name:40s} {kernel.schedule:32s} {' '.join(kernel.ops)}"


def available_threads() -> int:
    """Processors this process may use: its affinity, and the quota of its control group."""
    count = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, round(int(quota) / int(period))))

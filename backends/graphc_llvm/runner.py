"""Running graphs natively: a variant by batch size, addresses into its table, one call a step."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.ir.graph import Graph
from graphc.passes.base import Pipeline
from graphc.runtime.backend import Runner
from graphc.runtime.profile import Profile
from graphc_llvm.explain import profile
from graphc_llvm.threads import pool
from graphc_llvm.variant import Prepared, Variant

Array = np.ndarray[Any, Any]
LARGE_BATCH = 16


class LLVMRunner(Runner):
    """A graph on the LLVM backend: at most two variants, each compiled when first needed."""

    def __init__(
        self, graph: Graph, threads: int | None, pipelines: Mapping[str, Pipeline]
    ) -> None:
        self.graph = graph
        self.threads = threads or available_threads()
        self.pipelines = pipelines
        self.variants: dict[str, Variant] = {}
        self.making = threading.Lock()
        self.has_batch = any(i.tensor.batch_axis is not None for i in graph.inputs)
        # Native code keeps the batch outermost; where it is not in front, arrays are turned.
        self.turned_inputs = _inner_batches(graph.inputs)
        written = {output for output, _ in graph.donations}
        outer = _inner_batches(graph.outputs)
        self.turned_outputs = {k: axis for k, axis in outer.items() if k not in written}

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

    def run(self, inputs: Sequence[Array], n: int) -> list[Array]:
        variant = self.variant(n)
        given = inputs
        if self.turned_inputs:
            inputs = list(inputs)
            for place, axis in self.turned_inputs.items():
                inputs[place] = np.ascontiguousarray(np.moveaxis(inputs[place], axis, 0))
        with pool().lock:
            prepared = variant.prepared.get(n) or variant.prepare(n, self.threads)
            results = self._bind(prepared, inputs)
            variant.step.run(prepared.address, n, prepared.threads)
        for output, source in self.graph.donations:
            if source in self.turned_inputs:
                given[source][...] = np.moveaxis(inputs[source], 0, self.turned_inputs[source])
            results[output] = given[source]
        for place, axis in self.turned_outputs.items():
            results[place] = np.ascontiguousarray(np.moveaxis(results[place], 0, axis))
        return results

    def _bind(self, prepared: Prepared, inputs: Sequence[Array]) -> list[Any]:
        """Writes the addresses of inputs and of new output arrays; returns the latter."""
        table, bound = prepared.table, prepared.bound
        for slot, array in enumerate(inputs):
            if bound.get(slot) is not array:
                bound[slot] = array
                table[slot] = array.__array_interface__["data"][0]
        results: list[Any] = [None] * len(self.graph.outputs)
        for slot, number, shape, dtype in prepared.outputs:
            result = results[number] = bound[slot] = np.empty(shape, dtype)
            table[slot] = result.__array_interface__["data"][0]
        return results

    def explain(self) -> str:
        texts = [found.text() for found in self.profiles()]
        return "\n\n".join(texts) or "not compiled yet: run it once"

    def profiles(self) -> tuple[Profile, ...]:
        found = [profile(name, variant) for name, variant in self.variants.items()]
        return tuple(p for p in found if p is not None)

    def report(self) -> dict[str, Any]:
        phases: dict[str, float] = {}
        planned = 0
        for variant in self.variants.values():
            for phase, seconds in variant.seconds.items():
                phases[phase] = phases.get(phase, 0.0) + seconds
            planned += max((p.plan.bytes for p in variant.prepared.values()), default=0)
        return {"phases": phases, "planned_bytes": planned}


def _inner_batches(nodes: Sequence[Any]) -> dict[int, int]:
    """Place -> batch axis, for those whose batch is not in front."""
    return {k: n.tensor.batch_axis for k, n in enumerate(nodes) if n.tensor.batch_axis}


def available_threads() -> int:
    """Processors this process may use: its affinity, and the quota of its control group."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = count or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, round(int(quota) / int(period))))

"""Running graphs natively: a variant by batch size, addresses into its table, one call a step."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.settings import BISECT
from graphc.ir.graph import Graph
from graphc.passes.base import Pipeline
from graphc.passes.constants import Constants, WithoutConstants
from graphc.passes.pipelines import LARGE_BATCH, with_packed_parameters
from graphc.runtime.backend import Runner
from graphc.runtime.compilations import note_compilation
from graphc.runtime.profile import Profile
from graphc.runtime.program import inner_batches
from graphc_llvm.arena import Arena
from graphc_llvm.explain import profile
from graphc_llvm.threads import pool
from graphc_llvm.variant import Prepared, Variant

Array = np.ndarray[Any, Any]
CONSTANTS = ", from parameters alone,"


@dataclass
class Compiled:
    """A variant, and the variant that computes what depends on parameters alone, if anything does.

    held: the results of the latter. token: of the call that they were computed for.
    """

    variant: Variant
    constants: Variant | None = None
    held: Sequence[Array] = ()
    token: object = None


class LLVMRunner(Runner):
    """A graph on the LLVM backend: at most two variants, each compiled when first needed."""

    def __init__(
        self, graph: Graph, threads: int | None, pipelines: Mapping[str, Pipeline]
    ) -> None:
        self.graph = graph
        self.threads = threads or available_threads()
        self.pipelines = self.row_major = pipelines
        self.arena = Arena()
        self.compiled: dict[str, Compiled] = {}
        self.making = threading.Lock()
        self.has_batch = any(i.tensor.batch_axis is not None for i in graph.inputs)
        kinds = [i.attrs["kind"] for i in graph.inputs]
        self.fixed = [k for k, kind in enumerate(kinds) if kind != "data"]
        # Native code keeps the batch outermost; where it is not in front, arrays are turned.
        self.turned_inputs = inner_batches(graph.inputs)
        written = {output for output, _ in graph.donations}
        outer = inner_batches(graph.outputs)
        self.turned_outputs = {k: axis for k, axis in outer.items() if k not in written}

    def _name(self, n: int) -> str:
        """The variant that serves batch size n."""
        return "large" if self.has_batch and n >= LARGE_BATCH else "small"

    def _compiled(self, n: int) -> Compiled:
        """What was compiled for batch size n, or is now."""
        name = self._name(n)
        found = self.compiled.get(name)
        if found is None:
            with self.making:
                if name not in self.compiled:
                    self.compiled[name] = self._compile_variant(name, n)
                found = self.compiled[name]
        return found

    def _compile_variant(self, name: str, n: int) -> Compiled:
        """The variant of that name, compiled and noted; n: the batch that needs it."""
        begin = time.perf_counter()
        made = self._compile(self.pipelines[name])
        note_compilation(
            self.graph,
            backend="llvm",
            variant=name,
            batch=n,
            seconds=time.perf_counter() - begin,
            cached=made.variant.cached,
        )
        return made

    def _compile(self, pipeline: Pipeline) -> Compiled:
        # Two runs of the passes must make halves of one graph, which held back steps could undo.
        if self.graph.donations or not self.fixed or BISECT.text():
            return Compiled(self._variant(pipeline))
        rest = self._variant(Pipeline((*pipeline.passes, WithoutConstants())))
        if rest.record.inputs == len(self.graph.inputs):
            return Compiled(rest)
        return Compiled(rest, self._variant(Pipeline((*pipeline.passes, Constants()))))

    def _variant(self, pipeline: Pipeline) -> Variant:
        return Variant(self.graph, pipeline, self.arena)

    def pack(self, on: bool) -> None:
        with self.making:
            self.pipelines = with_packed_parameters(self.row_major) if on else self.row_major
            kept = {name: c for name, c in self.compiled.items() if not c.variant.record.layouts}
            self.compiled = kept

    def layouts(self, n: int) -> Mapping[str, str]:
        return self._compiled(n).variant.record.layouts

    def variant(self, n: int) -> Variant:
        """The variant for batch size n."""
        return self._compiled(n).variant

    @property
    def variants(self) -> dict[str, Variant]:
        """All that was compiled, by name."""
        found = {}
        for name, each in self.compiled.items():
            if each.constants is not None:
                found[f"{name}{CONSTANTS}"] = each.constants
            found[name] = each.variant
        return found

    def run(self, inputs: Sequence[Array], n: int, token: object = None) -> list[Array]:
        compiled = self._compiled(n)
        given = inputs
        if self.turned_inputs:
            inputs = list(inputs)
            for place, axis in self.turned_inputs.items():
                inputs[place] = np.ascontiguousarray(np.moveaxis(inputs[place], axis, 0))
        with pool().lock:
            if compiled.constants is not None:
                if token is None or token != compiled.token:
                    fixed = [inputs[k] for k in self.fixed]
                    count = len(compiled.constants.record.outputs)
                    compiled.held = self._execute(compiled.constants, fixed, 1, count)
                    compiled.token = token
                inputs = [*inputs, *compiled.held]
            results = self._execute(compiled.variant, inputs, n, len(self.graph.outputs))
        for output, source in self.graph.donations:
            if source in self.turned_inputs:
                given[source][...] = np.moveaxis(inputs[source], 0, self.turned_inputs[source])
            results[output] = given[source]
        for place, axis in self.turned_outputs.items():
            results[place] = np.ascontiguousarray(np.moveaxis(results[place], 0, axis))
        return results

    def _execute(self, variant: Variant, inputs: Sequence[Array], n: int, count: int) -> list[Any]:
        """One run of a variant: its `count` outputs, None where one is written over an input. The
        caller holds the pool's lock.
        """
        prepared = variant.prepared.get(n) or variant.prepare(n, self.threads)
        prepared.place()
        results = _bind(prepared, inputs, count)
        variant.step.run(prepared.address, n, prepared.threads)
        return results

    def explain(self) -> str:
        texts = [found.text() for found in self.profiles()]
        return "\n\n".join(texts) or "not compiled yet: run it once"

    def profiles(self) -> tuple[Profile, ...]:
        found = []
        for name, each in self.compiled.items():
            found.append(profile(name, each.variant, each.constants))
            if each.constants is not None:
                found.append(profile(f"{name}{CONSTANTS}", each.constants))
        return tuple(p for p in found if p is not None)

    def pipeline(self, n: int) -> Pipeline:
        return self.variant(n).pipeline

    def profile(self, n: int) -> Profile | None:
        name = self._name(n)
        each = self.compiled.get(name)
        return None if each is None else profile(name, each.variant, each.constants, n)

    def report(self) -> dict[str, Any]:
        phases: dict[str, float] = {}
        for variant in self.variants.values():
            for phase, seconds in variant.seconds.items():
                phases[phase] = phases.get(phase, 0.0) + seconds
        return {"phases": phases, "planned_bytes": self.arena.bytes}


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


def _bind(prepared: Prepared, inputs: Sequence[Array], count: int) -> list[Any]:
    """Writes the addresses of inputs and of new output arrays; returns the latter."""
    table, bound = prepared.table, prepared.bound
    for slot, array in enumerate(inputs):
        if bound.get(slot) is not array:
            bound[slot] = array
            table[slot] = array.__array_interface__["data"][0]
    results: list[Any] = [None] * count
    for slot, number, shape, dtype in prepared.outputs:
        result = results[number] = bound[slot] = np.empty(shape, dtype)
        table[slot] = result.__array_interface__["data"][0]
    return results

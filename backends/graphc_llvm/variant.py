"""A program compiled for the host, and what is made ready for each batch size it runs with."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc.ir.graph import Graph
from graphc.loops.memory import padded_batch
from graphc.passes.base import Pipeline
from graphc.passes.plan_memory import MemoryPlan
from graphc.runtime.announcement import Announcement
from graphc.runtime.object_cache import ObjectCache, object_cache
from graphc.runtime.program import Program, build_program
from graphc_llvm.arena import Arena
from graphc_llvm.engine import Code, code_origin, digest_of, lowering, machine_code, machine_of
from graphc_llvm.module import STEP, step_module
from graphc_llvm.step_record import StepRecord, record_origin
from graphc_llvm.threads import pool

Array = np.ndarray[Any, Any]
STEP_ARGUMENTS = (
    ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64,
    ctypes.c_void_p,
)  # fmt: skip
# Below this much arithmetic a step is over before a second thread has met the first.
SMALL_WORK = 500_000


@dataclass
class Prepared:
    """A variant made ready for one batch size: plan, arena, table (at `address`), threads to use.

    places: slots of the temporaries, and their offsets in the arena. outputs: (slot, number, shape,
    dtype) of the arrays to make at each run. bound: the arrays whose addresses are in the table, by
    slot; holding them keeps the addresses true. base: where the arena was when it was last placed.
    """

    n: int
    plan: MemoryPlan
    arena: Arena
    places: tuple[Array, Array]
    table: Array
    outputs: tuple[tuple[int, int, tuple[int, ...], np.dtype[Any]], ...]
    threads: int
    bound: dict[int, Array] = field(default_factory=dict)
    base: int = 0

    def __post_init__(self) -> None:
        self.address = int(self.table.ctypes.data)

    def place(self) -> None:
        """Has the temporaries' addresses be in the arena. The caller holds the pool's lock."""
        self.arena.reach(self.plan.bytes)
        if self.base != self.arena.address:
            slots, offsets = self.places
            self.table[slots] = offsets + self.arena.address
            self.base = self.arena.address


class Step:
    """The native function of a step, with or without a clock in it."""

    def __init__(self, image: bytes) -> None:
        self.code = Code(image)
        self.call = self.code.function(STEP, None, *STEP_ARGUMENTS)
        self.address = self.code.address(STEP)
        self.meeting = (ctypes.c_int64 * 24)()

    def run(self, table: int, n: int, threads: int) -> None:
        """One step on `threads` threads. The caller holds the pool's lock."""
        padded = padded_batch(n)
        if threads == 1:
            self.call(table, n, padded, 0, 1, self.meeting)
        else:
            pool().run(self.address, table, n, padded, threads)


class Variant:
    """A graph lowered by one pipeline and compiled, now or in an earlier run; it computes in
    `arena`.
    """

    def __init__(self, graph: Graph, pipeline: Pipeline, arena: Arena) -> None:
        self.graph, self.pipeline, self.arena = graph, pipeline, arena
        self.seconds: dict[str, float] = {}
        with Announcement(f"compiling {graph.name}") as line:
            begin = time.perf_counter()
            cache = object_cache()
            origin = record_origin(graph, pipeline) if cache is not None else None
            found = _known(cache, origin)
            if cache is not None:
                self.seconds["cache"] = time.perf_counter() - begin
            self.cached = found is not None
            self.record, image = found or self._made(line)
            if cache is not None and origin is not None and found is None:
                cache.put(origin, bytes(self.record))
            self.step = Step(image)
        self.prepared: dict[int, Prepared] = {}

    def _made(self, line: Announcement) -> tuple[StepRecord, bytes]:
        """The step, compiled; notes what each phase took."""
        line.stage = "passes and loops"
        self.seconds |= self.program.seconds
        begin = time.perf_counter()
        line.stage = "emission"
        text = step_module(self.program.calls, llvm.get_process_triple())
        emitted = time.perf_counter()
        line.stage = "machine code"
        image = machine_code(text)
        self.seconds["emission"] = emitted - begin
        self.seconds["machine code"] = time.perf_counter() - emitted
        return StepRecord.of(self.program, digest_of(text)), image

    @cached_property
    def program(self) -> Program:
        """What was compiled, kernel by kernel; built anew if the step came from the cache."""
        return build_program(self.graph, self.pipeline, lowering(machine_of()))

    @cached_property
    def clocked(self) -> Step:
        """The step's twin with a clock in it, which notes into the array behind the last slot."""
        calls, clock = self.program.calls, len(self.program.slots)
        return Step(machine_code(step_module(calls, llvm.get_process_triple(), clock)))

    def prepare(self, n: int, threads: int) -> Prepared:
        """Everything that depends on the batch size but not on the data; made once."""
        found = self.prepared.get(n)
        if found is None:
            found = self.prepared[n] = self._prepare(n, threads)
        return found

    def _prepare(self, n: int, threads: int) -> Prepared:
        record = self.record
        memory, places = record.plan(n)
        slots, offsets = (np.array(list(a), np.int64) for a in (places, places.values()))
        outputs = []
        for slot, number, type in record.outputs:
            shape, axis = type.concrete(n), type.batch_axis or 0
            shape = (*shape[axis : axis + 1], *shape[:axis], *shape[axis + 1 :])
            outputs.append((slot, number, shape, type.dtype.memory))
        used = 1 if record.flops.at(n) < SMALL_WORK else threads
        table = np.zeros(record.slots, np.int64)
        return Prepared(n, memory, self.arena, (slots, offsets), table, tuple(outputs), used)


def _known(cache: ObjectCache | None, origin: bytes | None) -> tuple[StepRecord, bytes] | None:
    """The record and the code of a step that was compiled before."""
    content = cache.get(origin) if cache is not None and origin is not None else None
    if cache is None or content is None:
        return None
    record = StepRecord.parse(content)
    image = cache.get(code_origin(record.code))
    return None if image is None else (record, image)

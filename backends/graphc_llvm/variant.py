"""A program compiled for the host, and what is made ready for each batch size it runs with."""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass, field
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc.ir.graph import Graph
from graphc.loops.language import padded_batch
from graphc.passes.base import Pipeline
from graphc.passes.plan_memory import MemoryPlan
from graphc.runtime.program import build_program
from graphc_llvm.engine import Code, machine_of
from graphc_llvm.module import STEP, step_module
from graphc_llvm.threads import pool

Array = np.ndarray[Any, Any]
PAGE = 4096
STEP_ARGUMENTS = (
    ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64,
    ctypes.c_void_p,
)  # fmt: skip
# Below this much arithmetic a step is over before a second thread has met the first.
SMALL_WORK = 500_000


@dataclass
class Prepared:
    """A variant made ready for one batch size: plan, arena, table (at `address`), threads to use.

    outputs: (slot, number, shape, dtype) of the arrays to make at each run. bound: the arrays whose
    addresses are in the table, by slot; holding them keeps the addresses true.
    """

    n: int
    plan: MemoryPlan
    arena: Array
    table: Array
    outputs: tuple[tuple[int, int, tuple[int, ...], np.dtype[Any]], ...]
    threads: int
    bound: dict[int, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.address = int(self.table.ctypes.data)


class Step:
    """The native function of a step, with or without a clock in it."""

    def __init__(self, text: str) -> None:
        self.code = Code(text)
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
    """A graph lowered by one pipeline and compiled."""

    def __init__(self, graph: Graph, pipeline: Pipeline) -> None:
        self.program = build_program(graph, pipeline, machine_of())
        begin = time.perf_counter()
        self.text = step_module(self.program.calls, llvm.get_process_triple())
        emitted = time.perf_counter()
        self.step = Step(self.text)
        self.seconds = self.program.seconds | {
            "emission": emitted - begin,
            "machine code": time.perf_counter() - emitted,
        }
        self.prepared: dict[int, Prepared] = {}

    def prepare(self, n: int, threads: int) -> Prepared:
        """Everything that depends on the batch size but not on the data; made once."""
        found = self.prepared.get(n)
        if found is None:
            found = self.prepared[n] = self._prepare(n, threads)
        return found

    def _prepare(self, n: int, threads: int) -> Prepared:
        program = self.program
        memory = program.plan(n)
        raw = np.empty(memory.bytes + PAGE, np.uint8)
        start = -raw.ctypes.data % PAGE
        arena = raw[start : start + max(memory.bytes, 1)]
        table = np.zeros(len(program.slots), np.int64)
        for storage, offset in memory.offsets.items():
            table[program.slots[storage]] = arena.ctypes.data + offset
        outputs = []
        for slot, number in program.outputs:
            type = program.graph.outputs[number].tensor
            shape, axis = type.concrete(n), type.batch_axis or 0
            shape = (*shape[axis : axis + 1], *shape[:axis], *shape[axis + 1 :])
            outputs.append((slot, number, shape, type.dtype.numpy))
        used = 1 if program.flops(n) < SMALL_WORK else threads
        return Prepared(n, memory, arena, table, tuple(outputs), used)

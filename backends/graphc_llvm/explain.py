"""Per kernel what runs and how fast: fused ops, schedule, arithmetic, bytes, time, share of the
roofline.

Times come from the processor's cycle counter, read inside the one native call by a twin of the step
that has a clock in it. Donated arrays are copied for it, so that explaining changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc_llvm.module import notes_of, step_module
from graphc_llvm.roofline import measured
from graphc_llvm.threads import pool
from graphc_llvm.variant import Prepared, Step, Variant

REPEATS = 30


def explain(variants: Mapping[str, Variant]) -> str:
    """A table for each variant that has run, with the batch size it ran last."""
    blocks = []
    for name, variant in variants.items():
        prepared = list(variant.prepared.values())
        blocks.extend(_table(name, variant, prepared[-1:]))
    return "\n".join(blocks) or "not compiled yet: run it once"


def kernel_seconds(variant: Variant, prepared: Prepared) -> list[tuple[float, float]]:
    """(running, waiting before) of each kernel on the first thread, medians in seconds."""
    calls = variant.program.calls
    clock = len(variant.program.slots)
    step = Step(step_module(calls, llvm.get_process_triple(), clock))
    table = np.zeros(clock + 1, np.int64)
    table[:clock] = prepared.table
    copies = _copies_of_written(variant, prepared)
    for slot, array in copies.items():
        table[slot] = array.ctypes.data
    notes = np.zeros(notes_of(len(calls)) * prepared.threads, np.int64)
    table[clock] = notes.ctypes.data
    rows = []
    with pool().lock:
        step.run(table.ctypes.data, prepared.n, prepared.threads)
        begin, first = time.perf_counter(), int(notes[2 * len(calls)])
        for _ in range(REPEATS):
            step.run(table.ctypes.data, prepared.n, prepared.threads)
            rows.append(np.diff(notes[: notes_of(len(calls))]))
        elapsed = time.perf_counter() - begin
    cycle = elapsed / max(int(notes[2 * len(calls)]) - first, 1)
    median = np.median(np.array(rows), axis=0) * cycle
    return [(float(median[2 * k + 1]), float(median[2 * k])) for k in range(len(calls))]


def _copies_of_written(variant: Variant, prepared: Prepared) -> dict[int, Any]:
    """Copies of every array outside the arena that a step writes, by slot."""
    written = {
        variant.program.slots[s]
        for step in variant.program.scheduled.steps
        for s in step.writes
        if s.kind != "temporary"
    }
    return {slot: prepared.bound[slot].copy() for slot in written}


def _table(name: str, variant: Variant, prepared: list[Prepared]) -> list[str]:
    program = variant.program
    if not prepared:
        return [f"{name} batches: compiled, not run"]
    ready = prepared[0]
    n, threads = ready.n, ready.threads
    times = kernel_seconds(variant, ready)
    roofline = measured()
    total = sum(run + wait for run, wait in times)
    rate = roofline.flops_per_second * threads
    lines = [
        f"{name} batches, batch {n}, threads {threads}: {len(program.calls)} kernels in "
        f"{program.phases} phases, {total * 1e6:.0f} us, arena {ready.plan.bytes:,} bytes",
        f"roofline of this machine: {rate / 1e9:.0f} GFLOP/s, "
        f"{roofline.bytes_per_second / 1e9:.0f} GB/s from memory",
        "phase       us   wait   MFLOP      KB  GFLOP/s  share  kernel: ops  [schedule]",
    ]
    for call, (run, wait) in zip(program.calls, times, strict=True):
        flops, moved = call.kernel.flops.at(n), call.bytes.at(n)
        speed = flops / max(run, 1e-9)
        share = roofline.seconds(flops, moved, threads) / max(run, 1e-9)
        figures = f"{call.phase:5d} {run * 1e6:8.1f} {wait * 1e6:6.1f} {flops / 1e6:7.2f} "
        figures += f"{moved / 1e3:7.0f} {speed / 1e9:8.1f} {share:6.0%}"
        kernel = call.kernel
        lines.append(f"{figures}  {kernel.name}: {' '.join(kernel.ops)}  [{kernel.schedule}]")
    return lines

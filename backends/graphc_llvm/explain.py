"""Per kernel what runs and how fast: fused ops, schedule, arithmetic, bytes, time, share of the
roofline, spills; and per layer, in the arithmetic of plain sums.

Times come from the processor's cycle counter, read inside the one native call by a twin of the step
that has a clock in it. Donated arrays are copied for it, so that explaining changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc.runtime.layers import LayerPart, layer_parts, parameters_behind
from graphc.runtime.profile import SHORTEST, KernelProfile, LayerProfile, Profile
from graphc_llvm.engine import machine_code
from graphc_llvm.module import notes_of, step_module
from graphc_llvm.roofline import Roofline, measured
from graphc_llvm.spills import spills
from graphc_llvm.threads import pool
from graphc_llvm.variant import Prepared, Step, Variant

REPEATS = 30


@dataclass(frozen=True)
class Times:
    """Medians in seconds.

    step: the whole. running: of each kernel, on the thread that ran longest (a kernel may be one
    thread's alone). waiting: before each, of the thread that waited longest.
    """

    step: float
    running: tuple[float, ...]
    waiting: tuple[float, ...]


def profile(name: str, variant: Variant, constants: Variant | None = None) -> Profile | None:
    """What a variant does with the batch size that was made ready last; None if none was.

    constants: the variant that computes what depends on parameters alone, if that is another.
    """
    if not variant.prepared:
        return None
    ready = list(variant.prepared.values())[-1]
    program, n = variant.program, ready.n
    times, roofline = measured_times(variant, ready), measured()
    names = {} if constants is None else parameters_behind(constants.program)
    kernels = []
    for k, (call, spilled) in enumerate(zip(program.calls, spills(program.calls), strict=True)):
        flops, moved = call.kernel.flops.at(n), call.bytes.at(n)
        least = roofline.seconds(flops, moved, ready.threads)
        kernels.append(
            KernelProfile(
                name=call.kernel.name,
                ops=call.kernel.ops,
                schedule=call.kernel.schedule,
                phase=call.phase,
                flops=flops,
                bytes=moved,
                seconds=times.running[k],
                waiting=times.waiting[k],
                share=least / max(times.running[k], SHORTEST),
                spills=spilled,
            )
        )
    return Profile(
        variant=name,
        batch=n,
        threads=ready.threads,
        phases=program.phases,
        seconds=times.step,
        arena_bytes=ready.plan.bytes,
        flops_per_second=roofline.flops_per_second * ready.threads,
        bytes_per_second=roofline.bytes_per_second,
        kernels=tuple(kernels),
        layers=tuple(_layers(layer_parts(program, names), times, roofline, ready)),
    )


def _layers(
    parts: Iterable[LayerPart], times: Times, roofline: Roofline, ready: Prepared
) -> Iterable[LayerProfile]:
    for part in parts:
        flops, seconds = part.flops.at(ready.n), sum(times.running[k] for k in part.calls)
        share = roofline.seconds(flops, 0, ready.threads) / max(seconds, SHORTEST)
        yield LayerProfile(part.layer, part.op, part.calls, flops, seconds, share)


def measured_times(variant: Variant, prepared: Prepared) -> Times:
    """The step and its kernels, timed from inside."""
    calls = variant.program.calls
    clock, noted = len(variant.program.slots), notes_of(len(calls))
    step = Step(machine_code(step_module(calls, llvm.get_process_triple(), clock)))
    table = np.zeros(clock + 1, np.int64)
    table[:clock] = prepared.table
    copies = _copies_of_written(variant, prepared)
    for slot, array in copies.items():
        table[slot] = array.ctypes.data
    notes = np.zeros((prepared.threads, noted), np.int64)
    table[clock] = notes.ctypes.data
    between = np.empty((REPEATS, prepared.threads, noted - 1))
    with pool().lock:
        step.run(table.ctypes.data, prepared.n, prepared.threads)
        begin, first = time.perf_counter(), int(notes[0, -1])
        for repeat in range(REPEATS):
            step.run(table.ctypes.data, prepared.n, prepared.threads)
            between[repeat] = np.diff(notes)
        elapsed = time.perf_counter() - begin
    cycle = elapsed / max(int(notes[0, -1]) - first, 1)
    whole = float(np.median(between[:, 0].sum(axis=1))) * cycle
    longest = np.median(between.max(axis=1), axis=0) * cycle
    return Times(whole, tuple(longest[1::2].tolist()), tuple(longest[::2].tolist()))


def _copies_of_written(variant: Variant, prepared: Prepared) -> dict[int, Any]:
    """Copies of every array outside the arena that a step writes, by slot."""
    written = {
        variant.program.slots[s]
        for step in variant.program.scheduled.steps
        for s in step.writes
        if s.kind != "temporary"
    }
    return {slot: prepared.bound[slot].copy() for slot in written}

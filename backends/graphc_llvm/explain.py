"""Per kernel what runs and how fast: fused ops, schedule, arithmetic, bytes, time, share of the
roofline, spills; and per layer, in the arithmetic of plain sums.

Times come from the processor's cycle counter, read inside the one native call by a twin of the step
that has a clock in it. Donated arrays are copied for it, so that explaining changes nothing.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from graphc.runtime.layers import parameters_behind
from graphc.runtime.measurement import Rates, Times, profile_of
from graphc.runtime.profile import Profile, Span
from graphc_llvm.module import notes_of
from graphc_llvm.roofline import measured
from graphc_llvm.spills import spills
from graphc_llvm.threads import pool
from graphc_llvm.variant import Prepared, Variant

Array = np.ndarray[Any, Any]
REPEATS = 30


def profile(
    name: str, variant: Variant, constants: Variant | None = None, batch: int | None = None
) -> Profile | None:
    """What a variant does with batches of that size, by default the one that was made ready last;
    None if it was not.

    constants: the variant that computes what depends on parameters alone, if that is another.
    """
    prepared = variant.prepared
    ready = prepared.get(batch or next(reversed(prepared), 0))
    if ready is None:
        return None
    roofline = measured()
    return profile_of(
        variant.program,
        measured_times(variant, ready),
        Rates(roofline.flops_per_second * ready.threads, roofline.bytes_per_second),
        variant=name,
        n=ready.n,
        threads=ready.threads,
        arena_bytes=ready.plan.bytes,
        spills=spills(variant.program.calls),
        names={} if constants is None else parameters_behind(constants.program),
    )


def measured_times(variant: Variant, prepared: Prepared) -> Times:
    """The step and its kernels, timed from inside."""
    step, clock = variant.clocked, len(variant.program.slots)
    table = np.zeros(clock + 1, np.int64)
    copies = _copies_of_written(variant, prepared)
    notes = np.zeros((prepared.threads, notes_of(len(variant.program.calls))), np.int64)
    kept = np.empty((REPEATS, *notes.shape), np.int64)
    with pool().lock:
        prepared.place()
        table[:clock] = prepared.table
        for slot, array in copies.items():
            table[slot] = array.ctypes.data
        table[clock] = notes.ctypes.data
        step.run(table.ctypes.data, prepared.n, prepared.threads)
        begin, first = time.perf_counter(), int(notes[0, -1])
        for repeat in range(REPEATS):
            step.run(table.ctypes.data, prepared.n, prepared.threads)
            kept[repeat] = notes
        elapsed = time.perf_counter() - begin
    cycle = elapsed / max(int(notes[0, -1]) - first, 1)
    steps = kept[:, 0, -1] - kept[:, 0, 0]
    whole = float(np.median(steps))
    typical = kept[np.abs(steps - whole).argmin()]
    longest = np.median(np.diff(kept).max(axis=1), axis=0) * cycle
    return Times(
        step=whole * cycle,
        running=tuple(longest[1::2].tolist()),
        waiting=tuple(longest[::2].tolist()),
        spans=_spans((typical - typical.min()) * cycle),
    )


def _spans(notes: Array) -> tuple[tuple[Span, ...], ...]:
    """What each thread noted of one step, [threads, 1 + 2 * kernels], by kernel and thread."""
    begins, ends = notes[:, 1::2].T, notes[:, 2::2].T
    pairs = zip(begins.tolist(), ends.tolist(), strict=True)
    return tuple(tuple(map(Span, *pair)) for pair in pairs)


def _copies_of_written(variant: Variant, prepared: Prepared) -> dict[int, Any]:
    """Copies of every array outside the arena that a step writes, by slot."""
    written = {
        variant.program.slots[s]
        for step in variant.program.scheduled.steps
        for s in step.writes
        if s.kind != "temporary"
    }
    return {slot: prepared.bound[slot].copy() for slot in written}

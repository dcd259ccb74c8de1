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

import numpy as np

from graphc.base.source import Location
from graphc.ir.node import Node
from graphc.loops.language import buffer_bytes
from graphc.passes.plan_memory import Scheduled
from graphc.runtime.layers import LayerPart, layer_parts, parameters_behind
from graphc.runtime.profile import SHORTEST, KernelProfile, LayerProfile, Profile, Span
from graphc_llvm.module import notes_of
from graphc_llvm.roofline import Roofline, measured
from graphc_llvm.spills import spills
from graphc_llvm.threads import pool
from graphc_llvm.variant import Prepared, Variant

Array = np.ndarray[Any, Any]
REPEATS = 30


@dataclass(frozen=True)
class Times:
    """Medians in seconds.

    step: the whole. running: of each kernel, on the thread that ran longest (a kernel may be one
    thread's alone). waiting: before each, of the thread that waited longest. spans: of each kernel
    and thread, in the one step whose time is closest to the median.
    """

    step: float
    running: tuple[float, ...]
    waiting: tuple[float, ...]
    spans: tuple[tuple[Span, ...], ...]


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
    program, n = variant.program, ready.n
    times, roofline = measured_times(variant, ready), measured()
    names = {} if constants is None else parameters_behind(constants.program)
    parts = layer_parts(program, names)
    layers = {k: part.layer for part in parts for k in part.calls}
    kernels = []
    for k, (call, spilled) in enumerate(zip(program.calls, spills(program.calls), strict=True)):
        flops, moved = call.kernel.flops.at(n), call.bytes.at(n)
        lines, origins = _written(program.scheduled.steps[k].node)
        least = roofline.seconds(flops, moved, ready.threads)
        kernels.append(
            KernelProfile(
                name=call.kernel.name,
                ops=call.kernel.ops,
                schedule=call.kernel.schedule,
                layer=layers.get(k) or next((line.layer for line in lines if line.layer), ""),
                lines=lines,
                origins=origins,
                phase=call.phase,
                flops=flops,
                bytes=moved,
                seconds=times.running[k],
                waiting=times.waiting[k],
                share=least / max(times.running[k], SHORTEST),
                spills=spilled,
                spans=times.spans[k],
            )
        )
    return Profile(
        variant=name,
        batch=n,
        threads=ready.threads,
        phases=program.phases,
        seconds=times.step,
        arena_bytes=ready.plan.bytes,
        live_bytes=_live_bytes(program.scheduled, n),
        flops_per_second=roofline.flops_per_second * ready.threads,
        bytes_per_second=roofline.bytes_per_second,
        kernels=tuple(kernels),
        layers=tuple(_layers(parts, times, roofline, ready)),
    )


def _written(node: Node) -> tuple[tuple[Location, ...], tuple[str, ...]]:
    """The lines that a kernel computes, each once however many layers are on it, and what for."""
    lines: dict[tuple[str, int], Location] = {}
    for found, _ in node.sources:
        if found is not None:
            lines.setdefault((found.file, found.line), found)
    origins = dict.fromkeys(str(origin) for _, origin in node.sources if origin is not None)
    return tuple(lines.values()), tuple(origins)


def _layers(
    parts: Iterable[LayerPart], times: Times, roofline: Roofline, ready: Prepared
) -> Iterable[LayerProfile]:
    for part in parts:
        flops, seconds = part.flops.at(ready.n), sum(times.running[k] for k in part.calls)
        share = roofline.seconds(flops, 0, ready.threads) / max(seconds, SHORTEST)
        yield LayerProfile(part.layer, part.op, part.calls, flops, seconds, share)


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


def _live_bytes(scheduled: Scheduled, n: int) -> tuple[int, ...]:
    """Bytes of the temporaries that hold a value, in each phase."""
    live = [0] * scheduled.phases
    for storage, (first, last) in scheduled.lifetimes.items():
        for phase in range(first, last + 1):
            live[phase] += buffer_bytes(storage.type, n)
    return tuple(live)


def _copies_of_written(variant: Variant, prepared: Prepared) -> dict[int, Any]:
    """Copies of every array outside the arena that a step writes, by slot."""
    written = {
        variant.program.slots[s]
        for step in variant.program.scheduled.steps
        for s in step.writes
        if s.kind != "temporary"
    }
    return {slot: prepared.bound[slot].copy() for slot in written}

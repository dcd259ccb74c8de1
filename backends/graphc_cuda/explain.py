"""Per kernel what runs and how fast, by events between the kernels of a step.

Donated arrays are copied for it, so that explaining changes nothing.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np

from graphc.loops.gpu.device import GPU
from graphc.loops.memory import buffer_bytes
from graphc.runtime.layers import parameters_behind
from graphc.runtime.measurement import Rates, Times, profile_of
from graphc.runtime.profile import Profile, Span
from graphc_cuda.device import Facts
from graphc_cuda.device_memory import Memory
from graphc_cuda.variant import Prepared, Variant

REPEATS = 10
# Multiply-adds that a multiprocessor does in a cycle, by generation (a later one counts as the last
# before it): of f32 by threads, and of tf32 by tensor cores; of bf16 they do twice as many.
BY_THREADS = {80: 64, 86: 128}
BY_TENSOR_CORES = {80: 512, 86: 128, 90: 1024, 100: 2048, 120: 128}


def rates_of(facts: Facts, precision: str) -> Rates:
    """What a device can do at most by its own account, in that precision of products."""
    table = BY_THREADS if precision == "f32" else BY_TENSOR_CORES
    each = _latest(table, facts.gpu) * (2 if precision == "bf16" else 1)
    flops = 2.0 * each * facts.gpu.multiprocessors * facts.clock_rate
    return Rates(flops, facts.bytes_per_second)


def _latest(table: dict[int, int], gpu: GPU) -> int:
    return table[max((known for known in table if known <= gpu.generation), default=min(table))]


def profile(
    name: str, variant: Variant, constants: Variant | None = None, batch: int | None = None
) -> Profile | None:
    """What a variant does with batches of that size, by default the one that was made ready last;
    None if it has not run with it.

    constants: the variant that computes what depends on parameters alone, if that is another.
    """
    prepared = variant.prepared
    ready = prepared.get(batch or next(reversed(prepared), 0))
    if ready is None or not ready.steps or variant.device.lost:
        return None
    module = variant.modules[ready.wide]
    resources = module.code(variant.device.facts.gpu.architecture).resources
    spilled = [resources.get(name, {}).get("spill_bytes", 0) for name in module.kernels]
    return profile_of(
        variant.program,
        _measured(variant, ready),
        rates_of(variant.device.facts, variant.precision),
        variant=name,
        n=ready.n,
        threads=1,
        arena_bytes=ready.bytes,
        spills=[spilled[number] for number in variant.numbers],
        names={} if constants is None else parameters_behind(constants.program),
    )


def _measured(variant: Variant, ready: Prepared) -> Times:
    """The step and its kernels, timed on the device: the step as it runs, and once more with events
    between its kernels.
    """
    device, calls = variant.device, variant.program.calls
    with device.entered():
        turn = ready.turns[ready.steps % len(ready.turns)]
        turn.settle()
        workspace = variant.workspace.address(ready.bytes)
        table = list(variant.addresses(ready, turn, turn.kept, workspace))
        copies = _copies_of_written(variant, ready, table)
        events = [device.event() for _ in range(len(calls) + 1)]

        def step() -> None:
            for k in range(len(calls)):
                variant.launch(ready, k, table)

        def step_with_marks() -> None:
            device.mark(events[0], device.steps)
            for k in range(len(calls)):
                variant.launch(ready, k, table)
                device.mark(events[k + 1], device.steps)

        whole, marked = device.recorded(step), device.recorded(step_with_marks)
        steps, notes = [], []
        for _ in range(1 + REPEATS):
            begin, end = device.event(), device.event()
            device.mark(begin, device.steps)
            device.replay(whole)
            device.mark(end, device.steps)
            device.replay(marked)
            device.wait()
            steps.append(device.seconds(begin, end))
            notes.append([device.seconds(*pair) for pair in pairwise(events)])
        del copies
    running = np.array(notes[1:])  # the first was to warm up
    typical = running[np.abs(running.sum(1) - np.median(running.sum(1))).argmin()]
    ends = list(accumulate(typical.tolist(), initial=0.0))
    return Times(
        step=float(np.median(steps[1:])),
        running=tuple(np.median(running, axis=0).tolist()),
        waiting=(0.0,) * len(calls),
        spans=tuple((Span(*pair),) for pair in pairwise(ends)),
    )


def _copies_of_written(variant: Variant, ready: Prepared, table: list[int]) -> list[Memory]:
    """Copies of every input that a step writes, put in their place in the table."""
    device, program, copies = variant.device, variant.program, []
    for source in {source for _, source in program.graph.donations}:
        size = buffer_bytes(program.graph.inputs[source].tensor, ready.n)
        copies.append(Memory(device, size))
        device.copy_within(copies[-1].address, table[source], size, device.steps)
        table[source] = copies[-1].address
    return copies

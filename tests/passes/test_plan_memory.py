"""The memory plan: whoever reads finds what was written, in little more than what lives at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphc as gc
from graphc import optim, zoo
from graphc.loops.memory import buffer_bytes
from graphc.passes import catalog
from graphc.passes.pipelines import BACKEND
from graphc.passes.plan_memory import (
    ALIGNMENT,
    MemoryPlan,
    Scheduled,
    Storage,
    packed,
    plan,
    schedule,
)
from graphc.testing import random_graph

catalog.load()
SEEDS, BATCH = 60, 19
F32 = gc.parse("graph f(%x: f32[N]) { return %x }").inputs[0].tensor
INTERVALS = st.tuples(st.integers(0, 30), st.integers(0, 8), st.integers(0, 5000))
NETWORKS = {"lenet5": "1,32,32", "alexnet": "3,227,227", "googlenet": "3,224,224"}
NETWORKS |= {"resnet18": "3,224,224", "resnet50": "3,224,224"}


def rounded(size: int) -> int:
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT


def sizes_of(scheduled: Scheduled, n: int) -> list[int]:
    return [buffer_bytes(s.type, n) for s in scheduled.temporaries]


def read_after_all_writes(scheduled: Scheduled, sizes: list[int], memory: MemoryPlan) -> None:
    """Runs the plan on memory in which every line notes who wrote it last. Kernels of a phase run
    in any order, so a reader must find its values after all writers of its phase.
    """
    size = {s: rounded(b) for s, b in zip(scheduled.temporaries, sizes, strict=True)}
    lines = np.full(memory.bytes // ALIGNMENT, -1)

    def place(storage: Storage) -> slice:
        begin = memory.offsets[storage]
        assert begin % ALIGNMENT == 0 and begin + size[storage] <= memory.bytes
        return slice(begin // ALIGNMENT, (begin + size[storage]) // ALIGNMENT)

    for phase in range(scheduled.phases):
        steps = [step for step in scheduled.steps if step.phase == phase]
        written = [s for step in steps for s in step.writes if s in size]
        read = [s for step in steps for s in step.reads if s in size]
        for storage in written:
            lines[place(storage)] = storage.number
        for storage in (*written, *read):
            assert (lines[place(storage)] == storage.number).all(), (phase, storage)


def greatest_live_bytes(
    lifetimes: dict[Storage, tuple[int, int]], sizes: list[int], phases: int
) -> int:
    """No plan can be smaller than what lives in one phase."""
    live = np.zeros(phases + 1, np.int64)
    for (first, last), size in zip(lifetimes.values(), sizes, strict=True):
        live[first : last + 1] += rounded(size)
    return int(live.max())


def random_plans() -> Iterator[tuple[Scheduled, list[int], MemoryPlan]]:
    for seed in range(SEEDS):
        graph = random_graph(np.random.default_rng(seed), max_ops=24)
        for pipeline in BACKEND.values():
            scheduled = schedule(pipeline(graph))
            sizes = sizes_of(scheduled, BATCH)
            yield scheduled, sizes, plan(scheduled, sizes)


def test_whoever_reads_finds_what_was_written_in_random_graphs() -> None:
    wasted = lower = 0
    for scheduled, sizes, memory in random_plans():
        read_after_all_writes(scheduled, sizes, memory)
        lifetimes = {s: scheduled.lifetimes[s] for s in scheduled.temporaries}
        least = greatest_live_bytes(lifetimes, sizes, scheduled.phases)
        assert memory.bytes >= least
        wasted, lower = wasted + memory.bytes - least, lower + least
    assert wasted <= 0.01 * lower, f"{wasted / lower:.2%} more than what lives at once"


@given(st.lists(INTERVALS, max_size=40))
def test_what_lives_at_the_same_time_never_overlaps(drawn: list[tuple[int, int, int]]) -> None:
    lifetimes = {
        Storage("temporary", k, F32): (first, first + length)
        for k, (first, length, _) in enumerate(drawn)
    }
    sizes = [size for *_, size in drawn]
    memory = packed(lifetimes, sizes)
    assert memory.bytes >= greatest_live_bytes(lifetimes, sizes, 40)
    placed = [
        (memory.offsets[s], memory.offsets[s] + rounded(size), *lifetimes[s])
        for s, size in zip(lifetimes, sizes, strict=True)
    ]
    for k, (begin, end, first, last) in enumerate(placed):
        assert end <= memory.bytes
        for other_begin, other_end, other_first, other_last in placed[:k]:
            together = first <= other_last and other_first <= last
            assert not (together and begin < other_end and other_begin < end)


@pytest.mark.parametrize("net", NETWORKS)
def test_a_training_step_plans_hardly_more_than_what_lives_at_once(net: str) -> None:
    model = gc.Model(
        getattr(zoo, net)(), f"f32[N,{NETWORKS[net]}]", "cross_entropy", optim.SGD(0.1), "numpy"
    )
    scheduled = schedule(BACKEND["large"](model.graphs["train"]))
    sizes = sizes_of(scheduled, 16)
    memory = plan(scheduled, sizes)
    read_after_all_writes(scheduled, sizes, memory)
    lifetimes = {s: scheduled.lifetimes[s] for s in scheduled.temporaries}
    least = greatest_live_bytes(lifetimes, sizes, scheduled.phases)
    assert least <= memory.bytes <= 1.05 * least

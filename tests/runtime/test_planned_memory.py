"""Planned is measured: what a training step is said to take is what the process grows by."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc import optim, zoo

SCRIPT = Path(__file__).with_name("measured_memory.py")
NET = "3x64x64-32C3-MP2-64C3-MP2-256N-10N"
TOLERANCE = 0.01
MIB = 1 << 20


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="no /proc that tells what is resident"
)
def test_the_planned_peak_is_the_measured_one_within_a_hundredth(tmp_path: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "GRAPHC_CACHE": str(tmp_path / "code"),  # so that the compiler is done when it counts
        "MALLOC_MMAP_THRESHOLD_": "65536",  # arrays that are freed leave the process at once
    }
    run = subprocess.run(
        [sys.executable, SCRIPT, NET, "96,40"], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["arena"] > 100 * MIB
    assert found["peak"] == pytest.approx(found["planned"], rel=TOLERANCE), found
    assert found["resident"] == pytest.approx(found["planned"], rel=TOLERANCE), found


def test_a_step_allocates_what_it_returns_and_nothing_else() -> None:
    n = 512
    model = gc.Model(zoo.lenet5(), "f32[N,1,32,32]", "cross_entropy", optim.SGD(0.05))
    x, y = np.ones((n, 1, 32, 32), np.float32), np.zeros(n, np.int32)
    for _ in range(2):
        model.step(x, y)
    memory = model.summary(n).memory
    assert memory is not None
    tracemalloc.start()  # numpy tells it of every array
    try:
        model.step(x, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    smallest = min(x.nbytes, memory.parameters)
    assert memory.results <= peak < memory.results + smallest // 10


def test_the_items_of_a_step_are_worked_by_hand() -> None:
    step = gc.parse(
        """graph train(%x: f32[N,4], %y: f32[N,4], %w: parameter f32[4], %m: state f32[4]) {
          %b = broadcast(%w) {axes=(1,), shape=(N, 4)} : f32[N,4]
          %p = mul(%x, %b) : f32[N,4]
          %d = sub(%p, %y) : f32[N,4]
          %g = sum(%d) {axes=(0,), keepdims=False} : f32[4]
          %v = add(%m, %g) : f32[4]
          %u = sub(%w, %v) : f32[4]
          return %p, %u into %w, %v into %m
        }"""
    )
    memory = gc.inspect.step_memory(step, 10)
    assert (memory.data, memory.parameters, memory.states) == (2 * 10 * 16, 16, 16)
    assert memory.results == 10 * 16  # what overwrites a parameter or a state is none
    assert memory.peak == memory.planned + 320 + 16 + 16 + 160


def test_the_optimiser_states_are_in_the_peak() -> None:
    def memory(optimizer: optim.Optimizer) -> gc.inspect.StepMemory:
        net = gc.Model(zoo.lenet5(), "f32[N,1,32,32]", "cross_entropy", optimizer, "numpy")
        found = net.summary(16).memory
        assert found is not None
        return found

    plain, momentum = memory(optim.SGD(0.1)), memory(optim.SGD(0.1, momentum=0.9))
    assert plain.states == 0 and momentum.states == momentum.parameters == plain.parameters
    assert momentum.peak == plain.peak + momentum.states

"""Promises of a native step: the same bits for any threads, no recompilation, threads behave."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
import time

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim, zoo
from graphc_llvm.runner import LLVMRunner
from graphc_llvm.threads import pool

STEPS = 50


def _model(threads: int | None = None, net: str = "lenet5") -> gc.Model:
    shape = {"lenet5": "1,32,32", "cifar_small": "3,32,32"}[net]
    return gc.Model(
        getattr(zoo, net)(), f"f32[N,{shape}]", "cross_entropy", optim.SGD(0.05, momentum=0.9),
        threads=threads,
    )  # fmt: skip


def _batch(n: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    return rng.standard_normal((n, channels, 32, 32), np.float32), rng.integers(0, 10, n)


def _digest(model: gc.Model) -> str:
    state = hashlib.sha256()
    for name, array in sorted(model.params.items()):
        state.update(name.encode())
        state.update(array.tobytes())
    return state.hexdigest()


def _runner(model: gc.Model, name: str) -> LLVMRunner:
    runner = model.executable(name).runner
    assert isinstance(runner, LLVMRunner)
    return runner


@pytest.mark.parametrize("net", ["lenet5", "cifar_small"])
def test_weights_after_fifty_steps_are_the_same_bits_for_any_number_of_threads(net: str) -> None:
    digests = set()
    for threads in (1, 2, 3):
        model = _model(threads, net)
        for step in range(STEPS):
            model.step(*_batch(16 + step % 5, 3 if net == "cifar_small" else 1))
        digests.add(_digest(model))
    assert len(digests) == 1


def test_two_runs_give_the_same_bits() -> None:
    digests = set()
    for _ in range(2):
        model = _model()
        for step in range(10):
            model.step(*_batch(7 + step))
        digests.add(_digest(model))
    assert len(digests) == 1


def test_no_batch_size_recompiles_after_the_first_two_variants() -> None:
    model = _model()
    model.step(*_batch(1))
    model.step(*_batch(64))
    variants = dict(_runner(model, "train").variants)
    assert len(variants) == 2
    for n in range(1, 131):
        assert np.isfinite(model.step(*_batch(n)))
    assert dict(_runner(model, "train").variants) == variants


def test_small_and_large_variants_agree() -> None:
    x, _ = _batch(33)
    model = _model()
    whole = model.predict(x)
    single = np.concatenate([model.predict(x[k : k + 1]) for k in range(len(x))])
    np.testing.assert_allclose(whole, single, rtol=1e-5, atol=1e-6)


def test_the_planned_arena_is_the_memory_that_is_used() -> None:
    model = _model()
    model.step(*_batch(64))
    (variant,) = _runner(model, "train").variants.values()
    (prepared,) = variant.prepared.values()
    assert prepared.arena.bytes == prepared.plan.bytes == model.report()["planned_bytes"]
    assert max(prepared.plan.offsets.values()) < prepared.plan.bytes


def test_one_arena_serves_every_batch_size() -> None:
    growing, settled = _model(), _model()
    arena = _runner(settled, "train").arena
    arena.reach(1 << 25)
    for n in (2, 40, 96, 64, 40, 2):
        assert growing.step(*_batch(n)) == settled.step(*_batch(n))
    assert arena.bytes == 1 << 25
    plans = {p.plan.bytes for v in _runner(growing, "train").variants.values()
             for p in v.prepared.values()}  # fmt: skip
    assert len(plans) == 4 and growing.report()["planned_bytes"] == max(plans)
    assert _digest(growing) == _digest(settled)


def test_a_profile_is_taken_where_the_arena_is_now() -> None:
    net = nn.Sequential(nn.Dense(16), nn.Tanh(), nn.Dense(10))
    model = gc.Model(net, "f32[N,8]", "cross_entropy", optim.SGD(0.1))
    x, y = np.ones((20_000, 8), np.float32), np.zeros(20_000, np.int32)
    model.step(x[:16], y[:16])
    runner = _runner(model, "train")
    before = runner.arena.address
    model.step(x, y)
    assert runner.arena.address != before
    found = runner.profile(16)
    assert found is not None and found.batch == 16
    assert found.arena_bytes < model.report()["planned_bytes"]
    (variant,) = runner.variants.values()
    assert {p.base for p in variant.prepared.values()} == {runner.arena.address}


def test_idle_workers_use_no_processor_time() -> None:
    model = _model(2)
    model.step(*_batch(64))
    time.sleep(0.2)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05
    assert np.isfinite(model.step(*_batch(64)))


def test_threads_may_run_different_models_at_once() -> None:
    expected = {}
    for seed in range(4):
        model = _model(2)
        expected[seed] = [model.step(*_batch(20 + seed)) for _ in range(5)]
    found: dict[int, list[float]] = {}

    def train(seed: int) -> None:
        model = _model(2)
        found[seed] = [model.step(*_batch(20 + seed)) for _ in range(5)]

    workers = [threading.Thread(target=train, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == expected


def _train_in_child(model: gc.Model, queue: multiprocessing.Queue) -> None:
    queue.put(model.step(*_batch(64)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_child_trains_on() -> None:
    model = _model(2)
    model.step(*_batch(64))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_train_in_child, args=(model, queue))
    child.start()
    loss = queue.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0
    assert loss == model.step(*_batch(64))


def test_the_pool_is_serialised_by_its_lock() -> None:
    model = _model(2)
    model.step(*_batch(64))
    with pool().lock:
        waiting = threading.Thread(target=model.step, args=_batch(64))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(30)
    assert not waiting.is_alive()


def test_explain_names_every_kernel_and_changes_nothing() -> None:
    model = _model(2)
    model.step(*_batch(64))
    before = _digest(model)
    text = model.executable("train").explain()
    assert _digest(model) == before
    (variant,) = _runner(model, "train").variants.values()
    assert f"{len(variant.program.calls)} kernels" in text
    assert "conv2d_add_tanh" in text and "GFLOP/s" in text


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("%x: f32[0,5], %w: f32[5,4]) { %y = matmul(%x, %w) : f32[0,4]", (0, 4)),
        ("%x: f32[3,0], %w: f32[0,4]) { %y = matmul(%x, %w) : f32[3,4]", (3, 4)),
        ("%x: f32[N,3,6,6], %w: f32[0,3,3,3]) { %y = conv2d(%x, %w) {dilation=(1, 1), groups=1, "
         "padding=(0, 0, 0, 0), stride=(1, 1)} : f32[N,0,4,4]", (2, 0, 4, 4)),
    ],
)  # fmt: skip
def test_extents_of_nothing_give_nothing(text: str, shape: tuple[int, ...]) -> None:
    graph = gc.parse(f"graph g({text} return %y }}")
    given = {i.attrs["name"]: np.ones(i.tensor.concrete(2), "f") for i in graph.inputs}
    found = gc.compile(graph, backend="llvm")(**given)
    assert found.shape == shape
    assert not found.any()

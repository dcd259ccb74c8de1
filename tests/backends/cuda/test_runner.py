"""How graphs run on a device: what moves when, what stays there, and what survives a failure."""

from __future__ import annotations

import gc as garbage
import os
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim
from graphc.base.errors import GraphcError
from graphc.runtime.backend import BUILT_IN
from graphc.runtime.profile import Profile
from graphc_cuda.explain import rates_of
from graphc_cuda.module import Module
from tests.backends.cuda.emulated import EmulatedBackend, EmulatedDevice

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 1, 8, 8), dtype=np.float32)
Y = RNG.integers(0, 3, 6)


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> EmulatedDevice:
    """The device of the backend "emulated"."""
    found = EmulatedDevice()
    monkeypatch.setitem(BUILT_IN, "emulated", "tests.backends.cuda.emulated:EmulatedBackend")
    monkeypatch.setattr(EmulatedBackend, "_device", found)
    return found


def model(backend: str = "emulated", **options: Any) -> gc.Model:
    """A small network that trains."""
    net = nn.Sequential(
        nn.Conv(4, 3), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Dense(3)
    )
    rate = optim.SGD(0.05, momentum=0.9)
    return gc.Model(
        net, "f32[N,1,8,8]", "cross_entropy", rate, backend=backend, precision="f32", **options
    )


def arrays(trained: gc.Model) -> dict[str, np.ndarray]:
    """Copies of its parameters, which it keeps to itself."""
    engine = trained._engine
    return {name: engine.arrays[name].copy() for name in engine.exported}


# -- results ---------------------------------------------------------------------------------------


def test_training_goes_as_on_the_processor() -> None:
    here, there = model("llvm"), model()
    for size in (6, 6, 6, 4, 6):
        loss, other = (m.step(X[:size], Y[:size]) for m in (here, there))
        assert other == pytest.approx(loss, rel=1e-5)
    for name, array in here.params.items():
        np.testing.assert_allclose(there.params[name], array, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(there.predict(X), here.predict(X), rtol=1e-4, atol=1e-5)


def test_results_are_the_callers_own() -> None:
    run = gc.compile(gc.trace(lambda x: x * 2.0, "f32[N,3]"), "emulated")
    inputs = [np.full((2, 3), k, np.float32) for k in range(5)]
    found = [run(x) for x in inputs]
    assert [float(each[0, 0]) for each in found] == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert not any(np.shares_memory(found[0], other) for other in found[1:])


def test_a_batch_that_is_not_in_front() -> None:
    graph = gc.trace(lambda x: x + 1.0, "f32[3,N]")
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(gc.compile(graph, "emulated")(x), x + 1)


def test_inputs_may_change_as_soon_as_a_step_has_begun() -> None:
    session = gc.compile(gc.trace(lambda x: x * 2.0, "f32[N,3]"), "emulated").bind({})
    x, results = np.ones((2, 3), np.float32), []
    for k in range(5):
        x[...] = k
        results.append(session.start(x))
    assert [float(result()[0][0, 0]) for result in results] == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_arrays_that_are_bound_are_overwritten_in_place() -> None:
    graph = gc.parse(
        "graph step(%w: parameter f32[3], %x: f32[N,3]) {"
        " %b = broadcast(%w) {axes=(1,), shape=(N, 3)} : f32[N,3] %y = mul(%x, %b) : f32[N,3]"
        " %v = add(%w, %w) : f32[3] return %v into %w, %y }"
    )
    w = np.ones(3, np.float32)
    session = gc.compile(graph, "emulated").bind({"w": w})
    (y,) = session(np.full((2, 3), 5, np.float32))
    assert (y == 5).all() and (w == 2).all()
    w[...] = 7
    (y,) = session(np.ones((2, 3), np.float32))
    assert (y == 7).all() and (w == 14).all()


# -- what moves ------------------------------------------------------------------------------------


def test_a_training_step_moves_its_data_and_nothing_else(device: EmulatedDevice) -> None:
    trained = model()
    for _ in range(3):
        trained.step(X, Y)
    device.calls.clear()
    trained.step(X, Y)
    assert device.calls == ["copy_in", "mark", "hold", "replay", "mark", "wait"]


def test_parameters_come_back_when_somebody_looks(device: EmulatedDevice) -> None:
    trained = model()
    trained.step(X, Y)
    device.calls.clear()
    first = arrays(trained)
    assert device.calls.count("copy_out") > 0
    trained.step(X, Y)
    second = arrays(trained)
    assert all(not np.array_equal(first[name], second[name]) for name in ("0.weight", "5.bias"))


def test_parameters_that_somebody_holds_follow_every_step(device: EmulatedDevice) -> None:
    trained = model()
    held = trained.params["0.weight"]
    before = held.copy()
    trained.step(X, Y)
    assert not np.array_equal(held, before)
    predicted = trained.predict(X)
    held[...] = 0
    assert not np.allclose(trained.predict(X), predicted)


def test_what_is_written_between_steps_reaches_the_device() -> None:
    here, there = model("llvm"), model()
    for each in (here, there):
        each.step(X, Y)
        each.load_params({name: np.full_like(a, 0.01) for name, a in each.params.items()})
        each.step(X, Y)
    for name, array in here.params.items():
        np.testing.assert_allclose(there.params[name], array, rtol=1e-4, atol=1e-6)


def test_saved_weights_are_those_of_the_last_step(tmp_path) -> None:
    trained = model()
    trained.step(X, Y)
    trained.step(X, Y)
    trained.save(tmp_path / "net.safetensors")
    loaded = gc.load(tmp_path / "net.safetensors", backend="numpy")
    np.testing.assert_allclose(loaded.predict(X), trained.predict(X), rtol=1e-4, atol=1e-5)


def test_fit_reads_a_loss_when_the_next_step_is_under_way(device: EmulatedDevice) -> None:
    data = np.concatenate([X] * 4), np.concatenate([Y] * 4)
    here, there = model("llvm"), model()
    mine = there.fit(data, epochs=2, batch_size=6, seed=1)
    his = here.fit(data, epochs=2, batch_size=6, seed=1)
    assert [e.loss for e in mine.epochs] == pytest.approx([e.loss for e in his.epochs], rel=1e-4)
    assert [e.accuracy for e in mine.epochs] == [e.accuracy for e in his.epochs]
    order = [c for c in device.calls if c in ("replay", "wait")]
    assert ["replay", "replay", "wait"] in [order[k : k + 3] for k in range(len(order))]


def test_what_depends_on_parameters_alone_is_computed_once(device: EmulatedDevice) -> None:
    trained = model()
    predictions = [trained.predict(X) for _ in range(3)]
    device.calls.clear()
    assert np.array_equal(trained.predict(X), predictions[0])
    assert device.calls.count("replay") == 1
    trained.step(X, Y)
    assert not np.allclose(trained.predict(X), predictions[0])
    names = [profile.variant for profile in trained.executable("forward").profiles()]
    assert names == ["any, from parameters alone,", "any"]
    run = trained.executable("forward")
    np.testing.assert_allclose(run(X, **arrays(trained)), trained.predict(X), rtol=1e-5)


def test_batches_of_two_sizes_share_one_workspace(device: EmulatedDevice) -> None:
    trained = model()
    trained.step(X, Y)
    small = device.used
    trained.step(np.concatenate([X] * 50), np.concatenate([Y] * 50))
    large = trained.report()["planned_bytes"]
    assert small < large < device.used < 1.6 * large
    trained.step(X, Y)  # recorded anew: the workspace has moved


def test_memory_is_given_back_with_the_model(device: EmulatedDevice) -> None:
    trained = model()
    trained.step(X, Y)
    trained.predict(X)
    del trained
    garbage.collect()
    with device.entered():
        pass
    assert device.used == 0


# -- failures --------------------------------------------------------------------------------------


def test_too_large_a_batch_is_an_error_and_nothing_more(device: EmulatedDevice) -> None:
    trained = model()
    trained.step(X, Y)
    before = arrays(trained)
    device.facts = device.facts.__class__(**{**vars(device.facts), "memory_bytes": device.used})
    with pytest.raises(GraphcError, match=r"has no [\d,]+ bytes left") as error:
        trained.step(np.concatenate([X] * 99), np.concatenate([Y] * 99))
    assert "smaller batches" in str(error.value)
    for name, array in arrays(trained).items():
        assert np.array_equal(array, before[name])
    device.facts = device.facts.__class__(**{**vars(device.facts), "memory_bytes": 8 << 30})
    assert np.isfinite(trained.step(X, Y))


@pytest.mark.parametrize("call", ["replay", "wait", "copy_in"])
def test_after_a_failure_weights_are_what_was_seen_last(device: EmulatedDevice, call: str) -> None:
    trained = model()
    trained.step(X, Y)
    seen = arrays(trained)
    trained.step(X, Y)
    device.fails = call
    with pytest.raises(GraphcError, match="the CUDA device failed") as error:
        trained.step(X, Y)
    assert "parameters are as the host last saw them" in str(error.value)
    for name, array in arrays(trained).items():
        assert np.array_equal(array, seen[name])
    assert np.isfinite(trained.step(X, Y))  # on the device that was opened in its place
    assert EmulatedBackend._device is not device


def test_a_forked_process_cannot_use_the_device(device: EmulatedDevice) -> None:
    run = gc.compile(gc.trace(lambda x: x * 2.0, "f32[N,3]"), "emulated")
    run(np.ones((1, 3), np.float32))
    device.process = os.getpid() + 1
    with pytest.raises(GraphcError, match="CUDA does not survive that"):
        run(np.ones((1, 3), np.float32))


# -- what it says ----------------------------------------------------------------------------------


def test_a_profile_has_a_row_for_each_kernel_and_changes_nothing(device: EmulatedDevice) -> None:
    trained = model()
    trained.step(X, Y)
    before = arrays(trained)
    (profile,) = trained.executable("train").profiles()
    assert isinstance(profile, Profile) and profile.batch == 6 and profile.variant == "any"
    assert all(kernel.seconds > 0 for kernel in profile.kernels)
    assert {part.layer for part in profile.layers} >= {"0", "5"}
    assert "conv2d" in trained.executable("train").explain()
    for name, array in arrays(trained).items():
        assert np.array_equal(array, before[name])


@pytest.mark.parametrize(("precision", "tera"), [("f32", 66.9), ("tf32", 495), ("bf16", 989)])
def test_rates_of_an_h100_are_those_of_its_data_sheet(precision: str, tera: float) -> None:
    facts = EmulatedDevice().facts
    gpu = facts.gpu.__class__("sm_90a", 132, 227 << 10)
    facts = facts.__class__("H100", gpu, 80 << 30, 1.83e9, 3.35e12, "13.0")
    assert rates_of(facts, precision).flops_per_second == pytest.approx(1e12 * tera, rel=0.1)


def test_indices_take_64_bits_where_there_are_more_elements_than_32_tell_apart() -> None:
    graph = gc.trace(lambda x: x * 2.0, "f32[N,1024]")
    run = gc.compile(graph, "emulated")
    run(np.ones((1, 1024), np.float32))
    variant = run.runner.found
    assert list(variant.modules) == [False]
    assert not variant.is_wide(1 << 20) and variant.is_wide(1 << 21)
    wide = Module.of(variant.kernels, wide=True)
    for architecture in ("sm_80", "sm_90a"):
        (resources,) = wide.code(architecture).resources.values()
        assert resources["spill_bytes"] == 0


@pytest.mark.parametrize("form", ["loops", "cuda", "ptx"])
def test_code_is_shown_without_a_device(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    from graphc.cli import main

    words = ["opt", "lenet5", "-p", "decompose,simplify,fuse", "--emit", form, "--backend", "cuda"]
    assert main(words) == 0
    expected = {"loops": "block block", "cuda": "__global__", "ptx": ".target sm_90a"}
    assert expected[form] in capsys.readouterr().out

"""What is asked of NVIDIA's driver, and what its answers mean; without one."""

from __future__ import annotations

import ctypes
import gc as garbage
import sys
from ctypes.util import find_library

import numpy as np
import pytest

import graphc as gc
from graphc.base.errors import GraphcError, InternalError
from graphc_cuda import driver
from graphc_cuda.driver import DriverDevice
from tests.backends.cuda.fake_driver import FakeDriver

GRAPH = gc.trace(lambda x, y: x * y + 1.5, "f32[N,8]", "f32[N,8]", name="fused")
X = np.ones((5, 8), np.float32)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    """The driver from now on; no device is open."""
    found = FakeDriver()
    monkeypatch.setattr(driver, "_bindings", lambda: found)
    monkeypatch.setattr(driver, "_device", None)
    return found


def test_a_device_says_what_it_is(fake: FakeDriver) -> None:
    facts = DriverDevice(fake).facts
    assert (facts.name, facts.gpu.architecture) == ("NVIDIA Pretended", "sm_90a")
    assert (facts.gpu.multiprocessors, facts.gpu.shared_bytes) == (132, 227 << 10)
    assert facts.memory_bytes == 1 << 30 and facts.driver == "13.2"
    assert facts.bytes_per_second == pytest.approx(4.9e12, rel=0.01)  # an H200 by its data sheet


def test_a_step_is_recorded_once_for_each_turn_and_then_replayed(fake: FakeDriver) -> None:
    run = gc.compile(GRAPH, "cuda")
    for _ in range(4):
        run(X, X)
    names = fake.names()
    assert names.count("cuModuleLoadData") == 1
    assert names.count("cuStreamBeginCapture") == names.count("cuGraphInstantiate") == 2
    assert names.count("cuLaunchKernel") == 2 and names.count("cuGraphLaunch") == 4
    assert names.count("cuMemcpyHtoDAsync") == 4  # x and y at once
    last = names[len(names) - names[::-1].index("cuCtxPushCurrent", 1) - 1 :]
    assert not {"cuMemAlloc", "cuMemHostAlloc", "cuLaunchKernel", "cuEventCreate"} & set(last)


def test_a_launch_has_a_grid_for_the_batch_and_passes_addresses_and_the_batch(
    fake: FakeDriver,
) -> None:
    gc.compile(GRAPH, "cuda")(X, X)
    (launch,) = [arguments for name, arguments in fake.calls if name == "cuLaunchKernel"]
    values, types = launch[9]
    assert launch[1:4] == (1, 1, 1) and launch[5:7] == (1, 1) and launch[4] % 32 == 0
    assert values[-1] == 5 and types[-1] is ctypes.c_int
    assert types[:-1] == (ctypes.c_void_p,) * 3 and len(set(values[:-1])) == 3


def test_the_callers_context_is_his_again_after_each_call(fake: FakeDriver) -> None:
    run = gc.compile(GRAPH, "cuda")
    fake.contexts.append(5)
    run(X, X)
    assert fake.contexts == [5] and fake.names().count("cuCtxPushCurrent") > 1


def test_memory_and_handles_go_when_nobody_holds_them(fake: FakeDriver) -> None:
    run = gc.compile(GRAPH, "cuda")
    run(X, X)
    device = driver.opened()
    with device.entered():
        device.collect()
    most = len(fake.alive)
    del run
    garbage.collect()
    with device.entered():
        pass
    assert most > 10 and len(fake.alive) == 2, fake.alive  # the streams


def test_an_interrupted_recording_ends(fake: FakeDriver) -> None:
    device = DriverDevice(fake)

    def work() -> None:
        raise KeyboardInterrupt

    with device.entered(), pytest.raises(KeyboardInterrupt):
        device.recorded(work)
    assert not fake.capturing and fake.names()[-2:] == ["cuGraphDestroy", "cuCtxPopCurrent"]


def test_kernels_are_timed_by_events_in_a_recording(fake: FakeDriver) -> None:
    run = gc.compile(GRAPH, "cuda")
    run(X, X)
    (profile,) = run.profiles()
    (kernel,) = profile.kernels
    assert kernel.seconds == pytest.approx(0.25e-3) and kernel.spills == 0
    assert "NVIDIA" not in run.explain() and "mul add" in run.explain()


# -- errors ----------------------------------------------------------------------------------------


def test_without_a_driver_there_is_a_clear_error() -> None:
    if find_library("cuda"):
        pytest.skip("this machine has a driver")
    with pytest.raises(GraphcError, match="there is no NVIDIA driver") as error:
        driver.opened()
    assert 'backend="llvm"' in str(error.value)


def test_without_the_bindings_there_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(GraphcError, match="CUDA devices cannot be used") as error:
        driver.opened()
    assert "graphc[cuda]" in str(error.value)


def test_a_driver_without_a_device(fake: FakeDriver) -> None:
    fake.fails["cuInit"] = "CUDA_ERROR_NO_DEVICE"
    with pytest.raises(GraphcError, match="no NVIDIA device that can be used: CUDA_ERROR_NO_DEV"):
        DriverDevice(fake)


def test_a_device_that_is_too_old() -> None:
    old = FakeDriver(COMPUTE_CAPABILITY_MAJOR=7, COMPUTE_CAPABILITY_MINOR=5)
    with pytest.raises(GraphcError, match=r"compute capability 7\.5, and code is made for 8\.0"):
        DriverDevice(old)


def test_memory_that_is_not_there(fake: FakeDriver) -> None:
    run = gc.compile(GRAPH, "cuda")
    fake.fails["cuMemAlloc"] = "CUDA_ERROR_OUT_OF_MEMORY"
    with pytest.raises(GraphcError, match="no 512 bytes left: 1,048,576 of 1,073,741,824 are free"):
        run(X, X)
    run(X, X)  # it is tried again, as if nothing had been


def test_code_that_the_driver_does_not_load(fake: FakeDriver) -> None:
    fake.fails["cuModuleLoadData"] = "CUDA_ERROR_NO_BINARY_FOR_GPU"
    with pytest.raises(GraphcError, match=r"for CUDA 13\.2, does not load code") as error:
        gc.compile(GRAPH, "cuda")(X, X)
    assert "update the driver" in str(error.value)


@pytest.mark.parametrize("call", ["cuGraphLaunch", "cuEventSynchronize", "cuMemcpyHtoDAsync"])
def test_a_device_that_fails_is_given_up_and_opened_anew(fake: FakeDriver, call: str) -> None:
    run = gc.compile(GRAPH, "cuda")
    run(X, X)
    fake.fails[call] = "CUDA_ERROR_ILLEGAL_ADDRESS"
    with pytest.raises(GraphcError, match=f"device failed: {call}: CUDA_ERROR_ILLEGAL_ADDRESS"):
        run(X, X)
    assert not fake.contexts
    run(X, X)
    assert fake.names().count("cuDevicePrimaryCtxReset") == 1


def test_what_only_a_defect_can_ask_for_is_an_internal_error(fake: FakeDriver) -> None:
    run = gc.compile(GRAPH, "cuda")
    fake.fails["cuLaunchKernel"] = "CUDA_ERROR_INVALID_VALUE"
    with pytest.raises(InternalError, match="cuLaunchKernel: CUDA_ERROR_INVALID_VALUE"):
        run(X, X)
    assert not fake.capturing and not fake.contexts

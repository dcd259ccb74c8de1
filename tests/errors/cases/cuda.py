"""The CUDA backend: what a machine may lack, and what a device may refuse."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.passes.base import Pipeline
from graphc.runtime.backend import load_backend
from graphc.runtime.executable import Executable
from graphc_cuda import CUDABackend, driver
from graphc_cuda.device import Device
from graphc_cuda.driver import DriverDevice
from tests.backends.cuda.fake_driver import FakeDriver

ADD = gc.trace(lambda x, y: x + y, "f32[N,3]", "f32[N,3]")
POOL = gc.trace(nn.AvgPool(2), "f32[N,1,4,4]")
FUSED = Pipeline.parse("decompose,simplify,fuse")(ADD)
X = np.zeros((2, 3), np.float32)


class Missing(FakeDriver):
    """A driver whose library is not there."""

    def _cuInit(self, flags: int) -> Any:
        raise RuntimeError("libcuda.so.1 is not there")


def failing(function: str, error: str) -> FakeDriver:
    """A driver that answers so, once."""
    fake = FakeDriver()
    fake.fails[function] = error
    return fake


class Pretended(CUDABackend):
    """The backend on a device of that driver's, opened by that process."""

    def __init__(self, fake: FakeDriver, process: int) -> None:
        self.fake, self.process = fake, process

    def device(self) -> Device:
        found = DriverDevice(self.fake)
        found.process = self.process
        return found


def on(fake: FakeDriver, process: int = 0) -> Executable:
    """The compiled sum on a device of that driver's."""
    backend = Pretended(fake, process or os.getpid())
    return Executable(ADD, backend.prepare(ADD, None))


def _without_bindings(folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_device", None)
        patch.setitem(sys.modules, "cuda.bindings", None)
        return gc.compile(ADD, "cuda")(X, X)


def _without_compiler(folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cuda.bindings", None)
        return load_backend("cuda").sources(FUSED, ("ptx",))


CASES = (
    # showing code
    lambda folder: load_backend("cuda").sources(POOL),
    _without_compiler,
    # opening a device
    _without_bindings,
    lambda folder: DriverDevice(Missing()),
    lambda folder: DriverDevice(failing("cuInit", "CUDA_ERROR_NO_DEVICE")),
    lambda folder: DriverDevice(FakeDriver(COMPUTE_CAPABILITY_MAJOR=7)),
    # running
    lambda folder: on(FakeDriver(COMPUTE_CAPABILITY_MAJOR=99))(X, X),
    lambda folder: on(FakeDriver(), process=os.getpid() + 1)(X, X),
    lambda folder: on(failing("cuModuleLoadData", "CUDA_ERROR_NO_BINARY_FOR_GPU"))(X, X),
    lambda folder: on(failing("cuMemAlloc", "CUDA_ERROR_OUT_OF_MEMORY"))(X, X),
    lambda folder: on(failing("cuGraphLaunch", "CUDA_ERROR_LAUNCH_FAILED"))(X, X),
)

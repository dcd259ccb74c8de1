"""A device that is none: memory of the host, kernels run as plain loops by the native backend.

It keeps what a real one would demand: memory is poisoned when it is allocated, and stands between
guards that nothing may touch; copies and launches fall inside of one allocation; code is loaded
before it runs; a recording is what was launched, with the addresses of then. Registered as the
backend "emulated" where GRAPHC_TEST_BACKENDS names it, so that every test that takes a backend runs
on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc.loops.gpu.device import GPU
from graphc.loops.gpu.emulate import Emulated, emulate
from graphc.loops.gpu.launch import Launch
from graphc.loops.language import Kernel
from graphc.runtime.program import Call
from graphc_cuda import CUDABackend
from graphc_cuda.device import Array, Device, Facts
from graphc_cuda.module import Module
from graphc_llvm.engine import machine_code
from graphc_llvm.module import step_module
from graphc_llvm.variant import Step

ALIGNMENT = 256
GUARD = 256  # bytes before and behind each allocation
POISON, UNTOUCHED = 0xFF, 0xA5  # bytes: the first make nan, of any float


class EmulatedDevice(Device):
    """A small processor with `memory_bytes` of memory.

    fails: makes the next call of that name fail, as a defective kernel would. calls: the names of
    all that was asked, in order.
    """

    def __init__(self, memory_bytes: int = 8 << 30) -> None:
        super().__init__()
        gpu = GPU("sm_90a", 4, 227 << 10)
        self.facts = Facts("emulated", gpu, memory_bytes, 1e9, 1e12, "none")
        self.memory: dict[int, Array] = {}
        self.sizes: dict[int, int] = {}
        self.record: list[Callable[[], None]] | None = None
        self.inside = 0
        self.fails = ""
        self.calls: list[str] = []

    def _enter(self) -> None:
        self.inside += 1

    def _leave(self) -> None:
        self.inside -= 1

    def _called(self, name: str) -> None:
        assert self.inside, f"{name} outside of entered()"
        self.calls.append(name)
        if self.lost:
            self.give_up("it is lost")
        if self.fails == name:
            self.fails = ""
            self.give_up(f"{name} was told to fail")

    # -- memory -----------------------------------------------------------------------------------

    @property
    def used(self) -> int:
        """Bytes that are allocated."""
        return sum(self.sizes.values())

    def allocate(self, size: int) -> int:
        self._called("allocate")
        assert size > 0 and self.record is None
        free = self.facts.memory_bytes - self.used
        if size > free:
            self.refuse(size, free)
        raw = np.full(size + 2 * GUARD + ALIGNMENT, UNTOUCHED, np.uint8)
        address = raw.ctypes.data + GUARD
        address += -address % ALIGNMENT
        start = address - raw.ctypes.data
        raw[start : start + size] = POISON
        self.memory[address], self.sizes[address] = raw, size
        return address

    def free(self, address: int) -> None:
        self._called("free")
        assert self.record is None
        self.check_guards(address)
        del self.memory[address], self.sizes[address]

    def check_guards(self, address: int) -> None:
        """Nothing may have written beside an allocation."""
        raw, start = self.memory[address], address - self.memory[address].ctypes.data
        beside = np.concatenate([raw[:start], raw[start + self.sizes[address] :]])
        assert (beside == UNTOUCHED).all(), "written out of bounds"

    def _bytes(self, address: int, size: int) -> Array:
        """Bytes of one allocation."""
        for start, length in self.sizes.items():
            if start <= address and address + size <= start + length:
                raw = self.memory[start]
                begin = address - raw.ctypes.data
                return raw[begin : begin + size]
        raise AssertionError(f"{size} bytes at {address:#x} are not of one allocation")

    def page_locked(self, size: int) -> Array:
        self._called("page_locked")
        return np.full(size, POISON, np.uint8)

    def copy_in(self, address: int, array: Array, stream: str) -> None:
        self._do("copy_in", stream, lambda: _set(self._bytes(address, array.nbytes), _raw(array)))

    def copy_out(self, array: Array, address: int, stream: str) -> None:
        self._do("copy_out", stream, lambda: _set(_raw(array), self._bytes(address, array.nbytes)))

    def copy_within(self, target: int, source: int, size: int, stream: str) -> None:
        moved = self._bytes(target, size), self._bytes(source, size)
        self._do("copy_within", stream, lambda: _set(*moved))

    def _do(self, name: str, stream: str, work: Callable[[], None]) -> None:
        self._called(name)
        if self.record is not None and stream == self.steps:
            self.record.append(work)
        else:
            work()

    # -- code -------------------------------------------------------------------------------------

    def load(self, module: Module) -> Mapping[str, Any]:
        self._called("load")
        return {name: _Function(kernel) for name, kernel in module.kernels.items()}

    def launch(
        self, function: Any, launch: Launch, addresses: tuple[int, ...], n: int, wide: bool
    ) -> None:
        assert launch.shared_bytes <= self.facts.gpu.shared_bytes and launch.threads <= 1024
        buffers = function.kernel.buffers
        assert len(addresses) == len(buffers) and all(addresses)

        def run() -> None:
            if launch.grid(n):
                function.run(addresses, n)

        self._do("launch", self.steps, run)

    def recorded(self, work: Callable[[], None]) -> list[Callable[[], None]]:
        self._called("recorded")
        self.record = []
        try:
            work()
            return self.record
        finally:
            self.record = None

    def replay(self, recording: Any) -> None:
        self._called("replay")
        for work in recording:
            work()

    # -- order ------------------------------------------------------------------------------------

    def event(self) -> list[float]:
        self._called("event")
        return []

    def mark(self, event: list[float], stream: str) -> None:
        self._do("mark", stream, lambda: event.append(time.perf_counter()))

    def hold(self, stream: str, event: list[float]) -> None:
        self._called("hold")
        assert event, "waits for an event that nothing sets"

    def wait(self, event: list[float] | None = None) -> None:
        self._called("wait")
        assert event is None or event, "waits for an event that nothing sets"
        for address in self.memory if event is None else ():
            self.check_guards(address)

    def seconds(self, begin: list[float], end: list[float]) -> float:
        return end[-1] - begin[-1]


class _Function:
    """A kernel as native code."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.emulated: Emulated = emulate(kernel)
        self.step: Step | None = None  # compiled when it first runs

    def run(self, addresses: tuple[int, ...], n: int) -> None:
        """All blocks, one after the other."""
        kernel = self.emulated.kernel
        if self.step is None:
            call = Call(kernel, tuple(range(len(kernel.buffers))), 0)
            self.step = _compiled(step_module((call,), llvm.get_process_triple()))
        scratch = [
            np.full(int(np.prod(b.shape)) * b.dtype.itemsize, POISON, np.uint8)  # type: ignore[arg-type]
            for b in self.emulated.scratch
        ]
        table = np.array([*addresses, *(s.ctypes.data for s in scratch)], np.int64)
        self.step.run(table.ctypes.data, n, 1)


@cache
def _compiled(text: str) -> Step:
    return Step(machine_code(text))


def _raw(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)


def _set(target: Array, source: Array) -> None:
    target[...] = source


class EmulatedBackend(CUDABackend):
    """The CUDA backend on an emulated device."""

    name = "emulated"
    _device: EmulatedDevice | None = None

    def device(self) -> Device:
        if self._device is None or self._device.lost:
            type(self)._device = EmulatedDevice()
        assert self._device is not None
        return self._device

"""NVIDIA's driver without a device: a module like `cuda.bindings.driver` that answers by itself.

Each call goes to the real function as well, which converts its arguments and only then misses the
driver's library: wrong counts and types are refused as they would be on a machine with a device.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

ATTRIBUTES = {
    "COMPUTE_CAPABILITY_MAJOR": 9, "COMPUTE_CAPABILITY_MINOR": 0, "MULTIPROCESSOR_COUNT": 132,
    "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 232448, "GLOBAL_MEMORY_BUS_WIDTH": 6144,
    "CLOCK_RATE": 1980000, "MEMORY_CLOCK_RATE": 3201000,
}  # fmt: skip


class FakeDriver:
    """A device of 1 GB whose kernels do nothing.

    calls: (name, arguments) in order. fails: the name of an error by the name of the function that
    answers with it, once. context: the stack of contexts of the thread. alive: handles and
    addresses that were made and not destroyed.
    """

    def __init__(self, **attributes: int) -> None:
        self.real = importlib.import_module("cuda.bindings.driver")
        self.attributes = ATTRIBUTES | attributes
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.fails: dict[str, str] = {}
        self.contexts: list[int] = []
        self.alive: dict[int, Any] = {}
        self.numbers = count(1 << 20, 1 << 20)
        self.capturing = False
        self.memory = 1 << 30

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.real, name)
        if not name.startswith("cu") or isinstance(found, type):
            return found
        return lambda *arguments: self._call(name, found, arguments)

    def names(self) -> list[str]:
        """The names of what was called."""
        return [name for name, _ in self.calls]

    def _call(self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        try:
            real(*arguments)
        except RuntimeError:  # the driver's library is missing: the arguments were fine
            pass
        else:
            raise AssertionError(f"{name} reached a driver")
        self.calls.append((name, arguments))
        error = self.fails.pop(name, None)
        results = self.real.CUresult
        if error is not None:
            blank = {"cuCtxPopCurrent": 1, "cuMemAlloc": 1, "cuStreamEndCapture": 1}.get(name, 0)
            return (getattr(results, error), *[None] * blank)
        answer = getattr(self, f"_{name}", None)
        return (results.CUDA_SUCCESS, *(() if answer is None else answer(*arguments)))

    def _made(self, type: Any = int) -> tuple[Any]:
        number = next(self.numbers)
        self.alive[number] = type
        return (type(number),)

    def _destroyed(self, handle: Any) -> tuple[()]:
        del self.alive[int(handle)]
        return ()

    # -- what answers with more than success ------------------------------------------------------

    def _cuGetErrorString(self, error: Any) -> tuple[bytes]:
        return (b"as a test would have it",)

    def _cuDeviceGetCount(self) -> tuple[int]:
        return (1,)

    def _cuDeviceGet(self, ordinal: int) -> tuple[Any]:
        return (self.real.CUdevice(ordinal),)

    def _cuDeviceGetName(self, length: int, device: Any) -> tuple[bytes]:
        return (b"NVIDIA Pretended" + bytes(length - 16),)

    def _cuDeviceGetAttribute(self, attribute: Any, device: Any) -> tuple[int]:
        return (self.attributes[attribute.name.removeprefix("CU_DEVICE_ATTRIBUTE_")],)

    def _cuDeviceTotalMem(self, device: Any) -> tuple[int]:
        return (self.memory,)

    def _cuDriverGetVersion(self) -> tuple[int]:
        return (13020,)

    def _cuDevicePrimaryCtxRetain(self, device: Any) -> tuple[Any]:
        return (self.real.CUcontext(77),)

    def _cuCtxPushCurrent(self, context: Any) -> tuple[()]:
        self.contexts.append(int(context))
        return ()

    def _cuCtxPopCurrent(self) -> tuple[Any]:
        return (self.real.CUcontext(self.contexts.pop()),)

    def _cuMemGetInfo(self) -> tuple[int, int]:
        return 1 << 20, self.memory

    def _cuMemAlloc(self, size: int) -> tuple[Any]:
        assert self.contexts and not self.capturing
        return self._made(self.real.CUdeviceptr)

    def _cuMemFree(self, address: int) -> tuple[()]:
        assert self.contexts and not self.capturing
        return self._destroyed(address)

    def _cuMemHostAlloc(self, size: int, flags: int) -> tuple[int]:
        memory = (ctypes.c_uint8 * size)()
        self.alive[ctypes.addressof(memory)] = memory
        return (ctypes.addressof(memory),)

    _cuMemFreeHost = _destroyed

    def _cuTensorMapEncodeTiled(self, *arguments: Any) -> tuple[Any]:
        return (self.real.CUtensorMap(),)

    _cuTensorMapEncodeIm2col = _cuTensorMapEncodeTiled

    def _cuStreamCreate(self, flags: Any) -> tuple[Any]:
        return self._made(self.real.CUstream)

    def _cuEventCreate(self, flags: Any) -> tuple[Any]:
        return self._made(self.real.CUevent)

    _cuEventDestroy = _destroyed

    def _cuEventRecordWithFlags(self, event: Any, stream: Any, flags: Any) -> tuple[()]:
        external = self.real.CUevent_record_flags.CU_EVENT_RECORD_EXTERNAL
        assert (flags == external) == self.capturing
        return ()

    def _cuEventElapsedTime(self, begin: Any, end: Any) -> tuple[float]:
        return (0.25,)

    def _cuModuleLoadData(self, image: bytes) -> tuple[Any]:
        assert image[:4] == b"\x7fELF"
        return self._made(self.real.CUmodule)

    _cuModuleUnload = _destroyed

    def _cuModuleGetFunction(self, module: Any, name: bytes) -> tuple[Any]:
        assert int(module) in self.alive
        return (self.real.CUfunction(next(self.numbers)),)

    def _cuLaunchKernel(self, function: Any, *arguments: Any) -> tuple[()]:
        values, types = arguments[8]
        assert min(arguments[:6]) >= 1 and arguments[3] <= 1024 and len(values) == len(types)
        return ()

    def _cuStreamBeginCapture(self, stream: Any, mode: Any) -> tuple[()]:
        assert not self.capturing
        self.capturing = True
        return ()

    def _cuStreamEndCapture(self, stream: Any) -> tuple[Any]:
        assert self.capturing
        self.capturing = False
        return self._made(self.real.CUgraph)

    _cuGraphDestroy = _destroyed

    def _cuGraphInstantiate(self, graph: Any, flags: int) -> tuple[Any]:
        return self._made(self.real.CUgraphExec)

    _cuGraphExecDestroy = _destroyed

    def _cuGraphLaunch(self, graph: Any, stream: Any) -> tuple[()]:
        assert int(graph) in self.alive
        return ()

    def _cuMemcpyDtoHAsync(self, target: int, source: int, size: int, stream: Any) -> tuple[()]:
        if not self.capturing:
            memory = (ctypes.c_uint8 * size).from_address(target)
            np.ctypeslib.as_array(memory)[...] = 0
        return ()

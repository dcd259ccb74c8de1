"""A device by NVIDIA's driver (`cuda.bindings.driver`), which is imported when first needed.

Uses the device's primary context, as other libraries do, and leaves whatever context the caller
had. Every answer of the driver is checked.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError, InternalError
from graphc.loops.gpu.device import GPU
from graphc.loops.gpu.launch import Launch, Mapped
from graphc_cuda.compile import compiler_version
from graphc_cuda.device import Array, Device, Facts
from graphc_cuda.module import Module
from graphc_cuda.tensor_maps import encoding

OLDEST = (8, 0)  # compute capability: the first with asynchronous copies and tf32
# What the driver answers to code that is not for it, and to what only a defect of graphc can ask.
NOT_LOADED = (
    "CUDA_ERROR_INVALID_IMAGE", "CUDA_ERROR_NO_BINARY_FOR_GPU",
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
)  # fmt: skip
WRONGLY_ASKED = (
    "CUDA_ERROR_INVALID_VALUE", "CUDA_ERROR_INVALID_HANDLE", "CUDA_ERROR_INVALID_CONTEXT",
    "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "CUDA_ERROR_NOT_FOUND",
    "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
)  # fmt: skip


def _bindings() -> Any:
    """NVIDIA's bindings."""
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise GraphcError(
            f"CUDA devices cannot be used: {error}",
            remedy="install NVIDIA's bindings: pip install 'graphc[cuda]'",
        ) from error
    return driver


@dataclass(eq=False)
class Owned:
    """A handle of the driver's, and what must live as long."""

    handle: Any
    owner: Owned | None = None


class DriverDevice(Device):
    """The first device that the driver has (CUDA_VISIBLE_DEVICES says which that is).

    cuda: NVIDIA's bindings of the driver.
    """

    def __init__(self, cuda: Any) -> None:
        super().__init__()
        self.recording = False
        self.cuda = cuda
        self.handle = self._first()
        self.facts = self._facts()
        self.context = self._do("cuDevicePrimaryCtxRetain", self.handle)
        flags = self.cuda.CUstream_flags.CU_STREAM_NON_BLOCKING
        with self.entered():
            self.streams = {
                name: self._do("cuStreamCreate", flags) for name in (self.steps, self.copies)
            }

    def reset(self) -> None:
        """Tears down what is left of a device that was lost, so that it may be opened anew."""
        self._do("cuDevicePrimaryCtxReset", self.handle)

    def _first(self) -> Any:
        """The device. Raises GraphcError if there is no driver or no device."""
        remedy = 'everything but running works without one; use backend="llvm" to run here'
        try:
            (error,) = self.cuda.cuInit(0)
            if error == self.cuda.CUresult.CUDA_SUCCESS and not self._do("cuDeviceGetCount"):
                error = self.cuda.CUresult.CUDA_ERROR_NO_DEVICE
        except RuntimeError as missing:  # the driver's library is not there, or is too old
            raise GraphcError(f"there is no NVIDIA driver: {missing}", remedy=remedy) from missing
        if error != self.cuda.CUresult.CUDA_SUCCESS:
            raise GraphcError(
                f"there is no NVIDIA device that can be used: {self._words(error)}", remedy=remedy
            )
        return self._do("cuDeviceGet", 0)

    def _facts(self) -> Facts:
        name = self._do("cuDeviceGetName", 256, self.handle).decode().rstrip("\0")
        major = self._attribute("COMPUTE_CAPABILITY_MAJOR")
        minor = self._attribute("COMPUTE_CAPABILITY_MINOR")
        if (major, minor) < OLDEST:
            raise GraphcError(
                f"{name} has compute capability {major}.{minor}, and code is made for "
                f"{OLDEST[0]}.{OLDEST[1]} and later",
                remedy='use a device of the Ampere generation or later, or backend="llvm"',
            )
        version = self._do("cuDriverGetVersion")
        gpu = GPU(
            # Tensor cores of 9.0 have instructions that no later generation has.
            "sm_90a" if (major, minor) == (9, 0) else f"sm_{major}{minor}",
            self._attribute("MULTIPROCESSOR_COUNT"),
            self._attribute("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"),
        )
        width = self._attribute("GLOBAL_MEMORY_BUS_WIDTH") / 8
        return Facts(
            name,
            gpu,
            memory_bytes=self._do("cuDeviceTotalMem", self.handle),
            clock_rate=1e3 * self._attribute("CLOCK_RATE"),
            # Twice: memory of these devices moves data at both edges of its clock.
            bytes_per_second=2e3 * self._attribute("MEMORY_CLOCK_RATE") * width,
            driver=f"{version // 1000}.{version % 1000 // 10}",
        )

    def _attribute(self, name: str) -> int:
        attribute = getattr(self.cuda.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self._do("cuDeviceGetAttribute", attribute, self.handle))

    def _enter(self) -> None:
        self._do("cuCtxPushCurrent", self.context)

    def _leave(self) -> None:
        error, _ = self.cuda.cuCtxPopCurrent()
        if not self.lost:  # else there is something more important to say
            self._check("cuCtxPopCurrent", error)

    # -- calls ------------------------------------------------------------------------------------

    def _do(self, function: str, *arguments: Any, size: int = 0) -> Any:
        """What a function of the driver returns beside its error code, which is checked."""
        error, *found = getattr(self.cuda, function)(*arguments)
        self._check(function, error, size)
        return found[0] if found else None

    def _check(self, function: str, error: Any, size: int = 0) -> None:
        """Raises what an error code means; size: the bytes that were asked for."""
        if error == self.cuda.CUresult.CUDA_SUCCESS:
            return
        problem = f"{function}: {self._words(error)}"
        if error == self.cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            _, free, _ = self.cuda.cuMemGetInfo()
            self.refuse(size, free or 0)
        if error.name in NOT_LOADED:
            raise GraphcError(
                f"the driver of {self.facts.name}, for CUDA {self.facts.driver}, does not load "
                f"code of the compiler of CUDA {compiler_version()} ({error.name})",
                remedy="update the driver, or install the version of nvidia-cuda-nvrtc that is "
                "for it",
            )
        if error.name in WRONGLY_ASKED:
            raise InternalError(problem)
        self.give_up(problem)

    def _words(self, error: Any) -> str:
        """An error code with what the driver says of it."""
        _, text = self.cuda.cuGetErrorString(error)
        return f"{error.name} ({text.decode() if text else 'unknown to this driver'})"

    def _owned(self, handle: Any, destroy: str) -> Owned:
        """A handle that is destroyed when nobody holds it any more."""
        owner = Owned(handle)
        weakref.finalize(owner, self.unused.append, partial(self._do, destroy, handle))
        return owner

    # -- memory -----------------------------------------------------------------------------------

    def allocate(self, size: int) -> int:
        return int(self._do("cuMemAlloc", size, size=size))

    def free(self, address: int) -> None:
        self._do("cuMemFree", address)

    def page_locked(self, size: int) -> Array:
        address = int(self._do("cuMemHostAlloc", max(size, 1), 0, size=size))
        memory = (ctypes.c_uint8 * size).from_address(address)
        weakref.finalize(memory, self.unused.append, partial(self._do, "cuMemFreeHost", address))
        return np.ctypeslib.as_array(memory)

    def copy_in(self, address: int, array: Array, stream: str) -> None:
        if array.nbytes:
            where = array.ctypes.data, array.nbytes
            self._do("cuMemcpyHtoDAsync", address, *where, self.streams[stream])

    def copy_out(self, array: Array, address: int, stream: str) -> None:
        if array.nbytes:
            where = address, array.nbytes
            self._do("cuMemcpyDtoHAsync", array.ctypes.data, *where, self.streams[stream])

    def copy_within(self, target: int, source: int, size: int, stream: str) -> None:
        if size:
            self._do("cuMemcpyDtoDAsync", target, source, size, self.streams[stream])

    # -- code -------------------------------------------------------------------------------------

    def load(self, module: Module) -> dict[str, Owned]:
        code = module.code(self.facts.gpu.architecture)
        loaded = self._owned(self._do("cuModuleLoadData", code.cubin), "cuModuleUnload")
        functions = {}
        for name, launch in module.launches.items():
            handle = self._do("cuModuleGetFunction", loaded.handle, name.encode())
            limit = self.cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._do("cuFuncSetAttribute", handle, limit, launch.shared_bytes)
            self._do("cuFuncLoad", handle)  # now: it cannot be loaded while a step is recorded
            functions[name] = Owned(handle, loaded)
        return functions

    def launch(
        self, function: Any, launch: Launch, addresses: tuple[int, ...], n: int, wide: bool
    ) -> None:
        blocks = launch.grid(n)
        if not blocks:
            return
        index = ctypes.c_longlong if wide else ctypes.c_int
        maps = [self._tensor_map(each, addresses[each.number], n) for each in launch.maps]
        values = (*addresses, *maps, n)
        types = (*[ctypes.c_void_p] * len(addresses), *[None] * len(maps), index)
        self._do(
            "cuLaunchKernel", function.handle, blocks, 1, 1, launch.threads, 1, 1,
            launch.shared_bytes, self.streams[self.steps], (values, types), 0,
        )  # fmt: skip

    def _tensor_map(self, mapped: Mapped, address: int, n: int) -> Any:
        function, arguments = encoding(self.cuda, mapped, address, n)
        return self._do(function, *arguments)

    def recorded(self, work: Callable[[], None]) -> Owned:
        stream = self.streams[self.steps]
        # Other threads of the process may go on using CUDA meanwhile.
        mode = self.cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._do("cuStreamBeginCapture", stream, mode)
        self.recording = True
        try:
            work()
        except BaseException:
            _, graph = self.cuda.cuStreamEndCapture(stream)
            if graph is not None and int(graph):
                self.cuda.cuGraphDestroy(graph)
            raise
        finally:
            self.recording = False
        graph = self._owned(self._do("cuStreamEndCapture", stream), "cuGraphDestroy")
        return self._owned(self._do("cuGraphInstantiate", graph.handle, 0), "cuGraphExecDestroy")

    def replay(self, recording: Any) -> None:
        self._do("cuGraphLaunch", recording.handle, self.streams[self.steps])

    # -- order ------------------------------------------------------------------------------------

    def event(self) -> Owned:
        flags = self.cuda.CUevent_flags.CU_EVENT_DEFAULT
        return self._owned(self._do("cuEventCreate", flags), "cuEventDestroy")

    def mark(self, event: Any, stream: str) -> None:
        # In a recording an event would else only say what comes before what, and have no time.
        external = self.cuda.CUevent_record_flags.CU_EVENT_RECORD_EXTERNAL
        flags = (
            external if self.recording else self.cuda.CUevent_record_flags.CU_EVENT_RECORD_DEFAULT
        )
        self._do("cuEventRecordWithFlags", event.handle, self.streams[stream], flags)

    def hold(self, stream: str, event: Any) -> None:
        self._do("cuStreamWaitEvent", self.streams[stream], event.handle, 0)

    def wait(self, event: Any = None) -> None:
        if event is not None:
            self._do("cuEventSynchronize", event.handle)
            return
        for stream in self.streams.values():
            self._do("cuStreamSynchronize", stream)

    def seconds(self, begin: Any, end: Any) -> float:
        return 1e-3 * float(self._do("cuEventElapsedTime", begin.handle, end.handle))


_opening = threading.Lock()
_device: DriverDevice | None = None


def opened() -> Device:
    """The device of this process: opened when it is first asked for, and anew if it was lost.

    Raises GraphcError if there is none that can be used.
    """
    global _device
    with _opening:
        if _device is not None and _device.lost:
            lost, _device = _device, None
            lost.reset()
        if _device is None:
            _device = DriverDevice(_bindings())
        return _device

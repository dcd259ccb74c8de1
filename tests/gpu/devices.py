"""The backends that the checks run on: the device with its memory full of nan, or one emulated."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.runtime.backend import BUILT_IN
from graphc_cuda import CUDABackend
from graphc_cuda.device import Device
from graphc_cuda.driver import DriverDevice
from tests.backends.cuda.emulated import EmulatedBackend, EmulatedDevice

POISON = 0xFF  # a byte: four of them are nan, as are two and eight
EMULATED_BYTES = 64 << 20


class PoisonedDevice(DriverDevice):
    """The device. Memory is nan when it is allocated, as that of the emulated device is."""

    def allocate(self, size: int) -> int:
        address = super().allocate(size)
        self.copy_in(address, np.full(min(size, 1 << 26), POISON, np.uint8), self.steps)
        filled = min(size, 1 << 26)
        while filled < size:  # what is there once more behind it
            more = min(filled, size - filled)
            self.copy_within(address + filled, address, more, self.steps)
            filled += more
        self.wait()
        return address

    def page_locked(self, size: int) -> np.ndarray[Any, Any]:
        memory = super().page_locked(size)
        memory[...] = POISON
        return memory


class PoisonedBackend(CUDABackend):
    """The CUDA backend on a device that is poisoned."""

    name = "poisoned"
    _device: PoisonedDevice | None = None

    def device(self) -> Device:
        """The device, opened anew if it was lost."""
        from cuda.bindings import driver

        known = type(self)._device
        if known is not None and not known.lost:
            return known
        if known is not None:
            known.reset()
        found = type(self)._device = PoisonedDevice(driver)
        return found


def checked_backend(emulated: bool) -> str:
    """The name of the backend that is checked, which is known from now on."""
    if emulated:
        BUILT_IN["emulated"] = "tests.backends.cuda.emulated:EmulatedBackend"
        EmulatedBackend._device = EmulatedDevice(EMULATED_BYTES)
        return "emulated"
    BUILT_IN["poisoned"] = "tests.gpu.devices:PoisonedBackend"
    return "poisoned"

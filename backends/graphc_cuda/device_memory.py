"""Memory of a device: what steps share, and arrays that stay there from one step to the next."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.runtime.kept import Keeper

if TYPE_CHECKING:
    from graphc_cuda.device import Device

Array = np.ndarray[Any, Any]


class Memory:
    """Some bytes of a device, given back when this object goes."""

    def __init__(self, device: Device, size: int) -> None:
        self.size = size
        self.address = device.allocate(max(size, 1))
        # A finaliser runs in any thread at any time: the device frees it when it is next used.
        weakref.finalize(self, device.unused.append, partial(device.free, self.address))


@dataclass(frozen=True)
class Region:
    """Where an array begins in some memory."""

    memory: Memory
    offset: int = 0

    @property
    def address(self) -> int:
        """Of its first byte."""
        return self.memory.address + self.offset


class Workspace:
    """The arena of all steps of a device, which run one after the other; as large as the largest
    has needed. Steps that are recorded remember its address, so they compare it.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.memory: Memory | None = None

    def address(self, size: int) -> int:
        """Where `size` bytes begin. Raises GraphcError if the device has no such memory."""
        if self.memory is None or self.memory.size < size:
            self.device.wait()
            self.memory = None  # first, for both may not fit
            self.device.collect()
            self.memory = Memory(self.device, size)
        return self.memory.address


@dataclass
class Held:
    """An array's memory on the device.

    lent: whether nobody looks into the array itself. current: whether the memory holds what it
    should. newer: whether the array itself does not.
    """

    memory: Memory | None = None
    lent: bool = True
    current: bool = False
    newer: bool = False


class Resident(Keeper):
    """Arrays of the host that live on the device until somebody looks into them.

    version: changes whenever one comes or goes.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self.version = 0
        self._held: dict[int, Held] = {}

    def take(self, arrays: Iterable[Array]) -> None:
        self.version += 1
        for array in arrays:
            held = self._held.get(id(array))
            if held is None:
                self._held[id(array)] = Held()
                weakref.finalize(array, self._forget, id(array))
            elif not held.lent:
                held.lent, held.current = True, False

    def _forget(self, key: int) -> None:
        self.version += 1
        self._held.pop(key, None)

    def lent(self, array: Array) -> Held | None:
        """What is known of an array that was taken and not given back."""
        held = self._held.get(id(array))
        return held if held is not None and held.lent else None

    def memory(self, held: Held, array: Array) -> Memory:
        """The newest values of a lent array, as the device's stream of steps will find them."""
        if held.memory is None:
            held.memory = Memory(self.device, array.nbytes)
        if not held.current:
            self.device.copy_in(held.memory.address, array, self.device.steps)
            held.current = True
        return held.memory

    def give_back(self, arrays: Iterable[Array]) -> None:
        """As a Keeper does. Of a device that was lost, arrays keep what they held before."""
        self.version += 1
        if self.device.lost:
            self._held.clear()
            return
        found = [(a, held) for a in arrays if (held := self._held.get(id(a))) is not None]
        with self.device.entered():
            self.device.wait()  # what has failed is told before anything is copied
            for array, held in found:
                if held.newer and held.memory is not None:
                    self.device.copy_out(array, held.memory.address, self.device.steps)
            self.device.wait()
        for _, held in found:
            held.lent = held.newer = False

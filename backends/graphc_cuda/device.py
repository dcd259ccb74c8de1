"""What the runner asks of a graphics processor: memory, copies, code, launches, events, recordings.

`driver` answers with NVIDIA's driver. Work is given to a device inside `with device.entered():`,
by one thread at a time; it goes to one of two streams, `steps` and `copies`, each of which does one
thing after the other. Addresses are plain numbers.
"""

from __future__ import annotations

import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np

from graphc.base.errors import GraphcError
from graphc.loops.gpu.device import GPU
from graphc.loops.gpu.launch import Launch
from graphc_cuda.device_memory import Resident, Workspace
from graphc_cuda.module import Module

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Facts:
    """A device as it calls itself. clock_rate: cycles a second. bytes_per_second: from memory."""

    name: str
    gpu: GPU
    memory_bytes: int
    clock_rate: float
    bytes_per_second: float
    driver: str


class Device(ABC):
    """A graphics processor.

    resident: the arrays that live on it. lost: whether it failed so that all its memory is gone.
    """

    facts: Facts
    steps: ClassVar[str] = "steps"
    copies: ClassVar[str] = "copies"

    def __init__(self) -> None:
        self.lost = False
        self.resident = Resident(self)
        self.process = os.getpid()
        self.lock = threading.RLock()
        # What finalisers, which run in any thread at any time, leave to be done.
        self.unused: deque[Callable[[], object]] = deque()
        self._workspace: weakref.ref[Workspace] | None = None

    @property
    def workspace(self) -> Workspace:
        """What all graphs that are ready to run on the device share; it goes with the last."""
        found = None if self._workspace is None else self._workspace()
        if found is None:
            found = Workspace(self)
            self._workspace = weakref.ref(found)
        return found

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Where the device may be used.

        Raises GraphcError in a forked child of the process that opened the device.
        """
        if os.getpid() != self.process:
            raise GraphcError(
                f"{self.facts.name} was opened by process {self.process}, from which this process "
                f"({os.getpid()}) was forked: CUDA does not survive that",
                remedy='start processes with multiprocessing.get_context("spawn")',
            )
        with self.lock:
            self._enter()
            try:
                self.collect()
                yield
            finally:
                self._leave()

    def collect(self) -> None:
        """Frees what nothing uses any more."""
        if self.unused and not self.lost:
            self.wait()
        while self.unused and not self.lost:
            self.unused.popleft()()

    @abstractmethod
    def _enter(self) -> None:
        """Makes the device that of the calling thread."""

    @abstractmethod
    def _leave(self) -> None:
        """Makes what was the thread's device before its device again."""

    # -- memory -----------------------------------------------------------------------------------

    @abstractmethod
    def allocate(self, size: int) -> int:
        """The address of `size` new bytes. Raises GraphcError if there are not as many."""

    @abstractmethod
    def free(self, address: int) -> None:
        """Gives back what `allocate` gave, once all that was begun is over."""

    @abstractmethod
    def page_locked(self, size: int) -> Array:
        """`size` bytes of the host's memory, u8[size], that copies go from and to on their own."""

    @abstractmethod
    def copy_in(self, address: int, array: Array, stream: str) -> None:
        """Begins to copy a contiguous array to the device. One that is not page-locked may change
        once this returns.
        """

    @abstractmethod
    def copy_out(self, array: Array, address: int, stream: str) -> None:
        """Begins to copy from the device into a contiguous array."""

    @abstractmethod
    def copy_within(self, target: int, source: int, size: int, stream: str) -> None:
        """Begins to copy from one address of the device to another."""

    # -- code -------------------------------------------------------------------------------------

    @abstractmethod
    def load(self, module: Module) -> Mapping[str, Any]:
        """The functions of a module by name, ready to be launched."""

    @abstractmethod
    def launch(
        self, function: Any, launch: Launch, addresses: tuple[int, ...], n: int, wide: bool
    ) -> None:
        """Begins to run a function on the stream of steps, for batch size n."""

    @abstractmethod
    def recorded(self, work: Callable[[], None]) -> Any:
        """What `work` gives to the stream of steps, not done but kept, to be replayed."""

    @abstractmethod
    def replay(self, recording: Any) -> None:
        """Begins to do what was recorded."""

    # -- order ------------------------------------------------------------------------------------

    @abstractmethod
    def event(self) -> Any:
        """A mark that can be set in a stream, and has a time."""

    @abstractmethod
    def mark(self, event: Any, stream: str) -> None:
        """Sets an event behind all that the stream was given so far."""

    @abstractmethod
    def hold(self, stream: str, event: Any) -> None:
        """What the stream is given from now on waits for the event."""

    @abstractmethod
    def wait(self, event: Any = None) -> None:
        """Returns when the event is over; without one, when everything is.

        Raises GraphcError if the device has failed meanwhile; then it is lost.
        """

    @abstractmethod
    def seconds(self, begin: Any, end: Any) -> float:
        """Between two events that are over."""

    # -- what can go wrong ------------------------------------------------------------------------

    def refuse(self, size: int, free: int) -> NoReturn:
        """Raises the error for `size` bytes that cannot be had; 0 if it is not known how many."""
        asked = f"{size:,} bytes" if size else "memory"
        raise GraphcError(
            f"{self.facts.name} has no {asked} left: {free:,} of "
            f"{self.facts.memory_bytes:,} are free",
            remedy="use smaller batches, or end what else uses the device",
        )

    def give_up(self, problem: str) -> NoReturn:
        """Raises the error for a device that failed; notes that its memory is gone."""
        self.lost = True
        raise GraphcError(
            f"the CUDA device failed: {problem}",
            remedy="its memory is lost; parameters are as the host last saw them (fit looks at "
            "each epoch's beginning): save them, then go on, in a new process if this repeats",
        )

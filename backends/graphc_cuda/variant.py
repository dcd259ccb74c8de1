"""A graph lowered for a device, and what is made ready for each batch size it runs with.

A step is recorded once for its addresses and then replayed by one call. Two steps may be under way:
each has a `Turn`, with its own inputs and outputs on both sides, so that the next inputs are copied
while a step still runs, and results are read when somebody wants them. What lies between inputs and
outputs is in one workspace, which steps use one after the other.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from graphc.ir.graph import Graph
from graphc.ir.types import TensorType
from graphc.loops.gpu.launch import Launch
from graphc.loops.gpu.lower import lower
from graphc.loops.language import Kernel
from graphc.loops.memory import buffer_bytes
from graphc.passes.base import Pipeline
from graphc.passes.constants import PREFIX
from graphc.passes.pack_parameters import packed_layouts
from graphc.runtime.announcement import Announcement
from graphc.runtime.program import build_program
from graphc_cuda.device import Device
from graphc_cuda.device_memory import Memory, Region
from graphc_cuda.module import Module

Array = np.ndarray[Any, Any]
ALIGNMENT = 256  # bytes: of arrays in one piece of memory
LARGEST_NARROW = (1 << 31) - (1 << 24)  # elements that indices of 32 bits tell apart, and beyond
TURNS = 2
SIZES_KEPT = 16  # batch sizes


@dataclass(frozen=True)
class Part:
    """An array among others in one piece of memory. number: its place among inputs or outputs."""

    number: int
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def of(self, memory: Array) -> Array:
        """The array, in a copy of that piece of memory, u8[bytes]."""
        size = math.prod(self.shape) * self.dtype.itemsize
        return memory[self.offset : self.offset + size].view(self.dtype).reshape(self.shape)


@dataclass(frozen=True)
class Side:
    """Arrays side by side in one piece of memory: all data that goes in, or all that comes out."""

    parts: tuple[Part, ...]
    bytes: int

    @staticmethod
    def of(types: Sequence[tuple[int, TensorType]], n: int) -> Side:
        """Tensors, each with its number, for batch size n; the batch is in front."""
        found, size = [], 0
        for number, type in types:
            shape, axis = type.concrete(n), type.batch_axis or 0
            shape = (*shape[axis : axis + 1], *shape[:axis], *shape[axis + 1 :])
            found.append(Part(number, size, shape, type.dtype.memory))
            size += -(-buffer_bytes(type, n) // ALIGNMENT) * ALIGNMENT
        return Side(tuple(found), size)


class Turn:
    """What a step that is under way has to itself.

    inputs, outputs: on the device; staged, returned: their copies on the host, page-locked (the
    latter empty where results stay on the device); given, results: the arrays in these, by number.
    fed, over: the inputs are there, the step is over.
    addresses: for which `recording` was made; kept: memory among them that others own; bound: what
    tells that they are the right ones for the next step too. reader: takes the results that nobody
    has read yet.
    """

    def __init__(self, device: Device, inputs: Side, outputs: Side, stays: bool) -> None:
        self.inputs, self.staged = Memory(device, inputs.bytes), device.page_locked(inputs.bytes)
        self.outputs = Memory(device, outputs.bytes)
        self.returned = device.page_locked(0 if stays else outputs.bytes)
        self.given = {part.number: part.of(self.staged) for part in inputs.parts}
        returned = () if stays else outputs.parts
        self.results = {part.number: part.of(self.returned) for part in returned}
        self.fed, self.over = device.event(), device.event()
        self.bound: object = None
        self.addresses: tuple[int, ...] = ()
        self.kept: dict[int, Region] = {}
        self.recording: Any = None
        self.reader: Callable[[], object] | None = None

    def settle(self) -> None:
        """Reads the results of the turn's last step, if nobody has."""
        if self.reader is not None:
            self.reader()


@dataclass
class Prepared:
    """A variant made ready for one batch size.

    places: slot -> offset, of what is in the workspace of `bytes`. own: memory for inputs that are
    no data and do not live on the device, by their place; token: of the call that they hold.
    """

    n: int
    wide: bool
    places: dict[int, int]
    bytes: int
    inputs: Side
    outputs: Side
    turns: tuple[Turn, ...]
    own: dict[int, Memory] = field(default_factory=dict)
    token: object = None
    steps: int = 0

    def turn(self) -> Turn:
        """The turn of the next step."""
        self.steps += 1
        return self.turns[self.steps % len(self.turns)]


class Variant:
    """A graph lowered by one pipeline for a device, its code loaded there.

    stays: whether its results stay on the device. data, kept: the places of its inputs that are
    data, and of the others that it reads; further inputs, which passes added, are in neither.
    """

    def __init__(
        self,
        graph: Graph,
        pipeline: Pipeline,
        device: Device,
        precision: str,
        stays: bool = False,
    ) -> None:
        self.graph, self.pipeline, self.device = graph, pipeline, device
        self.stays = stays
        self.precision = precision
        self.workspace = device.workspace
        make = partial(lower, gpu=device.facts.gpu, precision=precision)
        self.announcement = f"compiling {graph.name}"
        with Announcement(self.announcement) as line:
            line.stage = "passes and loops"
            self.program = build_program(graph, pipeline, make)
        self.seconds = dict(self.program.seconds)
        self.layouts = packed_layouts(self.program.graph)
        inputs = [i for i in self.program.graph.inputs if not i.attrs["name"].startswith(PREFIX)]
        read = {slot for call in self.program.calls for slot in call.slots}
        self.data = [k for k, i in enumerate(inputs) if i.attrs["kind"] == "data"]
        self.kept = [k for k in range(len(inputs)) if k not in self.data and k in read]
        distinct = {id(call.kernel): call.kernel for call in self.program.calls}
        self.kernels: tuple[Kernel, ...] = tuple(distinct.values())
        numbers = {key: k for k, key in enumerate(distinct)}
        self.numbers = [numbers[id(call.kernel)] for call in self.program.calls]
        self.modules: dict[bool, Module] = {}
        self.functions: dict[bool, list[tuple[Any, Launch]]] = {}
        self.prepared: dict[int, Prepared] = {}

    def is_wide(self, n: int) -> bool:
        """Whether indices of 32 bits are too short for batches of n."""
        return any(s.type.count(n) > LARGEST_NARROW for s in self.program.slots)

    def load(self, wide: bool) -> Module:
        """The code with indices of 64 bits, or of 32, loaded."""
        if wide not in self.modules:
            module = Module.of(self.kernels, wide)
            begin = time.perf_counter()
            with Announcement(self.announcement) as line:
                line.stage = "machine code"
                functions = self.device.load(module)
            self.functions[wide] = [(functions[k], each) for k, each in module.launches.items()]
            spent = self.seconds.get("machine code", 0.0) + time.perf_counter() - begin
            self.seconds["machine code"] = spent
            self.modules[wide] = module
        return self.modules[wide]

    @property
    def cached(self) -> bool:
        """Whether all code that was loaded was on disk from an earlier run."""
        return all(module.cached for module in self.modules.values())

    def prepare(self, n: int) -> Prepared:
        """Everything that depends on the batch size but not on the data; made once for each of the
        last sizes.
        """
        found = self.prepared.get(n)
        if found is None:
            made = self._prepare(n)
            while len(self.prepared) >= SIZES_KEPT:
                del self.prepared[next(iter(self.prepared))]
            found = self.prepared[n] = made
        return found

    def _prepare(self, n: int) -> Prepared:
        program = self.program
        wide = self.is_wide(n)
        self.load(wide)
        memory = program.plan(n)
        places = {program.slots[s]: offset for s, offset in memory.offsets.items()}
        inputs = Side.of([(k, program.graph.inputs[k].tensor) for k in self.data], n)
        results = [(k, program.graph.outputs[k].tensor) for _, k in program.outputs]
        outputs = Side.of(results, n)
        count = 1 if self.stays else TURNS
        turns = tuple(Turn(self.device, inputs, outputs, self.stays) for _ in range(count))
        return Prepared(n, wide, places, memory.bytes, inputs, outputs, turns)

    def addresses(
        self, ready: Prepared, turn: Turn, kept: Mapping[int, Region], workspace: int
    ) -> tuple[int, ...]:
        """The address of every slot. kept: the inputs that are no data, by their place."""
        table = [0] * len(self.program.slots)
        for slot, offset in ready.places.items():
            table[slot] = workspace + offset
        for place, region in kept.items():
            table[place] = region.address
        for part in ready.inputs.parts:
            table[part.number] = turn.inputs.address + part.offset
        slots = {number: slot for slot, number in self.program.outputs}
        for part in ready.outputs.parts:
            table[slots[part.number]] = turn.outputs.address + part.offset
        return tuple(table)

    def launch(self, ready: Prepared, k: int, table: Sequence[int]) -> None:
        """Begins kernel number k of the step."""
        call = self.program.calls[k]
        function, launch = self.functions[ready.wide][self.numbers[k]]
        self.device.launch(
            function,
            launch,
            tuple(table[slot] for slot in call.slots),
            ready.n,
            ready.wide,
        )

    def record(self, ready: Prepared, turn: Turn, table: tuple[int, ...]) -> None:
        """Makes the recording of a turn one for these addresses."""
        if turn.recording is not None and turn.addresses == table:
            return

        def step() -> None:
            for k in range(len(self.program.calls)):
                self.launch(ready, k, table)
            self.device.copy_out(turn.returned, turn.outputs.address, self.device.steps)

        turn.recording = self.device.recorded(step)
        turn.addresses = table

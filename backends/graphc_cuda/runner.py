"""Running graphs on a device: arrays to it and from it, one recording replayed a step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.base.settings import BISECT
from graphc.ir.graph import Graph
from graphc.passes.base import Pipeline
from graphc.passes.constants import Constants, WithoutConstants
from graphc.passes.pipelines import device_pipelines, with_packed_parameters
from graphc.runtime.backend import Runner
from graphc.runtime.compilations import note_compilation
from graphc.runtime.kept import Kept
from graphc.runtime.profile import Profile
from graphc.runtime.program import inner_batches
from graphc_cuda.device import Device
from graphc_cuda.device_memory import Memory, Region
from graphc_cuda.explain import profile
from graphc_cuda.variant import TURNS, Prepared, Turn, Variant

Array = np.ndarray[Any, Any]
NAME = "any"  # of the one variant: a device runs all batches alike


class CUDARunner(Runner):
    """A graph on a device. opened: gives the device, another one if the first was lost."""

    ahead = TURNS - 1

    def __init__(self, graph: Graph, precision: str, opened: Callable[[], Device]) -> None:
        self.graph = graph
        self.precision = precision
        self.opened = opened
        self.keeps = False
        self.found: Variant | None = None
        self.constants: Variant | None = None
        self.constants_token: object = None  # of the call that they were computed for
        kinds = [i.attrs["kind"] for i in graph.inputs]
        self.fixed = [k for k, kind in enumerate(kinds) if kind != "data"]
        self.making = threading.Lock()
        self.turned_inputs = inner_batches(graph.inputs)
        self.turned_outputs = inner_batches(graph.outputs)

    # -- what is compiled -------------------------------------------------------------------------

    def _pipeline(self) -> Pipeline:
        found = device_pipelines(self.precision)
        return (with_packed_parameters(found) if self.keeps else found)[NAME]

    def variant(self, n: int) -> Variant:
        """What was compiled for the device, or is now; n: the batch that needs it."""
        device = self.opened()
        found = self.found
        if found is None or found.device is not device:
            with self.making, device.entered():
                found = self.found
                if found is None or found.device is not device:
                    found = self.found = self._compile(device, n)
        return found

    def _compile(self, device: Device, n: int) -> Variant:
        begin = time.perf_counter()
        found, self.constants = self._variants(device)
        self.constants_token = None
        found.prepare(n)
        note_compilation(
            self.graph,
            backend="cuda",
            variant=NAME,
            batch=n,
            seconds=time.perf_counter() - begin,
            cached=found.cached,
        )
        return found

    def _variants(self, device: Device) -> tuple[Variant, Variant | None]:
        """The variant, and the one that computes what depends on parameters alone, if anything
        does.
        """
        pipeline = self._pipeline()
        # Two runs of the passes must make halves of one graph, which held back steps could undo.
        if self.graph.donations or not self.fixed or self.turned_inputs or BISECT.text():
            return Variant(self.graph, pipeline, device, self.precision), None
        rest, constants = (
            Pipeline((*pipeline.passes, step)) for step in (WithoutConstants(), Constants())
        )
        variant = Variant(self.graph, rest, device, self.precision)
        if len(variant.program.graph.inputs) == len(self.graph.inputs):
            return variant, None
        return variant, Variant(self.graph, constants, device, self.precision, stays=True)

    def pack(self, on: bool) -> None:
        with self.making:
            self.keeps = on
            if self.found is not None and self.found.layouts:
                self.found = self.constants = None

    def layouts(self, n: int) -> Mapping[str, str]:
        return self.variant(n).layouts

    def bring(self, held: Kept, names: Sequence[str], n: int) -> None:
        device = self.variant(n).device
        layouts = self.layouts(n)
        if not self.keeps or self.turned_inputs:
            held.recall()
        held.bring(names, layouts)
        if self.keeps and not self.turned_inputs:
            held.lend(device.resident)

    # -- a step -----------------------------------------------------------------------------------

    def run(self, inputs: Sequence[Array], n: int, token: object = None) -> list[Array]:
        return self.start(inputs, n, token)()

    def start(
        self, inputs: Sequence[Array], n: int, token: object = None
    ) -> Callable[[], list[Array]]:
        variant = self.variant(n)
        device = variant.device
        with device.entered():
            constants = self._constants(inputs, token)
            ready = variant.prepare(n)
            turn = ready.turn()
            turn.settle()
            again = self._bind(variant, ready, turn, inputs, token, constants)
            self._feed(device, turn, inputs)
            given = {output: inputs[source] for output, source in self.graph.donations}
            results = turn.reader = Results(device, turn, given, self.turned_outputs)
            device.replay(turn.recording)
            device.mark(turn.over, device.steps)
            if not again and self._write_back(device, turn, inputs):
                turn.bound = None
        return results

    def _bind(
        self,
        variant: Variant,
        ready: Prepared,
        turn: Turn,
        inputs: Sequence[Array],
        token: object,
        constants: Mapping[int, Region],
    ) -> bool:
        """Has a turn recorded for what it reads now; whether it was so already."""
        workspace = variant.workspace.address(ready.bytes)
        kept = [id(inputs[place]) for place in variant.kept]
        bound = workspace, variant.device.resident.version, kept
        if turn.bound == bound:
            return True
        turn.kept = {**self._kept(variant, ready, inputs, token), **constants}
        variant.record(ready, turn, variant.addresses(ready, turn, turn.kept, workspace))
        turn.bound = None if ready.own else bound
        return False

    def _constants(self, inputs: Sequence[Array], token: object) -> dict[int, Region]:
        """What depends on parameters alone, computed if that may have changed, by the place of the
        further input of the rest that it is.
        """
        variant = self.constants
        if variant is None:
            return {}
        fixed = [inputs[place] for place in self.fixed]
        ready = variant.prepare(1)
        turn = ready.turns[0]
        if token is None or token != self.constants_token:
            ready.turn()
            self._bind(variant, ready, turn, fixed, token, {})
            variant.device.replay(turn.recording)
            self.constants_token = token
        first = len(self.graph.inputs)
        return {
            first + part.number: Region(turn.outputs, part.offset) for part in ready.outputs.parts
        }

    def _kept(
        self, variant: Variant, ready: Prepared, inputs: Sequence[Array], token: object
    ) -> dict[int, Region]:
        """The inputs that are no data, by place: where they live, or a copy."""
        device = variant.device
        found: dict[int, Region] = {}
        known = token is not None and token == ready.token
        for place in variant.kept:
            array = inputs[place]
            held = device.resident.lent(array)
            if held is not None:
                found[place] = Region(device.resident.memory(held, array))
                continue
            new = place not in ready.own
            if new:
                ready.own[place] = Memory(device, array.nbytes)
            if new or not known:
                turned = self._in_front(place, array)
                device.copy_in(ready.own[place].address, turned, device.steps)
            found[place] = Region(ready.own[place])
        ready.token = token
        return found

    def _feed(self, device: Device, turn: Turn, inputs: Sequence[Array]) -> None:
        """Copies the data to the device, beside the step that is still running."""
        for place, staged in turn.given.items():
            staged[...] = self._in_front(place, inputs[place])
        if turn.given:
            device.copy_in(turn.inputs.address, turn.staged, device.copies)
            device.mark(turn.fed, device.copies)
            device.hold(device.steps, turn.fed)

    def _in_front(self, place: int, array: Array) -> Array:
        """An input with its batch in front, where the device has it."""
        axis = self.turned_inputs.get(place)
        return array if axis is None else np.ascontiguousarray(np.moveaxis(array, axis, 0))

    def _write_back(self, device: Device, turn: Turn, inputs: Sequence[Array]) -> bool:
        """What overwrites inputs reaches those that do not live on the device; whether any is."""
        copied = []
        for _, source in self.graph.donations:
            held = device.resident.lent(inputs[source])
            if held is not None:
                held.newer = True
                continue
            turned = self._in_front(source, inputs[source])
            device.copy_out(turned, turn.addresses[source], device.steps)
            copied.append((source, turned))
        if copied:
            device.wait()
        for source, turned in copied:
            if source in self.turned_inputs:
                inputs[source][...] = np.moveaxis(turned, 0, self.turned_inputs[source])
        return bool(copied)

    # -- what it says of itself -------------------------------------------------------------------

    def explain(self) -> str:
        texts = [found.text() for found in self.profiles()]
        return "\n\n".join(texts) or "not compiled yet: run it once"

    def profiles(self) -> tuple[Profile, ...]:
        found = []
        if self.constants is not None:
            found.append(profile(f"{NAME}, from parameters alone,", self.constants))
        if self.found is not None:
            found.append(profile(NAME, self.found, self.constants))
        return tuple(each for each in found if each is not None)

    def profile(self, n: int) -> Profile | None:
        return None if self.found is None else profile(NAME, self.found, self.constants, n)

    def pipeline(self, n: int) -> Pipeline:
        return self._pipeline() if self.found is None else self.found.pipeline

    def report(self) -> dict[str, Any]:
        phases: dict[str, float] = {}
        planned = 0
        for variant in filter(None, (self.found, self.constants)):
            for phase, seconds in variant.seconds.items():
                phases[phase] = phases.get(phase, 0.0) + seconds
            largest = max((ready.bytes for ready in variant.prepared.values()), default=0)
            planned = max(planned, largest)  # they share one workspace
        return {"phases": phases, "planned_bytes": planned}


class Results:
    """The outputs of a step that may still be under way.

    given: outputs that are written over inputs. axes: of batches that are not in front.
    """

    def __init__(
        self,
        device: Device,
        turn: Turn,
        given: dict[int, Array],
        axes: dict[int, int],
    ) -> None:
        self.device, self.turn = device, turn
        self.given, self.axes = given, axes
        self.arrays: list[Array] | None = None

    def __call__(self) -> list[Array]:
        """The arrays, once the step is over. Raises GraphcError if the device failed in it."""
        with self.device.entered():
            if self.arrays is None:
                self.device.wait(self.turn.over)
                self.arrays = self._copied()
                self.turn.reader = None
        return self.arrays

    def _copied(self) -> list[Array]:
        """The outputs in arrays of their own; those that are written over inputs are these."""
        found = dict(self.given)
        for number, array in self.turn.results.items():
            axis = self.axes.get(number)
            turned = array if axis is None else np.moveaxis(array, 0, axis)
            found[number] = np.array(turned, order="C")
        return [found[k] for k in range(len(found))]

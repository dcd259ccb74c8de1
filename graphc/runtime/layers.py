"""Which kernels of a program compute one layer, and the layer's arithmetic by definition.

A layer's part is a contraction (a product of the network, or a gradient of one) with the transforms
into tiles and back that only serve it. Its arithmetic is that of the plain sum, so that algorithms
which do with less can be compared with those that do not. It knows no time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from graphc.ir.node import Node, form_of
from graphc.ir.types import Batch, Shape
from graphc.loops.definition import body_of
from graphc.loops.language import Amount
from graphc.ops.op import extent_product, family_of
from graphc.passes.constants import PREFIX
from graphc.passes.plan_memory import Step, Storage
from graphc.runtime.program import Program

NO_NAMES: Mapping[str, str] = MappingProxyType({})
WINDOW = (3, 3)  # of the convolutions that run in tiles


@dataclass(frozen=True)
class LayerPart:
    """A contraction and what serves it.

    layer: the name of its parameter without the last part; else where it was written. op: what is
    computed. calls: the numbers of its kernels in the program. flops: arithmetic of the plain sum.
    """

    layer: str
    op: str
    calls: tuple[int, ...]
    flops: Amount


def layer_parts(program: Program, names: Mapping[str, str] = NO_NAMES) -> tuple[LayerPart, ...]:
    """Every contraction of `program`, in the order in which they run.

    names: of the parameters that inputs were computed from, by the inputs' names, where that was
    done elsewhere. A transform that serves several belongs to the first.
    """
    finder = _Finder(program, names)
    taken: set[int] = set()
    found = []
    for number, step in enumerate(program.scheduled.steps):
        contraction = next((n for n in _nodes(step) if family_of(n) == "contraction"), None)
        if contraction is None:
            continue
        tiles = finder.tiles_around(number)
        flops = finder.direct_flops(tiles) if tiles else None
        op = contraction.op.name
        calls: tuple[int, ...] = (number,)
        if flops is not None:
            op = form_of(step.node.origin) or op
            calls = tuple(sorted({number, *tiles} - taken))
            taken |= tiles
        flops = flops or program.calls[number].kernel.flops
        found.append(LayerPart(finder.layer(number, calls), op, calls, flops))
    return tuple(found)


def parameters_behind(constants: Program) -> dict[str, str]:
    """For a program that computes what depends on parameters alone: the parameter behind each
    result that depends on one only, by the name it is an input of the rest under.
    """
    finder = _Finder(constants, {})
    names = {}
    for storage in (s for step in finder.steps for s in step.writes if s.kind == "output"):
        name = finder.parameter_behind(storage)
        if name is not None:
            names[f"{PREFIX}{storage.number}"] = name
    return names


class _Finder:
    """Kernels by what they read and write."""

    def __init__(self, program: Program, names: Mapping[str, str]) -> None:
        self.names = names
        self.inputs = program.graph.inputs
        self.steps = program.scheduled.steps
        self.writer: dict[Storage, int] = {}
        self.readers: dict[Storage, list[int]] = {}
        for number, step in enumerate(self.steps):
            self.writer |= {s: number for s in step.writes if s.kind != "input"}
            for storage in step.reads:
                self.readers.setdefault(storage, []).append(number)

    # -- tiles ---------------------------------------------------------------------------------

    def tiles_around(self, number: int) -> set[int]:
        """The transforms that write what a kernel reads and that read what it writes; none if it
        reads no transform's results: then it only makes the image that one begins with.
        """
        step = self.steps[number]
        before = {self.writer[s] for s in step.reads if s in self.writer}
        after = {k for s in step.writes for k in self.readers.get(s, ())}
        found = [{k for k in near if self._is_transform(k)} for near in (before, after)]
        return found[0] | found[1] if found[0] else set()

    def _is_transform(self, number: int) -> bool:
        return any(family_of(n) == "tile" for n in self._inside(number))

    def direct_flops(self, tiles: Iterable[int]) -> Amount | None:
        """Arithmetic of the convolution, or the gradient of one, between those transforms, products
        with padding included: done directly it would run over them. None for other transforms.
        """
        transforms = {n.op.name: (n, k) for k in tiles for n in self._inside(k)}
        if "winograd_input" not in transforms:
            return None
        batch, channels = transforms["winograd_input"][0].tensor.shape[:2]
        if "winograd_output_grad" in transforms:
            results = transforms["winograd_output_grad"][0].inputs[0].tensor.shape
        elif "winograd_output" in transforms:
            results = self._cropped(*transforms["winograd_output"])
        else:
            return None
        extents = (batch, channels, *results[1:], *WINDOW)
        work = 2 * extent_product(extents, 1)
        return Amount(0, work) if isinstance(batch, Batch) else Amount(work)

    def _cropped(self, node: Node, number: int) -> Shape:
        """What is read of whole tiles of results: the last ones may be larger than the image. The
        slices that read them leave that out, and may take every other result, for pooling.
        """
        whole = node.tensor.shape
        readers = {k for s in self.steps[number].writes for k in self.readers.get(s, ())}
        stops = [
            n.attrs["stop"]
            for reader in readers
            for n in self._inside(reader)
            if n.op.name == "slice" and n.inputs[0].tensor.shape == whole
        ]
        if not stops:
            return whole
        ends = zip(whole, *stops, strict=True)
        return tuple(dim if None in each else max(each) for dim, *each in ends)

    def _inside(self, number: int) -> tuple[Node, ...]:
        return _nodes(self.steps[number])

    # -- names ---------------------------------------------------------------------------------

    def layer(self, number: int, calls: Sequence[int]) -> str:
        """The layer that a contraction and its transforms belong to: that of the parameter they
        read, or of the one that their result changes.
        """
        name = self._read_parameter(number) or self._changed_parameter(calls)
        return name.rpartition(".")[0] or name if name else str(self.steps[number].node.location)

    def _read_parameter(self, number: int) -> str | None:
        """A parameter that is read, perhaps through kernels that read nothing else."""
        names = map(self.parameter_behind, self.steps[number].reads)
        return next((name for name in names if name is not None), None)

    def parameter_behind(self, storage: Storage) -> str | None:
        """The parameter that a value was made of, if it was made of nothing else."""
        while storage in self.writer and len(self.steps[self.writer[storage]].reads) == 1:
            (storage,) = self.steps[self.writer[storage]].reads
        return self._parameter(storage)

    def _changed_parameter(self, calls: Sequence[int]) -> str | None:
        """The parameter that is overwritten soonest behind kernels, of as many elements as one of
        their results.
        """
        sizes = {s.type.count() for k in calls for s in self.steps[k].writes}
        level, seen = list(calls), set(calls)
        while level:
            written = [s for k in level for s in self.steps[k].writes]
            for storage in written:
                name = self._parameter(storage)
                if name is not None and storage.type.count() in sizes:
                    return name
            behind = dict.fromkeys(k for s in written for k in self.readers.get(s, ()))
            level = [k for k in behind if k not in seen]
            seen.update(level)
        return None

    def _parameter(self, storage: Storage) -> str | None:
        """The name of the matrix or the windows that an input is, if it is one."""
        if storage.kind != "input" or storage.type.rank < 2:
            return None
        attrs = self.inputs[storage.number].attrs
        own = str(attrs["name"]) if attrs["kind"] == "parameter" else None
        return self.names.get(attrs["name"], own)


def _nodes(step: Step) -> tuple[Node, ...]:
    return tuple(body_of(step.node).nodes)

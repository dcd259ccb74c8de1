"""Executables: a compiled graph that checks what it is fed.

Sessions keep parameters bound between calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers
from graphc.base.display import Displayed
from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.types import DType, TensorType
from graphc.ops.interpret import check_shape
from graphc.runtime.backend import Runner
from graphc.runtime.kept import Kept
from graphc.runtime.profile import Profile

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Feed:
    """One input as it is checked at each call: its place among the graph's inputs and its type."""

    place: int
    name: str
    type: TensorType
    dtype: np.dtype[Any]
    extents: tuple[int | None, ...]
    batch_axis: int | None

    def array(self, value: Any) -> Array:
        """`value` as an array of the type; what already is one comes back at once."""
        if type(value) is np.ndarray and value.dtype == self.dtype and value.flags.c_contiguous:
            shape: tuple[int | None, ...] = value.shape
            if self.batch_axis == 0 and shape:
                shape = (None, *shape[1:])
            if shape == self.extents:
                return value
        return as_array(self.name, value, self.type)


def feeds_of(graph: Graph) -> tuple[Feed, ...]:
    """Every input of `graph` as a feed."""
    return tuple(
        Feed(
            place, node.attrs["name"], node.tensor, node.tensor.dtype.numpy,
            tuple(d if isinstance(d, int) else None for d in node.tensor.shape),
            node.tensor.batch_axis,
        )
        for place, node in enumerate(graph.inputs)
    )  # fmt: skip


def fill(feeds: Sequence[Feed], values: Sequence[Any], arrays: list[Any]) -> int:
    """Checks `values` into their places in `arrays`; returns the batch size, 1 if none has a batch.

    Raises GraphcError for a wrong rank, extent or dtype, an empty batch, or batches that differ.
    """
    n, source = None, ""
    for feed, value in zip(feeds, values, strict=True):
        array = feed.array(value)
        arrays[feed.place] = array
        if feed.batch_axis is None:
            continue
        found = array.shape[feed.batch_axis]
        if n is not None and found != n:
            raise GraphcError(
                f"input {feed.name!r} has batch {found} but {source!r} has {n}",
                remedy="give arrays with the same number of samples",
            )
        n, source = found, feed.name
    if n == 0:
        raise GraphcError(f"input {source!r} has an empty batch", remedy="give at least one sample")
    return 1 if n is None else n


class Executable(Displayed):
    """A compiled graph.

    ``run(x, **params)``: data inputs by position in the graph's order, any input by name. Returns
    the output, or a tuple of outputs. Donated inputs are copied first, so what the caller passes in
    is never written to.
    """

    def __init__(self, graph: Graph, runner: Runner) -> None:
        self.graph = graph
        self.runner = runner
        self.feeds = feeds_of(graph)

    def __call__(self, *data: Any, **named: Any) -> Any:
        values = _in_order(self.graph, data, named)
        arrays: list[Any] = [None] * len(self.feeds)
        n = fill(self.feeds, values, arrays)
        layouts = self.runner.layouts(n)
        written = {source for _, source in self.graph.donations}
        for place in written | {f.place for f in self.feeds if f.name in layouts}:
            arrays[place] = arrays[place].copy()
        held = Kept({f.name: arrays[f.place] for f in self.feeds if f.name in layouts})
        held.bring(layouts, layouts)
        outputs = self.runner.run(arrays, n)
        held.row_major()
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def bind(
        self, held: Kept | Mapping[str, Array], version: Callable[[], int | None] | None = None
    ) -> Session:
        """A session in which the named inputs are these arrays, overwritten where donated.

        held: arrays, which are row-major whenever nothing runs, or `Kept` ones.
        version: a number that changes whenever what they hold may have changed, or None if that is
        not known; what depends on them alone is then computed only when it must be.

        Raises GraphcError if an array is not writable, contiguous and of the input's type.
        """
        return Session(self.graph, self.runner, held, version)

    def pack(self, on: bool = True) -> None:
        """Whether sessions may leave arrays that are `Kept` in the layouts that the next run of the
        same kind wants; what is called or bound otherwise stays row-major.
        """
        self.runner.pack(on)

    def explain(self) -> str:
        """Per kernel: the ops fused, the schedule, FLOPs, bytes, time, share of the roofline and
        spills; per layer: its FLOPs as a plain sum, whatever the algorithm.
        """
        return self.runner.explain()

    def profiles(self) -> tuple[Profile, ...]:
        """What `explain` says, as data: one for each variant that has run, with the batch size
        that came last. The numpy backend times nothing.
        """
        return self.runner.profiles()

    def profile(self, batch: int = 1) -> Profile:
        """What a run with batches of that size does, kernel by kernel; it must have run with it.

        Raises GraphcError if it has not, and for a backend that does not time kernels.
        """
        found = self.runner.profile(batch)
        if found is None:
            raise GraphcError(
                f"{self.graph.name} has no kernels to time for batch {batch}",
                remedy='run it once with that batch size, on the backend "llvm" or "cuda"',
            )
        return found


class Session:
    """An executable with parameters and states bound: only data is passed at each call."""

    def __init__(
        self,
        graph: Graph,
        runner: Runner,
        held: Kept | Mapping[str, Array],
        version: Callable[[], int | None] | None = None,
    ) -> None:
        self.graph = graph
        self.runner = runner
        self.version = version
        self.identity = object()  # not its address, which a later session may have again
        feeds = feeds_of(graph)
        self.packs = isinstance(held, Kept)
        self.held = held if isinstance(held, Kept) else Kept(held)
        bound = self.held.arrays
        self.data = tuple(f for f in feeds if f.name not in bound)
        self.names = [f.name for f in feeds if f.name in bound]
        self.arrays: list[Any] = [bound.get(f.name) for f in feeds]
        for feed in feeds:
            if feed.name in bound:
                _check_held(feed.name, bound[feed.name], feed.type)
        donated = {output for output, _ in graph.donations}
        self.kept = tuple(k for k in range(len(graph.outputs)) if k not in donated)

    def __call__(self, *data: Any) -> tuple[Array, ...]:
        """Runs on the data inputs, in the graph's order.

        Returns the outputs that are not donated.
        """
        return self.start(*data)()

    def start(self, *data: Any) -> Callable[[], tuple[Array, ...]]:
        """Begins what calling the session does; what it returns waits for the outputs."""
        if len(data) != len(self.data):
            listed = ", ".join(f.name for f in self.data)
            raise GraphcError(
                f"{len(data)} arrays were given for {len(self.data)} data inputs",
                remedy=f"give one for each of: {listed or 'none'}",
            )
        arrays = self.arrays.copy()
        n = fill(self.data, data, arrays)
        version = None if self.version is None else self.version()
        token = None if version is None else (self.identity, version)
        self.runner.layouts(n)  # compiles what is not yet compiled: nobody should wait for that
        with self.held.lock:
            self.runner.bring(self.held, self.names, n)
            try:
                outputs = self.runner.start(arrays, n, token)
            finally:
                if not self.packs:
                    self.held.row_major()
        return lambda: tuple([found[k] for found in (outputs(),) for k in self.kept])


def _in_order(graph: Graph, data: tuple[Any, ...], named: Mapping[str, Any]) -> list[Any]:
    """One value for each input of the graph, from what was given by position and by name."""
    given = dict(named)
    known = {i.attrs["name"]: i for i in graph.inputs}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise GraphcError(
            f"graph {graph.name} has no input {unknown[0]!r}",
            remedy="its inputs: " + ", ".join(sorted(known)),
        )
    free = [n for n, i in known.items() if i.attrs["kind"] == "data" and n not in given]
    if len(data) > len(free):
        raise GraphcError(
            f"{len(data)} arrays were given by position, the graph takes {len(free)}",
            remedy="data inputs: " + (", ".join(free) or "none"),
        )
    given.update(zip(free, data, strict=False))
    missing = next((n for n in known if n not in given), None)
    if missing is not None:
        raise GraphcError(
            f"input {missing!r} of type {known[missing].tensor} was not given",
            remedy=f"pass {missing}=array",
        )
    return [given[n] for n in known]


def as_array(name: str, value: Any, type: TensorType) -> Array:
    """`value` as a C-contiguous array of exactly the type's dtype.

    Safe conversions are made (f64 to f32, integers to one that holds them); anything else raises
    GraphcError.
    """
    wanted = type.dtype.numpy
    if not (isinstance(value, np.ndarray) and value.dtype == wanted and value.flags.c_contiguous):
        given = as_numbers(f"input {name!r}", value)
        convertible = (
            given.dtype == wanted
            or (given.dtype.kind == "f" and type.dtype.is_float)
            or (
                given.dtype.kind in "iu"
                and type.dtype is not DType.bool
                and (np.ndim(value) == 0 if type.dtype.is_float else _holds(wanted, given))
            )
        )
        if not convertible:
            raise GraphcError(
                f"input {name!r} is {given.dtype}, but {type} is expected",
                remedy=f"convert it on purpose: array.astype({wanted.name!r})",
            )
        value = np.ascontiguousarray(given, dtype=wanted).reshape(given.shape)
    check_shape(name, value.shape, type)
    return value  # type: ignore[no-any-return]


def _holds(dtype: np.dtype[Any], given: Array) -> bool:
    """Whether an integer dtype has all the integers given."""
    limits = np.iinfo(dtype)
    return np.can_cast(given.dtype, dtype) or bool(
        limits.min <= given.min(initial=0) and given.max(initial=0) <= limits.max
    )


def _check_held(name: str, array: Any, type: TensorType) -> None:
    if isinstance(array, np.ndarray):
        fine = {
            f"of dtype {array.dtype}": array.dtype == type.dtype.numpy,
            "not C-contiguous": array.flags.c_contiguous,
            "read-only": array.flags.writeable,
        }
        faults = [fault for fault, holds in fine.items() if not holds]
    else:
        faults = [f"a {array.__class__.__name__}"]
    if faults:
        raise GraphcError(
            f"{name!r} is {' and '.join(faults)}, so it cannot be bound as {type}",
            remedy=f"pass np.array(value, {type.dtype.numpy.name!r}, order='C')",
        )
    check_shape(name, array.shape, type)

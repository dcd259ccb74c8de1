"""Connection tables: which input maps each output map of a convolution reads.

A connection that is missing holds no weight. Weights are packed, one kernel a connection, in order
of output map, then input map; for the convolution they are spread over the weight of a full one,
with zeros between. LeCun et al., "Gradient-based learning applied to document recognition", 1998.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ops import elementwise, views
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import Array, Initializer

Connections = Sequence[str] | Sequence[Sequence[int]] | str
PRESENT, MISSING = "X", "."
FORM = (
    "give rows of text, a row an input map, a column an output map, X for a connection and . for "
    "none; or for each output map the numbers of the input maps it reads"
)

LENET5_CONNECTIONS = (
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
)
"""C3 of LeNet-5: 60 of the 96 connections of 6 maps with 16."""


@dataclass(frozen=True)
class ConnectionTable:
    """For each output map the input maps it reads, ascending; channels is None if any number will
    do.
    """

    maps: tuple[tuple[int, ...], ...]
    channels: int | None

    @property
    def count(self) -> int:
        """How many connections there are."""
        return sum(map(len, self.maps))

    @property
    def least_channels(self) -> int:
        """The fewest input maps that the table can read."""
        return max(map(max, self.maps)) + 1

    def __str__(self) -> str:
        return str(self.maps)

    def runs(self, channels: int) -> Iterator[tuple[int, int, int]]:
        """(first, place, length): packed kernels that stay side by side in a full weight.

        place: of the first, in the order of output map, then input map.
        """
        places = [k * channels + c for k, inputs in enumerate(self.maps) for c in inputs]
        first = 0
        for position in range(1, len(places) + 1):
            if position == len(places) or places[position] != places[position - 1] + 1:
                yield first, places[first], position - first
                first = position

    def spread(self, packed: Tensor, channels: int) -> Tensor:
        """The weight [maps,channels,height,width] of a full convolution, 0 where none is held.

        packed: [connections,height,width].
        """
        total, window = len(self.maps) * channels, packed.shape[1:]
        result = None
        for first, place, length in self.runs(channels):
            run = views.slice(packed.node, start=(first, 0, 0), stop=(first + length, None, None))
            high = total - place - length
            placed = views.pad(run, low=(place, 0, 0), high=(high, 0, 0))
            result = placed if result is None else elementwise.add(result, placed)
        assert result is not None
        return Tensor(views.reshape(result, shape=(len(self.maps), channels, *window)))


@dataclass(frozen=True)
class KernelsByMap:
    """Draws packed weights: those of each output map as of a convolution that reads as many maps.

    Its other fan is the mean number of output maps that read an input map.
    """

    table: ConnectionTable
    channels: int
    each: Initializer

    def __call__(self, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        readers = max(round(self.table.count / self.channels), 1)
        drawn = [
            self.each((readers, len(inputs), *shape[1:]), generator)[0]
            for inputs in self.table.maps
        ]
        return np.concatenate(drawn)


@dataclass(frozen=True)
class BiasByMap:
    """Draws each map's bias uniformly in +-1/sqrt(fan_in), by the connections that it has."""

    table: ConnectionTable
    field: int

    def __call__(self, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        limits = [1 / math.sqrt(len(inputs) * self.field) for inputs in self.table.maps]
        unit = generator.random(shape, np.float32) * 2 - 1
        return unit * np.asarray(limits, np.float32)


def connection_table(given: Connections, features: int) -> ConnectionTable:
    """The table that a user wrote. Raises GraphcError if it is none of `features` output maps."""
    rows = given.split() if isinstance(given, str) else given
    if not isinstance(rows, Sequence) or not rows:
        raise _wrong(f"{given!r} is no table", FORM)
    if all(isinstance(row, str) for row in rows):
        maps, channels = _from_text([str(row) for row in rows]), len(rows)
    else:
        maps, channels = tuple(_from_numbers(k, row) for k, row in enumerate(rows)), None
    empty = [k for k, inputs in enumerate(maps) if not inputs]
    if empty:
        raise _wrong(f"output map {empty[0]} reads no input map", "connect it to at least one")
    if len(maps) != features:
        raise _wrong(
            f"the table is of {len(maps)} output maps, the layer has {features} features",
            "give one entry for each feature",
        )
    return ConnectionTable(maps, channels)


def _from_text(rows: list[str]) -> tuple[tuple[int, ...], ...]:
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]) or set(row) - {PRESENT, MISSING}:
            raise _wrong(f"row {number}, {row!r}, is not {len(rows[0])} letters X or .", FORM)
    return tuple(
        tuple(c for c, row in enumerate(rows) if row[k] == PRESENT) for k in range(len(rows[0]))
    )


def _from_numbers(position: int, inputs: object) -> tuple[int, ...]:
    if not isinstance(inputs, Sequence) or isinstance(inputs, str):
        raise _wrong(f"what output map {position} reads is {inputs!r}", FORM)
    if any(not isinstance(i, int) or isinstance(i, bool) or i < 0 for i in inputs):
        raise _wrong(f"output map {position} reads {tuple(inputs)}, not numbers of maps", FORM)
    if len(set(inputs)) < len(inputs):
        raise _wrong(f"output map {position} reads {tuple(inputs)}, one twice", "name each once")
    return tuple(sorted(inputs))


def _wrong(what: str, remedy: str) -> GraphcError:
    return GraphcError(f"Conv: connections: {what}", remedy=remedy)

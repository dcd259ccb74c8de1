"""What the tensor copy engine of a Hopper processor is told of memory, so that one thread can bring
a whole box of it into shared memory.

`Tiled` cuts boxes out of an array. `Image` walks over the results of a convolution and brings, for
each, the pixel that one tap of the window reads there. Outside of the array both bring zeros. Both
say for every element of a box where it comes from, which is what the emulation runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphc.ir.index import Index
from graphc.loops.language import Buffer, Read, Stride
from graphc.ops.op import Bound

LINE = 128  # bytes of a line in shared memory, within which sixteen bytes trade places


@dataclass(frozen=True)
class Dimension:
    """An axis of an array in memory. extent: how long it is, a number or times the batch. step:
    elements from one index to the next.
    """

    extent: int
    step: int
    samples: bool = False


@dataclass(frozen=True)
class Tiled:
    """Boxes of an array. dimensions: outermost first, the last with steps of 1. box: its extents.

    Coordinates: the index of the first element along each dimension.
    """

    dimensions: tuple[Dimension, ...]
    box: tuple[int, ...]

    def element(
        self, buffer: Buffer, coordinates: Sequence[Index], at: Sequence[Index]
    ) -> Read:
        """The element of a box at `at`, one index for each extent of the box that is not 1."""
        inside = iter(at)
        place, bounds = Index(), []
        for start, dimension, extent in zip(coordinates, self.dimensions, self.box, strict=True):
            where = start + next(inside) if extent > 1 else start
            place += where * dimension.step
            bounds.append(_inside(where, dimension))
        return Read(flat(buffer), (place,), tuple(bounds))


@dataclass(frozen=True)
class Image:
    """What one tap of a convolution reads of an image [N, height, width, channels]: for `pixels`
    results, one after the other in the order [N, rows, columns], `channels_read` channels each.

    Result (p, q) reads pixel (p * stride - padding + tap * dilation) of either axis. Coordinates:
    number of the first result, tap (down, across), first channel.
    """

    height: int
    width: int
    channels: int
    rows: int
    columns: int
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    pixels: int
    channels_read: int

    @property
    def box(self) -> tuple[int, ...]:
        """Its extents."""
        return (self.pixels, self.channels_read)

    def element(
        self, buffer: Buffer, coordinates: Sequence[Index], at: Sequence[Index]
    ) -> Read:
        """The element of a box at `at`: (result, channel)."""
        first, down, across, channel = coordinates
        result = first + at[0]
        sample, inside = result // (self.rows * self.columns), result % (self.rows * self.columns)
        taps = (down, across)
        numbers = (inside // self.columns, inside % self.columns)
        y, x = (
            number * stride - padding + tap * dilation
            for number, stride, padding, tap, dilation in zip(
                numbers, self.stride, self.padding, taps, self.dilation, strict=True
            )
        )
        c = channel + at[1]
        place = ((sample * self.height + y) * self.width + x) * self.channels + c
        bounds = (
            Bound(sample, 0, None),
            Bound(y, 0, self.height),
            Bound(x, 0, self.width),
            Bound(c, 0, self.channels),
        )
        return Read(flat(buffer), (place,), bounds)


TensorMap = Tiled | Image


def flat(buffer: Buffer) -> Buffer:
    """The same memory as one row."""
    return replace(buffer, shape=(1,), strides=(Stride(1),))


def _inside(where: Index, dimension: Dimension) -> Bound:
    """That an index is not beyond the end of its axis."""
    if not dimension.samples:
        return Bound(where, 0, dimension.extent)
    return Bound(where // dimension.extent, 0, None)

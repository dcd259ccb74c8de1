"""What the tensor copy engine of a Hopper processor is told of memory, so that one thread can bring
a whole box of it into shared memory.

`Tiled` cuts boxes out of an array. `Image` walks over the results of a convolution and brings, for
each, the pixel that one tap of the window reads there. Outside of the array both bring zeros. A box
arrives as lines, one behind the other, of neighbours in memory; both say for every element of a
line where it comes from, which is what the emulation runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphc.ir.index import Index
from graphc.loops.language import Read
from graphc.loops.memory import Buffer, Stride
from graphc.ops.op import Bound

LINE = 128  # bytes of a line in shared memory; sixteen of them trade places within eight lines


@dataclass(frozen=True)
class Dimension:
    """An axis of an array in memory. extent: how long it is, a number or times the batch. step:
    elements from one index to the next.
    """

    extent: int
    step: int
    samples: bool = False

    def length(self, n: int) -> int:
        """How long it is for batch size n."""
        return self.extent * n if self.samples else self.extent


@dataclass(frozen=True)
class Tiled:
    """Boxes of an array. dimensions: outermost first, the last with steps of 1. box: how many
    elements it has along each; strides: from one of them to the next, in indices.

    Coordinates: the index of the first element along each dimension.
    """

    dimensions: tuple[Dimension, ...]
    box: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def lines(self) -> int:
        """How many lines a box has."""
        return math.prod(self.box[:-1])

    @property
    def width(self) -> int:
        """Elements of a line."""
        return self.box[-1]

    def element(self, buffer: Buffer, coordinates: Sequence[Index], line: Index, at: Index) -> Read:
        """Element `at` of a line of the box."""
        inside = [at]
        for extent in reversed(self.box[1:-1]):
            inside.insert(0, line % extent)
            line = line // extent
        inside.insert(0, line)
        place, bounds = Index(), []
        for start, k, stride, dimension in zip(
            coordinates, inside, self.strides, self.dimensions, strict=True
        ):
            where = start + k * stride
            place += where * dimension.step
            bounds.append(_inside(where, dimension))
        return Read(flat(buffer), (place,), tuple(bounds))


@dataclass(frozen=True)
class Image:
    """What one tap of a convolution reads of images [N, .., channels] with one to three axes of
    pixels: for `pixels` results, one after the other in the order of the images and then of
    `results`, `channels` each.

    Along each axis of pixels result p reads pixel p * stride - padding + tap. Coordinates: number
    of the first result, tap along each axis of pixels, first channel.
    """

    dimensions: tuple[Dimension, ...]
    results: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[int, ...]
    pixels: int
    channels: int

    @property
    def box(self) -> tuple[int, ...]:
        """Its extents."""
        return (self.pixels, self.channels)

    @property
    def lines(self) -> int:
        """How many lines a box has."""
        return self.pixels

    @property
    def width(self) -> int:
        """Elements of a line."""
        return self.channels

    @property
    def corners(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Along each axis of pixels, where the first tap reads for the first and the last result:
        seen from the first and from the last pixel.
        """
        lower = tuple(-padding for padding in self.padding)
        upper = tuple(
            low + (extent - 1) * stride - (dimension.extent - 1)
            for low, extent, stride, dimension in zip(
                lower, self.results, self.strides, self.dimensions[1:-1], strict=True
            )
        )
        return lower, upper

    def pixel(self, result: Index) -> tuple[Index, ...]:
        """Image, and pixel along each axis, that the first tap reads for a result."""
        found: list[Index] = []
        for extent, stride, padding in reversed(
            list(zip(self.results, self.strides, self.padding, strict=True))
        ):
            found.insert(0, result % extent * stride - padding)
            result = result // extent
        return (result, *found)

    def element(self, buffer: Buffer, coordinates: Sequence[Index], line: Index, at: Index) -> Read:
        """Channel `at` of what result number `line` of the box reads."""
        first, *taps, channel = coordinates
        image, *pixel = self.pixel(first + line)
        pixel = [base + tap for base, tap in zip(pixel, taps, strict=True)]
        places = (image, *pixel, channel + at)
        place, bounds = Index(), []
        for where, dimension in zip(places, self.dimensions, strict=True):
            place += where * dimension.step
            bounds.append(_inside(where, dimension))
        return Read(flat(buffer), (place,), tuple(bounds))


TensorMap = Tiled | Image


def flat(buffer: Buffer) -> Buffer:
    """The same memory as one row."""
    return replace(buffer, shape=(1,), strides=(Stride(1),))


def _inside(where: Index, dimension: Dimension) -> Bound:
    """That an index is not beyond the end of its axis."""
    if not dimension.samples:
        return Bound(where, 0, dimension.extent)
    return Bound(where // dimension.extent, 0, None)

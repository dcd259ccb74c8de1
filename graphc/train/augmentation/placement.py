"""Augmentations that move pixels without changing them: shift, crop, mirror, cutout.

`fill` is the value of pixels that come from outside of the image; None takes the nearest pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from graphc.base.arguments import check_number
from graphc.train.augmentation.transform import Array, ImageTransform, check_fill, pair, room_in

Extent = int | tuple[int, int]


@dataclass(frozen=True)
class Shift(ImageTransform):
    """Moves each image by whole pixels, up to `pixels` in each direction.

    pixels: a number, or (vertical, horizontal). Raises GraphcError for a negative one.
    """

    pixels: Extent
    fill: float | None = None

    def __post_init__(self) -> None:
        pair("Shift: pixels", self.pixels, 0)
        check_fill("Shift", self.fill)

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        room = pair("Shift: pixels", self.pixels, 0)
        corners = [generator.integers(0, 2 * p + 1, len(x)) for p in room]
        return _windows(_bordered(x, room, self.fill), x.shape[2:], corners)


@dataclass(frozen=True)
class Crop(ImageTransform):
    """Cuts a part of `size` out of each image, at a random place: 224 of 256.

    size: a number, or (height, width). padding: of the image before. Raises GraphcError for sizes
    below 1 and for images that are smaller.
    """

    size: Extent
    padding: Extent = 0
    fill: float | None = None

    def __post_init__(self) -> None:
        pair("Crop: size", self.size, 1)
        pair("Crop: padding", self.padding, 0)
        check_fill("Crop", self.fill)

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        size = pair("Crop: size", self.size, 1)
        padded = _bordered(x, pair("Crop: padding", self.padding, 0), self.fill)
        room = room_in("Crop", padded, size)
        return _windows(padded, size, [generator.integers(0, r + 1, len(x)) for r in room])


@dataclass(frozen=True)
class CentreCrop(ImageTransform):
    """Cuts the middle of `size` out of each image: what a network trained on crops is tested on.

    It draws nothing. Raises GraphcError for sizes below 1 and for images that are smaller.
    """

    size: Extent

    def __post_init__(self) -> None:
        pair("CentreCrop: size", self.size, 1)

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        height, width = pair("CentreCrop: size", self.size, 1)
        top, left = (r // 2 for r in room_in("CentreCrop", x, (height, width)))
        return x[:, :, top : top + height, left : left + width].copy()


@dataclass(frozen=True)
class Mirror(ImageTransform):
    """Exchanges left and right of an image with that probability."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_number("Mirror: probability", self.probability, 0.0, 1.0)

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        chosen = generator.random(len(x)) < self.probability
        mirrored = x.copy()
        mirrored[chosen] = x[chosen, :, :, ::-1]
        return mirrored


@dataclass(frozen=True)
class Cutout(ImageTransform):
    """Covers a square of each image around a random pixel (DeVries and Taylor, 2017).

    size: its side, less where it reaches over the border. Raises GraphcError for a size below 1.
    """

    size: int
    fill: float = 0.0

    def __post_init__(self) -> None:
        pair("Cutout: size", self.size, 1)
        check_number("Cutout: fill", self.fill, -np.inf)

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        covered = [self._covered(extent, len(x), generator) for extent in x.shape[2:]]
        square = covered[0][:, None, :, None] & covered[1][:, None, None, :]
        return np.where(square, x.dtype.type(self.fill), x)

    def _covered(self, extent: int, count: int, generator: np.random.Generator) -> Array:
        begin = generator.integers(0, extent, count)[:, None] - self.size // 2
        position = np.arange(extent)
        return (position >= begin) & (position < begin + self.size)


def _bordered(x: Array, room: tuple[int, int], fill: float | None) -> Array:
    """`x` with a border of `room` pixels (vertical, horizontal)."""
    border = ((0, 0), (0, 0), (room[0], room[0]), (room[1], room[1]))
    if fill is None:
        return np.pad(x, border, mode="edge")
    return np.pad(x, border, constant_values=x.dtype.type(fill))


def _windows(x: Array, size: tuple[int, ...], corners: list[Array]) -> Array:
    """From each image the part of `size` whose upper left corner is (corners[0], corners[1])."""
    parts = sliding_window_view(x, size, axis=(2, 3))
    chosen: Array = parts[np.arange(len(x)), :, corners[0], corners[1]]
    return chosen

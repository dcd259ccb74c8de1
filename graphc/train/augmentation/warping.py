"""Augmentations that resample images: rotation, scale, elastic distortion, width normalisation.

Each says where every pixel of its result lies in the image; the value there is found by bilinear
interpolation. `fill` is the value outside of the image; None takes the nearest pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphc.base.arguments import check_number
from graphc.train.augmentation.transform import (
    Array,
    ImageTransform,
    check_fill,
    interval,
    pair,
    room_in,
)

SMALLEST_FACTOR = 1e-3


@dataclass(frozen=True)
class Rotate(ImageTransform):
    """Turns each image about its centre, counter-clockwise by an angle drawn uniformly.

    degrees: the angle is within +-degrees, or between the two given.
    """

    degrees: float | tuple[float, float]
    fill: float | None = None

    def __post_init__(self) -> None:
        interval("Rotate: degrees", self.degrees, 0.0, -np.inf)
        check_fill("Rotate", self.fill)

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        low, high = interval("Rotate: degrees", self.degrees, 0.0, -np.inf)
        angle = np.deg2rad(generator.uniform(low, high, len(x)))
        sine, cosine = np.sin(angle), np.cos(angle)
        return _linear(x, np.array([[cosine, sine], [-sine, cosine]]), self.fill)


@dataclass(frozen=True)
class Scale(ImageTransform):
    """Magnifies each image about its centre by a factor drawn uniformly.

    factor: within 1 +- factor, or between the two given. separate: height and width each get a
    factor of their own. Raises GraphcError for factors that are not above 0.
    """

    factor: float | tuple[float, float]
    separate: bool = False
    fill: float | None = None

    def __post_init__(self) -> None:
        interval("Scale: factor", self.factor, 1.0, SMALLEST_FACTOR)
        check_fill("Scale", self.fill)

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        low, high = interval("Scale: factor", self.factor, 1.0, SMALLEST_FACTOR)
        drawn = generator.uniform(low, high, (2, len(x)))
        vertical, horizontal = 1 / (drawn if self.separate else drawn[[0, 0]])
        zero = np.zeros(len(x))
        return _linear(x, np.array([[vertical, zero], [zero, horizontal]]), self.fill)


@dataclass(frozen=True)
class Elastic(ImageTransform):
    """Elastic distortion (Simard, Steinkraus and Platt, "Best practices for convolutional neural
    networks", 2003): every pixel is displaced by a smooth random field.

    The field is uniform noise in +-1 for each axis, smoothed by a Gaussian of deviation `sigma` (in
    pixels; the noise is 0 outside of the image) and multiplied by `alpha`. Displacements then have
    the deviation alpha / (2 sqrt(3 pi) sigma): 1.4 pixels with the defaults, which suit 28x28
    digits.
    """

    sigma: float = 4.0
    alpha: float = 34.0
    fill: float | None = None

    def __post_init__(self) -> None:
        check_number("Elastic: sigma", self.sigma, 1e-3)
        check_number("Elastic: alpha", self.alpha, 0.0)
        check_fill("Elastic", self.fill)

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        height, width = x.shape[2:]
        noise = 2 * generator.random((2, len(x), height, width), dtype=x.dtype) - 1
        smooth = _gaussian(height, self.sigma, x) @ noise @ _gaussian(width, self.sigma, x)
        rows, columns = _grid(x) + x.dtype.type(self.alpha) * smooth
        return bilinear(x, rows, columns, self.fill)


@dataclass(frozen=True)
class NormalizeWidth(ImageTransform):
    """Scales what is drawn in each image to `height` x `width` pixels, in the middle of the image.

    What is drawn is the smallest box around the pixels that are brighter than `threshold` of the
    way from the darkest to the brightest of the image; the rest becomes as dark as the darkest. An
    image of one colour stays. The columns of MCDNN see digits of height 20 and widths 20, 18, ...
    10 (Ciresan, Meier and Schmidhuber, "Multi-column deep neural networks", 2012). It draws
    nothing.
    """

    width: int
    height: int = 20
    threshold: float = 0.1

    def __post_init__(self) -> None:
        pair("NormalizeWidth: (height, width)", (self.height, self.width), 1)
        check_number("NormalizeWidth: threshold", self.threshold, 0.0, 1.0)

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        room_in("NormalizeWidth", x, (self.height, self.width))
        dark, bright = x.min(axis=(1, 2, 3)), x.max(axis=(1, 2, 3))
        level = dark + self.threshold * (bright - dark)
        drawn = (x > level[:, None, None, None]).any(axis=1)
        empty = ~drawn.any(axis=(1, 2))
        rows, inside_rows = _stretched(drawn.any(axis=2), self.height, x)
        columns, inside_columns = _stretched(drawn.any(axis=1), self.width, x)
        shape = (len(x), *x.shape[2:])
        scaled = bilinear(
            x,
            np.broadcast_to(rows[:, :, None], shape),
            np.broadcast_to(columns[:, None, :], shape),
            None,
        )
        inside = inside_rows[:, None] & inside_columns[None, :]
        result = np.where(inside, scaled, dark[:, None, None, None])
        result[empty] = x[empty]
        return result


def _stretched(drawn: Array, size: int, x: Array) -> tuple[Array, Array]:
    """Along one axis: where the pixels of the result lie in each image, and which are in the box.

    drawn: bool [n, extent]. The box, from the first to the last that is drawn, becomes `size` long.
    """
    extent = drawn.shape[1]
    first, last = drawn.argmax(axis=1), extent - 1 - drawn[:, ::-1].argmax(axis=1)
    begin = (extent - size) // 2
    within = np.arange(extent) - begin
    share = (within + 0.5) / size
    positions = first[:, None] - 0.5 + share * (last - first + 1)[:, None]
    clipped = np.clip(positions, first[:, None], last[:, None])
    return clipped.astype(x.dtype), (within >= 0) & (within < size)


def bilinear(x: Array, rows: Array, columns: Array, fill: float | None) -> Array:
    """Images [n,c,h',w']: the values of x [n,c,h,w] at rows and columns, each [n,h',w'].

    Between pixels interpolated linearly along both axes. fill: the value of every pixel outside;
    None takes the nearest one.
    """
    if fill is not None:
        edge = ((0, 0), (0, 0), (1, 1), (1, 1))
        x, rows, columns = np.pad(x, edge, constant_values=fill), rows + 1, columns + 1
    count, channels, height, width = x.shape
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    top, left = rows.astype(np.intp), columns.astype(np.intp)
    down = (rows - top)[:, None].astype(x.dtype)
    right = (columns - left)[:, None].astype(x.dtype)
    planes = np.arange(count * channels).reshape(count, channels, 1, 1) * (height * width)
    corner = planes + (top * width + left)[:, None]
    below = (width * (top < height - 1))[:, None]
    beside = (left < width - 1).astype(np.intp)[:, None]
    flat = x.reshape(-1)
    upper = _between(flat, corner, beside, right)
    lower = _between(flat, corner + below, beside, right)
    mixed: Array = upper + down * (lower - upper)
    return mixed


def _between(flat: Array, index: Array, beside: Array, share: Array) -> Array:
    """flat[index] and its neighbour mixed."""
    here = flat[index]
    mixed: Array = here + share * (flat[index + beside] - here)
    return mixed


def _linear(x: Array, matrix: Array, fill: float | None) -> Array:
    """Images whose pixel at p (row and column from the centre) is that of `x` at matrix @ p.

    matrix: [2,2,n].
    """
    centre = ((np.array(x.shape[2:]) - 1) / 2).astype(x.dtype)
    rows, columns = _grid(x) - centre[:, None, None, None]
    turned = matrix.astype(x.dtype)[..., None, None]
    return bilinear(
        x,
        centre[0] + turned[0, 0] * rows + turned[0, 1] * columns,
        centre[1] + turned[1, 0] * rows + turned[1, 1] * columns,
        fill,
    )


def _grid(x: Array) -> Array:
    """[2,1,h,w] of the row and the column of each pixel."""
    return np.indices(x.shape[2:], x.dtype)[:, None]


def _gaussian(extent: int, sigma: float, x: Array) -> Array:
    """[extent, extent]: the matrix that smooths along an axis; outside everything is 0."""
    reach = max(extent, int(6 * sigma) + 1)
    weight = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weight /= weight.sum()
    distance = np.arange(extent)[:, None] - np.arange(extent)
    matrix: Array = weight[distance + reach].astype(x.dtype)
    return matrix

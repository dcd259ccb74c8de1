"""Augmentations of colour: brightness, contrast, saturation, and AlexNet's principal components.

Values are taken as they come and never cut to a range; apply them before pixels are standardised,
while 0 is black.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_number
from graphc.base.errors import GraphcError
from graphc.train.augmentation.transform import Array, ImageTransform

LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class ColourJitter(ImageTransform):
    """Changes brightness, contrast and saturation of each image, in this order.

    Each number d stands for a factor drawn uniformly from max(0, 1 - d) to 1 + d: brightness
    multiplies the pixels, contrast their distance from the image's mean luminance, saturation that
    from the pixel's own luminance. Saturation needs red, green and blue. Raises GraphcError for
    negative numbers and for images that do not fit.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __post_init__(self) -> None:
        check_number("ColourJitter: brightness", self.brightness, 0.0)
        check_number("ColourJitter: contrast", self.contrast, 0.0)
        check_number("ColourJitter: saturation", self.saturation, 0.0)

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        if self.saturation and x.shape[1] != len(LUMINANCE):
            raise GraphcError(
                f"ColourJitter: saturation of images with {x.shape[1]} channels",
                remedy="give images of red, green and blue, or saturation=0",
            )
        factors = [
            _factor(d, generator, x) for d in (self.brightness, self.contrast, self.saturation)
        ]
        x = x * factors[0]
        x = _mixed(_luminance(x).mean(axis=(1, 2, 3), keepdims=True), x, factors[1])
        return _mixed(_luminance(x), x, factors[2])


@dataclass(frozen=True)
class PCAJitter(ImageTransform):
    """AlexNet's colour augmentation (Krizhevsky, Sutskever and Hinton, 2012): to every pixel of an
    image is added sum_i a_i lambda_i p_i, with p_i and lambda_i the eigenvectors and eigenvalues of
    the covariance of pixel values, and a_i normal of deviation `sigma`, drawn once an image.

    components: the vectors lambda_i p_i, which `fitted` finds. Raises GraphcError for images of
    another number of channels.
    """

    components: tuple[tuple[float, ...], ...]
    sigma: float = 0.1

    def __post_init__(self) -> None:
        check_number("PCAJitter: sigma", self.sigma, 0.0)
        if as_numbers("PCAJitter: components", self.components).ndim != 2:
            raise GraphcError(
                f"PCAJitter: components {self.components!r}",
                remedy="let PCAJitter.fitted(images) find them",
            )

    @staticmethod
    def fitted(images: Any, sigma: float = 0.1) -> PCAJitter:
        """The jitter for images [n,channels,height,width] like these.

        Raises GraphcError for arrays of other shapes and for fewer than two pixels.
        """
        x = as_numbers("PCAJitter: images", images)
        if x.ndim != 4 or x.size < 2 * x.shape[1] or not x.size or x.dtype.kind not in "fiu":
            raise GraphcError(
                f"PCAJitter: cannot be fitted to {x.dtype}{list(x.shape)}",
                remedy="give images [n,channels,height,width] of more than one pixel",
            )
        pixels = x.transpose(1, 0, 2, 3).reshape(x.shape[1], -1)
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(pixels)))
        return PCAJitter(tuple(map(tuple, (values * vectors).T.tolist())), sigma)

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        components = np.array(self.components)
        if components.shape[1] != x.shape[1]:
            raise GraphcError(
                f"PCAJitter of {components.shape[1]} channels was given images of {x.shape[1]}",
                remedy="fit it to images of the same kind",
            )
        shift = generator.normal(0.0, self.sigma, (len(x), len(components))) @ components
        return np.asarray(x + shift.astype(x.dtype)[:, :, None, None])


def _factor(spread: float, generator: np.random.Generator, x: Array) -> Array:
    drawn = generator.uniform(max(0.0, 1.0 - spread), 1.0 + spread, (len(x), 1, 1, 1))
    return np.asarray(drawn.astype(x.dtype))


def _luminance(x: Array) -> Array:
    """[n,1,h,w]: the luminance of red, green and blue, the mean of any other channels."""
    if x.shape[1] != len(LUMINANCE):
        return np.asarray(x.mean(axis=1, keepdims=True))
    weights = np.array(LUMINANCE, x.dtype)[:, None, None]
    return np.asarray((x * weights).sum(axis=1, keepdims=True))


def _mixed(grey: Array, x: Array, factor: Array) -> Array:
    """`x` at `factor` times its distance from `grey`."""
    return np.asarray(factor * x + (1 - factor) * grey)

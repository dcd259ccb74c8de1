"""Noise: additive, masking, salt and pepper. What denoising autoencoders take away again.

Works on samples of any shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphc.base.arguments import check_number
from graphc.base.errors import GraphcError
from graphc.train.augmentation.transform import Array, Transform


@dataclass(frozen=True)
class Noise(Transform):
    """Adds normal noise of mean 0 and that deviation to every element."""

    deviation: float

    def __post_init__(self) -> None:
        check_number("Noise: deviation", self.deviation, 0.0)

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        drawn = generator.standard_normal(x.shape, dtype=x.dtype)
        return np.asarray(x + x.dtype.type(self.deviation) * drawn)


@dataclass(frozen=True)
class MaskingNoise(Transform):
    """Sets each element to `value` with the probability `share` (Vincent et al., "Stacked
    denoising autoencoders", 2010).

    0.05 and 0.1 are usual for small images.
    """

    share: float
    value: float = 0.0

    def __post_init__(self) -> None:
        check_number("MaskingNoise: share", self.share, 0.0, 1.0)
        check_number("MaskingNoise: value", self.value, -np.inf)

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        masked = _uniform(x, generator) < self.share
        return np.where(masked, x.dtype.type(self.value), x)


@dataclass(frozen=True)
class SaltAndPepper(Transform):
    """Sets each element, with the probability `share`, to `low` or `high`, one as likely as the
    other.
    """

    share: float
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        check_number("SaltAndPepper: share", self.share, 0.0, 1.0)
        check_number("SaltAndPepper: low", self.low, -np.inf)
        check_number("SaltAndPepper: high", self.high, -np.inf)
        if self.low > self.high:
            raise GraphcError(
                f"SaltAndPepper: low {self.low} is above high {self.high}",
                remedy="give the lower one as low",
            )

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        drawn = _uniform(x, generator)
        kind = x.dtype.type
        peppered = np.where(drawn < self.share / 2, kind(self.low), x)
        return np.where(drawn >= 1 - self.share / 2, kind(self.high), peppered)


def _uniform(x: Array, generator: np.random.Generator) -> Array:
    return np.asarray(generator.random(x.shape, dtype=x.dtype))

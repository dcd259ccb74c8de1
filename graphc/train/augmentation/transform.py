"""What an augmentation is: a function of a batch and a random generator, which can be composed.

Each sample draws numbers of its own, in an order that the shapes alone decide: the same generator
gives the same result. Knows no particular augmentation, no data set and no network.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_number
from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]
Random = np.random.Generator | int


class Transform(ABC):
    """A random change of a batch of samples, called with the batch and a generator or a seed.

    The result has the dtype of the batch, which is left as it is.
    """

    def __call__(self, x: Any, random: Random) -> Array:
        """The changed batch. Raises GraphcError for a batch or a generator that does not fit."""
        batch = as_numbers(type(self).__name__, x)
        self._check(batch)
        return self.apply(batch, generator_from(random))

    @abstractmethod
    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        """The changed batch `x`, f32 or f64 [n, ...]."""

    def _check(self, x: Array) -> None:
        if x.ndim < 1 or x.dtype not in (np.float32, np.float64):
            raise GraphcError(
                f"{type(self).__name__} was given {x.dtype}{list(x.shape)}",
                remedy="give a batch of samples [n, ...] as float32 or float64",
            )


class ImageTransform(Transform):
    """A transform of images [n, channels, height, width]."""

    def _check(self, x: Array) -> None:
        if x.ndim != 4 or x.dtype not in (np.float32, np.float64) or 0 in x.shape[1:]:
            raise GraphcError(
                f"{type(self).__name__} was given {x.dtype}{list(x.shape)}",
                remedy="give images [n,channels,height,width] as float32 or float64",
            )


class Augment(Transform):
    """Transforms one after the other: ``Augment(Shift(2), Mirror())``.

    transforms: any functions of (batch, generator). Raises GraphcError for anything else.
    """

    def __init__(self, *transforms: Callable[[Array, np.random.Generator], Array]) -> None:
        for transform in transforms:
            if isinstance(transform, type) or not callable(transform):
                raise GraphcError(
                    f"Augment: {transform!r} is no transform",
                    remedy="give objects such as Shift(2), or functions of (batch, generator)",
                )
        self.transforms = transforms

    def __repr__(self) -> str:
        return f"Augment({', '.join(map(repr, self.transforms))})"

    def apply(self, x: Array, generator: np.random.Generator) -> Array:
        for transform in self.transforms:
            x = transform(x, generator)
        return x


def generator_from(random: Random) -> np.random.Generator:
    """The generator itself, or a new one from a seed. Raises GraphcError for anything else."""
    if isinstance(random, np.random.Generator):
        return random
    if not isinstance(random, int | np.integer) or isinstance(random, bool) or random < 0:
        raise GraphcError(
            f"{random!r} is neither a generator nor a seed",
            remedy="give numpy.random.default_rng(0), or a whole number of at least 0",
        )
    return np.random.default_rng(int(random))


def check_fill(what: str, fill: float | None) -> None:
    """Raises GraphcError unless `fill` is a finite number or None, for the nearest pixel."""
    if fill is not None:
        check_number(f"{what}: fill", fill, -math.inf)


def pair(what: str, value: object, least: int) -> tuple[int, int]:
    """(vertical, horizontal) from one whole number or two. Raises GraphcError below `least`."""
    both = (value, value) if isinstance(value, int) else value
    if (
        not isinstance(both, tuple | list)
        or len(both) != 2
        or any(not isinstance(v, int) or isinstance(v, bool) or v < least for v in both)
    ):
        raise GraphcError(
            f"{what} is {value!r}",
            remedy=f"give a whole number of at least {least}, or two: (vertical, horizontal)",
        )
    return both[0], both[1]


def interval(what: str, value: object, around: float, least: float) -> tuple[float, float]:
    """(low, high) itself, or `around` +- one number. Raises GraphcError if low is below `least`."""
    single = isinstance(value, float | int) and not isinstance(value, bool)
    both = (around - value, around + value) if single else value  # type: ignore[operator]
    if not isinstance(both, tuple | list) or len(both) != 2:
        raise GraphcError(f"{what} is {value!r}", remedy="give a number, or two: (lowest, highest)")
    for end in both:
        check_number(what, end, least)
    if both[0] > both[1]:
        raise GraphcError(f"{what} is {value!r}", remedy="give the lowest first, as (low, high)")
    return float(both[0]), float(both[1])


def room_in(name: str, x: Array, size: tuple[int, int]) -> tuple[int, int]:
    """How far a part of `size` can move in `x`. Raises GraphcError if it does not fit."""
    room = x.shape[2] - size[0], x.shape[3] - size[1]
    if min(room) < 0:
        raise GraphcError(
            f"{name}: {size[0]}x{size[1]} does not fit into images of {x.shape[2]}x{x.shape[3]}",
            remedy="give larger images or a smaller size, or padding",
        )
    return room

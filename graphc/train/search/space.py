"""The space of a search: what values each hyper-parameter can have, seen as numbers in 0..1.

Knows no search.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]


class Parameter(ABC):
    """The values of one hyper-parameter. `size` numbers in 0..1 stand for a value."""

    @property
    def size(self) -> int:
        """How many numbers stand for a value."""
        return 1

    @abstractmethod
    def decoded(self, units: Array) -> Any:
        """The value that `size` numbers in 0..1 stand for."""

    @abstractmethod
    def encoded(self, value: Any) -> list[float]:
        """Numbers that stand for a value."""

    def snapped(self, units: Array) -> Array:
        """[n, size] numbers in 0..1, moved to those that stand for the same values exactly."""
        return units

    @abstractmethod
    def grid(self, points: int) -> list[Any]:
        """Up to `points` values, spread evenly over the range."""


@dataclass(frozen=True)
class Uniform(Parameter):
    """Any number from low to high. Raises GraphcError unless low < high."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range("Uniform", self.low, self.high, -math.inf)

    def decoded(self, units: Array) -> float:
        return float(self.low + units[0] * (self.high - self.low))

    def encoded(self, value: float) -> list[float]:
        return [(value - self.low) / (self.high - self.low)]

    def grid(self, points: int) -> list[float]:
        return [float(v) for v in np.linspace(self.low, self.high, points)]


@dataclass(frozen=True)
class LogUniform(Parameter):
    """Any number from low to high, its logarithm uniform: learning rates, weight decays.

    Raises GraphcError unless 0 < low < high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_range("LogUniform", self.low, self.high, 0.0)

    def decoded(self, units: Array) -> float:
        return float(self.low * (self.high / self.low) ** units[0])

    def encoded(self, value: float) -> list[float]:
        return [math.log(value / self.low) / math.log(self.high / self.low)]

    def grid(self, points: int) -> list[float]:
        return [float(v) for v in np.geomspace(self.low, self.high, points)]


@dataclass(frozen=True)
class Integer(Parameter):
    """Any whole number from low to high, both included. Raises GraphcError unless low < high."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if any(not isinstance(v, int) or isinstance(v, bool) for v in (self.low, self.high)):
            raise GraphcError(
                f"Integer({self.low!r}, {self.high!r})", remedy="give two whole numbers"
            )
        _check_range("Integer", self.low, self.high, -math.inf)

    def decoded(self, units: Array) -> int:
        count = self.high - self.low + 1
        return self.low + min(int(units[0] * count), count - 1)

    def encoded(self, value: int) -> list[float]:
        return [(value - self.low + 0.5) / (self.high - self.low + 1)]

    def snapped(self, units: Array) -> Array:
        count = self.high - self.low + 1
        return np.asarray((np.minimum(np.floor(units * count), count - 1) + 0.5) / count)

    def grid(self, points: int) -> list[int]:
        return sorted({round(v) for v in np.linspace(self.low, self.high, points)})


@dataclass(frozen=True, init=False)
class Choice(Parameter):
    """One of several values of any kind: ``Choice("relu", "tanh")``. Raises GraphcError for none.

    The first of equal values counts.
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        if not values:
            raise GraphcError("a Choice of nothing", remedy="give at least one value")
        object.__setattr__(self, "values", values)

    @property
    def size(self) -> int:
        return len(self.values)

    def decoded(self, units: Array) -> Any:
        return self.values[int(np.argmax(units))]

    def encoded(self, value: Any) -> list[float]:
        return [float(k == self.values.index(value)) for k in range(len(self.values))]

    def snapped(self, units: Array) -> Array:
        return np.asarray(np.eye(len(self.values))[units.argmax(axis=1)])

    def grid(self, points: int) -> list[Any]:
        return list(self.values)


@dataclass(frozen=True)
class Space:
    """Hyper-parameters by name; a point of it is a mapping of one value for each."""

    parameters: tuple[tuple[str, Parameter], ...]

    @staticmethod
    def of(space: Mapping[str, Parameter | Sequence[Any]] | Space) -> Space:
        """A space from a mapping; a list or tuple of values is a `Choice`.

        Raises GraphcError for an empty space and for what is no parameter.
        """
        if isinstance(space, Space):
            return space
        if not isinstance(space, Mapping) or not space:
            raise GraphcError(
                f"{space!r} is no space to search in",
                remedy='give a mapping such as {"lr": LogUniform(1e-4, 1e-1)}',
            )
        found = []
        for name, values in space.items():
            parameter = Choice(*values) if isinstance(values, list | tuple) else values
            if not isinstance(parameter, Parameter):
                raise GraphcError(
                    f"{name}: {values!r} says no values",
                    remedy="give Uniform, LogUniform, Integer, Choice, or a list of values",
                )
            found.append((name, parameter))
        return Space(tuple(found))

    @property
    def size(self) -> int:
        """How many numbers in 0..1 stand for a point."""
        return sum(parameter.size for _, parameter in self.parameters)

    def parts(self, units: Array) -> list[Array]:
        """For each parameter its share of the numbers [..., size]."""
        ends = np.cumsum([parameter.size for _, parameter in self.parameters])
        return np.split(units, ends[:-1], axis=-1)

    def decoded(self, units: Array) -> dict[str, Any]:
        """The point that `size` numbers in 0..1 stand for."""
        pairs = zip(self.parameters, self.parts(units), strict=True)
        return {name: parameter.decoded(part) for (name, parameter), part in pairs}

    def snapped(self, units: Array) -> Array:
        """[n, size] numbers in 0..1, moved to those that stand for the same points exactly."""
        pairs = zip(self.parameters, self.parts(units), strict=True)
        return np.concatenate([parameter.snapped(part) for (_, parameter), part in pairs], axis=1)

    def encoded(self, point: Mapping[str, Any]) -> Array:
        """Numbers in 0..1 that stand for a point."""
        return np.array(
            [unit for name, parameter in self.parameters for unit in parameter.encoded(point[name])]
        )


def _check_range(kind: str, low: object, high: object, above: float) -> None:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (low, high))
    if not numbers or not above < low < high < math.inf:  # type: ignore[operator]
        bound = "" if math.isinf(above) else f", the lower one above {above:g}"
        raise GraphcError(
            f"{kind}({low!r}, {high!r})",
            remedy=f"give two finite numbers, the lower one first{bound}",
        )

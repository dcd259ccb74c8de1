"""What constructors of layers accept: each check returns the normal form or raises a GraphcError.

It names the layer, the argument and the value. It knows no layer.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, SupportsIndex

from graphc.base.errors import GraphcError

LARGEST = 2**31 - 1
Pair = int | Sequence[int]
Padding = int | Sequence[int] | str


def whole(layer: str, argument: str, value: object, least: int) -> int:
    """`value` as an int of at least `least`; numpy's integers are taken too."""
    found = _integer(value)
    if found is None or not least <= found <= LARGEST:
        raise GraphcError(
            f"{layer}: {argument} {value!r} is not a whole number of at least {least}",
            remedy=f"give {argument} as a whole number, for example {max(least, 1)}",
        )
    return found


def pair(layer: str, argument: str, value: object, least: int) -> tuple[int, int]:
    """(vertical, horizontal) from one whole number or two of at least `least`."""
    values = _integers(value, (1, 2))
    if values is None or min(values) < least:
        raise GraphcError(
            f"{layer}: {argument} {value!r} is not a whole number of at least {least}, "
            "or two of them",
            remedy=f"give {argument} as a number or as (vertical, horizontal)",
        )
    return values[0], values[-1]


def padding4(layer: str, value: object, argument: str = "padding") -> tuple[int, int, int, int]:
    """(top, bottom, left, right) from one whole number, (vertical, horizontal), or all four."""
    values = _integers(value, (1, 2, 4))
    if values is None or min(values) < 0:
        raise GraphcError(
            f"{layer}: {argument} {value!r} is not 1, 2 or 4 whole numbers of at least 0",
            remedy="give a number, (vertical, horizontal) or (top, bottom, left, right)",
        )
    if len(values) == 4:
        return values[0], values[1], values[2], values[3]
    return values[0], values[0], values[-1], values[-1]


def number(
    layer: str, argument: str, value: object, low: float, high: float, *, closed: bool = False
) -> float:
    """`value`, perhaps numpy's, as a float with low <= value < high; <= high if `closed`."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    beyond = math.nextafter(high, math.inf) if closed else high
    if not is_number or not low <= float(value) < beyond:  # type: ignore[arg-type]
        end = "]" if closed else ")"
        bound = f" in [{low:g}, {high:g}{end}" if math.isfinite(high) else f" of at least {low:g}"
        bound = "" if math.isinf(low) else bound
        raise GraphcError(
            f"{layer}: {argument} {value!r} is not a number{bound}",
            remedy=f"give {argument} as a number{bound}",
        )
    return float(value)  # type: ignore[arg-type]


def flag(layer: str, argument: str, value: object) -> bool:
    """`value` if it is True or False."""
    if not isinstance(value, bool):
        raise GraphcError(
            f"{layer}: {argument} {value!r} is neither True nor False",
            remedy=f"give {argument}=True or {argument}=False",
        )
    return value


def initializer(layer: str, argument: str, value: Any) -> Callable[..., Any] | None:
    """`value` if it can be called as an initialiser, or None for the default."""
    if value is not None and not callable(value):
        raise GraphcError(
            f"{layer}: {argument} {value!r} is not an initialiser",
            remedy="give one of graphc.nn.initializers, or a function of (shape, generator)",
        )
    return value  # type: ignore[no-any-return]


def shown(value: tuple[int, ...]) -> str:
    """Normal window arguments as a user would write them: (2, 2) is 2."""
    return str(value[0]) if len(set(value)) == 1 else str(value)


def arguments_text(positional: Sequence[object], changed: dict[str, tuple[object, object]]) -> str:
    """``(6, 5, stride=2)``: positional values, then each keyword that is not its default."""
    keywords = [f"{k}={value}" for k, (value, default) in changed.items() if value != default]
    return "(" + ", ".join([*map(str, positional), *keywords]) + ")"


def _integer(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        return None
    try:
        return operator.index(value)
    except TypeError:  # an array of several numbers has the method, and refuses
        return None


def _integers(value: object, lengths: tuple[int, ...]) -> list[int] | None:
    """One or several whole numbers as a list of one of the `lengths`; None if it is not that."""
    single = _integer(value)
    if single is not None:
        return [single] if single <= LARGEST else None
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) not in lengths[1:]:
        return None
    found = [_integer(v) for v in value]
    if any(f is None or f > LARGEST for f in found):
        return None
    return [f for f in found if f is not None]

"""What users give, checked: numbers, arrays, seeds and paths, each with one message.

Knows nothing of what the arguments are for but the words it is told.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]
LARGEST = sys.float_info.max


def check_whole(what: str, value: object, least: int = 1) -> None:
    """Raises GraphcError naming `what` unless `value` is a whole number of at least `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:  # type: ignore[operator]
        raise GraphcError(f"{what} is {value!r}", remedy=f"give a whole number of at least {least}")


def check_number(what: str, value: object, low: float, high: float = math.inf) -> None:
    """Raises GraphcError naming `what` unless `value` is a finite number in [low, high]."""
    plain = isinstance(value, float | int | np.floating | np.integer)
    plain = plain and not isinstance(value, bool) and abs(value) <= LARGEST  # type: ignore[arg-type]
    if not plain or not low <= value <= high:  # type: ignore[operator]
        bound = f" in [{low:g}, {high:g}]" if high < math.inf else f" of at least {low:g}"
        bound = bound if low > -math.inf else ""
        raise GraphcError(f"{what} is {value!r}", remedy=f"give a finite number{bound}")


def as_numbers(what: str, value: Any, dtype: Any = None) -> Array:
    """`value` as an array, of `dtype` if it is given. Raises GraphcError naming `what` if it is
    none: rows of different lengths, or text where numbers belong.
    """
    try:
        return np.asarray(value, dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise GraphcError(
            f"{what} cannot be read as numbers: {error}",
            remedy="give an array, or nested lists of numbers with rows of one length",
        ) from error


def generator_of(what: str, seed: Any) -> np.random.Generator:
    """numpy's generator for a seed, or for several numbers. Raises GraphcError naming `what`."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise GraphcError(
            f"{what} is {seed!r}", remedy="give a whole number of at least 0, or a tuple of them"
        ) from error


def as_path(value: str | os.PathLike[str]) -> Path:
    """The path that a user wrote. Raises GraphcError for what is none."""
    if not isinstance(value, str | os.PathLike):
        raise GraphcError(f"the path is {value!r}", remedy="give the path of a file or a folder")
    return Path(value)


def as_file(value: str | os.PathLike[str]) -> Path:
    """The path of a file to be written. Raises GraphcError for what has no name, such as "."."""
    path = as_path(value)
    if not path.name:
        raise GraphcError(f"{str(value)!r} names no file", remedy="give the path of a file")
    return path

"""What a check or a measurement found, as one row of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """section: that it belongs to. what: was looked at. reached: an error (a relative norm), or
    seconds; asked: the most that an error may be. good: whether it is what it must be, None for a
    time, which cannot be wrong. system: whose time it is. note: anything else.
    """

    section: str
    what: str
    reached: float | None
    asked: float | None = None
    good: bool | None = None
    note: str = ""
    system: str = "graphc"


# What one name stands for: it runs on its own and tells its rows as it finds them.
Item = Callable[[], Iterable[Row]]

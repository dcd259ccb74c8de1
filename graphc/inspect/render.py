"""Tables and numbers for people. rich is imported only when something is rendered."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

UNITS = ("", "k", "M", "G", "T", "P")


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Sequence[str] = (),
    total: Sequence[str] | None = None,
) -> Table:
    """A rich table. numbers: the columns to align to the right; total: a last row, set apart."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title)
    for column in columns:
        justify: Any = "right" if column in numbers else "left"
        made.add_column(column, justify=justify, overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    if total is not None:
        made.add_section()
        made.add_row(*map(Text, total), style="bold")
    return made


def as_text(renderable: Any, width: int = 120) -> str:
    """What rich would show of `renderable`, without colours, in lines of at most `width`."""
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(renderable)
    lines = stream.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines)


def counted(number: int) -> str:
    """``61,706``."""
    return f"{number:,}"


def scaled(number: float, unit: str = "") -> str:
    """``846 k`` for 846,000, with three digits; the prefix is decimal."""
    size, power = float(number), 0
    while abs(size) >= 999.5 and power < len(UNITS) - 1:
        size /= 1000
        power += 1
    suffix = UNITS[power] + unit
    digits = f"{size:.3g}"
    return f"{digits} {suffix}" if suffix else digits

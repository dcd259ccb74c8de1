"""Tables and numbers for people, and `show`, which prints in colours where there are any.

rich is imported only when something is rendered.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, TextIO

from graphc.inspect.highlight import highlighted
from graphc.ir.graph import Graph

if TYPE_CHECKING:
    from rich.table import Table

UNITS = ("", "k", "M", "G", "T", "P")
WIDTH_ELSEWHERE = 120


def show(*things: Any, stream: TextIO | None = None) -> None:
    """Prints graphs, texts of graphs and diffs, models, summaries, tables, or whatever rich prints.

    In colours on a terminal, unless the variable NO_COLOR is set, and in plain text elsewhere.
    stream: standard output by default.
    """
    from rich.console import Console

    console = Console(file=sys.stdout if stream is None else stream, highlight=False)
    for thing in things:
        if isinstance(thing, str | Graph):  # one node is one line, however wide the terminal is
            console.print(highlighted(str(thing)), soft_wrap=True)
        elif console.is_terminal:
            console.print(thing)
        else:
            console.file.write(f"{as_text(thing)}\n")


@dataclass(frozen=True)
class Sheet:
    """A table for people, on a terminal and in a page.

    numbers: the columns to align to the right. total: a row set apart at the end. failed: a row in
    red before it. caption: a line below.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[str] = ()
    total: Sequence[str] | None = None
    failed: Sequence[str] | None = None
    caption: str = ""

    def rich(self) -> Table:
        """What rich prints."""
        from rich.table import Table
        from rich.text import Text

        made = Table(title=self.title, caption=self.caption or None)
        for column in self.columns:
            justify: Any = "right" if column in self.numbers else "left"
            made.add_column(column, justify=justify, overflow="fold")
        for row in self.rows:
            made.add_row(*map(Text, row))
        if self.failed is not None:
            made.add_row(*map(Text, self.failed), style="bold red")
        if self.total is not None:
            made.add_section()
            made.add_row(*map(Text, self.total), style="bold")
        return made

    def html(self) -> str:
        """A `<table>` that needs no style sheet."""
        sides = ["right" if column in self.numbers else "left" for column in self.columns]
        lines = [f"<caption>{escape(self.title)}</caption>", _row("th", self.columns, sides)]
        lines += [_row("td", row, sides) for row in self.rows]
        if self.failed is not None:
            lines.append(_row("td", self.failed, sides, "color: #cf222e; font-weight: bold"))
        if self.total is not None:
            lines.append(_row("th", self.total, sides))
        below = f"<p><small>{escape(self.caption)}</small></p>" if self.caption else ""
        return f"<table>{''.join(lines)}</table>{below}"


def _row(cell: str, texts: Sequence[str], sides: Sequence[str], style: str = "") -> str:
    cells = (
        f'<{cell} style="text-align: {side}; padding: 0 0.6em">{escape(text)}</{cell}>'
        for text, side in zip(texts, sides, strict=True)
    )
    return f'<tr style="{style}">{"".join(cells)}</tr>'


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Sequence[str] = (),
    total: Sequence[str] | None = None,
) -> Table:
    """A rich table. numbers: the columns to align to the right; total: a last row, set apart."""
    return Sheet(title, columns, tuple(rows), numbers, total).rich()


def as_text(renderable: Any, width: int = WIDTH_ELSEWHERE) -> str:
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

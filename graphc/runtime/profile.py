"""What a step was measured to do: a row for each kernel, and one for each contraction of a layer.

A kernel's share is that of its roofline, the least time in which this machine could do as much
arithmetic and move as many bytes. A layer's is of the arithmetic alone, counted as the plain sum
whatever the algorithm: an algorithm that does with less goes above 100 %.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from graphc.base.source import Location
from graphc.runtime import trace_events

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

SHORTEST = 1e-9  # seconds: what a clock says of an empty kernel may be none
SHORTEST_WAIT = 5e-8  # seconds: what is shorter is the time that reading the clock takes
LINES_SHOWN = 3


class Span(NamedTuple):
    """From `begin` to `end`, in seconds since the step's first thread began."""

    begin: float
    end: float


@dataclass(frozen=True)
class KernelProfile:
    """One kernel of a step.

    layer: the path of the layer that it belongs to most, "" outside of layers. lines: of the user's
    code that it computes, the one that weighs most first. origins: what for, where that is not what
    the lines say ("gradient of conv2d"). seconds: of the thread that ran longest. waiting: of the
    thread that waited longest before it. share: of the roofline. spills: vectors moved to or from
    the stack in its innermost loops. spans: of each thread, in one step of typical length.
    """

    name: str
    ops: tuple[str, ...]
    schedule: str
    layer: str
    lines: tuple[Location, ...]
    origins: tuple[str, ...]
    phase: int
    flops: int
    bytes: int
    seconds: float
    waiting: float
    share: float
    spills: int
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class LayerProfile:
    """A contraction of a layer. kernels: the numbers of those that compute it. flops: of the plain
    sum. share: of what all threads could do.
    """

    layer: str
    op: str
    kernels: tuple[int, ...]
    flops: int
    seconds: float
    share: float


@dataclass(frozen=True, repr=False)
class Profile:
    """One variant of a graph at one batch size; printed, it is a table.

    seconds: of a step. live_bytes: of the arena that hold something, phase by phase.
    flops_per_second: of all threads. bytes_per_second: from memory.
    """

    variant: str
    batch: int
    threads: int
    phases: int
    seconds: float
    arena_bytes: int
    live_bytes: tuple[int, ...]
    flops_per_second: float
    bytes_per_second: float
    kernels: tuple[KernelProfile, ...]
    layers: tuple[LayerProfile, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def text(self, longest: int | None = None) -> str:
        """Two tables, in the order in which things run; or the `longest` rows of each by time."""
        lines = [*self._heading(), *_plain(KERNEL_COLUMNS, self.kernels, longest)]
        if self.layers:
            lines += ["", *_plain(LAYER_COLUMNS, self.layers, longest)]
        return "\n".join(lines)

    def table(self, longest: int | None = None) -> Group:
        """What `text` says, for a terminal: rows of a tenth of all work stand out."""
        from rich.console import Group
        from rich.text import Text

        notable = sum(kernel.seconds for kernel in self.kernels) / 10
        tables = [_rich("kernels", KERNEL_COLUMNS, self.kernels, longest, notable)]
        if self.layers:
            tables.append(_rich("layers", LAYER_COLUMNS, self.layers, longest, notable))
        return Group(*map(Text, self._heading()), *tables)

    def save_trace(self, path: str | os.PathLike[str]) -> Path:
        """Writes one step as a timeline for https://ui.perfetto.dev or chrome://tracing, a row for
        each thread; the path written.

        Raises GraphcError if the file cannot be written.
        """
        about = {"variant": self.variant, "batch": self.batch, "threads": self.threads}
        return trace_events.write(path, self._events(), about)

    def __repr__(self) -> str:
        return f"<Profile of {self._what()}>"

    def __str__(self) -> str:
        return self.text()

    def __rich__(self) -> Group:
        return self.table()

    def _what(self) -> str:
        return (
            f"{self.variant} batches, batch {self.batch}, threads {self.threads}: "
            f"{len(self.kernels)} kernels in {self.phases} phases, {self.seconds * 1e6:.0f} us"
        )

    def _heading(self) -> list[str]:
        return [
            f"{self._what()}, arena {self.arena_bytes:,} bytes",
            f"roofline of this machine: {self.flops_per_second / 1e9:.0f} GFLOP/s, "
            f"{self.bytes_per_second / 1e9:.0f} GB/s from memory",
        ]

    def _events(self) -> Iterator[trace_events.Event]:
        """Names, then every thread's kernels and waits, then the memory in use."""
        yield trace_events.process_name(f"graphc step, {self.variant} batches of {self.batch}")
        for thread in range(self.threads):
            yield trace_events.thread_name(thread, f"thread {thread}")
            free = 0.0
            for kernel in self.kernels:
                span = kernel.spans[thread]
                if span.begin - free >= SHORTEST_WAIT:
                    about = {"for": kernel.name, "phase": kernel.phase}
                    yield trace_events.complete("wait", "wait", thread, free, span.begin, about)
                yield trace_events.complete(kernel.name, "kernel", thread, *span, _facts(kernel))
                free = span.end
        for phase, live in enumerate(self.live_bytes):
            begins = [s.begin for k in self.kernels if k.phase == phase for s in k.spans]
            yield trace_events.counter("arena", min(begins), {"bytes in use": live})


def _facts(kernel: KernelProfile) -> dict[str, Any]:
    """What a trace says of a kernel beside its name and its times."""
    return {
        "ops": " ".join(kernel.ops),
        "schedule": kernel.schedule,
        "layer": kernel.layer,
        "lines": [f"{line.file}:{line.line}" for line in kernel.lines],
        "for": list(kernel.origins),
        "phase": kernel.phase,
        "FLOPs": kernel.flops,
        "bytes": kernel.bytes,
        "share of the roofline": round(kernel.share, 4),
    }


# -- tables ----------------------------------------------------------------------------------------

Row = TypeVar("Row", KernelProfile, LayerProfile)


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column of a table: its title, and what it says of a row; numbers stand to the right."""

    title: str
    cell: Callable[[Row], str]
    number: bool = True


def _rate(row: KernelProfile | LayerProfile) -> str:
    return f"{row.flops / max(row.seconds, SHORTEST) / 1e9:.1f}"


def _time(row: KernelProfile | LayerProfile) -> float:
    return row.seconds


def _lines(kernel: KernelProfile) -> str:
    """``net.py:12,14 other.py:3``: the first few lines, each file named once."""
    found: dict[str, list[str]] = {}
    for line in kernel.lines[:LINES_SHOWN]:
        found.setdefault(Path(line.file).name, []).append(str(line.line))
    shown = " ".join(f"{file}:{','.join(lines)}" for file, lines in found.items())
    return shown + (" ..." if len(kernel.lines) > LINES_SHOWN else "")


KERNEL_COLUMNS: tuple[Column[KernelProfile], ...] = (
    Column("phase", lambda k: str(k.phase)),
    Column("us", lambda k: f"{k.seconds * 1e6:.1f}"),
    Column("wait", lambda k: f"{k.waiting * 1e6:.1f}"),
    Column("MFLOP", lambda k: f"{k.flops / 1e6:.2f}"),
    Column("KB", lambda k: f"{k.bytes / 1e3:.0f}"),
    Column("GFLOP/s", _rate),
    Column("share", lambda k: f"{k.share:.0%}"),
    Column("spills", lambda k: str(k.spills)),
    Column("layer", lambda k: k.layer, number=False),
    Column("lines", _lines, number=False),
    Column(
        "kernel: ops  [schedule]",
        lambda k: f"{k.name}: {' '.join(k.ops)}  [{k.schedule}]",
        number=False,
    ),
)
LAYER_COLUMNS: tuple[Column[LayerProfile], ...] = (
    Column("us", lambda part: f"{part.seconds * 1e6:.1f}"),
    Column("MFLOP", lambda part: f"{part.flops / 1e6:.2f}"),
    Column("GFLOP/s", _rate),
    Column("share of peak", lambda part: f"{part.share:.0%}"),
    Column("kernels", lambda part: str(len(part.kernels))),
    Column("layer: as a plain sum", lambda part: f"{part.layer}: {part.op}", number=False),
)


def _chosen(rows: Sequence[Row], longest: int | None) -> tuple[Sequence[Row], str]:
    """All rows, or the longest with a line about the others."""
    if longest is None or len(rows) <= longest:
        return rows, ""
    by_time: list[Row] = sorted(rows, key=_time, reverse=True)
    others = sum(row.seconds for row in by_time[longest:])
    rest = f"... and {len(rows) - longest} more, {others * 1e6:.0f} us together"
    return by_time[:longest], rest


def _plain(
    columns: Sequence[Column[Row]], rows: Sequence[Row], longest: int | None
) -> Iterator[str]:
    """Lines of text."""
    shown, rest = _chosen(rows, longest)
    cells = [[column.title for column in columns]]
    cells += [[column.cell(row) for column in columns] for row in shown]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        placed = (
            cell.rjust(width) if column.number else cell.ljust(width)
            for column, cell, width in zip(columns, row, widths, strict=True)
        )
        yield "  ".join(placed).rstrip()
    if rest:
        yield rest


def _rich(
    title: str,
    columns: Sequence[Column[Row]],
    rows: Sequence[Row],
    longest: int | None,
    notable: float,
) -> Table:
    """A rich table. notable: seconds from which on a row is bold."""
    from rich.table import Table
    from rich.text import Text

    shown, rest = _chosen(rows, longest)
    made = Table(title=title, caption=rest or None, box=None, title_justify="left", pad_edge=False)
    for column in columns:
        if column.number:
            made.add_column(column.title, justify="right", no_wrap=True)
        else:
            made.add_column(Text(column.title), overflow="fold")
    for row in shown:
        cells = (Text(column.cell(row)) for column in columns)
        made.add_row(*cells, style="bold" if row.seconds >= notable else None)
    return made

"""What a step was measured to do: a row for each kernel, and one for each contraction of a layer.

A kernel's share is that of its roofline, the least time in which this machine could do as much
arithmetic and move as many bytes. A layer's is of the arithmetic alone, counted as the plain sum
whatever the algorithm: an algorithm that does with less goes above 100 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

SHORTEST = 1e-9  # seconds: what a clock says of an empty kernel may be none


@dataclass(frozen=True)
class KernelProfile:
    """One kernel of a step.

    seconds: of the thread that ran longest. waiting: of the thread that waited longest before it.
    share: of the roofline. spills: vectors moved to or from the stack in its innermost loops.
    """

    name: str
    ops: tuple[str, ...]
    schedule: str
    phase: int
    flops: int
    bytes: int
    seconds: float
    waiting: float
    share: float
    spills: int


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


@dataclass(frozen=True)
class Profile:
    """One variant of a graph at one batch size.

    seconds: of a step. flops_per_second: of all threads. bytes_per_second: from memory.
    """

    variant: str
    batch: int
    threads: int
    phases: int
    seconds: float
    arena_bytes: int
    flops_per_second: float
    bytes_per_second: float
    kernels: tuple[KernelProfile, ...]
    layers: tuple[LayerProfile, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def text(self, longest: int | None = None) -> str:
        """Two tables, in the order in which things run; or the `longest` rows of each by time."""
        lines = [
            f"{self.variant} batches, batch {self.batch}, threads {self.threads}: "
            f"{len(self.kernels)} kernels in {self.phases} phases, {self.seconds * 1e6:.0f} us, "
            f"arena {self.arena_bytes:,} bytes",
            f"roofline of this machine: {self.flops_per_second / 1e9:.0f} GFLOP/s, "
            f"{self.bytes_per_second / 1e9:.0f} GB/s from memory",
            KERNEL_COLUMNS,
            *_chosen(self.kernels, longest, _kernel_row),
        ]
        if self.layers:
            lines += ["", LAYER_COLUMNS, *_chosen(self.layers, longest, _layer_row)]
        return "\n".join(lines)


Row = TypeVar("Row", KernelProfile, LayerProfile)
KERNEL_COLUMNS = (
    "phase       us   wait   MFLOP      KB  GFLOP/s  share  spills  kernel: ops  [schedule]"
)
LAYER_COLUMNS = "      us   MFLOP  GFLOP/s  share of peak  kernels  layer: as a plain sum"


def _kernel_row(k: KernelProfile) -> str:
    times = f"{k.phase:5d} {k.seconds * 1e6:8.1f} {k.waiting * 1e6:6.1f} {k.flops / 1e6:7.2f}"
    rates = f"{k.bytes / 1e3:7.0f} {_rate(k):8.1f} {k.share:6.0%} {k.spills:7d}"
    return f"{times} {rates}  {k.name}: {' '.join(k.ops)}  [{k.schedule}]"


def _layer_row(part: LayerProfile) -> str:
    work = f"{part.seconds * 1e6:8.1f} {part.flops / 1e6:7.2f} {_rate(part):8.1f}"
    return f"{work} {part.share:14.0%} {len(part.kernels):8d}  {part.layer}: {part.op}"


def _rate(timed: KernelProfile | LayerProfile) -> float:
    """GFLOP/s."""
    return timed.flops / max(timed.seconds, SHORTEST) / 1e9


def _chosen(rows: Sequence[Row], longest: int | None, shown: Callable[[Row], str]) -> list[str]:
    """The rows as text: all, or the longest with a line about the others."""
    if longest is None or len(rows) <= longest:
        return [shown(row) for row in rows]
    by_time: list[Row] = sorted(rows, key=_time, reverse=True)
    others = sum(row.seconds for row in by_time[longest:])
    rest = f"... and {len(rows) - longest} more, {others * 1e6:.0f} us together"
    return [*(shown(row) for row in by_time[:longest]), rest]


def _time(timed: KernelProfile | LayerProfile) -> float:
    return timed.seconds

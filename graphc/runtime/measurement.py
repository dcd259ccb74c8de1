"""From measured times to a profile: what each kernel of a program is, beside how long it took.

A backend measures; what it measured is told here by kernel, by line, by layer, and as a share of
what the machine could do. Knows no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphc.base.source import Location
from graphc.ir.node import Node
from graphc.loops.memory import buffer_bytes
from graphc.passes.plan_memory import Scheduled
from graphc.runtime.layers import NO_NAMES, layer_parts
from graphc.runtime.profile import SHORTEST, KernelProfile, LayerProfile, Profile, Span
from graphc.runtime.program import Program


@dataclass(frozen=True)
class Times:
    """Medians in seconds.

    step: the whole. running: of each kernel, on the thread that ran longest (a kernel may be one
    thread's alone). waiting: before each, of the thread that waited longest. spans: of each kernel
    and thread, in the one step whose time is closest to the median.
    """

    step: float
    running: tuple[float, ...]
    waiting: tuple[float, ...]
    spans: tuple[tuple[Span, ...], ...]


@dataclass(frozen=True)
class Rates:
    """What the machine can do at most."""

    flops_per_second: float
    bytes_per_second: float

    def seconds(self, flops: int, bytes: int) -> float:
        """The least time for so much work: the larger of those for its two kinds."""
        return max(flops / self.flops_per_second, bytes / self.bytes_per_second)


def profile_of(
    program: Program,
    times: Times,
    rates: Rates,
    *,
    variant: str,
    n: int,
    threads: int,
    arena_bytes: int,
    spills: Sequence[int],
    names: Mapping[str, str] = NO_NAMES,
) -> Profile:
    """What a program did with batches of n.

    spills: of each call. names: of the parameters that inputs were computed from elsewhere, by the
    inputs' names.
    """
    parts = layer_parts(program, names)
    layers = {k: part.layer for part in parts for k in part.calls}
    kernels = []
    for k, call in enumerate(program.calls):
        flops, moved = call.kernel.flops.at(n), call.bytes.at(n)
        lines, origins = _written(program.scheduled.steps[k].node)
        kernels.append(
            KernelProfile(
                name=call.kernel.name,
                ops=call.kernel.ops,
                schedule=call.kernel.schedule,
                layer=layers.get(k) or next((line.layer for line in lines if line.layer), ""),
                lines=lines,
                origins=origins,
                phase=call.phase,
                flops=flops,
                bytes=moved,
                seconds=times.running[k],
                waiting=times.waiting[k],
                share=rates.seconds(flops, moved) / max(times.running[k], SHORTEST),
                spills=spills[k],
                spans=times.spans[k],
            )
        )
    measured = []
    for part in parts:
        flops, seconds = part.flops.at(n), sum(times.running[k] for k in part.calls)
        share = rates.seconds(flops, 0) / max(seconds, SHORTEST)
        measured.append(LayerProfile(part.layer, part.op, part.calls, flops, seconds, share))
    return Profile(
        variant=variant,
        batch=n,
        threads=threads,
        phases=program.phases,
        seconds=times.step,
        arena_bytes=arena_bytes,
        live_bytes=_live_bytes(program.scheduled, n),
        flops_per_second=rates.flops_per_second,
        bytes_per_second=rates.bytes_per_second,
        kernels=tuple(kernels),
        layers=tuple(measured),
    )


def _written(node: Node) -> tuple[tuple[Location, ...], tuple[str, ...]]:
    """The lines that a kernel computes, each once however many layers are on it, and what for."""
    lines: dict[tuple[str, int], Location] = {}
    for found, _ in node.sources:
        if found is not None:
            lines.setdefault((found.file, found.line), found)
    origins = dict.fromkeys(str(origin) for _, origin in node.sources if origin is not None)
    return tuple(lines.values()), tuple(origins)


def _live_bytes(scheduled: Scheduled, n: int) -> tuple[int, ...]:
    """Bytes of the temporaries that hold a value, in each phase."""
    live = [0] * scheduled.phases
    for storage, (first, last) in scheduled.lifetimes.items():
        for phase in range(first, last + 1):
            live[phase] += buffer_bytes(storage.type, n)
    return tuple(live)

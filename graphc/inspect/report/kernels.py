"""What runs: kernels with the code that is generated for them, their memory, and their times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.inspect.cost import bytes_moved, flops
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.loops.definition import body_of
from graphc.loops.memory import buffer_bytes
from graphc.passes.plan_memory import Scheduled, plan
from graphc.runtime.backend import Backend
from graphc.runtime.profile import Profile


def code_data(graph: Graph, backend: Backend) -> dict[str, Any]:
    """The generated code: every kernel's texts once, and for each kernel that runs its number."""
    texts: dict[tuple[tuple[str, str], ...], int] = {}
    if not backend.forms:
        return {"forms": [], "codes": [], "code_of": []}
    code_of = [
        texts.setdefault(tuple(source.texts.items()), len(texts))
        for source in backend.sources(graph)
    ]
    return {"forms": list(backend.forms), "codes": [dict(t) for t in texts], "code_of": code_of}


def kernel_data(
    scheduled: Scheduled, names: Mapping[Node, str], profile: Profile | None, n: int
) -> list[dict[str, Any]]:
    """Every kernel as it runs. Times are there if the profile is of these kernels."""
    steps = scheduled.steps
    timed: Sequence[Any] = () if profile is None else profile.kernels
    if len(timed) != len(steps):
        timed = [None] * len(steps)
    found = []
    for step, times in zip(steps, timed, strict=True):
        node = step.node
        inside = [k for k in body_of(node).nodes if k.op.name != "input"]
        kernel = {
            "node": names[node],
            "name": names[node],
            "type": str(node.type),
            "ops": [k.op.name for k in inside],
            "reads": [names[i] for i in dict.fromkeys(node.inputs)],
            "phase": step.phase,
            "lines": sorted({str(s.location) for s in node.sources if s.location}),
            "origins": sorted({str(s.origin) for s in node.sources if s.origin}),
            "layer": node.location.layer if node.location else "",
            "flops": flops(node, n),
            "bytes": bytes_moved(node, n),
        }
        if times is not None:
            kernel |= {
                "name": times.name,
                "schedule": times.schedule,
                "layer": times.layer or kernel["layer"],
                "flops": times.flops,
                "bytes": times.bytes,
                "seconds": times.seconds,
                "waiting": times.waiting,
                "share": times.share,
                "spills": times.spills,
                "spans": [[span.begin, span.end] for span in times.spans],
            }
        found.append(kernel)
    return found


def memory_data(scheduled: Scheduled, names: Mapping[Node, str], n: int) -> dict[str, Any]:
    """Where and how long every temporary lives in the arena, for batch size n."""
    sizes = [buffer_bytes(s.type, n) for s in scheduled.temporaries]
    planned = plan(scheduled, sizes)
    writer = {s: names[step.node] for step in scheduled.steps for s in step.writes}
    readers: dict[Any, list[str]] = {}
    for step in scheduled.steps:
        for storage in step.reads:
            readers.setdefault(storage, []).append(names[step.node])
    blocks = []
    for storage, size in zip(scheduled.temporaries, sizes, strict=True):
        first, last = scheduled.lifetimes[storage]
        blocks.append({
            "first": first, "last": last, "offset": planned.offsets[storage], "size": size,
            "name": writer.get(storage, ""), "type": str(storage.type),
            "readers": readers.get(storage, []),
        })  # fmt: skip
    outside = sum(buffer_bytes(i.tensor, n) for i in scheduled.graph.inputs)
    return {
        "arena": planned.bytes,
        "phases": scheduled.phases,
        "blocks": blocks,
        "inputs": outside,
        "total": sum(sizes),
    }


def profile_data(profile: Profile | None) -> dict[str, Any] | None:
    """What a step took in all, and what this machine can do; None if nothing was timed."""
    if profile is None:
        return None
    return {
        "variant": profile.variant,
        "batch": profile.batch,
        "threads": profile.threads,
        "seconds": profile.seconds,
        "flops_per_second": profile.flops_per_second,
        "bytes_per_second": profile.bytes_per_second,
        "layers": [
            {"layer": p.layer, "op": p.op, "kernels": list(p.kernels), "flops": p.flops,
             "seconds": p.seconds, "share": p.share}
            for p in profile.layers
        ],
    }  # fmt: skip

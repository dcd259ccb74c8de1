"""Traces against the rules of the trace-event format: what Perfetto and chrome://tracing ask of a
file. The rules are written down here as the format's document states them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim
from graphc.runtime.profile import Profile

Event = dict[str, Any]
REQUIRED = {
    "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"},
    "M": {"name", "ph", "pid", "tid", "args"},
    "C": {"name", "ph", "ts", "pid", "tid", "args"},
}
METADATA = {"process_name", "thread_name"}


@pytest.fixture(scope="module")
def profile() -> Profile:
    """A training step that has work for two threads."""
    net = nn.Sequential(nn.Conv(16, 5), nn.Tanh(), nn.AvgPool(2), nn.Flatten(), nn.Dense(10))
    model = gc.Model(
        net, "f32[N,1,28,28]", "cross_entropy", optim.SGD(0.05, momentum=0.9), threads=2
    )
    x = np.random.default_rng(0).standard_normal((32, 1, 28, 28), np.float32)
    return model.profile(x, np.arange(32) % 10)


@pytest.fixture(scope="module")
def trace(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = profile.save_trace(tmp_path_factory.mktemp("trace") / "step.json")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def events(trace: Any) -> list[Event]:
    found: list[Event] = trace["traceEvents"]
    return found


def _rows(events: list[Event]) -> Iterator[list[Event]]:
    """The complete events of each thread, by their beginning."""
    whole = [e for e in events if e["ph"] == "X"]
    for thread in sorted({e["tid"] for e in whole}):
        yield sorted((e for e in whole if e["tid"] == thread), key=lambda e: float(e["ts"]))


def test_the_object_form(trace: Any) -> None:
    assert isinstance(trace["traceEvents"], list)
    assert trace["displayTimeUnit"] in ("ms", "ns")
    assert trace["otherData"] == {"variant": "large", "batch": 32, "threads": 2}


def test_every_event_has_the_keys_of_its_phase(events: list[Event]) -> None:
    for event in events:
        assert event.keys() == REQUIRED[event["ph"]]
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int)
        assert isinstance(event["name"], str) and isinstance(event["args"], dict)


def test_metadata_names_the_process_and_each_row(events: list[Event]) -> None:
    named = [(e["name"], e["tid"], e["args"]["name"]) for e in events if e["ph"] == "M"]
    assert {name for name, *_ in named} == METADATA
    assert [(t, n) for name, t, n in named if name == "thread_name"] == [
        (0, "thread 0"), (1, "thread 1"),
    ]  # fmt: skip


def test_times_are_microseconds_from_the_beginning(events: list[Event], profile: Profile) -> None:
    timed = [e for e in events if "ts" in e]
    assert min(e["ts"] for e in timed) >= 0
    end = max(e["ts"] + e["dur"] for e in timed if e["ph"] == "X")
    assert end == pytest.approx(1e6 * max(s.end for k in profile.kernels for s in k.spans), abs=0.1)


def test_what_a_thread_does_never_overlaps(events: list[Event]) -> None:
    for row in _rows(events):
        for before, after in pairwise(row):
            gap = round(1000 * after["ts"]) - round(1000 * (before["ts"] + before["dur"]))
            assert before["dur"] >= 0 and gap >= 0


def test_every_thread_shows_every_kernel_in_order_with_what_it_is(
    events: list[Event], profile: Profile
) -> None:
    rows = list(_rows(events))
    assert len(rows) == profile.threads
    for row in rows:
        kernels = [e for e in row if e["cat"] == "kernel"]
        assert [e["name"] for e in kernels] == [k.name for k in profile.kernels]
        for event, kernel in zip(kernels, profile.kernels, strict=True):
            about = event["args"]
            assert about["ops"] == " ".join(kernel.ops)
            assert (about["schedule"], about["layer"]) == (kernel.schedule, kernel.layer)
            assert (about["FLOPs"], about["bytes"]) == (kernel.flops, kernel.bytes)
            assert about["lines"] == [f"{line.file}:{line.line}" for line in kernel.lines]


def test_waits_fill_the_gaps_between_kernels(events: list[Event]) -> None:
    for row in _rows(events):
        assert {e["cat"] for e in row} == {"kernel", "wait"}
        reached = 0.0
        for event in row:
            assert event["ts"] - reached < 0.06  # shorter waits are the clock itself
            reached = event["ts"] + event["dur"]


def test_the_counter_of_memory_stays_within_the_arena(
    events: list[Event], profile: Profile
) -> None:
    counts = [e["args"]["bytes in use"] for e in events if e["ph"] == "C"]
    assert len(counts) == profile.phases
    assert max(counts) <= profile.arena_bytes < 1.5 * max(counts)


def test_a_folder_that_is_not_there(profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(gc.GraphcError, match="cannot write"):
        profile.save_trace(tmp_path / "absent" / "step.json")

"""The trace-event format, which Perfetto (https://ui.perfetto.dev) and chrome://tracing read.

One JSON object with a list of events; times are in microseconds, kept to whole nanoseconds so that
what follows each other never overlaps. It knows the format, not what is traced.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from graphc.base.files import write_file

Event = dict[str, Any]
PROCESS = 1  # every event belongs to one process
THOUSAND = 1000


def process_name(name: str) -> Event:
    """What the whole trace is called."""
    return {"ph": "M", "pid": PROCESS, "tid": 0, "name": "process_name", "args": {"name": name}}


def thread_name(thread: int, name: str) -> Event:
    """What the row of a thread is called."""
    return {"ph": "M", "pid": PROCESS, "tid": thread, "name": "thread_name", "args": {"name": name}}


def complete(
    name: str, category: str, thread: int, begin: float, end: float, arguments: Mapping[str, Any]
) -> Event:
    """Something that a thread did from `begin` to `end`, in seconds."""
    first, last = _nanoseconds(begin), _nanoseconds(end)
    return {
        "ph": "X",
        "pid": PROCESS,
        "tid": thread,
        "name": name,
        "cat": category,
        "ts": first / THOUSAND,
        "dur": (last - first) / THOUSAND,
        "args": dict(arguments),
    }


def counter(name: str, time: float, values: Mapping[str, float]) -> Event:
    """What is counted from `time`, in seconds, on."""
    ts = _nanoseconds(time) / THOUSAND
    return {"ph": "C", "pid": PROCESS, "tid": 0, "name": name, "ts": ts, "args": dict(values)}


def write(path: str | os.PathLike[str], events: Iterable[Event], about: Mapping[str, Any]) -> Path:
    """Writes a trace; the path written. about: facts for whoever reads the file.

    Raises GraphcError if it cannot be written.
    """
    trace = {"traceEvents": list(events), "displayTimeUnit": "ns", "otherData": dict(about)}
    return write_file(path, json.dumps(trace, allow_nan=False))


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)

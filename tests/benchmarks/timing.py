"""How long a call takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def median(call: Callable[[], object], seconds: float) -> float:
    """Milliseconds of a call: the median of as many as there is time for, of three at least."""
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < seconds:
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return statistics.median(times) * 1e3

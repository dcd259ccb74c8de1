"""Measures what training takes: ``python measured_memory.py NET SIZES`` prints the plan and the
peak in bytes, for a network of the zoo or in the notation, and batch sizes such as 64,40.

The first model of the process warms: it loads the code (with a cache the compiler is then done for
good), starts the threads, and is gone before the count begins. What is resident then is the zero.
The second model is built, and trains twice on a batch of each size; every array counts from where
it is made. VmHWM is the kernel's own high-water mark, set back to the present through clear_refs:
it sees what lives only for a moment. Rss in smaps_rollup is counted page by page, and exact.
"""

from __future__ import annotations

import gc as garbage
import json
import sys
from pathlib import Path

import numpy as np

import graphc as gc
from graphc import optim
from graphc.cli.networks import network_named
from graphc.passes.pipelines import LARGE_BATCH
from graphc.testing import random_inputs

PROCESS = Path("/proc/self")


def built(name: str) -> gc.Model:
    """The network with an optimiser that keeps two numbers for each parameter."""
    net = network_named(name)
    return gc.Model(net.build(), net.input_type, loss=net.loss, optimizer=optim.Adam(1e-3))


def batch(model: gc.Model, n: int) -> list[np.ndarray]:
    """Random images and targets, in the dtypes that a step takes without a copy."""
    graph = model.executable("evaluate").graph
    return list(random_inputs(graph, n, np.random.default_rng(n), kind="data").values())


def warm(name: str, sizes: list[int]) -> None:
    """One step of each code variant that the sizes need."""
    model = built(name)
    for n in {min(n, LARGE_BATCH) for n in sizes}:
        model.step(*batch(model, n))


def resident(file: str, name: str) -> int:
    """Bytes that a file of /proc/self says under a name."""
    lines = (PROCESS / file).read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    name, sizes = sys.argv[1], [int(word) for word in sys.argv[2].split(",")]
    warm(name, sizes)
    garbage.collect()
    before = resident("smaps_rollup", "Rss")
    (PROCESS / "clear_refs").write_text("5", encoding="ascii")
    model = built(name)
    batches = [batch(model, n) for n in sizes]
    for fed in (*batches, *batches):
        model.step(*fed)
    peak, after = resident("status", "VmHWM"), resident("smaps_rollup", "Rss")
    memory = model.summary(max(sizes)).memory
    assert memory is not None
    others = sum(a.nbytes for fed in batches for a in fed) - memory.data  # wait for their step
    found = {
        "arena": memory.planned,
        "planned": memory.peak + others,
        "peak": peak - before,
        "resident": after - before,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()

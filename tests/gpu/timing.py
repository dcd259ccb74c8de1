"""How long the device takes for what is asked: steps of networks, a large product, a fused kernel.

Times are those between events on the device, medians over many rounds, after some to warm up; of
graphc's replays of a step, data in its memory. A note says what a whole call takes that brings new
data from the host and, in training, reads the loss.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import graphc as gc
from graphc import optim, zoo
from graphc.ir.graph import Graph, make_input
from graphc.ir.types import DType, parse_type
from graphc.ops.contractions import matmul
from graphc.ops.elementwise import add, cast, mul, relu
from graphc.runtime.backend import load_backend
from graphc_cuda import CUDABackend
from graphc_cuda.device_memory import Memory
from tests.gpu.rows import Item, Row

SECTION = "times"
RATE = optim.SGD(0.001, momentum=0.9)
CALLS = 10  # of a whole call
ELEMENTS = 1 << 28  # of each array of the fused kernel: 1 GiB, many times what caches hold
SIDE = 8192  # of the dense product


@dataclass(frozen=True)
class Work:
    """Steps of a network. asked: how many times as fast as the fastest peer they must be."""

    network: str
    training: bool
    batch: int
    precision: str
    asked: float

    def __str__(self) -> str:
        what = "training" if self.training else "prediction"
        return f"{self.network}, {what}, batch {self.batch}, {self.precision}"


WORKS = (
    Work("lenet5", True, 64, "tf32", 5.0),
    Work("resnet50", True, 256, "bf16", 1.0),
    Work("resnet50", False, 256, "bf16", 1.0),
    Work("vgg16", True, 64, "tf32", 1.0),
    Work("vgg16", False, 64, "tf32", 1.0),
    Work("vgg16", True, 64, "bf16", 1.0),
    Work("vgg16", False, 64, "bf16", 1.0),
)
DENSE, FUSED = f"dense {SIDE}^3, bf16", "relu(x * y) + z, f32, 1 GiB each"
ASKED = {str(work): work.asked for work in WORKS} | {DENSE: 0.9, FUSED: 0.85}


def items(rounds: int) -> dict[str, Item]:
    """What is timed, by name."""
    found: dict[str, Item] = {
        FUSED: partial(fused, rounds, ELEMENTS, 1 << 30),
        DENSE: partial(dense, rounds, SIDE),
    }
    return found | {str(work): partial(network, work, rounds) for work in WORKS}


def network(work: Work, rounds: int, backend: str = "cuda") -> Iterator[Row]:
    """A step, or a prediction."""
    row = zoo.NETWORKS[work.network]
    rate = RATE if work.training else None
    loss = row.loss if work.training else None
    model = gc.Model(
        row.build(), row.input_type, loss, rate, backend=backend, precision=work.precision
    )
    shape = parse_type(row.input_types[0]).concrete(work.batch)
    rng = np.random.default_rng()
    x = rng.standard_normal(shape, np.float32)
    y = rng.integers(0, 10, work.batch)
    call: Callable[[], Any] = (
        partial(model.step, x, y) if work.training else partial(model.predict, x)
    )
    whole = _typical(call)
    executable = model.executable("train" if work.training else "forward")
    note = f"{1e3 * whole:.3g} ms a call from the host"
    seconds = statistics.median(executable.profiles()[0].seconds for _ in range(rounds))
    yield Row(SECTION, str(work), seconds, note=note)


def _typical(call: Callable[[], Any]) -> float:
    """Seconds of a call by the host's clock, the first few left out."""
    times = []
    for _ in range(3 + CALLS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[3:])


def _kernel(graph: Graph, inputs: Mapping[str, Any], op: str, rounds: int, backend: str) -> float:
    """Seconds of the kernel that computes `op`."""
    run = gc.compile(graph, backend, precision="bf16")
    run(**inputs)
    return statistics.median(
        next(kernel.seconds for kernel in run.profiles()[0].kernels if op in kernel.ops)
        for _ in range(rounds)
    )


def dense(rounds: int, side: int, backend: str = "cuda") -> Iterator[Row]:
    """The product alone; its operands are rounded by kernels before it."""
    a, b = (make_input(name, parse_type(f"f32[{side},{side}]")) for name in "ab")
    product = matmul(*(cast(x, dtype=DType.bf16) for x in (a, b)))
    rng = np.random.default_rng()
    inputs = {name: rng.standard_normal((side, side), np.float32) for name in "ab"}
    seconds = _kernel(Graph("dense", [a, b], [product]), inputs, "matmul", rounds, backend)
    yield Row(SECTION, DENSE, seconds, note=f"{2 * side**3 / seconds / 1e12:.0f} TFLOP/s")


def fused(rounds: int, elements: int, copied: int, backend: str = "cuda") -> Iterator[Row]:
    """Four bytes read thrice and written once for each element, beside a copy of as many.

    copied: bytes of the copies that are timed.
    """
    line = min(elements, 1 << 20)
    x, y, z = (make_input(name, parse_type(f"f32[N,{line}]")) for name in "xyz")
    graph = Graph("fused", [x, y, z], [add(relu(mul(x, y)), z)])
    rng = np.random.default_rng()
    inputs = {name: rng.standard_normal((elements // line, line), np.float32) for name in "xyz"}
    seconds = _kernel(graph, inputs, "relu", rounds, backend)
    moved = 4 * 4 * elements
    yield Row(SECTION, FUSED, seconds, note=f"{moved / seconds / 1e12:.2f} TB/s")
    rate = copy_bandwidth(rounds, copied, backend)
    yield Row(SECTION, FUSED, moved / rate, system="copy", note=f"{rate / 1e12:.2f} TB/s")


def copy_bandwidth(rounds: int, size: int, backend: str = "cuda") -> float:
    """Bytes read and written in a second by copies of `size` bytes within the device's memory."""
    found = load_backend(backend)
    assert isinstance(found, CUDABackend)
    device, times = found.device(), []
    with device.entered():
        source, target = Memory(device, size), Memory(device, size)
        noise = np.random.default_rng().integers(0, 256, size, np.uint8)
        device.copy_in(source.address, noise, device.steps)
        for _ in range(3 + 10 * rounds):
            begin, end = device.event(), device.event()
            device.mark(begin, device.steps)
            device.copy_within(target.address, source.address, size, device.steps)
            device.mark(end, device.steps)
            device.wait()
            times.append(device.seconds(begin, end))
    return 2 * size / statistics.median(times[3:])

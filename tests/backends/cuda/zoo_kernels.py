"""The kernels of the networks of the zoo as CUDA C++, and what NVIDIA's compiler makes of them.

Everything here works in a process of its own on texts alone, so that a pool of processes can share
the work. No device is needed.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path

from graphc.cli.networks import network_named, training_step
from graphc.loops.gpu.device import A100, GPU, H100
from graphc.loops.gpu.lower import lower
from graphc.passes.base import Pipeline
from graphc.passes.pipelines import device_pipelines
from graphc.runtime.program import build_program
from graphc.tracing.trace import trace
from graphc_cuda.compile import compiled
from graphc_cuda.source import kernel_source

BENCHMARKS = (
    "lenet5", "mlp", "cifar_small", "mcdnn", "autoencoder",
    "alexnet", "vgg16", "googlenet", "resnet18", "resnet50",
)  # fmt: skip
PRODUCTS = ("conv2d", "matmul", "einsum")  # how the names of ops that multiply matrices begin
SYMBOL = "k_kernel"
FEW_BYTES = 16


@dataclass(frozen=True)
class Listed:
    """A kernel of a network for one architecture. source: the function `SYMBOL`."""

    network: str
    precision: str
    architecture: str
    ops: tuple[str, ...]
    schedule: str
    source: str

    @property
    def instruction(self) -> str | None:
        """That of the tensor cores, such as "m16n8k8.tf32"; None if threads multiply."""
        found = re.match(r"m\d+n\d+k\d+\.\w+", self.schedule)
        return found[0] if found else None

    @property
    def structure(self) -> tuple[object, ...]:
        """What kernels that differ in little but constants have in common: of products the tile,
        what is multiplied, and how much of it is copied while threads go on; of others the ops.
        """
        multiplied = tuple(op for op in self.ops if op.startswith(PRODUCTS))
        copies = self.source.count("copy_async<")
        return self.architecture, self.schedule, multiplied or self.ops, copies

    def __str__(self) -> str:
        return f"{self.network} {self.precision} {' '.join(self.ops)} [{self.schedule}]"


@dataclass(frozen=True)
class Examined:
    """Machine code of a kernel. seconds: its share of the compilation, on one core. instructions:
    their names, for kernels that multiply by tensor cores.
    """

    seconds: float
    registers: int
    stack_bytes: int
    spill_bytes: int
    instructions: frozenset[str]

    def spills(self, kernel: Listed) -> bool:
        """Whether a product spills anything, or another kernel more than next to nothing: the
        assembler would rather have one more block share a multiprocessor than keep the last few
        registers of a gradient of pooling.
        """
        allowed = 0 if kernel.instruction else FEW_BYTES
        return max(self.spill_bytes, self.stack_bytes) > allowed


def listed(name: str, mixed: bool, gpus: Sequence[GPU] = (A100, H100)) -> list[Listed]:
    """The kernels of a training step and of a prediction, for each of `gpus`.

    mixed: in mixed precision; otherwise in tf32 and in f32. What is not in `BENCHMARKS` has smaller
    images where it takes such.
    """
    network = network_named(name)
    types, size = network.input_types, None
    if name not in BENCHMARKS and network.small_input_type is not None:
        small = network.small_input_type
        types = (small,) if isinstance(small, str) else small
        size = int(types[0].rstrip("]").rpartition(",")[2])
    precisions = ("bf16",) if mixed else ("tf32", "f32")
    pipeline = device_pipelines(precisions[0])["any"]
    found: dict[tuple[str, str], Listed] = {}
    for graph in map(pipeline, (training_step(name, size), trace(network.build(), *types))):
        for gpu, precision in product(gpus, precisions):
            make = partial(lower, gpu=gpu, precision=precision)
            for call in build_program(graph, Pipeline(()), make).calls:
                kernel = replace(call.kernel, name="kernel")
                source, facts = kernel_source(kernel), (kernel.ops, kernel.schedule)
                new = Listed(name, precision, gpu.architecture, *facts, source)
                found.setdefault((gpu.architecture, source), new)
    return list(found.values())


def examined(kernels: Sequence[Listed], disassemble: bool = True) -> list[Examined]:
    """Kernels for one architecture, compiled together."""
    (architecture,) = {k.architecture for k in kernels}
    sources = [k.source.replace(SYMBOL, f"{SYMBOL}_{i}") for i, k in enumerate(kernels)]
    begin = time.process_time()
    code = compiled("\n".join(sources), architecture)
    seconds = (time.process_time() - begin) / len(kernels)
    wanted = disassemble and any(k.instruction for k in kernels)
    instructions = _instructions(code.cubin) if wanted else {}
    return [
        Examined(seconds, **code.resources[name], instructions=instructions.get(name, frozenset()))
        for name in (f"{SYMBOL}_{i}" for i in range(len(kernels)))
    ]


def _instructions(cubin: bytes) -> dict[str, frozenset[str]]:
    """By function, the names of the instructions in its machine code."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        tool = [_disassembler(), "-c", file.name]
        text = subprocess.run(tool, capture_output=True, text=True, check=True).stdout
    found = {}
    for section in re.split(r"\.section\s+\.text\.", text)[1:]:
        name = re.match(r"\w+", section)
        assert name is not None
        operations = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+\s+)?([A-Z][\w.]*)", section)
        found[name[0]] = frozenset(operations)
    return found


@cache
def _disassembler() -> Path:
    """NVIDIA's, of the wheel nvidia-cuda-nvdisasm."""
    import nvidia

    return next(f for path in nvidia.__path__ for f in Path(path).glob("*/bin/nvdisasm"))


def one_of_each(kernels: Iterable[Listed]) -> list[Listed]:
    """Of the kernels of each structure the longest."""
    found: dict[object, Listed] = {}
    for kernel in kernels:
        known = found.get(kernel.structure)
        if known is None or len(kernel.source) > len(known.source):
            found[kernel.structure] = kernel
    return list(found.values())

"""The CUDA backend: the same graphs on an NVIDIA graphics processor, as generated CUDA C++.

Code is made and compiled without a device; only running needs one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.loops.gpu.device import H100
from graphc.loops.gpu.lower import lower
from graphc.loops.language import Kernel
from graphc.runtime.backend import Backend, KernelSource
from graphc.runtime.object_cache import object_cache
from graphc.runtime.program import sources_of
from graphc_cuda.compile import listing
from graphc_cuda.device import Device
from graphc_cuda.driver import opened
from graphc_cuda.runner import CUDARunner
from graphc_cuda.source import kernel_source

WHEELS = ("cuda-bindings", "nvidia-cuda-nvrtc")
SHOWN = H100  # what code is shown for


class CUDABackend(Backend):
    """CUDA C++ through NVIDIA's run-time compiler."""

    name = "cuda"
    forms = ("loops", "cuda", "ptx")
    precisions = ("tf32", "f32", "bf16")

    def prepare(self, graph: Graph, threads: int | None, precision: str = "tf32") -> CUDARunner:
        return CUDARunner(graph, precision, self.device)

    def device(self) -> Device:
        """Where graphs run. Raises GraphcError if there is no such device."""
        return opened()

    def _sources(self, graph: Graph, forms: Sequence[str]) -> tuple[KernelSource, ...]:
        return sources_of(graph, partial(lower, gpu=SHOWN), partial(_source, forms=forms))

    def missing(self) -> str | None:
        try:
            self.device()
        except GraphcError as error:
            return error.what
        return None

    def describe(self) -> dict[str, Any]:
        found: dict[str, Any] = {name: _version(name) for name in WHEELS}
        if self.missing() is None:
            facts = self.device().facts
            found |= {
                "device": facts.name,
                "driver": facts.driver,
                "architecture": facts.gpu.architecture,
                "multiprocessors": facts.gpu.multiprocessors,
                "memory": f"{facts.memory_bytes / 1e9:.0f} GB",
            }
        return found | {"cache": str(object_cache() or "off")}


def _source(kernel: Kernel, forms: Sequence[str]) -> KernelSource:
    """The kernel in each of the forms."""
    code = kernel_source(kernel)
    texts = {"loops": str(kernel), "cuda": code}
    if "ptx" in forms:
        texts["ptx"] = listing(code, SHOWN.architecture)
    return KernelSource(kernel.name, {form: texts[form] for form in forms})


def _version(wheel: str) -> str:
    try:
        return version(wheel)
    except PackageNotFoundError:
        return "absent"

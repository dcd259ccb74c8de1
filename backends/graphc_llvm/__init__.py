"""The LLVM backend: loops become LLVM IR with explicit vectors, compiled in memory for the host
processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import llvmlite.binding as llvm

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.loops.language import Kernel
from graphc.passes.pipelines import backend_pipelines
from graphc.runtime.backend import Backend, KernelSource
from graphc.runtime.object_cache import object_cache
from graphc.runtime.program import sources_of
from graphc_llvm.engine import assembly, lowering, machine_of
from graphc_llvm.module import kernel_module
from graphc_llvm.runner import LLVMRunner, available_threads


class LLVMBackend(Backend):
    """Native code through llvmlite."""

    name = "llvm"
    forms = ("loops", "llvm", "asm")

    def prepare(self, graph: Graph, threads: int | None, precision: str = "f32") -> LLVMRunner:
        return LLVMRunner(graph, threads, backend_pipelines(precision))

    def check_precision(self, precision: str | None) -> str:
        precision = super().check_precision(precision)
        if precision == "bf16" and not machine_of().pairs:
            raise GraphcError(
                f"precision='bf16': this processor ({llvm.get_host_cpu_name()}) has no AVX512-BF16",
                remedy="use precision='f32': without such instructions, by shifts, ResNet-50 "
                "measured 1.5 times slower than in f32",
            )
        return precision

    def _sources(self, graph: Graph, forms: Sequence[str]) -> tuple[KernelSource, ...]:
        return sources_of(graph, lowering(machine_of()), partial(_source, forms=forms))

    def describe(self) -> dict[str, Any]:
        machine = machine_of()
        return {
            "llvmlite": version("llvmlite"),
            "llvm": ".".join(map(str, llvm.llvm_version_info)),
            "processor": llvm.get_host_cpu_name(),
            "vector_bytes": machine.vector_bytes,
            "registers": machine.registers,
            "bf16": machine.pairs,
            "threads": available_threads(),
            "cache": str(object_cache() or "off"),
        }


def _source(kernel: Kernel, forms: Sequence[str]) -> KernelSource:
    """The kernel in each of the forms."""
    text = kernel_module(kernel, llvm.get_process_triple())
    texts = {"loops": str(kernel), "llvm": text}
    if "asm" in forms:
        texts["asm"] = assembly(text)
    return KernelSource(kernel.name, {form: texts[form] for form in forms})

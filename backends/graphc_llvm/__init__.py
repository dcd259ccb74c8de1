"""The LLVM backend: loops become LLVM IR with explicit vectors, compiled in memory for the host
processor.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import llvmlite.binding as llvm

from graphc.ir.graph import Graph
from graphc.passes.pipelines import backend_pipelines
from graphc.runtime.backend import Backend
from graphc_llvm.engine import machine_of
from graphc_llvm.object_cache import object_cache
from graphc_llvm.runner import LLVMRunner, available_threads


class LLVMBackend(Backend):
    """Native code through llvmlite."""

    name = "llvm"

    def prepare(self, graph: Graph, threads: int | None) -> LLVMRunner:
        return LLVMRunner(graph, threads, backend_pipelines())

    def describe(self) -> dict[str, Any]:
        machine = machine_of()
        return {
            "llvmlite": version("llvmlite"),
            "llvm": ".".join(map(str, llvm.llvm_version_info)),
            "processor": llvm.get_host_cpu_name(),
            "vector_bytes": machine.vector_bytes,
            "registers": machine.registers,
            "threads": available_threads(),
            "cache": str(object_cache() or "off"),
        }

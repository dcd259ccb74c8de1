"""The LLVM backend: loops become LLVM IR with explicit vectors, compiled in memory for the host processor."""

from __future__ import annotations

from graphc.ir.graph import Graph
from graphc.passes.pipelines import BACKEND
from graphc.runtime.backend import Backend
from graphc_llvm.runner import LLVMRunner


class LLVMBackend(Backend):
    """Native code through llvmlite."""

    name = "llvm"

    def prepare(self, graph: Graph, threads: int | None) -> LLVMRunner:
        return LLVMRunner(graph, threads, BACKEND)

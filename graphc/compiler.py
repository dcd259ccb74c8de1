"""The driver: a graph and the name of a backend become an executable."""

from __future__ import annotations

from graphc.base.errors import GraphcError
from graphc.base.settings import NUM_THREADS
from graphc.ir.graph import Graph
from graphc.ir.layouts import ROW_MAJOR
from graphc.ir.types import TensorType
from graphc.runtime.backend import load_backend
from graphc.runtime.executable import Executable


def compile(graph: Graph, backend: str = "llvm", threads: int | None = None) -> Executable:
    """`graph` made ready to run.

    backend: "llvm" (native code), "numpy" (the interpreter that defines the meaning), or one that
    is installed.
    threads: how many to use; by default GRAPHC_NUM_THREADS, else every core the process may use.
    Results are the same bits for any number. Native code is generated at the first run of each
    variant (small and large batches). Raises GraphcError for no graph, inputs or outputs that are
    not row-major, an unknown backend or a bad number of threads.
    """
    if not isinstance(graph, Graph):
        raise GraphcError(
            f"{graph!r} is not a graph",
            remedy='trace a network or a function first: gc.compile(gc.trace(net, "f32[N,3]"))',
        )
    if threads is not None and (
        not isinstance(threads, int) or isinstance(threads, bool) or threads < 1
    ):
        raise GraphcError(
            f"threads={threads!r} is not a whole number above 0",
            remedy="give a whole number above 0, or None for all cores",
        )
    for node in (*graph.inputs, *graph.outputs):
        if isinstance(node.type, TensorType) and node.type.layout != ROW_MAJOR:
            raise GraphcError(
                f"%{graph.names[node]} : {node.type} is not row-major, as arrays are",
                remedy="relayout inside of the graph: inputs and outputs are stored batch_first",
            )
    runner = load_backend(backend).prepare(graph, threads or NUM_THREADS.integer())
    return Executable(graph, runner)

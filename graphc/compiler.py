"""The driver: a graph and the name of a backend become an executable."""

from __future__ import annotations

from graphc.base.errors import GraphcError
from graphc.base.settings import NUM_THREADS
from graphc.ir.graph import Graph
from graphc.ir.layouts import ROW_MAJOR
from graphc.ir.types import DType, TensorType
from graphc.runtime.backend import load_backend
from graphc.runtime.check_nans import NanCheck
from graphc.runtime.executable import Executable


def compile(
    graph: Graph,
    backend: str = "llvm",
    threads: int | None = None,
    precision: str | None = None,
    *,
    check_nans: bool = False,
) -> Executable:
    """`graph` made ready to run.

    backend: "llvm" (native code), "cuda" (an NVIDIA graphics processor), "numpy" (the interpreter
    that defines the meaning), or one that is installed.
    threads: how many to use; by default GRAPHC_NUM_THREADS, else every core the process may use.
    Results are the same bits for any number. Native code is generated at the first run of each
    variant (small and large batches).
    precision: of products; sums and all else stay f32. "f32"; "tf32", of numbers rounded to 10 bits
    behind the point; or "bf16", of numbers rounded to bf16 where that is faster. By default what
    suits the backend: tf32 on graphics processors, else f32.
    check_nans: a run whose result is not finite raises GraphcError, names the first node that was
    not, and changes nothing.
    Raises GraphcError for no graph, inputs or outputs that are not row-major or are bf16, an
    unknown backend or precision, one that the backend or this processor does not have, or a bad
    number of threads.
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
    check_arrays(graph)
    found = load_backend(backend)
    chosen = found.check_precision(precision)
    runner = found.prepare(graph, threads or NUM_THREADS.integer(), chosen)
    return Executable(graph, NanCheck(graph, runner) if check_nans else runner)


def check_arrays(graph: Graph) -> None:
    """Raises GraphcError unless all that goes in and comes out can be arrays."""
    for node in (*graph.inputs, *graph.outputs):
        if not isinstance(node.type, TensorType):
            continue
        if node.type.layout != ROW_MAJOR:
            raise GraphcError(
                f"%{graph.names[node]} : {node.type} is not row-major, as arrays are",
                remedy="relayout inside of the graph: inputs and outputs are stored batch_first",
            )
        if node.type.dtype is DType.bf16:
            raise GraphcError(
                f"%{graph.names[node]} : {node.type} is an input or an output, and bf16",
                remedy="cast inside of the graph: arrays have no bf16",
            )

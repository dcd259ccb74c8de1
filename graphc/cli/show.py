"""Print a network: per layer its shape, parameters, FLOPs and memory; its graph as text; the graph
after a pass or a pipeline; the training graph; the loops that become native code; or all of that
as a page for a browser."""

from __future__ import annotations

import argparse

import numpy as np

from graphc.base.arguments import check_whole
from graphc.base.errors import GraphcError
from graphc.cli.graphs import pipeline_from
from graphc.cli.networks import add_network, network_named, training_step
from graphc.cli.output import print_json, print_rich
from graphc.compiler import compile
from graphc.inspect.cost import graph_flops
from graphc.inspect.memory import step_memory
from graphc.inspect.report import report
from graphc.inspect.summary import summary
from graphc.ir.graph import Graph
from graphc.loops.lower import lower
from graphc.loops.schedule import Machine
from graphc.passes.instruments import from_settings
from graphc.passes.pipelines import BACKEND
from graphc.passes.plan_memory import schedule
from graphc.runtime.backend import load_backend
from graphc.testing.draw import random_inputs
from graphc.tracing.trace import trace

GENERATOR = "llvm"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_network(parser)
    parser.add_argument("--size", type=int, help="rows and columns of images; default: the usual")
    parser.add_argument("--train", action="store_true", help="the graph of a whole training step")
    parser.add_argument(
        "--batch-size",
        type=int,
        default=1,
        help="samples of FLOPs and bytes (default: 1)",
    )
    stage = parser.add_mutually_exclusive_group()
    stage.add_argument(
        "--after", metavar="PASSES", help='the graph after them: "fuse", or "decompose,simplify"'
    )
    stage.add_argument(
        "--loops", action="store_true", help="the kernels of the native code, as C-like text"
    )
    stage.add_argument(
        "--html",
        metavar="FILE",
        help="write a report for a browser: every pass as a drawing, gradients, kernels with their "
        "code, memory and times of a run with --batch-size samples",
    )
    parser.add_argument(
        "--batch",
        choices=tuple(BACKEND),
        default="large",
        help="--loops: for which batches (large: 16 samples and more)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints what was asked for."""
    graph = _graph(arguments)
    if arguments.loops:
        return _show_loops(graph, arguments)
    if arguments.html is not None:
        return _save_report(graph, arguments)
    if arguments.after is not None:
        changed = pipeline_from(arguments.after)(graph, from_settings())
        return _show_graph(changed, arguments)
    if arguments.train:
        return _show_graph(graph, arguments)
    step = training_step(arguments.net, arguments.size)
    found = summary(graph, memory=step_memory(step, arguments.batch_size))
    if arguments.json:
        print_json({**found.to_dict(), "text": str(graph)})
        return 0
    print_rich(graph, "", found)
    return 0


def _graph(arguments: argparse.Namespace) -> Graph:
    """The network's graph. If it does not fit its input, the layers before the one that fails are
    printed with it, and the error is raised.
    """
    name, size = arguments.net, arguments.size
    network = network_named(name, size)
    try:
        graph = trace(network.build(), *network.input_types, name=name)
    except GraphcError:
        if not arguments.json:
            print_rich(summary(network.build(), *network.input_types, name=name))
        raise
    return training_step(name, size) if arguments.train else graph


def _show_graph(graph: Graph, arguments: argparse.Namespace) -> int:
    if arguments.json:
        facts = {"graph": graph.name, "nodes": len(graph), "flops": graph_flops(graph)}
        print_json({**facts, "text": str(graph)})
        return 0
    print_rich(graph)
    return 0


def _save_report(graph: Graph, arguments: argparse.Namespace) -> int:
    """Runs the graph once on random data, so that there are kernels to time."""
    check_whole("--batch-size", arguments.batch_size)
    executable = compile(graph, backend=GENERATOR)
    executable(**random_inputs(graph, arguments.batch_size, np.random.default_rng(0)))
    work = "training step" if arguments.train else "prediction"
    found = report(executable, arguments.batch_size, GENERATOR, f"{arguments.net}, {work}")
    file = found.save(arguments.html)
    if arguments.json:
        print_json({"graph": graph.name, "report": str(file), "bytes": file.stat().st_size})
    else:
        print(file)
    return 0


def _show_loops(graph: Graph, arguments: argparse.Namespace) -> int:
    host = load_backend(GENERATOR).describe()
    machine = Machine(host["vector_bytes"], host["registers"])
    lowered = BACKEND[arguments.batch](graph, from_settings())
    steps = schedule(lowered).steps
    kernels = [(step.phase, lower(step.node, machine)) for step in steps]
    if arguments.json:
        listed = [
            {"name": k.name, "phase": phase, "ops": k.ops, "schedule": k.schedule, "text": str(k)}
            for phase, k in kernels
        ]
        print_json({"graph": graph.name, "machine": host, "kernels": listed})
        return 0
    print("\n\n".join(str(kernel) for _, kernel in kernels))
    return 0

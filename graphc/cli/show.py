"""Print a network: per layer its shape, parameters, FLOPs and memory; its graph as text; the graph
after a pass or a pipeline; the training graph; or the loops that become native code."""

from __future__ import annotations

import argparse
import re

from graphc.base.errors import GraphcError
from graphc.cli.networks import add_network, network_named, training_model
from graphc.cli.output import nearest, print_json, print_rich
from graphc.inspect.cost import graph_flops
from graphc.inspect.summary import summary
from graphc.ir.graph import Graph
from graphc.loops.lower import lower
from graphc.loops.schedule import Machine
from graphc.passes import catalog
from graphc.passes.base import PASSES, Pipeline
from graphc.passes.instruments import from_settings
from graphc.passes.pipelines import BACKEND
from graphc.passes.plan_memory import schedule
from graphc.runtime.backend import load_backend
from graphc.tracing.trace import trace

GENERATOR = "llvm"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_network(parser)
    parser.add_argument("--train", action="store_true", help="the graph of a whole training step")
    stage = parser.add_mutually_exclusive_group()
    stage.add_argument(
        "--after", metavar="PASSES", help='the graph after them: "fuse", or "decompose,simplify"'
    )
    stage.add_argument(
        "--loops", action="store_true", help="the kernels of the native code, as C-like text"
    )
    parser.add_argument(
        "--batch",
        choices=tuple(BACKEND),
        default="large",
        help="--loops: for which batches (large: 16 samples and more)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints what was asked for."""
    graph = _graph(arguments.net, arguments.train)
    if arguments.loops:
        return _show_loops(graph, arguments)
    if arguments.after is not None:
        changed = _pipeline(arguments.after)(graph, from_settings())
        return _show_graph(changed, arguments)
    if arguments.train:
        return _show_graph(graph, arguments)
    found = summary(graph)
    if arguments.json:
        print_json({**found.to_dict(), "text": str(graph)})
        return 0
    print(graph)
    print()
    print_rich(found)
    return 0


def _graph(name: str, train: bool) -> Graph:
    network = network_named(name)
    if train:
        return training_model(name, backend="numpy").graphs["train"]
    return trace(network.build(), *network.input_types, name=name)


def _pipeline(text: str) -> Pipeline:
    """The pipeline of that text. Raises GraphcError, with near names for a pass that is not."""
    catalog.load()
    for name in (part.strip() for part in re.sub(r"{[^{}]*}", "", text).split(",")):
        if name and name not in PASSES:
            raise GraphcError(f"there is no pass {name!r}", remedy=nearest(name, sorted(PASSES)))
    return Pipeline.parse(text)


def _show_graph(graph: Graph, arguments: argparse.Namespace) -> int:
    if arguments.json:
        facts = {"graph": graph.name, "nodes": len(graph), "flops": graph_flops(graph)}
        print_json({**facts, "text": str(graph)})
        return 0
    print(graph)
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

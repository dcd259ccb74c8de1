"""Run passes on a graph and print what comes out: the graph, the loops of its kernels, or the code
that a backend generates for them. What is printed is read again, so every stage can be replayed."""

from __future__ import annotations

import argparse

from graphc.cli.graphs import add_graph, add_passes, graph_from, pipeline_from
from graphc.cli.output import print_json
from graphc.ir.graph import Graph
from graphc.passes.instruments import from_settings
from graphc.runtime.backend import load_backend

GENERATORS = {"loops": "llvm", "llvm": "llvm", "asm": "llvm", "cuda": "cuda", "ptx": "cuda"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_graph(parser)
    add_passes(parser, "")
    parser.add_argument(
        "--emit",
        choices=("graph", *GENERATORS),
        default="graph",
        help="what to print (default: graph); code is of kernels, so that layers must be "
        "decomposed: -p decompose,simplify,fuse, or -p large",
    )
    parser.add_argument("--backend", help="which one generates the code (default: the form's own)")


def run(arguments: argparse.Namespace) -> int:
    """Prints the graph after the passes, or its code."""
    pipeline = pipeline_from(arguments.passes)
    graph = pipeline(graph_from(arguments.graph, arguments.train), from_settings())
    if arguments.emit != "graph":
        return _show_code(graph, arguments)
    if arguments.json:
        facts = {"graph": graph.name, "passes": str(pipeline), "nodes": len(graph)}
        print_json({**facts, "text": str(graph)})
        return 0
    print(graph)
    return 0


def _show_code(graph: Graph, arguments: argparse.Namespace) -> int:
    form = arguments.emit
    backend = load_backend(arguments.backend or GENERATORS[form])
    sources = backend.sources(graph, (form,))
    if arguments.json:
        listed = [{"name": s.kernel, "text": s.texts[form]} for s in sources]
        print_json({"graph": graph.name, "backend": backend.name, "form": form, "kernels": listed})
        return 0
    # A kernel that runs several times is one text.
    print("\n\n".join(dict.fromkeys(s.texts[form].rstrip() for s in sources)))
    return 0

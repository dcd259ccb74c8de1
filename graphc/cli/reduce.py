"""Shrink a graph that fails to the smallest that fails in the same way, and write it as a test: the
passes must keep what it computes or, with --backend, the backend must compute what the numpy oracle
does. Ends with 1 if the graph fails, as its test then does."""

from __future__ import annotations

import argparse

from graphc.cli.graphs import add_graph, add_passes, graph_from, pipeline_from
from graphc.cli.output import print_json
from graphc.testing.failure import BackendTrial, PassesTrial, Trial
from graphc.testing.reduce import reduce_failure

FAILED = 1
BATCHES = {"small": 3, "large": 17}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_graph(parser)
    add_passes(parser, "large")
    parser.add_argument("--backend", help="try a backend, not passes")
    parser.add_argument(
        "--batch", choices=tuple(BATCHES), default="large", help="--backend: of how many samples"
    )
    parser.add_argument(
        "-o", "--output", metavar="TEST", default="test_reduced.py", help="where the test goes"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the reduced graph and how it fails; returns 1 if it does."""
    graph = graph_from(arguments.graph, arguments.train)
    trial = _trial(arguments)
    if trial.failure(graph) is None:
        if arguments.json:
            print_json({"graph": graph.name, "failure": None})
        else:
            print(f"{graph.name} does not fail")
        return 0
    found = reduce_failure(graph, trial)
    file = found.write_test(arguments.output)
    if arguments.json:
        nodes = {"nodes_before": len(graph), "nodes": len(found.graph)}
        facts = {"graph": graph.name, "failure": str(found.failure), **nodes, "test": str(file)}
        print_json({**facts, "text": str(found.graph)})
        return FAILED
    nodes_left = f"{len(graph)} nodes became {len(found.graph)}"
    print(f"{found.graph}\n\n{found.failure}\n{nodes_left}; the test is in {file}")
    return FAILED


def _trial(arguments: argparse.Namespace) -> Trial:
    if arguments.backend is not None:
        return BackendTrial(arguments.backend, BATCHES[arguments.batch])
    return PassesTrial(pipeline_from(arguments.passes))

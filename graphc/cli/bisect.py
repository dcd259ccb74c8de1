"""Find the pass, or the rule inside of a pass, that changes what a graph computes: the steps of the
passes are halved until one is left, and the numpy oracle judges. Ends with 1 if one is found."""

from __future__ import annotations

import argparse

from graphc.cli.graphs import add_graph, add_passes, graph_from, pipeline_from
from graphc.cli.output import print_json
from graphc.testing.bisect import bisect
from graphc.testing.failure import PassesTrial

FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_graph(parser)
    add_passes(parser, "large")


def run(arguments: argparse.Namespace) -> int:
    """Prints the step and what it changed; returns 1 if there is one."""
    pipeline = pipeline_from(arguments.passes)
    graph = graph_from(arguments.graph, arguments.train)
    if PassesTrial(pipeline).failure(graph) is None:
        if arguments.json:
            print_json({"graph": graph.name, "passes": str(pipeline), "step": None})
        else:
            print(f"{graph.name} computes the same before and after {pipeline}")
        return 0
    found = bisect(graph, pipeline)
    if arguments.json:
        facts = {"step": found.step, "number": found.number, "of": found.of}
        difference = found.before.diff(found.after)
        print_json({"graph": graph.name, "passes": str(pipeline), **facts, "diff": difference})
    else:
        print(found)
    return FAILED

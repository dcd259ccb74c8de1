"""Graphs as commands need them: from a file, from standard input, or of a network of the zoo.

It knows the text form and the zoo; no command and no pass.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from graphc.base.errors import GraphcError
from graphc.cli.networks import network_named, training_step
from graphc.cli.output import nearest
from graphc.ir.graph import Graph
from graphc.ir.text import parse
from graphc.passes import catalog
from graphc.passes.base import PASSES, Pipeline
from graphc.passes.pipelines import BACKEND
from graphc.tracing.trace import trace
from graphc_nn.zoo import NETWORKS

STANDARD_INPUT = "-"


def add_graph(parser: argparse.ArgumentParser) -> None:
    """The argument that names a graph, and --train."""
    parser.add_argument(
        "graph",
        metavar="FILE",
        help="a graph's text, as it is printed or dumped; - for standard input; "
        "or a network of the zoo (graphc nets)",
    )
    parser.add_argument(
        "--train", action="store_true", help="of a network: the graph of a whole training step"
    )


def add_passes(parser: argparse.ArgumentParser, default: str) -> None:
    """The option -p."""
    parser.add_argument(
        "-p",
        "--passes",
        metavar="PASSES",
        default=default,
        help='such as "decompose,simplify"; small and large are those before native code, by '
        f"batch (default: {default or 'none'})",
    )


def graph_from(source: str, train: bool) -> Graph:
    """The graph that FILE names. Raises GraphcError for what is none, or cannot be read."""
    file = Path(source)
    written = source == STANDARD_INPUT or file.is_file()
    if written and train:
        raise GraphcError(
            f"--train with the text of a graph, {source!r}",
            remedy="leave it out, or give the name of a network",
        )
    if source == STANDARD_INPUT:
        return parse(sys.stdin.read())
    if written:
        try:
            return parse(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise GraphcError(
                f"cannot read {source!r}: {error}", remedy="give a file with the text of a graph"
            ) from error
    if source not in NETWORKS and not re.match(r"\d+x\d+x\d+-", source):
        raise GraphcError(
            f"there is neither a file nor a network {source!r}", remedy=nearest(source, NETWORKS)
        )
    if train:
        return training_step(source)
    network = network_named(source)
    return trace(network.build(), *network.input_types, name=source)


def pipeline_from(text: str) -> Pipeline:
    """The pipeline of that text, or of that name. Raises GraphcError, with near names for a pass
    that is not.
    """
    if text in BACKEND:
        return BACKEND[text]
    catalog.load()
    for name in (part.strip() for part in re.sub(r"{[^{}]*}", "", text).split(",")):
        if name and name not in PASSES:
            raise GraphcError(f"there is no pass {name!r}", remedy=nearest(name, sorted(PASSES)))
    return Pipeline.parse(text)

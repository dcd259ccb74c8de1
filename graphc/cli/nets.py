"""List the networks of the zoo: the input each takes, its parameters, layers and work."""

from __future__ import annotations

import argparse
from typing import Any

from graphc.cli.output import print_json, print_rich
from graphc.inspect.render import counted, scaled, table
from graphc.inspect.summary import summary
from graphc.tracing.trace import Owner, trace
from graphc.train.recipes import RECIPES
from graphc_nn.module import Layer
from graphc_nn.zoo import NETWORKS

COLUMNS = ("name", "input", "parameters", "FLOPs", "layers", "trains on", "what it is")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(arguments: argparse.Namespace) -> int:
    """Prints the table."""
    found = [_facts(name) for name in NETWORKS]
    if arguments.json:
        print_json({"nets": found})
        return 0
    rows = [
        (f["name"], " ".join(f["inputs"]), counted(f["parameters"]), scaled(f["flops"]),
         str(f["layers"]), f["data"] or "", f["description"])
        for f in found
    ]  # fmt: skip
    print_rich(table("networks of the zoo", COLUMNS, rows, numbers=COLUMNS[2:5]))
    return 0


def _facts(name: str) -> dict[str, Any]:
    network = NETWORKS[name]
    net = network.build()
    found = summary(trace(net, *network.input_types, name=name))
    return {
        "name": name,
        "inputs": list(network.input_types),
        "parameters": found.parameters,
        "flops": found.flops,
        "layers": _layers(net),
        "data": "digits" if name in RECIPES else None,
        "description": network.description,
    }


def _layers(net: object) -> int:
    """How many built-in layers there are, inside of blocks too."""
    if not isinstance(net, Owner):
        return 0
    return isinstance(net, Layer) + sum(_layers(inner) for _, inner in net.children())

"""List the passes: options with their defaults, what each does, and a line before -> after."""

from __future__ import annotations

import argparse
import textwrap

from graphc.cli.output import print_json
from graphc.passes.catalog import PassDescription, describe_passes
from graphc.passes.pipelines import BACKEND

WIDTH = 96


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(arguments: argparse.Namespace) -> int:
    """Prints every pass, and the pipelines made of them."""
    found = describe_passes()
    if arguments.json:
        pipelines = {name: str(pipeline) for name, pipeline in BACKEND.items()}
        print_json({"passes": [p.to_dict() for p in found], "pipelines": pipelines})
        return 0
    print("\n\n".join(map(_described, found)))
    print("\nbefore native code is generated:")
    for name, pipeline in BACKEND.items():
        print(f"  {name} batches: {pipeline}")
    return 0


def _described(described: PassDescription) -> str:
    options = ", ".join(f"{name}={default!r}" for name, _, default in described.options)
    lines = [described.name + (f"{{{options}}}" if options else "")]
    lines += textwrap.wrap(described.summary, WIDTH, initial_indent="  ", subsequent_indent="  ")
    lines += [f"    {line}" for line in described.example.splitlines()]
    return "\n".join(lines)

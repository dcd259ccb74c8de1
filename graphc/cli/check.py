"""Compare the gradient of every parameter of a network, in f64, with finite differences along
random directions, and print the worst relative error of each. Ends with 1 if one is too large."""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.cli.networks import add_network, training_model
from graphc.cli.output import print_json, print_rich
from graphc.inspect.render import table
from graphc.ir.graph import Graph
from graphc.testing.draw import random_inputs
from graphc.testing.gradients import check_grads

TOLERANCE = 1e-5
STEPS = (1e-5, 1e-6, 1e-7)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_network(parser)
    parser.add_argument("--backend", default="numpy", help="which one computes (default: numpy)")
    parser.add_argument("--samples", type=int, default=2, help="of the batch (default: 2)")
    parser.add_argument(
        "--directions", type=int, default=2, help="random ones for each parameter (default: 2)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, inputs and directions")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help=f"of the relative error (default: {TOLERANCE:g})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints one error for each parameter; returns 1 if any is above the tolerance."""
    for option in ("samples", "directions"):
        if getattr(arguments, option) < 1:
            raise GraphcError(
                f"--{option} {getattr(arguments, option)}", remedy="give a number above 0"
            )
    if not 0.0 < arguments.tolerance < math.inf:
        raise GraphcError(
            f"--tolerance {arguments.tolerance}", remedy="give a finite number above 0"
        )
    errors = _errors(arguments)
    worst = max(errors.values())
    passed = worst <= arguments.tolerance
    if arguments.json:
        facts = {"net": arguments.net, "tolerance": arguments.tolerance, "passed": passed}
        print_json({**facts, "worst": worst, "errors": errors})
        return 0 if passed else 1
    rows = [
        (name, f"{error:.1e}", "" if error <= arguments.tolerance else "too large")
        for name, error in errors.items()
    ]
    columns = ("parameter", "relative error", "")
    print_rich(table(f"gradients of {arguments.net}", columns, rows, numbers=columns[1:2]))
    verdict = "every gradient is right" if passed else "a gradient is wrong"
    print(f"{verdict}: the worst error is {worst:.1e}, {arguments.tolerance:g} is allowed")
    return 0 if passed else 1


def _errors(arguments: argparse.Namespace) -> dict[str, float]:
    """The worst relative error of each parameter's gradient over all directions."""
    model = training_model(arguments.net, backend=arguments.backend, seed=arguments.seed)
    evaluation = model.executable("evaluate").graph
    loss = Graph(f"loss_of_{arguments.net}", evaluation.inputs, evaluation.outputs[:1])
    worst = dict.fromkeys(model.params, 0.0)
    for direction in range(arguments.directions):
        seed = arguments.seed + direction
        drawn = random_inputs(loss, arguments.samples, np.random.default_rng(seed))
        found = _along(loss, drawn | model.params, list(worst), seed, arguments)
        worst = {name: max(worst[name], found[name]) for name in worst}
    return worst


def _along(
    loss: Graph,
    inputs: dict[str, Any],
    names: list[str],
    seed: int,
    arguments: argparse.Namespace,
) -> dict[str, float]:
    """The error along one direction for each parameter, at the step at which it is least.

    A long step runs across the kinks of ReLU and max pooling, a short one drowns in rounding. A
    right gradient agrees at one of them, a wrong one at none.
    """
    errors = dict.fromkeys(names, math.inf)
    for step in STEPS:
        wrong = [name for name in names if errors[name] > arguments.tolerance]
        if not wrong:
            break
        found = check_grads(
            loss,
            inputs,
            order=1,
            backend=arguments.backend,
            eps=step,
            seed=seed,
            wrt=wrong,
            tolerance=math.inf,  # what is too large is for the table to say, not for an error
        )
        errors |= {name: min(errors[name], found.first[name]) for name in wrong}
    return errors

"""Networks of the zoo as commands need them: by name, with a loss and an optimiser.

It knows the zoo and the recipes; no command and no backend.
"""

from __future__ import annotations

import argparse
import re
from functools import partial

from graphc.base.errors import GraphcError
from graphc.cli.output import nearest
from graphc.train.model import Model
from graphc.train.optim import SGD, Optimizer
from graphc.train.recipes import RECIPES
from graphc_nn.zoo import NETWORKS, Network, parse

WITHOUT_RECIPE = SGD(0.5)


def add_network(parser: argparse.ArgumentParser) -> None:
    """The argument that names a network."""
    parser.add_argument(
        "net",
        metavar="NET",
        help=f"one of: {', '.join(NETWORKS)}; or notation such as 1x29x29-20C4-MP2-10N",
    )


def network_named(name: str) -> Network:
    """The network of the zoo of that name, or the one that it is the notation of.

    Raises GraphcError with the near names.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    if re.match(r"\d+x\d+x\d+-", name):
        return Network(partial(parse, name), parse(name).input_type, "written in the notation")
    raise GraphcError(f"there is no network {name!r}", remedy=nearest(name, NETWORKS))


def training_model(
    name: str,
    *,
    optimizer: Optimizer | None = None,
    backend: str = "llvm",
    seed: int = 0,
    threads: int | None = None,
) -> Model:
    """The network as its recipe trains it, with its usual loss.

    optimizer: instead of the recipe's. Raises GraphcError for a network that does not exist.
    """
    network = network_named(name)
    recipe = RECIPES.get(name)
    return Model(
        network.build(),
        network.input_type,
        loss=network.loss,
        optimizer=optimizer or (WITHOUT_RECIPE if recipe is None else recipe.optimizer),
        backend=backend,
        seed=seed,
        threads=threads,
    )

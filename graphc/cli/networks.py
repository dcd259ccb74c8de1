"""Networks of the zoo as commands need them: by name, with a loss and an optimiser.

It knows the zoo and the recipes; no command and no backend.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from functools import partial

from graphc.base.errors import GraphcError
from graphc.cli.output import nearest
from graphc.ir.graph import Graph
from graphc.ir.types import TensorType, parse_type
from graphc.tracing.trace import trace_callable
from graphc.train.graphs import StepOptions, training_graph
from graphc.train.losses import loss_from
from graphc.train.model import Model
from graphc.train.optim import SGD, Optimizer
from graphc.train.recipes import RECIPES
from graphc_nn.zoo import NETWORKS, Network, parse

WITHOUT_RECIPE = SGD(0.5)
IMAGES = 4  # axes


def add_network(parser: argparse.ArgumentParser) -> None:
    """The argument that names a network."""
    parser.add_argument(
        "net",
        metavar="NET",
        help=f"one of: {', '.join(NETWORKS)}; or notation such as 1x29x29-20C4-MP2-10N",
    )


def network_named(name: str, size: int | None = None) -> Network:
    """The network of the zoo of that name, or the one that it is the notation of.

    size: rows and columns of its images, instead of the usual. Raises GraphcError with the near
    names, and for a size of what is no image.
    """
    return _named(name) if size is None else _sized(_named(name), size)


def _named(name: str) -> Network:
    if name in NETWORKS:
        return NETWORKS[name]
    if re.match(r"\d+x\d+x\d+-", name):
        return Network(partial(parse, name), parse(name).input_type, "written in the notation")
    raise GraphcError(f"there is no network {name!r}", remedy=nearest(name, NETWORKS))


def _sized(network: Network, size: int) -> Network:
    types = [parse_type(text) for text in network.input_types]
    if size < 1 or not any(isinstance(t, TensorType) and t.rank == IMAGES for t in types):
        raise GraphcError(
            f"size {size} for a network that takes {', '.join(network.input_types)}",
            remedy="give rows and columns, above 0, for a network of images [N,channels,y,x]",
        )
    sized = tuple(
        str(replace(t, shape=(*t.shape[:2], size, size)))
        if isinstance(t, TensorType) and t.rank == IMAGES
        else str(t)
        for t in types
    )
    return replace(network, input_type=sized if len(sized) > 1 else sized[0])


def training_step(name: str, size: int | None = None) -> Graph:
    """One whole training step of the network as its recipe trains it, with its usual loss: a graph
    without a model, so that nothing is allocated.
    """
    network = network_named(name, size)
    recipe = RECIPES.get(name)
    return training_graph(
        trace_callable(network.build(), network.input_types, training=True),
        loss_from(network.loss, None),
        WITHOUT_RECIPE if recipe is None else recipe.optimizer,
        "",
        StepOptions(),
    )


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

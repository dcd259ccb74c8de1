"""Train a network of the zoo by its recipe, on the digits that ship with graphc or on files of
yours, and test it. Ctrl-C ends training with the weights of the last finished step."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from graphc.base.errors import GraphcError
from graphc.cli.data_folder import read_folder
from graphc.cli.networks import add_network, network_named, training_model
from graphc.cli.output import print_json, print_rich
from graphc.inspect.figure import picture_folder
from graphc.inspect.model_pictures import save_pictures
from graphc.inspect.render import counted, scaled, table
from graphc.ir.types import parse_type
from graphc.train.dataset import Dataset
from graphc.train.history import History
from graphc.train.metrics import confusion_matrix
from graphc.train.model import Model
from graphc.train.optim import SGD
from graphc.train.progress import Lines, Progress
from graphc.train.recipes import RECIPES, Recipe
from graphc_nn.zoo import NETWORKS

INTERRUPTED = 130
WITHOUT_RECIPE = partial(Recipe, SGD(0.05, momentum=0.9), epochs=10, batch_size=64)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_network(parser)
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--batch-size", type=int, help="default: the recipe's")
    parser.add_argument("--lr", type=float, help="learning rate; default: the recipe's")
    parser.add_argument("--seed", type=int, default=0, help="of weights and shuffling (default: 0)")
    parser.add_argument("--threads", type=int, help="default: every core")
    parser.add_argument("--backend", default="llvm", help="default: llvm")
    parser.add_argument("--save", metavar="FILE", help="write the trained network there")
    parser.add_argument(
        "--log",
        metavar="FILE",
        help="add a JSON object a line for each epoch to FILE.jsonl; a FOLDER gets event files for "
        "TensorBoard",
    )
    parser.add_argument(
        "--pictures",
        metavar="FOLDER",
        help="draw there what was learnt: filters, feature maps, activations, curves, confusion "
        "and mistakes",
    )
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help="instead of the digits: MNIST's IDX files, the binary files of CIFAR-10, CIFAR-100 or "
        "STL-10, or images as train/CLASS/... and test/CLASS/..., or CLASS/...",
    )


def run(arguments: argparse.Namespace) -> int:
    """Trains, saves, tests and prints; returns 130 if Ctrl-C ended the training."""
    recipe = _recipe(arguments)
    _check_target(arguments.save)
    if arguments.pictures is not None:
        picture_folder(arguments.pictures)  # what is missing is said before the training
    begin = time.perf_counter()
    train, test = recipe.data()
    model = training_model(
        arguments.net,
        optimizer=recipe.optimizer,
        backend=arguments.backend,
        seed=arguments.seed,
        threads=arguments.threads,
    )
    built = time.perf_counter() - begin
    if not arguments.json:
        parameters = counted(_parameters(model))
        counts = f"{counted(len(train))} samples to train on, {counted(len(test))} to test"
        print(f"{arguments.net}: {parameters} parameters, {counts}", flush=True)
    begin = time.perf_counter()
    history = _fit(model, train, recipe, arguments)
    seconds = built + time.perf_counter() - begin
    if arguments.save is not None:
        model.save(arguments.save)
    facts = _facts(model, history, built) | {
        "net": arguments.net,
        "batch_size": recipe.batch_size,
        "seconds": seconds,
        "saved": arguments.save,
        "pictures": [],
    }
    if history.interrupted:
        _show(facts, arguments.json)
        return INTERRUPTED
    confusion = confusion_matrix(model.predict(test.x), test.y)
    facts["test_samples"] = len(test)
    facts["test_accuracy"] = float(confusion.trace() / confusion.sum())
    facts["confusion"] = confusion.tolist()
    if arguments.pictures is not None:
        made = save_pictures(arguments.pictures, model, history, test)
        facts["pictures"] = list(map(str, made))
    _show(facts, arguments.json)
    return 0


def _recipe(arguments: argparse.Namespace) -> Recipe:
    """The network's recipe with what the user said instead.

    Raises GraphcError for a network without data.
    """
    net, network, folder = arguments.net, network_named(arguments.net), arguments.data
    types = ", ".join(network.input_types)
    if net not in RECIPES and (folder is None or len(network.input_types) > 1):
        call = f"gc.zoo.{net}()" if net in NETWORKS else f"gc.zoo.parse({net!r})"
        raise GraphcError(
            f"graphc ships no data for {net}, which takes {types}",
            remedy=f"train it from Python: gc.Model({call}, {network.input_type!r}, "
            f'loss="{network.loss}", optimizer=gc.optim.SGD(0.05)).fit((x, y)); one for images '
            "also with --data",
        )
    recipe = RECIPES.get(net)
    if folder is not None:
        data = partial(read_folder, folder, parse_type(types))
        recipe = dataclasses.replace(recipe, data=data) if recipe else WITHOUT_RECIPE(data=data)
    assert recipe is not None
    changes: dict[str, Any] = {}
    if arguments.epochs is not None:
        changes["epochs"] = arguments.epochs
    if arguments.batch_size is not None:
        changes["batch_size"] = arguments.batch_size
    if arguments.lr is not None:
        changes["optimizer"] = dataclasses.replace(recipe.optimizer, lr=arguments.lr)
    return dataclasses.replace(recipe, **changes)


def _check_target(path: str | None) -> None:
    """Raises GraphcError if nothing can be saved at `path`: before the training, not after it."""
    if path is None:
        return
    if not Path(path).parent.is_dir() or Path(path).is_dir():
        raise GraphcError(f"cannot save to {path!r}", remedy="give a file in a folder that exists")


def _parameters(model: Model) -> int:
    """How many numbers the network holds."""
    inputs = model.graphs["forward"].inputs
    return sum(i.tensor.count() for i in inputs if i.attrs["kind"] != "data")


def _fit(model: Model, train: Dataset, recipe: Recipe, arguments: argparse.Namespace) -> History:
    """Trains. If that fails after some steps, what was learnt by then is still saved."""
    progress: Progress | str = Lines(sys.stderr) if arguments.json else "auto"
    try:
        return model.fit(
            train,
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            progress=progress,
            log=arguments.log,
        )
    except GraphcError as error:
        if arguments.save is not None and model.steps > 0:
            model.save(arguments.save)
            error.remedy = f"{error.remedy}; the last good weights are in {arguments.save}"
        raise


def _facts(model: Model, history: History, built: float) -> dict[str, Any]:
    """What there is to say of the training itself."""
    report = model.report()
    compiling = sum(report["phases"].values())
    samples = sum(epoch.samples for epoch in history.epochs)
    return {
        "test_accuracy": None,
        "epochs": len(history.epochs),
        "compile_seconds": compiling,
        "phases": {"data and graphs": built, **report["phases"]},
        "images_per_second": samples / max(sum(history.seconds) - compiling, 1e-9),
        "planned_bytes": report["planned_bytes"],
        "interrupted": history.interrupted,
        "history": history.as_dict()["epochs"],
    }


def _show(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    trained = f"{facts['epochs']} epochs in {facts['seconds']:.2f} s"
    phases = ", ".join(f"{name} {1e3 * s:.0f} ms" for name, s in facts["phases"].items())
    if facts["epochs"]:
        trained += f", {facts['images_per_second']:,.0f} images/s once compiled"
    print(f"trained         {trained}")
    print(f"compiled        in {facts['compile_seconds']:.2f} s ({phases})")
    print(f"planned memory  {scaled(facts['planned_bytes'], 'B')} for what is computed in a step")
    if facts["saved"] is not None:
        print(f"saved           {facts['saved']}")
    if facts["pictures"]:
        names = ", ".join(Path(path).name for path in facts["pictures"])
        print(f"pictures        {Path(facts['pictures'][0]).parent}: {names}")
    if facts["test_accuracy"] is None:
        return
    accuracy, samples = 100 * facts["test_accuracy"], counted(facts["test_samples"])
    print(f"test accuracy   {accuracy:.1f} % of {samples} samples")
    confusion = facts["confusion"]
    classes = [str(k) for k in range(len(confusion))]
    rows = [
        (name, *(str(count or "") for count in row))
        for name, row in zip(classes, confusion, strict=True)
    ]
    print_rich(
        table(
            "rows: what it is, columns: what it was taken for",
            ("", *classes),
            rows,
            numbers=classes,
        )
    )

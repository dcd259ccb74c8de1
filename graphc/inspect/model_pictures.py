"""Pictures of what a network has learnt: filters, feature maps, confusion, curves, mistakes, and
how the activations of its layers are distributed.

Each function writes one PNG file and gives its path; `save_pictures` writes them all. What draws is
in `pictures`; here is what is worth drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_whole
from graphc.base.errors import GraphcError
from graphc.inspect.activations import activations, layer_results
from graphc.inspect.figure import FilePath, figure, picture_folder, written
from graphc.inspect.pictures import (
    draw_curves,
    save_distributions,
    save_images,
    save_matrix,
    save_strips,
)
from graphc.ir.node import Node
from graphc.train.dataset import Dataset
from graphc.train.history import History
from graphc.train.metrics import confusion_matrix, predicted_classes
from graphc.train.model import Model

Array = np.ndarray[Any, Any]
Data = Dataset | tuple[Any, Any]
MOST_FILTERS, MOST_MAPS = 100, 12
MOST_ROWS, MOST_LAYERS = 14, 48
MOST_SAMPLES, MOST_NUMBERS = 256, 1 << 26
CONVOLUTION, PRODUCT = "conv2d", "matmul"


def save_filters(path: FilePath, model: Model, layer: str | None = None) -> Path:
    """The weights of the first convolution, a tile each; or of a dense layer that reads the image,
    the weights of each unit as an image.

    layer: another one, such as "3": each of its windows is a tile, a row for each filter. Windows
    on 3 channels are in colour; others blue below 0, red above. Raises GraphcError if no layer has
    weights that are images.
    """
    name, windows = _filters(model, layer)
    filters, channels, *extents = windows.shape
    size = "x".join(map(str, extents))
    title = f"{name}: {filters} filters of {size} on {channels} channel{'s' * (channels > 1)}"
    if channels == 3:
        return save_images(path, windows[:MOST_FILTERS], title=title)
    if channels == 1:
        columns = None
    else:
        columns = min(channels, 16)
        windows = windows[: max(MOST_FILTERS // columns, 1), :columns]
    tiles = windows.reshape(-1, *extents)[:MOST_FILTERS]
    return save_images(path, tiles, columns=columns, title=title, signed=True)


def save_feature_maps(path: FilePath, model: Model, x: Any, layer: str | None = None) -> Path:
    """What each layer makes of one image: a row for each layer that computes maps.

    x: one sample [C,H,W], or a batch, of which the first is shown. layer: all maps of this one
    instead. Raises GraphcError if no layer computes maps.
    """
    sample = _first(x)
    found = activations(model, sample, None if layer is None else [layer])
    maps = _maps(found)
    if not maps:
        raise GraphcError(
            f"no layer of {', '.join(found)} computes maps",
            remedy="give a network of images with convolutions, or another layer",
        )
    if layer is None:
        return _save_rows(path, sample[0], maps)
    name, array = next(iter(maps.items()))
    return save_images(path, array, title=_described(name, array).replace("\n", ": "))


def save_confusion(
    path: FilePath, model: Model, data: Data, names: Sequence[str] | None = None
) -> Path:
    """How often samples of the row's class were taken for the column's. names: of the classes."""
    answers = _answers(model, data, names)
    counts = confusion_matrix(answers.scores, answers.labels)
    right = 100 * counts.trace() / counts.sum()
    return save_matrix(
        path,
        counts,
        names,
        x="taken for",
        y="what it is",
        title=f"{right:.1f} % of {counts.sum():,} samples right",
    )


def save_history(path: FilePath, history: History) -> Path:
    """Loss, and accuracy if there is one, epoch by epoch. Raises GraphcError without an epoch."""
    if not history.epochs:
        raise GraphcError("a history of no epochs", remedy="train before the picture is made")
    panels: dict[str, dict[str, Any]] = {
        "loss": {"training": history.loss, "validation": history.validation_loss},
        "accuracy": {"training": history.accuracy, "validation": history.validation_accuracy},
    }
    shown = {
        what: {n: values for n, values in curves.items() if None not in values}
        for what, curves in panels.items()
    }
    shown = {what: curves for what, curves in shown.items() if curves}
    made = figure(4.2 * len(shown), 3.2)
    for k, (what, curves) in enumerate(shown.items()):
        axes = made.add_subplot(1, len(shown), k + 1)
        draw_curves(axes, curves, "epoch", what)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if history.best_epoch is not None:
            axes.axvline(history.best_epoch, color="0.6", linestyle=":", linewidth=1)
    return written(made, path, "")


def save_misclassified(
    path: FilePath,
    model: Model,
    data: Data,
    count: int = 25,
    names: Sequence[str] | None = None,
) -> Path:
    """The images that the model gets wrong, the surest mistakes first: "7 as 1, 98 %".

    count: how many at the most. names: of the classes. If there is no mistake the picture says so.
    Raises GraphcError for data that are no images.
    """
    check_whole("count", count)
    answers = _answers(model, data, names)
    mistakes = np.flatnonzero(answers.taken_for != answers.labels)
    total = f"{len(mistakes):,} of {len(answers.labels):,} samples wrong"
    if not len(mistakes):
        made = figure(4.0, 1.0)
        made.text(0.5, 0.5, total, horizontalalignment="center", verticalalignment="center")
        return written(made, path, "")
    surest = mistakes[np.argsort(-answers.sureness[mistakes], kind="stable")][:count]
    captions = []
    for k in surest:
        true, taken = int(answers.labels[k]), int(answers.taken_for[k])
        texts = (true, taken) if names is None else (names[true], names[taken])
        captions.append(f"{texts[0]} as {texts[1]}, {answers.sureness[k]:.0%}")
    images = Dataset.of(data).inputs[0][surest]
    return save_images(path, images, captions=captions, title=total)


def save_activations(path: FilePath, model: Model, x: Any) -> Path:
    """How the results of each layer are distributed over a batch x: dying signals gather at one
    value, saturated ones at the ends.
    """
    return _save_distributions(path, activations(model, x))


def save_pictures(folder: FilePath, model: Model, history: History, data: Data) -> tuple[Path, ...]:
    """Every picture that the network has, into a folder that is made if need be; their paths.

    data: samples that were not trained on. Images give feature maps and mistakes, classes a
    confusion matrix.
    """
    target = picture_folder(folder)
    samples = Dataset.of(data)
    images, labels = samples.inputs[0], samples.targets[0]
    found = activations(model, samples.take(slice(0, _batch(model)))[0])
    maps = _maps(found)
    made = [_save_distributions(target / "activations.png", found)]
    if history.epochs:
        made.append(save_history(target / "history.png", history))
    if _weights_as_images(model):
        made.append(save_filters(target / "filters.png", model))
    if images.ndim == 4 and maps:
        made.append(_save_rows(target / "feature_maps.png", images[0], maps))
    if labels.ndim == 1 and labels.dtype.kind in "iu":
        made.append(save_confusion(target / "confusion.png", model, samples))
        if images.ndim == 4:
            made.append(save_misclassified(target / "misclassified.png", model, samples))
    return tuple(made)


# -- what there is to draw -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Answers:
    """What a model says of samples: scores [n,classes], the class it takes each for, how sure it is
    of that (0 to 1), and what each is.
    """

    scores: Array
    taken_for: Array
    sureness: Array
    labels: Array


def _answers(model: Model, data: Data, names: Sequence[str] | None) -> _Answers:
    """Raises GraphcError for a model that gives no scores of classes, or not as many as `names`."""
    samples = Dataset.of(data)
    scores = model.predict(samples.x)
    if isinstance(scores, tuple) or scores.ndim != 2:
        shown = "several outputs" if isinstance(scores, tuple) else f"an output {scores.shape}"
        raise GraphcError(
            f"{shown} where scores of classes are needed", remedy="give a network that classifies"
        )
    if names is not None and len(names) != scores.shape[1]:
        raise GraphcError(
            f"{len(names)} names for {scores.shape[1]} classes", remedy="give one for each class"
        )
    taken = predicted_classes(scores)
    sureness = _probabilities(scores)[np.arange(len(scores)), taken]
    return _Answers(scores, taken, sureness, predicted_classes(samples.targets[0]))


def _probabilities(scores: Array) -> Array:
    """The softmax of scores; probabilities stay what they are."""
    if scores.min() >= 0 and np.allclose(scores.sum(axis=1), 1.0, atol=1e-4):
        return scores
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: Array = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def _filters(model: Model, layer: str | None) -> tuple[str, Array]:
    """(layer, its windows [filters,channels,h,w]), of the first that has any if none is named."""
    found = _weights_as_images(model)
    if layer is None and found:
        return next(iter(found.items()))
    if layer is None or layer not in found:
        raise GraphcError(
            "no layer has windows to draw" if layer is None else f"{layer!r} has no windows",
            remedy=f"layers that have: {', '.join(found)}"
            if found
            else "give a network of images with convolutions",
        )
    return layer, found[layer]


def _weights_as_images(model: Model) -> dict[str, Array]:
    """The weights of convolutions, and of dense layers that read an image, by layer."""
    forward = model.graphs["forward"]
    images = [
        tuple(map(int, i.tensor.shape[1:]))  # type: ignore[arg-type]
        for i in forward.inputs
        if i.attrs["kind"] == "data" and i.tensor.rank == 4
    ]
    found: dict[str, Array] = {}
    for node in forward.nodes:
        weight = _weight_of(node)
        if weight is None:
            continue
        layer, array = weight.attrs["name"].rpartition(".")[0], model.params[weight.attrs["name"]]
        fitting = [image for image in images if np.prod(image) == array[0].size]
        if array.ndim == 4 and max(array.shape[2:]) > 1:
            found.setdefault(layer, array)
        elif array.ndim == 2 and fitting:
            found.setdefault(layer, array.reshape(len(array), *fitting[0]))
    return found


def _weight_of(node: Node) -> Node | None:
    """The parameter that a convolution or a dense layer multiplies with."""
    if node.op.name not in (CONVOLUTION, PRODUCT):
        return None
    weight = node.inputs[1]
    if node.op.name == PRODUCT and weight.op.name == "transpose":
        weight = weight.inputs[0]
    return weight if weight.op.name == "input" and weight.attrs["kind"] == "parameter" else None


def _first(x: Any) -> Array:
    """The first sample of x as a batch [1,C,H,W]."""
    array = as_numbers("the input", x)
    if array.ndim not in (3, 4) or not len(array):
        raise GraphcError(
            f"an input of shape {list(array.shape)} is no image",
            remedy="give one image [C,H,W], or a batch [N,C,H,W]",
        )
    return array[:1] if array.ndim == 4 else array[None]


def _batch(model: Model) -> int:
    """How many samples to look at, so that all their activations fit into memory with ease."""
    results = layer_results(model.graphs["forward"]).values()
    each = sum(node.tensor.count(1) for node in results)
    return min(max(MOST_NUMBERS // max(each, 1), 1), MOST_SAMPLES)


def _maps(found: dict[str, Array]) -> dict[str, Array]:
    """Of layers that compute images, those of the first sample."""
    return {name: array[0] for name, array in found.items() if array.ndim == 4}


def _save_rows(path: FilePath, image: Array, maps: dict[str, Array]) -> Path:
    """The image, and below it the maps of each layer."""
    shown = {"the image": image[None] if len(image) == 3 else image[:1]}
    for name, array in _spread(maps, MOST_ROWS).items():
        shown[_described(name, array)] = array
    return save_strips(path, shown, columns=MOST_MAPS)


def _save_distributions(path: FilePath, found: dict[str, Array]) -> Path:
    """Histograms with mean and deviation, and the share of zeros where there are many."""
    shown = _spread(found, MOST_LAYERS)
    captions = []
    for array in shown.values():
        zeros = float((array == 0).mean())
        dead = f", {zeros:.0%} zero" if zeros >= 0.01 else ""
        captions.append(f"{array.mean():.3g} \N{PLUS-MINUS SIGN} {array.std():.3g}{dead}")
    return save_distributions(path, shown, captions=captions, title="activations, layer by layer")


def _spread(layers: dict[str, Array], most: int) -> dict[str, Array]:
    """All layers; of more than `most` so many, evenly spread, the first and the last included."""
    kept = np.unique(np.linspace(0, len(layers) - 1, most).round().astype(int))
    return {name: layers[name] for name in np.array(list(layers))[kept].tolist()}


def _described(name: str, maps: Array) -> str:
    count, height, width = maps.shape
    return f"{name}\n{count} of {height}x{width}"

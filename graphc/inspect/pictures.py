"""Pictures of what a network has learnt, as PNG files: tiles of images, curves, histograms, boxes.

Drawn with matplotlib, the extra ``graphc[pictures]``; no window is opened and no global state is
touched. Knows arrays only, no models.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, as_path, check_whole
from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]
FilePath = str | os.PathLike[str]
DOTS_PER_INCH = 120
LABEL = {
    "color": "white",
    "fontsize": 6,
    "verticalalignment": "top",
    "bbox": {"facecolor": "tab:red", "edgecolor": "none", "pad": 1},
}


def save_images(
    path: FilePath,
    images: Any,
    *,
    columns: int | None = None,
    captions: Sequence[str] | None = None,
    title: str = "",
    together: bool = False,
) -> Path:
    """Images side by side: [n,h,w] and [n,1,h,w] in grey, [n,3,h,w] in colour; the path written.

    columns: tiles in a row, by default as square as it goes. captions: a line above each tile.
    together: one range of grey for all, instead of each tile's own. Colours are brought from the
    range of all images to 0..1. Raises GraphcError for arrays that are no images.
    """
    tiles = _tiles(images)
    count = len(tiles)
    if captions is not None and len(captions) != count:
        raise GraphcError(
            f"{len(captions)} captions for {count} images", remedy="give one for each image"
        )
    across = math.ceil(math.sqrt(count)) if columns is None else columns
    check_whole("columns", across)
    down = -(-count // across)
    height = 1.25 if captions else 1.05
    figure = _figure((max(1.05 * across, 2.0), height * down + (0.4 if title else 0.1)))
    low, high = (float(tiles.min()), float(tiles.max())) if together else (None, None)
    for k, tile in enumerate(tiles):
        axes = figure.add_subplot(down, across, k + 1)
        axes.imshow(tile, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set_axis_off()
        if captions is not None:
            axes.set_title(captions[k], fontsize=7, pad=2)
    return _written(figure, path, title)


def save_curves(
    path: FilePath,
    curves: Mapping[str, Any],
    *,
    x: str = "",
    y: str = "",
    title: str = "",
    logarithmic: bool = False,
) -> Path:
    """One line a name, each a sequence of values or a pair (xs, ys); the path written.

    x, y: what the axes are. logarithmic: the scale of y. Raises GraphcError if there is none.
    """
    if not isinstance(curves, Mapping) or not curves:
        raise GraphcError(f"{curves!r} are no curves to draw", remedy="give {name: values}")
    figure = _figure((6.0, 3.8))
    axes = figure.add_subplot()
    for name, values in curves.items():
        pair = isinstance(values, tuple)
        xs, ys = values if pair else (range(1, len(values) + 1), values)
        axes.plot(xs, ys, marker="o", markersize=3, label=name)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_yscale("log" if logarithmic else "linear")
    axes.grid(alpha=0.3)
    axes.legend()
    return _written(figure, path, title)


def save_histograms(
    path: FilePath, values: Mapping[str, Mapping[str, Any]], *, title: str = "", bins: int = 41
) -> Path:
    """A row of histograms for each name, such as one a layer: {row: {column: values}}.

    The histograms of a row share their range. Raises GraphcError if there is nothing to draw.
    """
    check_whole("bins", bins)
    if not isinstance(values, Mapping) or not all(isinstance(v, Mapping) for v in values.values()):
        raise GraphcError(
            f"{type(values).__name__} is no table of values", remedy="give {row: {column: values}}"
        )
    rows = {name: dict(columns) for name, columns in values.items()}
    if not rows or not all(rows.values()):
        raise GraphcError(
            f"there are no values to draw in {rows}", remedy="give {row: {column: values}}"
        )
    across = max(map(len, rows.values()))
    figure = _figure((1.3 * across + 0.8, 1.35 * len(rows) + 0.5))
    for r, (name, columns) in enumerate(rows.items()):
        arrays = {c: np.asarray(a, np.float64).ravel() for c, a in columns.items()}
        reach = max(float(np.abs(a).max()) for a in arrays.values()) or 1.0
        for c, (column, array) in enumerate(arrays.items()):
            axes = figure.add_subplot(len(rows), across, r * across + c + 1)
            axes.hist(array, bins=bins, range=(-reach, reach), color="tab:blue")
            axes.set_yticks([])
            axes.tick_params(labelsize=6)
            axes.set_title(column, fontsize=7, pad=2)
            if c == 0:
                axes.set_ylabel(name, fontsize=7)
    return _written(figure, path, title)


def save_boxes(
    path: FilePath,
    images: Any,
    boxes: Sequence[Any],
    labels: Sequence[Sequence[str]],
    *,
    title: str = "",
) -> Path:
    """Images side by side with labelled boxes (x1, y1, x2, y2) over them; the path written.

    boxes: [k,4] for each image, in pixels; column j covers j to j + 1. labels: a text for each box
    of each image. Raises GraphcError if their numbers differ.
    """
    tiles = _tiles(images)
    counts = [len(b) for b in boxes], [len(t) for t in labels]
    if len(boxes) != len(tiles) or counts[0] != counts[1]:
        raise GraphcError(
            f"{len(tiles)} images with {counts[0]} boxes and {counts[1]} labels",
            remedy="give an array of boxes and as many labels for each image",
        )
    patches = _matplotlib("patches")
    across = min(len(tiles), 4)
    down = -(-len(tiles) // across)
    figure = _figure((2.4 * across, 2.4 * down + 0.4))
    for k, tile in enumerate(tiles):
        axes = figure.add_subplot(down, across, k + 1)
        axes.imshow(tile, cmap="gray", interpolation="nearest")
        axes.set_axis_off()
        for (x1, y1, x2, y2), label in zip(np.asarray(boxes[k]), labels[k], strict=True):
            corner = x1 - 0.5, y1 - 0.5  # imshow has the middle of the first pixel at 0
            frame = patches.Rectangle(corner, x2 - x1, y2 - y1, fill=False, edgecolor="tab:red")
            axes.add_patch(frame)
            axes.text(*corner, label, **LABEL)
    return _written(figure, path, title)


def _tiles(images: Any) -> Array:
    """[n,h,w] for grey images, [n,h,w,3] within 0..1 for colour."""
    array = as_numbers("the images", images)
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    colour = array.ndim == 4 and array.shape[1] == 3
    if not (colour or array.ndim == 3) or array.size == 0 or array.dtype.kind not in "fiub":
        raise GraphcError(
            f"an array of {array.dtype}{list(array.shape)} is no row of images",
            remedy="give [n,h,w], [n,1,h,w] or [n,3,h,w], at least one image",
        )
    if not colour:
        return array.astype(np.float64)
    low, high = float(array.min()), float(array.max())
    scaled = (array - low) / ((high - low) or 1.0)
    return np.moveaxis(scaled, 1, 3)


def _figure(inches: tuple[float, float]) -> Any:
    return _matplotlib("figure").Figure(figsize=inches, dpi=DOTS_PER_INCH, layout="constrained")


def _matplotlib(module: str) -> Any:
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError as error:
        raise GraphcError(
            f"pictures need matplotlib, which cannot be imported: {error}",
            remedy='pip install "graphc[pictures]"',
        ) from error


def _written(figure: Any, path: FilePath, title: str) -> Path:
    if title:
        figure.suptitle(title, fontsize=9)
    target = as_path(path)
    try:
        figure.savefig(target, format="png", metadata={"Software": None})
    except OSError as error:
        raise GraphcError(
            f"cannot write {str(path)!r}: {error.strerror}",
            remedy="give a file in a folder that exists and may be written to",
        ) from error
    return target

"""Pictures of arrays, as PNG files: tiles of images, curves, histograms, boxes, matrices.

Drawn with matplotlib, the extra ``graphc[pictures]``. Knows arrays only, no models: those are in
`model_pictures`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_whole
from graphc.base.errors import GraphcError
from graphc.inspect.figure import FilePath, figure, matplotlib, page, place, plain, written

Array = np.ndarray[Any, Any]
STRIP = 64  # pixels: a tile of a strip has at least as many
TILE, GAP, CAPTION, NAMES = 0.9, 0.09, 0.2, 1.3  # inches; of strips, the names in front
NARROWEST = 2.4  # inches: a title needs some room
PANEL = 2.2, 1.6  # inches of a histogram, its name and its axis
NUMBERED = 30  # rows: the numbers of a larger matrix could not be read
COUNT = {"fontsize": 6, "horizontalalignment": "center", "verticalalignment": "center"}
NAME = {"fontsize": 7, "horizontalalignment": "right", "verticalalignment": "center"}
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
    signed: bool = False,
) -> Path:
    """Images side by side: [n,h,w] and [n,1,h,w] in grey, [n,3,h,w] in colour; the path written.

    columns: tiles in a row, by default as square as it goes. captions: a line above each tile.
    together: one range of grey for all, instead of each tile's own. signed: one range for all but
    rare extremes, blue below 0, white at 0, red above. Colours are brought from the range of all
    images to 0..1. Raises GraphcError for arrays that are no images.
    """
    tiles = _tiles(images)
    count = len(tiles)
    if captions is not None and len(captions) != count:
        raise GraphcError(
            f"{len(captions)} captions for {count} images", remedy="give one for each image"
        )
    across = math.ceil(math.sqrt(count)) if columns is None else columns
    check_whole("columns", across)
    reach = float(np.quantile(np.abs(tiles), 0.995)) or 1.0
    low, high = (float(tiles.min()), float(tiles.max())) if together else (None, None)
    colours = (
        {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}
        if signed
        else {"cmap": "gray", "vmin": low, "vmax": high}
    )
    high_tile = TILE * tiles.shape[1] / tiles.shape[2]
    step = high_tile + GAP + (CAPTION if captions else 0.0)
    tiled, height = across * (TILE + GAP) - GAP, -(-count // across) * step + GAP
    width = max(tiled, NARROWEST) + 2 * GAP
    made = page(width, height, title)
    for k, tile in enumerate(tiles):
        row, column = divmod(k, across)
        left = (width - tiled) / 2 + column * (TILE + GAP)
        axes = place(made, left, height - (row + 1) * step, TILE, high_tile)
        axes.imshow(tile, interpolation="nearest", **colours)
        if captions is not None:
            axes.set_title(captions[k], fontsize=7, pad=3)
    return written(made, path, "")


def save_strips(
    path: FilePath, strips: Mapping[str, Any], *, columns: int = 12, title: str = ""
) -> Path:
    """A row of tiles for each name, each tile over its own range: {name: [n,h,w]}.

    columns: how many tiles a row shows of those it has. Raises GraphcError for what is no row of
    images.
    """
    check_whole("columns", columns)
    rows = {name: _tiles(images)[:columns] for name, images in strips.items()}
    if not rows:
        raise GraphcError("there are no rows to draw", remedy="give {name: [n,h,w]}")
    across = max(map(len, rows.values()))
    heights = [TILE * tiles.shape[1] / tiles.shape[2] for tiles in rows.values()]
    width, bottom = NAMES + across * TILE + GAP, sum(heights) + len(rows) * GAP + GAP
    made = page(width, bottom, title)
    for (name, tiles), high_tile in zip(rows.items(), heights, strict=True):
        bottom -= high_tile + GAP
        axes = place(made, NAMES, bottom, across * TILE, high_tile)
        colours = "gray" if len(tiles) == 1 else "viridis"
        axes.imshow(_strip(tiles, across), cmap=colours, vmin=0, vmax=1, interpolation="nearest")
        axes.text(-GAP / TILE / across, 0.5, name, transform=axes.transAxes, **NAME)
    return written(made, path, "")


def _strip(tiles: Array, across: int) -> Array:
    """Tiles side by side with gaps, each brought to 0..1; as wide as `across` of them."""
    height, width = tiles.shape[1:3]
    times = -(-STRIP // max(height, width))  # small tiles grow, so that gaps are equally narrow
    gap = STRIP // 16 * max(times * max(height, width) // STRIP, 1)
    step = times * width + gap
    colours = tiles.shape[3:]
    strip = np.full((times * height, across * step - gap, *colours), 1.0 if colours else np.nan)
    for k, tile in enumerate(tiles):
        low, high = float(tile.min()), float(tile.max())
        even = (tile - low) / ((high - low) or 1.0)
        grown = even.repeat(times, axis=0).repeat(times, axis=1)
        strip[:, k * step : k * step + times * width] = grown
    return strip


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
    made = figure(6.0, 3.8)
    axes = made.add_subplot()
    draw_curves(axes, curves, x, y)
    axes.set_yscale("log" if logarithmic else "linear")
    return written(made, path, title)


def draw_curves(axes: Any, curves: Mapping[str, Any], x: str, y: str) -> None:
    """The lines of `save_curves` on axes of matplotlib."""
    for name, values in curves.items():
        pair = isinstance(values, tuple)
        xs, ys = values if pair else (range(1, len(values) + 1), values)
        axes.plot(xs, ys, marker="o", markersize=3, label=name)
    plain(axes)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)


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
    made = figure(1.3 * across + 0.8, 1.35 * len(rows) + 0.5)
    for r, (name, columns) in enumerate(rows.items()):
        arrays = {c: np.asarray(a, np.float64).ravel() for c, a in columns.items()}
        reach = max(float(np.abs(a).max()) for a in arrays.values()) or 1.0
        for c, (column, array) in enumerate(arrays.items()):
            axes = made.add_subplot(len(rows), across, r * across + c + 1)
            axes.hist(array, bins=bins, range=(-reach, reach), color="tab:blue")
            axes.set_yticks([])
            axes.tick_params(labelsize=6)
            axes.set_title(column, fontsize=7, pad=2)
            if c == 0:
                axes.set_ylabel(name, fontsize=7)
    return written(made, path, title)


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
    patches = matplotlib("patches")
    across = min(len(tiles), 4)
    down = -(-len(tiles) // across)
    made = figure(2.4 * across, 2.4 * down + 0.4)
    for k, tile in enumerate(tiles):
        axes = made.add_subplot(down, across, k + 1)
        axes.imshow(tile, cmap="gray", interpolation="nearest")
        axes.set_axis_off()
        for (x1, y1, x2, y2), label in zip(np.asarray(boxes[k]), labels[k], strict=True):
            corner = x1 - 0.5, y1 - 0.5  # imshow has the middle of the first pixel at 0
            frame = patches.Rectangle(corner, x2 - x1, y2 - y1, fill=False, edgecolor="tab:red")
            axes.add_patch(frame)
            axes.text(*corner, label, **LABEL)
    return written(made, path, title)


def save_matrix(
    path: FilePath,
    counts: Any,
    names: Sequence[str] | None = None,
    *,
    x: str = "",
    y: str = "",
    title: str = "",
) -> Path:
    """A square matrix of counts, [n,n], each row coloured by its shares; the path written.

    The diagonal, what is right, is blue; all else is red. names: of the rows and columns, else
    their numbers. x, y: what columns and rows are. Raises GraphcError for what is no such matrix.
    """
    table = as_numbers("the counts", counts)
    size = len(table) if table.ndim else 0
    if table.shape != (size, size) or not size or (names is not None and len(names) != size):
        raise GraphcError(
            f"counts of shape {list(table.shape)}"
            + (f" with {len(names)} names" if names is not None else ""),
            remedy="give a square matrix [n,n], and a name for each row",
        )
    labels = [str(k) for k in range(size)] if names is None else names
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    right = np.eye(size, dtype=bool)
    side = min(max(0.36 * size, 3.0), 12.0)
    made = figure(side + 0.8, side + 0.8)
    axes = made.add_subplot()
    axes.imshow(np.where(right, shares, np.nan), cmap="Blues", vmin=0, vmax=1)
    # An error is rare: a tenth of a row in one wrong place is as strong as it gets.
    axes.imshow(np.where(right | (table == 0), np.nan, shares), cmap="Reds", vmin=-0.02, vmax=0.1)
    if size <= NUMBERED:
        for row, column in zip(*np.nonzero(table), strict=True):
            strong = 0.5 if row == column else 0.06
            colour = "white" if shares[row, column] > strong else "black"
            axes.text(column, row, f"{table[row, column]:g}", color=colour, **COUNT)
        axes.set_xticks(range(size), labels, rotation=90 if max(map(len, labels)) > 2 else 0)
        axes.set_yticks(range(size), labels)
    axes.tick_params(labelsize=7, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(which="minor", color="0.9", linewidth=0.5)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    return written(made, path, title)


def save_distributions(
    path: FilePath,
    values: Mapping[str, Any],
    *,
    captions: Sequence[str] | None = None,
    columns: int = 4,
    title: str = "",
    bins: int = 61,
) -> Path:
    """A histogram for each name, each over its own range, in rows of `columns`; the path written.

    captions: a line below each name. Raises GraphcError if there is nothing to draw.
    """
    check_whole("bins", bins)
    check_whole("columns", columns)
    arrays = {name: as_numbers(name, array).ravel() for name, array in values.items()}
    if not arrays or not all(a.size and np.isfinite(a).all() for a in arrays.values()):
        raise GraphcError(
            f"there are no finite values to draw in {list(arrays)}", remedy="give {name: values}"
        )
    across = min(columns, len(arrays))
    down = -(-len(arrays) // across)
    made = page(across * PANEL[0], down * PANEL[1], title)
    for k, (name, array) in enumerate(arrays.items()):
        row, column = divmod(k, across)
        left, bottom = column * PANEL[0] + 0.1, (down - 1 - row) * PANEL[1] + 0.25
        axes = place(made, left, bottom, PANEL[0] - 0.2, PANEL[1] - 0.65)
        axes.set_axis_on()
        axes.hist(array, bins=bins, color="tab:blue", linewidth=0)
        plain(axes)
        axes.spines["left"].set_visible(False)
        axes.set_yticks([])
        caption = f"\n{captions[k]}" if captions is not None else ""
        axes.set_title(name + caption, fontsize=7, pad=4)
    return written(made, path, "")


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

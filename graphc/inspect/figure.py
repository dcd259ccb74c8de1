"""How a picture begins and ends: a figure of matplotlib, and its PNG file.

matplotlib is the extra ``graphc[pictures]``, loaded when it is used. No window is opened and no
global state is touched.
"""

from __future__ import annotations

import importlib
import io
import os
from pathlib import Path
from typing import Any

from graphc.base.arguments import as_path
from graphc.base.errors import GraphcError
from graphc.base.files import write_file

FilePath = str | os.PathLike[str]
DOTS_PER_INCH = 120
HEADING = 0.35  # inches


def figure(width: float, height: float) -> Any:
    """An empty figure of so many inches."""
    made = matplotlib("figure").Figure(figsize=(width, height), dpi=DOTS_PER_INCH)
    made.set_layout_engine("constrained")
    return made


def page(width: float, height: float, title: str) -> Any:
    """An empty figure on which `place` puts things, below a title if there is one; `height` is
    without it.
    """
    made = figure(width, height + (HEADING if title else 0.0))
    made.set_layout_engine("none")
    if title:
        y = 1 - 0.5 * HEADING / made.get_figheight()
        made.text(0.5, y, title, fontsize=9, ha="center", va="center")
    return made


def place(page: Any, left: float, bottom: float, width: float, height: float) -> Any:
    """Axes without a frame on a page, at so many inches from its lower left corner."""
    across, up = page.get_size_inches()
    axes = page.add_axes((left / across, bottom / up, width / across, height / up))
    axes.set_axis_off()
    return axes


def picture_folder(path: FilePath) -> Path:
    """A folder for pictures, made if need be. Raises GraphcError if nothing could be drawn there,
    to be asked before there is much to lose.
    """
    matplotlib("figure")
    target = as_path(path)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GraphcError(
            f"cannot make the folder {str(path)!r}: {error.strerror}",
            remedy="give a folder in one that may be written to",
        ) from error
    return target


def matplotlib(module: str) -> Any:
    """A module of matplotlib. Raises GraphcError if it is not installed."""
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError as error:
        raise GraphcError(
            f"pictures need matplotlib, which cannot be imported: {error}",
            remedy='pip install "graphc[pictures]"',
        ) from error


def written(figure: Any, path: FilePath, title: str) -> Path:
    """Writes the figure under a title, as PNG. Raises GraphcError if that cannot be done."""
    if title:
        figure.suptitle(title, fontsize=9)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return write_file(path, picture.getvalue())


def plain(axes: Any) -> None:
    """Leaves of a frame what is read: the left and the lower side, and small numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7)

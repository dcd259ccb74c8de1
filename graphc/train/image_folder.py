"""A reader of folders of images, one folder for each class, decoded by Pillow.

Pillow is an optional extra, loaded when the first folder is read. Knows no data set and no network.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from graphc.base.arguments import as_path
from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]
MODES = {1: "L", 3: "RGB"}
WIDE_MODES = ("I", "F")  # more than eight bits a channel: a conversion would cut values off


def read_images(
    folder: str | os.PathLike[str],
    size: int | tuple[int, int] | None = None,
    channels: int = 3,
) -> tuple[Any, Array, tuple[str, ...]]:
    """(images, labels i32[n], names of the classes) of a folder that holds one folder for each
    class.

    Classes are sorted by name, and files by name within each. size: (height, width), or one number
    for both: each image is cut in its middle to that shape and resized; images are
    u8[n,channels,height,width]. Without it they stay as large as they are: a list of
    u8[channels,height,width]. channels: 3 for red, green and blue, 1 for grey; transparency is
    dropped. Names that begin with a dot, and files beside the folders, are passed over. Needs
    Pillow. Raises GraphcError naming the file that cannot be read, and for folders without images.
    """
    target = _checked_size(size)
    if channels not in MODES:
        raise GraphcError(
            f"read_images: channels {channels!r}", remedy="give 3 for colours, or 1 for grey"
        )
    classes = _classes(as_path(folder))
    pillow = _pillow()
    images: list[Array] = []
    labels: list[int] = []
    for label, room in enumerate(classes):
        for path in _files(room):
            images.append(_decoded(pillow, path, target, MODES[channels]))
            labels.append(label)
    names = tuple(room.name for room in classes)
    return images if target is None else np.stack(images), np.array(labels, np.int32), names


def _classes(root: Path) -> list[Path]:
    if not root.is_dir():
        raise GraphcError(f"{str(root)!r} is no folder", remedy="give the path of a folder")
    found = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not found:
        raise GraphcError(
            f"{str(root)!r} holds no folders",
            remedy="put the images of each class into a folder named after it",
        )
    return found


def _files(room: Path) -> list[Path]:
    found = sorted(p for p in room.iterdir() if not p.name.startswith("."))
    if not found:
        raise GraphcError(
            f"the class {str(room)!r} holds no image", remedy="put images there, or remove it"
        )
    return found


def _pillow() -> Any:
    """Pillow's modules. Raises GraphcError if it is not installed."""
    try:
        importlib.import_module("PIL.Image")
        importlib.import_module("PIL.ImageOps")
        return importlib.import_module("PIL")
    except ImportError as error:
        raise GraphcError(
            f"images are read with Pillow, which is not there: {error}",
            remedy="pip install graphc[images]",
        ) from error


def _decoded(pillow: Any, path: Path, size: tuple[int, int] | None, mode: str) -> Array:
    """u8[channels,height,width]."""
    try:
        with pillow.Image.open(path) as image:
            if image.mode.startswith(WIDE_MODES):
                raise ValueError(f"its pixels are {image.mode}, of more than eight bits")
            upright = pillow.ImageOps.exif_transpose(image).convert(mode)
    except (OSError, SyntaxError, ValueError, pillow.Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise GraphcError(
            f"{str(path)!r} cannot be read as an image: {reason}",
            remedy="remove it, or convert it to PNG or JPEG with eight bits a channel",
        ) from error
    if size is not None:
        upright = pillow.ImageOps.fit(upright, size[::-1], pillow.Image.Resampling.BICUBIC)
    pixels = np.asarray(upright)
    return np.ascontiguousarray(pixels[None] if mode == "L" else pixels.transpose(2, 0, 1))


def _checked_size(size: object) -> tuple[int, int] | None:
    both = (size, size) if isinstance(size, int) else size
    if both is None:
        return None
    if (
        not isinstance(both, tuple | list)
        or len(both) != 2
        or any(not isinstance(v, int) or isinstance(v, bool) or v < 1 for v in both)
    ):
        raise GraphcError(
            f"read_images: size {size!r}",
            remedy="give a number of pixels, or (height, width), or None",
        )
    return both[0], both[1]

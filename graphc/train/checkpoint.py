"""Model files: safetensors, with the forward graph as text in the metadata.

Writing is atomic (a file beside it is renamed over it), reading executes nothing: no pickle, no
eval. Knows arrays and text, no models.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save_file

from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]
FORMAT = "graphc"
VERSION = "1"


def write(path: str | os.PathLike[str], tensors: Mapping[str, Array], graph: str) -> None:
    """Writes tensors and the text of a forward graph to `path`, whatever its extension.

    The file is complete or as it was before. Raises GraphcError if it cannot be written.
    """
    target = Path(path)
    metadata = {"format": FORMAT, "version": VERSION, "graph": graph}
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            save_file(dict(tensors), part, metadata)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, safetensors.SafetensorError) as error:
        raise GraphcError(
            f"cannot write {str(path)!r}: {_reason(error)}",
            remedy="save to a file in a folder that exists and may be written to",
        ) from error


def read(path: str | os.PathLike[str]) -> tuple[str, dict[str, Array]]:
    """(graph text, tensors) of a file that `write` made.

    Raises GraphcError if the file is absent, truncated, or not of this format and version.
    """
    target = Path(path)
    if not target.is_file():
        exists = target.exists()
        raise GraphcError(
            f"{str(path)!r} is no file" if exists else f"there is no file {str(path)!r}",
            remedy="give the path of a file that model.save wrote",
        )
    try:
        with safetensors.safe_open(target, framework="numpy") as file:
            metadata = file.metadata() or {}
            _check(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise GraphcError(
            f"{str(path)!r} ({target.stat().st_size} bytes) cannot be read as safetensors: "
            f"{_reason(error)}",
            remedy="it is truncated or no model file: save it again with model.save",
        ) from error
    return metadata["graph"], tensors


def _check(path: str | os.PathLike[str], metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != FORMAT or "graph" not in metadata:
        raise GraphcError(
            f"{str(path)!r} holds tensors but no graph of graphc "
            f"(format {metadata.get('format')!r})",
            remedy="build the network and give the tensors to model.load_params: "
            "safetensors.numpy.load_file reads them",
        )
    if metadata.get("version") != VERSION:
        raise GraphcError(
            f"{str(path)!r} is of format version {metadata.get('version')!r}, "
            f"this graphc reads version {VERSION!r}",
            remedy="read it with the graphc that wrote it, or a newer one",
        )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)

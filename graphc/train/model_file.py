"""Model files: the tensors of a network, with its forward graph as text in the metadata.

Knows arrays and text, no models. How the bytes lie and how they get to the disk is `tensor_file`'s
business.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.train import tensor_file

Array = np.ndarray[Any, Any]
FORMAT = "graphc"
VERSION = "1"


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Array],
    graph: str,
    *,
    training: str | None = None,
    previous: str | os.PathLike[str] | None = None,
) -> None:
    """Writes tensors and the text of a forward graph to `path`, whatever its extension.

    The file is complete or as it was before. training: what a checkpoint knows beyond the network.
    previous: where the file that is at `path` goes. Raises GraphcError if it cannot be written.
    """
    metadata = {"format": FORMAT, "version": VERSION, "graph": graph}
    if training is not None:
        metadata["training"] = training
    tensor_file.write(path, tensors, metadata, previous)


def read(path: str | os.PathLike[str]) -> tuple[str, dict[str, Array], str | None]:
    """(graph text, tensors, what a checkpoint knows beyond the network) of what `write` made.

    Raises GraphcError if the file is absent, damaged, or not of this format and version.
    """
    metadata, tensors = tensor_file.read(path)
    if metadata.get("format") != FORMAT or "graph" not in metadata:
        raise GraphcError(
            f"{str(path)!r} holds tensors but no graph of graphc "
            f"(format {metadata.get('format')!r})",
            remedy="build the network and give the tensors to model.load_params: "
            "load_file of the package safetensors reads them",
        )
    if metadata.get("version") != VERSION:
        raise GraphcError(
            f"{str(path)!r} is of format version {metadata.get('version')!r}, "
            f"this graphc reads version {VERSION!r}",
            remedy="read it with the graphc that wrote it, or a newer one",
        )
    return metadata["graph"], tensors, metadata.get("training")

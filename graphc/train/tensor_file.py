"""Files of named arrays: safetensors, written all or nothing and read with suspicion.

The library of the format makes the bytes, reads them and checks their layout. Added here: a file is
on the disk whole or not at all, a SHA-256 of each tensor and of all else lies in the metadata, and
what the library lets pass though it has two meanings or none is refused. Nothing that is read is
executed. Knows arrays and text, no models.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from graphc.base.arguments import as_file, as_path
from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]
METADATA = "__metadata__"  # the format's key for the metadata, so never the name of a tensor
SUM = "sha256:"  # in the metadata, before the name of a tensor, or METADATA for all else


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Array],
    metadata: Mapping[str, str],
    previous: str | os.PathLike[str] | None = None,
) -> None:
    """Writes tensors and metadata to `path`, whatever its extension.

    The file is complete and on the disk, or as it was before. previous: where the file that is at
    `path` goes; one that was there is replaced. Raises GraphcError if it cannot be written.
    """
    target = as_file(path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    data = _serialized(tensors, metadata)
    try:
        try:
            with open(part, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if previous is not None and target.exists():
                os.replace(target, previous)
            os.replace(part, target)
            _sync_folder(target.parent)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise GraphcError(
            f"cannot write {str(path)!r}: {error.strerror or error}",
            remedy="save to a file in a folder that exists, may be written to and has room",
        ) from error


def remove_parts(path: str | os.PathLike[str]) -> None:
    """Removes what writers of `path` that were killed have left beside it."""
    target = as_path(path)
    for part in target.parent.iterdir() if target.parent.is_dir() else ():
        if part.name.startswith(f".{target.name}.") and part.name.endswith(".part"):
            part.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Array]]:
    """(metadata, tensors) of a safetensors file, the tensors in the order of its header.

    Raises GraphcError if the file is absent, truncated, malformed, or not what its checksums say;
    files of other writers, without checksums, are read as they are.
    """
    target = as_path(path)
    if not target.is_file():
        raise GraphcError(
            f"{str(path)!r} is no file" if target.exists() else f"there is no file {str(path)!r}",
            remedy="give the path of a file that was saved",
        )
    size = target.stat().st_size
    try:
        return _deserialized(target.read_bytes())
    except (OSError, ValueError, RecursionError, MemoryError, SafetensorError) as error:
        raise GraphcError(
            f"{str(path)!r} ({size} bytes) cannot be read as safetensors: {error}",
            remedy="it is damaged or no such file: save it again",
        ) from error


def _serialized(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    try:
        # The library copies memory as it lies: it must lie in C order, the lowest byte first.
        little = {name: array.dtype.newbyteorder("<") for name, array in tensors.items()}
        arrays = {name: np.asarray(a, little[name], order="C") for name, a in tensors.items()}
        _check(arrays)
        return save(arrays, {**metadata, **_sums(arrays, metadata)})
    except (SafetensorError, ValueError) as error:
        raise GraphcError(
            f"cannot save as safetensors: {error}",
            remedy=f"save numbers of at most 64 bits or truth values, none named {METADATA}",
        ) from error


def _deserialized(data: bytes) -> tuple[dict[str, str], dict[str, Array]]:
    """(metadata, tensors). Raises ValueError or SafetensorError for what is not as it should be."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length], object_pairs_hook=_without_duplicates)
    try:
        tensors = load(data)  # from here on the header is known to be a table of tensors
    except KeyError as error:
        raise ValueError(f"numpy has no dtype {error}") from error
    for name, entry in header.items():
        if not isinstance(entry, dict) or (name != METADATA and len(entry) != 3):
            raise ValueError(f"the header describes {name!r} in a form of its own")
    _check(tensors)
    metadata = header.pop(METADATA, {})
    sums = {key: metadata.pop(key) for key in list(metadata) if key.startswith(SUM)}
    for key, wanted in _sums(tensors, metadata).items() if sums else ():
        if sums.get(key) != wanted:
            raise ValueError(f"{key.removeprefix(SUM)!r} is not what was written (SHA-256)")
    return metadata, {name: tensors[name] for name in header}


def _check(tensors: Mapping[str, Array]) -> None:
    """Raises ValueError unless these are numbers or truth values, under names that can be."""
    for name, array in tensors.items():
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8 or name == METADATA:
            raise ValueError(f"{name!r} is an array of {array.dtype}")
        if array.dtype == bool and array.view(np.uint8).max(initial=0) > 1:
            raise ValueError(f"{name!r} holds truth values other than 0 and 1")


def _sums(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> dict[str, str]:
    """The SHA-256 of each tensor's bytes and of all else: names, dtypes, shapes and metadata."""
    types = {name: (array.dtype.str, array.shape) for name, array in tensors.items()}
    parts = {name: array.reshape(-1).data for name, array in tensors.items()}
    parts[METADATA] = memoryview(json.dumps([types, dict(metadata)], sort_keys=True).encode())
    return {SUM + name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the header names {key!r} twice")
        found[key] = value
    return found


def _sync_folder(folder: Path) -> None:
    """Has the system write the folder itself, where it lets one: the renames are then on disk."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

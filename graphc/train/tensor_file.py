"""Files of named arrays: safetensors, written all or nothing and read with suspicion.

The format: eight bytes with the length of a JSON header, the header, then the tensors without a
gap (https://huggingface.co/docs/safetensors). The header's metadata also holds a SHA-256 of each
tensor and one of the header itself. Nothing that is read is executed, and no size is believed
before it is checked against the file's. Knows arrays and text, no models.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    **{f"I{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
}
CODES = {dtype: code for code, dtype in DTYPES.items()}
METADATA = "__metadata__"
TENSOR_SUMS = "sha256"
HEADER_SUM = "sha256.header"
LONGEST_HEADER = 100_000_000
MOST_AXES = 32


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
    target = Path(path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    arrays = {name: np.asarray(a, _stored(a.dtype), order="C") for name, a in tensors.items()}
    # Largest elements first: so each tensor begins at a multiple of the size of its elements.
    order = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    header = _header(arrays, order, metadata)
    try:
        try:
            with open(part, "xb") as file:
                file.write(len(header).to_bytes(8, "little"))
                file.write(header)
                for name in order:
                    file.write(_bytes(arrays[name]))
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
    target = Path(path)
    for part in target.parent.iterdir() if target.parent.is_dir() else ():
        if part.name.startswith(f".{target.name}.") and part.name.endswith(".part"):
            part.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Array]]:
    """(metadata, tensors) of a safetensors file.

    Raises GraphcError if the file is absent, truncated, malformed, or not what its checksums say;
    files of other writers, without checksums, are read as they are.
    """
    target = Path(path)
    if not target.is_file():
        exists = target.exists()
        raise GraphcError(
            f"{str(path)!r} is no file" if exists else f"there is no file {str(path)!r}",
            remedy="give the path of a file that was saved",
        )
    size = target.stat().st_size
    try:
        with target.open("rb") as file:
            header, begin = _read_header(file, size)
            metadata = _checked_metadata(header)
            sums = json.loads(metadata.get(TENSOR_SUMS, "{}"))
            order = _checked_layout(header, size - begin)
            found = {name: _read_tensor(file, name, header[name], sums) for name in order}
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise GraphcError(
            f"{str(path)!r} ({size} bytes) cannot be read as safetensors: {error}",
            remedy="it is damaged or no such file: save it again",
        ) from error
    return metadata, {name: found[name] for name in header if name != METADATA}


# -- writing ---------------------------------------------------------------------------------------


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The little-endian form of a dtype that the format has."""
    little = dtype.newbyteorder("<")
    if little not in CODES:
        raise GraphcError(f"cannot save an array of {dtype}", remedy="save numbers or truth values")
    return little


def _header(
    arrays: Mapping[str, Array], order: Sequence[str], metadata: Mapping[str, str]
) -> bytes:
    """The JSON header, padded so that the tensors begin at a multiple of eight bytes."""
    offsets: dict[str, list[int]] = {}
    end = 0
    for name in order:
        offsets[name] = [end, end + arrays[name].nbytes]
        end = offsets[name][1]
    sums = {name: _sum(array) for name, array in arrays.items()}
    header: dict[str, Any] = {METADATA: {**metadata, TENSOR_SUMS: json.dumps(sums)}}
    for name, array in arrays.items():
        header[name] = {
            "dtype": CODES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": offsets[name],
        }
    header[METADATA][HEADER_SUM] = _header_sum(header)
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _header_sum(header: Mapping[str, Any]) -> str:
    """The SHA-256 of the header without this very sum."""
    rest = {k: v for k, v in header[METADATA].items() if k != HEADER_SUM}
    text = json.dumps({**header, METADATA: rest}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _bytes(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _sum(array: Array) -> str:
    return hashlib.sha256(_bytes(array)).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Has the system write the folder itself, where it lets one: the renames are then on disk."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- reading: every complaint is a ValueError, which `read` turns into an error of the file --------


def _read_header(file: BufferedReader, size: int) -> tuple[dict[str, Any], int]:
    """(the header, where the tensors begin)."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, LONGEST_HEADER):
        raise ValueError(f"the header would have {length} bytes")
    header = json.loads(file.read(length).decode(), object_pairs_hook=_without_duplicates)
    if not isinstance(header, dict):
        raise ValueError("the header is no JSON object")
    return header, 8 + length


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the header names {key!r} twice")
        found[key] = value
    return found


def _checked_metadata(header: dict[str, Any]) -> dict[str, str]:
    metadata = header.get(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("the metadata is no table of texts")
    has_sums = TENSOR_SUMS in metadata or HEADER_SUM in metadata
    if has_sums and metadata.get(HEADER_SUM) != _header_sum(header):
        raise ValueError("the header is not the one that was written (SHA-256)")
    return {str(k): v for k, v in metadata.items()}


def _checked_layout(header: Mapping[str, Any], size: int) -> list[str]:
    """The names of the tensors by their place, which fill the `size` bytes without a gap."""
    for name, entry in header.items():
        if name != METADATA:
            _check_entry(name, entry)
    order = sorted((n for n in header if n != METADATA), key=lambda n: header[n]["data_offsets"])
    end = 0
    for name in order:
        begin, after = header[name]["data_offsets"]
        if begin != end:
            raise ValueError(f"{name!r} begins at byte {begin} of the data, not at {end}")
        end = after
    if end != size:
        raise ValueError(f"the tensors take {end} bytes, the file has {size} for them")
    return order


def _check_entry(name: str, entry: object) -> None:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{name!r} is of dtype {dtype!r}, none of {', '.join(DTYPES)}")
    if not _are_counts(shape) or not _are_counts(offsets):
        raise ValueError(f"{name!r} has the shape {shape!r} at {offsets!r}")
    wanted = math.prod(shape) * DTYPES[dtype].itemsize
    if len(shape) > MOST_AXES or len(offsets) != 2 or offsets[1] - offsets[0] != wanted:
        raise ValueError(f"{name!r} of {dtype} and shape {shape!r} does not fit bytes {offsets!r}")


def _are_counts(values: object) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values)


def _read_tensor(file: BufferedReader, name: str, entry: Mapping[str, Any], sums: Any) -> Array:
    """The next tensor in the file."""
    array = np.empty(entry["shape"], DTYPES[entry["dtype"]])
    if file.readinto(_bytes(array)) != array.nbytes:
        raise ValueError(f"the file ends within {name!r}")
    if isinstance(sums, dict) and name in sums and sums[name] != _sum(array):
        raise ValueError(f"{name!r} is not what was written (SHA-256)")
    if array.dtype == bool and array.view(np.uint8).max(initial=0) > 1:
        raise ValueError(f"{name!r} holds truth values other than 0 and 1")
    return array

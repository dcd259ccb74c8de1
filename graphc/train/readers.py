"""Readers of the data files that users have: IDX (MNIST) and CIFAR-10's binary batches.

Each checks the file before it believes it, and says what was found and what was expected. Nothing
is downloaded.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]
FilePath = str | os.PathLike[str]

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"
CIFAR_SHAPE = (3, 32, 32)
CIFAR_CLASSES = 10
CIFAR_RECORD = 1 + math.prod(CIFAR_SHAPE)


def read_idx(path: FilePath) -> Array:
    """The array in an IDX file, plain or gzip-compressed, in the machine's byte order.

    MNIST: images u8[n,28,28], labels u8[n]. Format: two zero bytes, a type code, the number of
    axes, each extent as a big-endian 32-bit number, the elements. Raises GraphcError if the file is
    absent, is no IDX file, or its size is not what its header says.
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES or not content[3]:
        found = content[:4].hex(" ") or "nothing"
        raise GraphcError(
            f"{str(path)!r} begins with {found}, not with an IDX header",
            remedy="IDX begins with 00 00, a type (08 for bytes) and the number of axes: "
            "00 00 08 03 for images, 00 00 08 01 for labels",
        )
    axes = content[3]
    header = 4 + 4 * axes
    if len(content) < header:
        raise GraphcError(
            f"{str(path)!r} holds {len(content)} bytes, fewer than the header of {axes} axes",
            remedy="the file is truncated: get it again",
        )
    extents = tuple(int(d) for d in np.frombuffer(content[4:header], ">u4"))
    dtype = np.dtype(IDX_TYPES[content[2]])
    expected = header + math.prod(extents) * dtype.itemsize
    if len(content) != expected:
        raise GraphcError(
            f"{str(path)!r} holds {len(content)} bytes, but its header says {list(extents)}, "
            f"which is {expected} bytes",
            remedy="the file is truncated or damaged: get it again",
        )
    array = np.frombuffer(content, dtype, offset=header).reshape(extents)
    return array.astype(dtype.newbyteorder("="))


def read_cifar10(paths: FilePath | Sequence[FilePath]) -> tuple[Array, Array]:
    """(images u8[n,3,32,32], labels i32[n]) of CIFAR-10 binary batches, in the order given.

    A record is a label byte and 3,072 bytes of red, green and blue planes. Raises GraphcError if a
    file is absent, is not a whole number of records, or holds a label above 9.
    """
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not listed:
        raise GraphcError("no CIFAR-10 file was given", remedy="give for example data_batch_1.bin")
    records = np.concatenate([_cifar_records(path) for path in listed])
    images = records[:, 1:].reshape(-1, *CIFAR_SHAPE)
    return np.ascontiguousarray(images), records[:, 0].astype(np.int32)


def _cifar_records(path: FilePath) -> Array:
    content = _content(path)
    if not content or len(content) % CIFAR_RECORD:
        raise GraphcError(
            f"{str(path)!r} holds {len(content)} bytes, not a whole number of "
            f"{CIFAR_RECORD}-byte CIFAR-10 records",
            remedy="give a binary batch such as data_batch_1.bin (30,730,000 bytes); "
            "the Python and Matlab versions are other formats",
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
    wrong = np.flatnonzero(records[:, 0] >= CIFAR_CLASSES)
    if wrong.size:
        raise GraphcError(
            f"{str(path)!r}: record {wrong[0]} has the label {records[wrong[0], 0]}, "
            f"not one of 0..{CIFAR_CLASSES - 1}",
            remedy="the file is damaged or is no CIFAR-10 batch (CIFAR-100 has two label bytes)",
        )
    return records


def _content(path: FilePath) -> bytes:
    """The bytes of a file, decompressed if they are gzip's."""
    try:
        content = Path(path).read_bytes()
        return gzip.decompress(content) if content[:2] == GZIP_MAGIC else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise GraphcError(
            f"{str(path)!r} is gzip-compressed but damaged or truncated: {error}",
            remedy="get the file again",
        ) from error
    except OSError as error:
        raise GraphcError(
            f"cannot read {str(path)!r}: {error.strerror}", remedy="give the path of a file"
        ) from error

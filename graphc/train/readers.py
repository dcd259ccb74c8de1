"""Readers of the data files that users have: IDX (MNIST), and the binary files of CIFAR-10,
CIFAR-100 and STL-10.

Each checks the file before it believes it, and says what was found and what was expected. Nothing
is downloaded.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.arguments import as_path
from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]
FilePath = str | os.PathLike[str]

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"
CIFAR_SHAPE = (3, 32, 32)
CIFAR_PIXELS = math.prod(CIFAR_SHAPE)
STL_SHAPE = (3, 96, 96)
STL_PIXELS = math.prod(STL_SHAPE)
STL_CLASSES = 10


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


def read_mnist(images: FilePath, labels: FilePath) -> tuple[Array, Array]:
    """(images u8[n,1,height,width], labels i32[n]) of two IDX files that belong together.

    MNIST's own are train-images-idx3-ubyte and train-labels-idx1-ubyte. Raises GraphcError as
    `read_idx` does, if one file stands in the other's place, and if their lengths differ.
    """
    found, named = read_idx(images), read_idx(labels)
    for path, array, axes, kind in (
        (images, found, 3, "images are bytes [n,height,width]"),
        (labels, named, 1, "labels are bytes [n]"),
    ):
        if array.ndim != axes or array.dtype != np.uint8:
            raise GraphcError(
                f"{str(path)!r} holds {array.dtype}{list(array.shape)}, but {kind}",
                remedy="give the file of images first (idx3), then that of labels (idx1)",
            )
    _check_pair(images, len(found), labels, len(named))
    return found[:, None], named.astype(np.int32)


def read_cifar10(paths: FilePath | Sequence[FilePath]) -> tuple[Array, Array]:
    """(images u8[n,3,32,32], labels i32[n]) of CIFAR-10 binary batches, in the order given.

    A record is a label byte and 3,072 bytes of red, green and blue planes. Raises GraphcError if a
    file is absent, is not a whole number of records, or holds a label above 9.
    """
    images, labels = _cifar(paths, CIFAR10)
    return images, labels[0]


def read_cifar100(paths: FilePath | Sequence[FilePath]) -> tuple[Array, Array, Array]:
    """(images u8[n,3,32,32], classes i32[n] below 100, superclasses i32[n] below 20) of CIFAR-100
    binary files, in the order given.

    A record is a byte for the superclass, one for the class, and 3,072 bytes of red, green and blue
    planes. Raises GraphcError if a file is absent, is not a whole number of records, or holds a
    label out of range.
    """
    images, (superclasses, classes) = _cifar(paths, CIFAR100)
    return images, classes, superclasses


def read_stl10(images: FilePath, labels: FilePath) -> tuple[Array, Array]:
    """(images u8[n,3,96,96], labels i32[n] from 0 to 9) of two STL-10 binary files.

    Files are train_X.bin and train_y.bin, or test_X.bin and test_y.bin; they say 1 to 10. Raises
    GraphcError if a file is absent or truncated, holds a label out of range, or their lengths
    differ.
    """
    named = np.frombuffer(_content(labels, packed=False), np.uint8)
    wrong = np.flatnonzero((named < 1) | (named > STL_CLASSES))
    if wrong.size:
        what = " (its length is that of images)" if named.size % STL_PIXELS == 0 else ""
        raise GraphcError(
            f"{str(labels)!r}{what}: byte {wrong[0]} is {named[wrong[0]]}, "
            f"not a label of 1..{STL_CLASSES}",
            remedy="give the file of images first (train_X.bin), then that of labels (train_y.bin)",
        )
    found = read_stl10_images(images)
    _check_pair(images, len(found), labels, len(named))
    return found, named.astype(np.int32) - 1


def read_stl10_images(path: FilePath) -> Array:
    """Images u8[n,3,96,96] of one STL-10 file: unlabeled_X.bin has no labels.

    An image is red, green and blue planes, each stored column by column. Raises GraphcError if the
    file is absent or not a whole number of images.
    """
    content = _content(path, packed=False)
    if not content or len(content) % STL_PIXELS:
        raise GraphcError(
            f"{str(path)!r} holds {len(content)} bytes, not a whole number of {STL_PIXELS}-byte "
            "STL-10 images",
            remedy="give train_X.bin (138,240,000 bytes), test_X.bin (221,184,000) or "
            "unlabeled_X.bin (2,764,800,000); the Matlab version is another format",
        )
    columns_first = np.frombuffer(content, np.uint8).reshape(-1, *STL_SHAPE)
    return np.ascontiguousarray(columns_first.transpose(0, 1, 3, 2))


@dataclass(frozen=True)
class _Cifar:
    """One of the two CIFAR formats: how many classes each label byte of a record tells apart."""

    name: str
    classes: tuple[int, ...]
    file: str

    @property
    def record(self) -> int:
        """Bytes of a record."""
        return len(self.classes) + CIFAR_PIXELS


CIFAR10 = _Cifar("CIFAR-10", (10,), "data_batch_1.bin (30,730,000 bytes)")
CIFAR100 = _Cifar("CIFAR-100", (20, 100), "train.bin (153,700,000 bytes)")


def _cifar(paths: FilePath | Sequence[FilePath], format: _Cifar) -> tuple[Array, tuple[Array, ...]]:
    """Images and labels, one array for each label byte of a record."""
    several = isinstance(paths, Iterable) and not isinstance(paths, str)
    listed = list(paths) if several else [as_path(paths)]  # type: ignore[arg-type]
    if not listed:
        raise GraphcError(
            f"no {format.name} file was given", remedy=f"give for example {format.file}"
        )
    records = np.concatenate([_cifar_records(path, format) for path in listed])
    labels = len(format.classes)
    images = records[:, labels:].reshape(-1, *CIFAR_SHAPE)
    return np.ascontiguousarray(images), tuple(records[:, :labels].T.astype(np.int32))


def _cifar_records(path: FilePath, format: _Cifar) -> Array:
    content = _content(path)
    other = CIFAR100 if format is CIFAR10 else CIFAR10
    if not content or len(content) % format.record:
        fits = content and len(content) % other.record == 0
        raise GraphcError(
            f"{str(path)!r} holds {len(content)} bytes, not a whole number of "
            f"{format.record}-byte {format.name} records"
            + (f", but of {other.record}-byte {other.name} records" if fits else ""),
            remedy=f"give a binary file of {format.name} such as {format.file}; "
            "the Python and Matlab versions are other formats",
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, format.record)
    for position, classes in enumerate(format.classes):
        wrong = np.flatnonzero(records[:, position] >= classes)
        if wrong.size:
            raise GraphcError(
                f"{str(path)!r}: record {wrong[0]} has the label "
                f"{records[wrong[0], position]}, not one of 0..{classes - 1}",
                remedy=f"the file is damaged or is no {format.name} file "
                "(CIFAR-100 has two label bytes, CIFAR-10 has one)",
            )
    return records


def _check_pair(images: FilePath, count: int, labels: FilePath, named: int) -> None:
    if count != named:
        raise GraphcError(
            f"{str(images)!r} holds {count} images, {str(labels)!r} {named} labels",
            remedy="give two files of the same part: train with train, test with test",
        )


def _content(path: FilePath, *, packed: bool = True) -> bytes:
    """The bytes of a file, decompressed if they are gzip's and may be `packed`: in a format without
    a header an image can begin as gzip does.
    """
    source = as_path(path)
    try:
        content = source.read_bytes()
        return gzip.decompress(content) if packed and content[:2] == GZIP_MAGIC else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise GraphcError(
            f"{str(path)!r} is gzip-compressed but damaged or truncated: {error}",
            remedy="get the file again",
        ) from error
    except OSError as error:
        raise GraphcError(
            f"cannot read {str(path)!r}: {error.strerror}", remedy="give the path of a file"
        ) from error

"""Readers: what they read, and what they say about files that are not what they should be."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

import graphc as gc
from graphc import data


def idx(array: np.ndarray, code: int, dtype: str) -> bytes:
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(dtype).tobytes()


IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
GOOD = idx(IMAGES, 8, ">u1")


@pytest.mark.parametrize("compress", [False, True])
def test_idx_images(tmp_path, compress: bool) -> None:
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(gzip.compress(GOOD) if compress else GOOD)
    found = data.read_idx(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, IMAGES)
    found[0, 0, 0] = 7


@pytest.mark.parametrize(
    ("code", "stored", "read"),
    [
        (0x09, ">i1", "int8"),
        (0x0B, ">i2", "int16"),
        (0x0C, ">i4", "int32"),
        (0x0D, ">f4", "float32"),
        (0x0E, ">f8", "float64"),
    ],
)
def test_idx_types_come_in_the_machines_byte_order(tmp_path, code, stored, read) -> None:
    array = np.array([-3, 0, 100])
    (tmp_path / "a").write_bytes(idx(array, code, stored))
    found = data.read_idx(str(tmp_path / "a"))
    assert found.dtype == np.dtype(read) and found.dtype.isnative
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing, not with an IDX header"),
        (b"\x89PNG\r\n", "begins with 89 50 4e 47"),
        (b"\0\0\x07\x03" + bytes(40), "begins with 00 00 07 03"),
        (b"\0\0\x08\x00", "begins with 00 00 08 00"),
        (GOOD[:9], "holds 9 bytes, fewer than the header of 3 axes"),
        (GOOD[:-1], "holds 39 bytes, but its header says [2, 3, 4], which is 40 bytes"),
        (GOOD + b"\0", "holds 41 bytes"),
        (b"\0\0\x0e\x02" + b"\xff" * 8, "header says [4294967295, 4294967295]"),
        (gzip.compress(GOOD)[:-9], "gzip-compressed but damaged or truncated"),
        (b"\x1f\x8b" + bytes(30), "gzip-compressed but damaged or truncated"),
    ],
)
def test_idx_files_that_are_wrong(tmp_path, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(gc.GraphcError) as caught:
        data.read_idx(path)
    assert message in caught.value.what
    assert str(path) in caught.value.what
    assert caught.value.remedy


def record(label: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, 3072, dtype=np.uint8)
    return bytes([label]) + pixels.tobytes()


def test_cifar10(tmp_path) -> None:
    paths = [tmp_path / "data_batch_1.bin", tmp_path / "data_batch_2.bin"]
    paths[0].write_bytes(record(3, 0) + record(9, 1))
    paths[1].write_bytes(record(0, 2))
    images, labels = data.read_cifar10(paths)
    assert images.shape == (3, 3, 32, 32) and images.dtype == np.uint8
    assert labels.tolist() == [3, 9, 0]
    assert images[1].tobytes() == record(9, 1)[1:]
    single, _ = data.read_cifar10(str(paths[1]))
    np.testing.assert_array_equal(single, images[2:])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds 0 bytes, not a whole number of 3073-byte"),
        (record(1, 0)[:-1], "holds 3072 bytes"),
        (record(1, 0) + record(10, 0), "record 1 has the label 10, not one of 0..9"),
    ],
)
def test_cifar10_files_that_are_wrong(tmp_path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(gc.GraphcError) as caught:
        data.read_cifar10([tmp_path / "a"])
    assert message in caught.value.what


def test_absent_files(tmp_path) -> None:
    for read in (data.read_idx, data.read_cifar10):
        with pytest.raises(gc.GraphcError, match="No such file"):
            read(tmp_path / "absent")
        with pytest.raises(gc.GraphcError, match="cannot read"):
            read(tmp_path)
    with pytest.raises(gc.GraphcError, match="no CIFAR-10 file"):
        data.read_cifar10([])

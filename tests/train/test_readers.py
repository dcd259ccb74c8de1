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


def record100(superclass: int, label: int, seed: int) -> bytes:
    return bytes([superclass]) + record(label, seed)


def test_cifar100(tmp_path) -> None:
    paths = [tmp_path / "train.bin", tmp_path / "test.bin"]
    paths[0].write_bytes(record100(19, 99, 0) + record100(0, 42, 1))
    paths[1].write_bytes(record100(7, 0, 2))
    images, classes, superclasses = data.read_cifar100(paths)
    assert images.shape == (3, 3, 32, 32) and images.dtype == np.uint8
    assert classes.tolist() == [99, 42, 0] and superclasses.tolist() == [19, 0, 7]
    assert classes.dtype == superclasses.dtype == np.int32
    assert images[1].tobytes() == record(42, 1)[1:]


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (data.read_cifar10, b"", "holds 0 bytes, not a whole number of 3073-byte"),
        (data.read_cifar10, record(1, 0)[:-1], "holds 3072 bytes"),
        (data.read_cifar10, record(1, 0) + record(10, 0), "record 1 has the label 10, not one of"),
        (data.read_cifar10, record100(1, 2, 0), "but of 3074-byte CIFAR-100 records"),
        (data.read_cifar100, b"", "holds 0 bytes, not a whole number of 3074-byte"),
        (data.read_cifar100, record100(1, 2, 0)[:-1], "but of 3073-byte CIFAR-10 records"),
        (data.read_cifar100, record(1, 0) * 2, "but of 3073-byte CIFAR-10 records"),
        (data.read_cifar100, record100(1, 2, 0)[:-2], "holds 3072 bytes, not a whole"),
        (data.read_cifar100, record100(20, 2, 0), "record 0 has the label 20, not one of 0..19"),
        (data.read_cifar100, record100(1, 100, 0), "record 0 has the label 100, not one of 0..99"),
    ],
)  # fmt: skip
def test_cifar_files_that_are_wrong(tmp_path, read, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(gc.GraphcError) as caught:
        read([tmp_path / "a"])
    assert message in caught.value.what and str(tmp_path / "a") in caught.value.what
    assert caught.value.remedy and caught.value.location is not None


LABELS = idx(np.array([3, 250]), 8, ">u1")


def test_mnist_pairs_images_with_labels(tmp_path) -> None:
    (tmp_path / "images").write_bytes(gzip.compress(GOOD))
    (tmp_path / "labels").write_bytes(LABELS)
    images, labels = data.read_mnist(tmp_path / "images", tmp_path / "labels")
    np.testing.assert_array_equal(images, IMAGES[:, None])
    assert labels.tolist() == [3, 250] and labels.dtype == np.int32


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (LABELS, GOOD, "images' holds uint8[2], but images are bytes [n,height,width]"),
        (GOOD, GOOD, "labels' holds uint8[2, 3, 4], but labels are bytes [n]"),
        (GOOD, idx(np.array([3, 4]), 0x0C, ">i4"), "labels' holds int32[2], but labels are bytes"),
        (GOOD, idx(np.array([3]), 8, ">u1"), "images' holds 2 images, "),
        (GOOD[:-1], LABELS, "images' holds 39 bytes, but its header says [2, 3, 4]"),
    ],
)
def test_mnist_files_that_do_not_belong_together(
    tmp_path, images: bytes, labels: bytes, message: str
) -> None:
    (tmp_path / "images").write_bytes(images)
    (tmp_path / "labels").write_bytes(labels)
    with pytest.raises(gc.GraphcError) as caught:
        data.read_mnist(tmp_path / "images", tmp_path / "labels")
    assert message in caught.value.what
    assert caught.value.remedy


def test_stl10_planes_are_stored_column_by_column(tmp_path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 96, 96), dtype=np.uint8)
    images[0, 0, 0, 0], images[0, 0, 1, 0] = 0x1F, 0x8B  # how gzip files begin
    stored = b"".join(
        bytes(int(images[k, plane, row, column]) for column in range(96) for row in range(96))
        for k in range(2)
        for plane in range(3)
    )
    (tmp_path / "train_X.bin").write_bytes(stored)
    (tmp_path / "train_y.bin").write_bytes(bytes([10, 1]))
    found, labels = data.read_stl10(tmp_path / "train_X.bin", tmp_path / "train_y.bin")
    np.testing.assert_array_equal(found, images)
    assert labels.tolist() == [9, 0] and labels.dtype == np.int32
    np.testing.assert_array_equal(data.read_stl10_images(tmp_path / "train_X.bin"), images)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (bytes(27648), bytes([0]), "labels': byte 0 is 0, not a label of 1..10"),
        (bytes(27648), bytes([1, 11]), "labels': byte 1 is 11, not a label of 1..10"),
        (bytes([1]), bytes(27648), "labels' (its length is that of images): byte 0 is 0"),
        (bytes(27648), bytes([1, 2]), "images' holds 1 images, "),
        (bytes(27647), bytes([1]), "images' holds 27647 bytes, not a whole number of 27648-byte"),
        (b"", b"", "images' holds 0 bytes"),
    ],
)
def test_stl10_files_that_are_wrong(tmp_path, images: bytes, labels: bytes, message: str) -> None:
    (tmp_path / "images").write_bytes(images)
    (tmp_path / "labels").write_bytes(labels)
    with pytest.raises(gc.GraphcError) as caught:
        data.read_stl10(tmp_path / "images", tmp_path / "labels")
    assert message in caught.value.what
    assert caught.value.remedy


def test_absent_files(tmp_path) -> None:
    for read in (data.read_idx, data.read_cifar10, data.read_cifar100, data.read_stl10_images):
        with pytest.raises(gc.GraphcError, match="No such file"):
            read(tmp_path / "absent")
        with pytest.raises(gc.GraphcError, match="cannot read"):
            read(tmp_path)
    for read, name in ((data.read_cifar10, "CIFAR-10"), (data.read_cifar100, "CIFAR-100")):
        with pytest.raises(gc.GraphcError, match=f"no {name} file"):
            read([])

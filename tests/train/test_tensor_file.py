"""Files of arrays: the safetensors format, as its own library reads and writes it, and nothing
that is not it.
"""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file, save_file

import graphc as gc
from graphc.train import tensor_file

RNG = np.random.default_rng(0)
TENSORS = {
    "weight": RNG.standard_normal((3, 4)).astype(np.float32),
    "flag": np.asarray(True),
    "exact": RNG.standard_normal(5),
    "labels": RNG.integers(-9, 9, (2, 1, 3)).astype(np.int32),
    "empty": np.zeros((0, 7), np.int64),
    "scalar": np.asarray(1.5, np.float32),
    "bytes": np.arange(9, dtype=np.uint8),
    "half": np.arange(3, dtype=np.float16),
}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        a.dtype == other[n].dtype and a.shape == other[n].shape and (a == other[n]).all()
        for n, a in one.items()
    )


def test_round_trip_keeps_order_shapes_and_bits(tmp_path) -> None:
    tensor_file.write(tmp_path / "f", TENSORS, {"note": "a\nb"})
    metadata, found = tensor_file.read(tmp_path / "f")
    assert same(found, TENSORS) and list(found) == list(TENSORS)
    assert metadata["note"] == "a\nb"


def test_the_library_of_the_format_reads_it(tmp_path) -> None:
    tensor_file.write(tmp_path / "f", TENSORS, {"note": "b"})
    assert same(load_file(tmp_path / "f"), TENSORS)
    with safetensors.safe_open(tmp_path / "f", framework="numpy") as file:
        assert file.metadata()["note"] == "b"


def test_it_reads_what_the_library_of_the_format_writes(tmp_path) -> None:
    save_file(TENSORS, tmp_path / "f", {"note": "b"})
    metadata, found = tensor_file.read(tmp_path / "f")
    assert same(found, TENSORS) and metadata == {"note": "b"}


def test_arrays_of_any_memory_layout_are_written(tmp_path) -> None:
    turned = RNG.standard_normal((4, 3)).T
    given = {"turned": turned, "every other": turned[:, ::2], "big": turned.astype(">f8")}
    tensor_file.write(tmp_path / "f", given, {})
    for name, found in tensor_file.read(tmp_path / "f")[1].items():
        np.testing.assert_array_equal(found, given[name])


def test_what_cannot_be_stored_is_refused(tmp_path) -> None:
    with pytest.raises(gc.GraphcError, match="cannot save an array of complex128"):
        tensor_file.write(tmp_path / "f", {"z": np.ones(2, complex)}, {})
    assert os.listdir(tmp_path) == []


def test_every_flipped_bit_is_noticed(tmp_path) -> None:
    path = tmp_path / "f"
    tensor_file.write(path, {"a": TENSORS["weight"], "b": TENSORS["labels"]}, {"note": "x"})
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(gc.GraphcError, match="cannot be read as safetensors"):
            tensor_file.read(path)


def test_every_truncation_is_noticed(tmp_path) -> None:
    path = tmp_path / "f"
    tensor_file.write(path, {"a": TENSORS["weight"]}, {"note": "x"})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(gc.GraphcError, match="cannot be read as safetensors"):
            tensor_file.read(path)


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def raw(header: object, data: bytes = bytes(8), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def test_a_plain_header_is_read(tmp_path) -> None:
    (tmp_path / "f").write_bytes(raw({"a": F32}))
    assert (tensor_file.read(tmp_path / "f")[1]["a"] == np.zeros(2, np.float32)).all()


TWICE = b'{"a": %s, "a": %s}' % ((json.dumps(F32).encode(),) * 2)
MALFORMED = {
    "a tensor twice": (raw(TWICE), "names 'a' twice"),
    "metadata twice": (raw(b'{"__metadata__": {"x": "1", "x": "2"}}', b""), "names 'x' twice"),
    "a key of an entry twice": (
        raw(b'{"a": {"dtype": "F32", "dtype": "I32", "shape": [2], "data_offsets": [0, 8]}}'),
        "names 'dtype' twice",
    ),
    "nothing": (b"", "the header would have 0 bytes"),
    "a header longer than the file": (raw({"a": F32}, length=10**6), "would have 1000000 bytes"),
    "a header of 2^64 - 1 bytes": (raw({}, length=2**64 - 1), "would have 18446744073709551615"),
    "no JSON": (raw(b"{'a': 1}"), "cannot be read"),
    "no text": (raw(b"\xff\xfe{}"), "cannot be read"),
    "a list": (raw([F32]), "no JSON object"),
    "deep nesting": (raw(b'{"a":' * 50_000), "cannot be read"),
    "a huge number": (raw(b'{"a": ' + b"9" * 5000 + b"}"), "cannot be read"),
    "a number in the metadata": (raw({"__metadata__": {"x": 1}}, b""), "no table of texts"),
    "metadata of text": (raw({"__metadata__": "x"}, b""), "no table of texts"),
    "a foreign dtype": (raw({"a": F32 | {"dtype": "BF16"}}), "of dtype 'BF16'"),
    "a dtype that is a list": (raw({"a": F32 | {"dtype": ["F32"]}}), "of dtype ['F32']"),
    "no shape": (raw({"a": {"dtype": "F32", "data_offsets": [0, 8]}}), "is not described by"),
    "one key more": (raw({"a": F32 | {"x": 1}}), "is not described by"),
    "an entry that is a number": (raw({"a": 3}), "is not described by"),
    "a negative extent": (raw({"a": F32 | {"shape": [-2]}}), "has the shape [-2]"),
    "an extent that is true": (raw({"a": F32 | {"shape": [True, 2]}}), "has the shape [True, 2]"),
    "an extent of 2.0": (raw({"a": F32 | {"shape": [2.0]}}), "has the shape [2.0]"),
    "an extent of 2^64": (raw({"a": F32 | {"shape": [2**64]}}), "has the shape"),
    "a product that overflows": (
        raw({"a": F32 | {"shape": [2**62, 2**62, 16]}}), "does not fit bytes",
    ),
    "an enormous shape without elements": (
        raw({"a": {"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}}, b""),
        "cannot be read",
    ),
    "forty axes": (raw({"a": F32 | {"shape": [1] * 39 + [2]}}), "does not fit bytes"),
    "three offsets": (raw({"a": F32 | {"data_offsets": [0, 4, 8]}}), "does not fit bytes"),
    "offsets the wrong way round": (raw({"a": F32 | {"data_offsets": [8, 0]}}), "does not fit"),
    "a tensor beyond the end": (raw({"a": F32 | {"data_offsets": [8, 16]}}), "begins at byte 8"),
    "a gap": (
        raw({"a": F32, "b": F32 | {"data_offsets": [12, 20]}}, bytes(20)), "begins at byte 12",
    ),
    "two tensors in one place": (raw({"a": F32, "b": F32}), "begins at byte 0 of the data, not"),
    "bytes left over": (raw({"a": F32}, bytes(9)), "take 8 bytes, the file has 9"),
    "bytes missing": (raw({"a": F32}, bytes(7)), "take 8 bytes, the file has 7"),
    "a truth value of 2": (
        raw({"a": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}}, b"\x02"),
        "truth values other than 0 and 1",
    ),
    "checksums without that of the header": (
        raw({"__metadata__": {"sha256": "{}"}, "a": F32}), "not the one that was written",
    ),
    "a wrong checksum of the header": (
        raw({"__metadata__": {"sha256.header": "00"}, "a": F32}), "not the one that was written",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_files(tmp_path, content: bytes, message: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(gc.GraphcError) as caught:
        tensor_file.read(path)
    assert message in caught.value.what
    assert f"({len(content)} bytes)" in caught.value.what


def test_writing_beside_leaves_nothing_behind(tmp_path) -> None:
    for _ in range(3):
        tensor_file.write(tmp_path / "f", TENSORS, {}, previous=tmp_path / "g")
    assert sorted(os.listdir(tmp_path)) == ["f", "g"]

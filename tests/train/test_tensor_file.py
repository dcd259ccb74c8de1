"""Files of arrays: written whole, opened by the plain library of the format, and read only if they
are what was written; nothing that is malformed is read, or costs much.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

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


@pytest.mark.parametrize("tensors", [TENSORS, {}], ids=["tensors", "no tensors"])
@pytest.mark.parametrize("given", [{"note": "a\nb"}, {}], ids=["metadata", "no metadata"])
def test_round_trip_keeps_shapes_bits_and_texts(tmp_path, tensors, given) -> None:
    tensor_file.write(tmp_path / "f", tensors, given)
    metadata, found = tensor_file.read(tmp_path / "f")
    assert same(found, tensors) and metadata == given
    assert all(array.flags.writeable for array in found.values())


def test_the_order_is_that_of_the_file_each_time(tmp_path) -> None:
    tensor_file.write(tmp_path / "f", {str(i): np.ones(2) for i in reversed(range(20))}, {})
    orders = [list(tensor_file.read(tmp_path / "f")[1]) for _ in range(5)]
    assert orders == [sorted(orders[0])] * 5


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
    given = {
        "turned": turned,
        "every other": turned[:, ::2],
        "backwards": np.arange(3)[::-1],
        "repeated": np.broadcast_to(np.float32(3), (2, 2)),
        "flags": np.array([True, False, True])[::2],
        "big": turned.astype(">f8"),
        "big scalar": np.asarray(7, ">i4"),
        "big and empty": np.zeros((2, 0, 3), ">f2"),
    }
    tensor_file.write(tmp_path / "f", given, {})
    for stored in (tensor_file.read(tmp_path / "f")[1], load_file(tmp_path / "f")):
        for name, found in stored.items():
            wanted = given[name].astype(given[name].dtype.newbyteorder("="))
            np.testing.assert_array_equal(found, wanted, strict=True)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("z", np.ones(2, complex), "'z' is an array of complex128"),
        ("z", np.ones(2, np.complex64), "'z' is an array of complex64"),
        ("z", np.array(["text"]), "'z' is an array of <U4"),
        ("z", np.array([None]), "'z' is an array of object"),
        ("z", np.ones(2, np.longdouble), "'z' is an array of float128"),
        ("__metadata__", np.ones(2), "'__metadata__' is an array of float64"),
        ("\ud800", np.ones(2), "surrogates not allowed"),
    ],
)
def test_what_cannot_be_stored_is_refused(tmp_path, name, array, message) -> None:
    with pytest.raises(gc.GraphcError, match="cannot save as safetensors: ") as caught:
        tensor_file.write(tmp_path / "f", {name: array}, {})
    assert message in caught.value.what and caught.value.remedy is not None
    assert os.listdir(tmp_path) == []


def test_every_flipped_bit_is_noticed(tmp_path) -> None:
    path = tmp_path / "f"
    tensor_file.write(path, {"a": TENSORS["weight"], "b": TENSORS["labels"]}, {"note": "x"})
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(gc.GraphcError, match="cannot be read as safetensors"):
            tensor_file.read(path)


@pytest.mark.parametrize(
    ("written", "found", "wrong"),
    [
        (b'"shape":[3,4]', b'"shape":[4,3]', "'__metadata__'"),
        (b'"dtype":"F32"', b'"dtype":"I32"', "'__metadata__'"),
        (b'"a":{"dtype"', b'"c":{"dtype"', "'c'"),
        (b'"note":"x"', b'"note":"y"', "'__metadata__'"),
        (b'"note":"x"', b'"nose":"x"', "'__metadata__'"),
        (b'"sha256:a"', b'"sha256:c"', "'a'"),
        (b'"sha256:__metadata__"', b'"sha257:__metadata__"', "'__metadata__'"),
        (TENSORS["weight"].tobytes(), bytes(48), "'a'"),
    ],
)
def test_a_change_that_leaves_a_sound_file_is_noticed(tmp_path, written, found, wrong) -> None:
    path = tmp_path / "f"
    tensor_file.write(path, {"a": TENSORS["weight"], "b": TENSORS["labels"]}, {"note": "x"})
    whole = path.read_bytes()
    assert whole.count(written) == 1
    path.write_bytes(whole.replace(written, found))
    load_file(path)
    with pytest.raises(gc.GraphcError, match=f"{wrong} is not what was written"):
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
AMBIGUOUS = {  # which the library reads, or refuses without saying why
    "a tensor twice": (raw(TWICE), "names 'a' twice"),
    "a tensor twice, once escaped": (raw(TWICE.replace(b"a", b"\\u0061", 1)), "names 'a' twice"),
    "metadata twice": (raw(b'{"__metadata__": {"x": "1", "x": "2"}}', b""), "names 'x' twice"),
    "a key of an entry twice": (
        raw(b'{"a": {"dtype": "F32", "dtype": "I32", "shape": [2], "data_offsets": [0, 8]}}'),
        "names 'dtype' twice",
    ),
    "one key more": (raw({"a": F32 | {"x": 1}}), "describes 'a' in a form of its own"),
    "an entry that is a list": (raw({"a": ["F32", [2], [0, 8]]}), "describes 'a' in a form"),
    "metadata of nothing": (raw({"__metadata__": None, "a": F32}), "describes '__metadata__' in a"),
    "a dtype without its numpy": (
        raw({"a": F32 | {"dtype": "BF16", "shape": [4]}}), "numpy has no dtype 'BF16'",
    ),
    "a truth value of 2": (
        raw({"a": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}}, b"\x02"),
        "'a' holds truth values other than 0 and 1",
    ),
    "a checksum of nothing": (
        raw({"__metadata__": {"sha256:b": "00"}, "a": F32}), "'a' is not what was written",
    ),
    "a wrong checksum": (
        raw({"__metadata__": {"sha256:a": "00"}, "a": F32}), "'a' is not what was written",
    ),
}  # fmt: skip
MALFORMED = {
    "nothing": b"",
    "a header longer than the file": raw({"a": F32}, length=10**6),
    "a header of 2^64 - 1 bytes": raw({}, length=2**64 - 1),
    "no JSON": raw(b"{'a': 1}"),
    "no text": raw(b"\xff\xfe{}"),
    "text of two bytes a letter": raw(json.dumps({"a": F32}).encode("utf-16")),
    "not a number": raw(b'{"a": NaN}'),
    "a list": raw([F32]),
    "deep nesting": raw(b'{"a":' * 50_000),
    "a huge number": raw(b'{"a": ' + b"9" * 5000 + b"}"),
    "a number in the metadata": raw({"__metadata__": {"x": 1}}, b""),
    "metadata of text": raw({"__metadata__": "x"}, b""),
    "an unknown dtype": raw({"a": F32 | {"dtype": "F31"}}),
    "complex numbers": raw({"a": F32 | {"dtype": "C64", "shape": [1]}}),
    "a dtype that is a list": raw({"a": F32 | {"dtype": ["F32"]}}),
    "no shape": raw({"a": {"dtype": "F32", "data_offsets": [0, 8]}}),
    "an entry that is a number": raw({"a": 3}),
    "a negative extent": raw({"a": F32 | {"shape": [-2]}}),
    "an extent that is true": raw({"a": F32 | {"shape": [True, 2]}}),
    "an extent of 2.0": raw({"a": F32 | {"shape": [2.0]}}),
    "an extent of 2^64": raw({"a": F32 | {"shape": [2**64]}}),
    "a product that overflows": raw({"a": F32 | {"shape": [2**62, 2**62, 16]}}),
    "2^62 elements": raw({"a": {"dtype": "U8", "shape": [2**62], "data_offsets": [0, 2**62]}}),
    "an enormous shape without elements": raw(
        {"a": {"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}}, b""
    ),
    "an extent of 2^63 without elements": raw(
        {"a": {"dtype": "F32", "shape": [2**63, 0], "data_offsets": [0, 0]}}, b""
    ),
    "seventy axes": raw({"a": F32 | {"shape": [1] * 69 + [2]}}),
    "three offsets": raw({"a": F32 | {"data_offsets": [0, 4, 8]}}),
    "offsets the wrong way round": raw({"a": F32 | {"data_offsets": [8, 0]}}),
    "a tensor beyond the end": raw({"a": F32 | {"data_offsets": [8, 16]}}),
    "a gap": raw({"a": F32, "b": F32 | {"data_offsets": [12, 20]}}, bytes(20)),
    "two tensors in one place": raw({"a": F32, "b": F32}),
    "bytes left over": raw({"a": F32}, bytes(9)),
    "bytes missing": raw({"a": F32}, bytes(7)),
}
CASES = AMBIGUOUS | {name: (content, "") for name, content in MALFORMED.items()}


@pytest.mark.parametrize(("content", "message"), CASES.values(), ids=CASES)
def test_malformed_files(tmp_path, content: bytes, message: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(gc.GraphcError) as caught:
        tensor_file.read(path)
    assert f"({len(content)} bytes) cannot be read as safetensors: " in caught.value.what
    assert message in caught.value.what and caught.value.remedy is not None


READER = """
import sys, time
from pathlib import Path
from graphc import GraphcError
from graphc.train import tensor_file

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

for path in sys.argv[1:]:
    kilobytes, start = peak(), time.perf_counter()
    try:
        tensor_file.read(path)
    except GraphcError:
        print(time.perf_counter() - start, peak() - kilobytes, path)
"""


def test_a_malformed_file_costs_less_than_a_second_and_64_megabytes(tmp_path) -> None:
    for number, (content, _) in enumerate(CASES.values()):
        (tmp_path / str(number)).write_bytes(content)
    run = subprocess.run(
        [sys.executable, "-c", READER, *tmp_path.iterdir()],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    costs = [line.split() for line in run.stdout.splitlines()]
    assert len(costs) == len(CASES)
    assert [c for c in costs if float(c[0]) > 1 or int(c[1]) > 64 * 1024] == []


def test_writing_beside_leaves_nothing_behind(tmp_path) -> None:
    for _ in range(3):
        tensor_file.write(tmp_path / "f", TENSORS, {}, previous=tmp_path / "g")
    assert sorted(os.listdir(tmp_path)) == ["f", "g"]

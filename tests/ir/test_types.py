"""Tensor types, their text, and shape arithmetic."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphc.base.errors import GraphcError
from graphc.ir.types import (
    DType,
    N,
    TensorType,
    broadcast_shapes,
    normalize_axes,
    normalize_axis,
    parse_type,
    window_extent,
)

extents = st.one_of(st.integers(0, 9), st.just(2**31 - 1))


@st.composite
def types(draw: st.DrawFn) -> TensorType:
    shape = draw(st.lists(st.integers(0, 9), max_size=5))
    with_batch: list[object] = [*shape]
    if draw(st.booleans()):
        with_batch.insert(draw(st.integers(0, len(shape))), N)
    dtype = draw(st.sampled_from(list(DType)))
    layout = draw(st.sampled_from(["batch_first", "batch_last"]))
    return TensorType(dtype, tuple(with_batch)).with_layout(layout)  # type: ignore[arg-type]


@given(types())
def test_the_text_of_a_type_reads_back(type: TensorType) -> None:
    assert parse_type(str(type)) == type


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("f32[]", ()),
        ("i64[ N , 3 ]", (N, 3)),
        ("  bool[0]  ", (0,)),
        ("f64[2147483647]", (2**31 - 1,)),
    ],
)
def test_types_that_parse(text: str, shape: object) -> None:
    assert parse_type(text).shape == shape


@pytest.mark.parametrize(
    "text",
    [
        "", "f32", "f16[2]", "f32[2", "f32[-1]", "f32[a]", "f32[1.5]", "f32[2,]", "f32[,]",
        "f32[n]", "f32[2147483648]", "f32[N,N]", "f32[2]{nchw}", "f32[2] f32[2]",
        "f32[2147483647,2147483647]", "f32[²]", "f32[٣]", "f32(2)", "F32[2]", f"f32[{'9' * 5000}]",
    ],
)  # fmt: skip
def test_types_that_do_not_parse(text: str) -> None:
    with pytest.raises(GraphcError) as caught:
        parse_type(text)
    assert caught.value.remedy


def test_a_batch_is_one_object_however_it_is_copied() -> None:
    assert copy.copy(N) is N
    assert copy.deepcopy({"n": (N, 3)})["n"][0] is N
    assert pickle.loads(pickle.dumps(N)) is N
    assert repr(N) == "N"


@pytest.mark.parametrize("extent", [-1, 2**31, 1.5, "3", None, True, np.float32(2)])
def test_an_extent_is_a_whole_number_in_range(extent: object) -> None:
    with pytest.raises(GraphcError, match="extent"):
        TensorType(DType.f32, (extent,))  # type: ignore[arg-type]


def test_the_size_of_a_type_follows_the_batch() -> None:
    type = parse_type("f64[3,N,2]")
    assert type.batch_axis == 1
    assert type.concrete(5) == (3, 5, 2)
    assert type.count(5) == 30
    assert type.bytes(5) == 240


def test_a_shape_without_a_batch_is_row_major() -> None:
    assert parse_type("f32[3]").with_layout("batch_last") == parse_type("f32[3]")


@given(st.lists(st.lists(st.integers(1, 3), max_size=4), min_size=1, max_size=3))
def test_broadcasting_is_that_of_numpy(shapes: list[list[int]]) -> None:
    try:
        expected = np.broadcast_shapes(*map(tuple, shapes))
    except ValueError:
        with pytest.raises(GraphcError, match="do not broadcast"):
            broadcast_shapes([tuple(s) for s in shapes], "test")
        return
    assert broadcast_shapes([tuple(s) for s in shapes], "test") == expected


def test_the_batch_broadcasts_with_itself_and_one_alone() -> None:
    assert broadcast_shapes([(N, 1), (3,), (1, 1)], "test") == (N, 3)
    for shape in ((2, 3), (0, 3)):
        with pytest.raises(GraphcError, match="do not broadcast"):
            broadcast_shapes([(N, 3), shape], "test")


def test_axes_count_from_either_end() -> None:
    assert normalize_axis(-1, 3, "test") == 2
    assert normalize_axes((-1, 0), 3, "test") == (0, 2)
    assert normalize_axes(None, 2, "test") == (0, 1)
    assert normalize_axes(1, 2, "test") == (1,)
    for bad in (3, -4, 2**63, True, 1.0):
        with pytest.raises(GraphcError, match="axis"):
            normalize_axis(bad, 3, "test")  # type: ignore[arg-type]
    with pytest.raises(GraphcError, match="twice"):
        normalize_axes((0, -3), 3, "test")


@given(
    size=st.integers(0, 12), window=st.integers(1, 5), stride=st.integers(1, 4),
    low=st.integers(0, 3), high=st.integers(0, 3), dilation=st.integers(1, 3),
)  # fmt: skip
def test_windows_are_those_that_fit(
    size: int, window: int, stride: int, low: int, high: int, dilation: int
) -> None:
    """Counted by putting windows one after the other."""
    reach = dilation * (window - 1) + 1
    starts = [s for s in range(0, size + low + high, stride) if s + reach <= size + low + high]
    arguments = {"stride": stride, "low": low, "high": high, "dilation": dilation}
    if not starts:
        with pytest.raises(GraphcError, match="does not fit"):
            window_extent(size, window, what="test", **arguments)
        return
    assert window_extent(size, window, what="test", **arguments) == len(starts)
    started = [s for s in range(0, size + low, stride) if s <= starts[-1] + stride]
    reaching = [s for s in started if s < size + low and s - stride + reach < size + low + high]
    rounded_up = window_extent(size, window, what="test", ceil_mode=True, **arguments)
    assert rounded_up == max(len(starts), len(reaching))

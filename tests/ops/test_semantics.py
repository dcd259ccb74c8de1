"""What samples cannot say: nan, infinities and signed zeros, ties, labels out of range, sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node
from graphc.ir.types import DType, TensorType
from graphc.ops import elementwise as e
from graphc.ops import reductions as r
from graphc.ops.create import full, iota
from graphc.ops.losses import softmax_cross_entropy
from graphc.ops.pooling import avg_pool2d, max_pool2d
from graphc.ops.softmax import log_softmax, softmax
from graphc.passes.autodiff import gradients

NAN, INF = float("nan"), float("inf")
SPECIAL = np.array([NAN, INF, -INF, 0.0, -0.0, 1.5, -1.5], np.float32)


def _run(backend: str, build: Callable[..., Node], *arrays: Any) -> np.ndarray:
    given = [np.asarray(a) for a in arrays]
    dtypes = {d.memory: d for d in DType}
    inputs = [
        make_input(f"x{k}", TensorType(dtypes[a.dtype], a.shape)) for k, a in enumerate(given)
    ]
    graph = Graph("semantics", inputs, (build(*inputs),))
    fed = {f"x{k}": a for k, a in enumerate(given)}
    return np.asarray(gc.compile(graph, backend)(**fed))


def _slope(backend: str, build: Callable[..., Node], *arrays: Any) -> np.ndarray:
    return _run(backend, lambda *x: gradients(r.sum(build(*x)), x[:1])[0], *arrays)


def _pairs() -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(SPECIAL, SPECIAL)
    return x.ravel(), y.ravel()


def _same(got: np.ndarray, expected: Any) -> None:
    np.testing.assert_array_equal(got, np.asarray(expected, got.dtype))


# -- nan, infinities, signed zeros -----------------------------------------------------------------


def test_relu_keeps_nan_and_has_slope_0_at_0(backend: str) -> None:
    _same(_run(backend, e.relu, SPECIAL), [NAN, INF, 0, 0, 0, 1.5, 0])
    assert not np.signbit(_run(backend, e.relu, np.array([-0.0], np.float32))).any()
    _same(_slope(backend, e.relu, SPECIAL[1:]), [1, 0, 0, 0, 1, 0])


def test_maximum_and_minimum_give_nan_if_either_is_nan(backend: str) -> None:
    x, y = _pairs()
    _same(_run(backend, e.maximum, x, y), np.maximum(x, y))
    _same(_run(backend, e.minimum, x, y), np.minimum(x, y))


def test_maximum_splits_the_gradient_of_a_tie(backend: str) -> None:
    x, y = np.array([1, 2, 3], np.float32), np.array([2, 2, 2], np.float32)
    _same(_slope(backend, e.maximum, x, y), [0, 0.5, 1])
    _same(_slope(backend, e.minimum, x, y), [1, 0.5, 0])


def test_comparisons_with_nan_are_false_but_for_not_equal(backend: str) -> None:
    x, y = _pairs()
    for build, numpy in (
        (e.less, np.less),
        (e.less_equal, np.less_equal),
        (e.equal, np.equal),
        (e.not_equal, np.not_equal),
        (e.greater, np.greater),
        (e.greater_equal, np.greater_equal),
    ):
        _same(_run(backend, build, x, y), numpy(x, y))


def test_arithmetic_is_that_of_ieee_754(backend: str) -> None:
    x, y = _pairs()
    with np.errstate(all="ignore"):
        for build, numpy in (
            (e.add, np.add),
            (e.sub, np.subtract),
            (e.mul, np.multiply),
            (e.div, np.divide),
        ):
            found = _run(backend, build, x, y)
            _same(found, numpy(x, y))
            finite = ~np.isnan(found)
            _same(np.signbit(found)[finite], np.signbit(numpy(x, y))[finite])


def test_signs_of_zero_survive(backend: str) -> None:
    _same(np.signbit(_run(backend, e.neg, SPECIAL[3:5])), [True, False])
    _same(np.signbit(_run(backend, e.absolute, SPECIAL[3:5])), [False, False])
    _same(np.signbit(_run(backend, lambda x: e.add(x, -0.0), SPECIAL[3:5])), [False, True])
    _same(np.signbit(_run(backend, lambda x: e.add(x, 0.0), SPECIAL[3:5])), [False, False])
    _same(np.signbit(_run(backend, lambda x: e.mul(x, -1.0), SPECIAL[3:5])), [True, False])


def test_functions_at_the_edges_of_their_domain(backend: str) -> None:
    x = np.array([NAN, INF, -INF, 0.0, -0.0, -1.0, 100.0, -200.0, 1e-30], np.float32)
    with np.errstate(all="ignore"):
        for build, numpy in (
            (e.exp, np.exp),
            (e.log, np.log),
            (e.sqrt, np.sqrt),
            (e.tanh, np.tanh),
        ):
            np.testing.assert_allclose(_run(backend, build, x), numpy(x), rtol=1e-6, atol=1e-37)
    _same(_run(backend, e.sigmoid, x[:5]), [NAN, 1, 0, 0.5, 0.5])


def test_where_chooses_and_never_mixes(backend: str) -> None:
    condition = np.array([True, False, True])
    x, y = np.array([1, NAN, 3], np.float32), np.array([NAN, 2, INF], np.float32)
    _same(_run(backend, e.where, condition, x, y), [1, 2, 3])


def test_a_cast_to_whole_numbers_rounds_towards_zero(backend: str) -> None:
    x = np.array([1.9, -1.9, 0.5, -0.5, 2147483520.0], np.float32)
    _same(_run(backend, lambda x: e.cast(x, dtype=DType.i32), x), [1, -1, 0, 0, 2147483520])
    _same(
        _run(backend, lambda x: e.cast(x, dtype=DType.bool), SPECIAL),
        [True, True, True, False, False, True, True],
    )


def test_whole_numbers_wrap(backend: str) -> None:
    top = np.array([2**31 - 1, -(2**31)], np.int32)
    _same(_run(backend, lambda x: e.add(x, 1), top), [-(2**31), -(2**31) + 1])
    _same(_run(backend, e.neg, top), [-(2**31) + 1, -(2**31)])


def test_bytes_have_no_sign(backend: str) -> None:
    x, y = (np.array(v, np.uint8) for v in ([0, 127, 128, 255], [255, 128, 127, 0]))
    _same(_run(backend, e.add, x, y), [255, 255, 255, 255])
    _same(_run(backend, lambda x: e.add(x, 1), x), [1, 128, 129, 0])
    _same(_run(backend, e.neg, x), [0, 129, 128, 1])
    _same(_run(backend, e.less, x, y), [True, True, False, False])
    _same(_run(backend, e.maximum, x, y), [255, 128, 128, 255])
    _same(_run(backend, lambda x: r.max(x), x), 255)
    _same(_run(backend, lambda x: r.min(x), x), 0)


def test_integers_are_fed_as_others_that_hold_them_and_never_wrap(backend: str) -> None:
    run = gc.compile(gc.parse("graph g(%x: u8[N]) { return %x }"), backend)
    _same(run(np.array([0, 255])), [0, 255])
    for outside in (256, -1):
        with pytest.raises(gc.GraphcError, match=r"int64, but u8\[N\] is expected"):
            run(np.array([0, outside]))


@pytest.mark.parametrize("dtype", [DType.f32, DType.f64, DType.i32, DType.i64, DType.bool])
def test_bytes_are_cast_both_ways(backend: str, dtype: DType) -> None:
    whole = np.arange(256).astype(np.uint8)
    there = _run(backend, lambda x: e.cast(x, dtype=dtype), whole)
    _same(there, whole.astype(dtype.numpy))
    _same(_run(backend, lambda x: e.cast(x, dtype=DType.u8), there), there.astype(np.uint8))


@pytest.mark.parametrize("columns", [1, 15, 16, 17, 18, 33])
def test_bytes_of_a_row_are_written_and_no_more(backend: str, columns: int) -> None:
    x = np.arange(3 * columns, dtype=np.int32).reshape(3, columns) - 20
    _same(_run(backend, lambda x: e.cast(x, dtype=DType.u8), x), x.astype(np.uint8))


def test_powers_follow_c(backend: str) -> None:
    x = np.array([0, 0, 2, -2, -2, 1, NAN, INF, 4], np.float32)
    y = np.array([0, -1, 0.5, 2, 0.5, NAN, 0, -1, 0.5], np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(_run(backend, e.power, x, y), np.power(x, y), rtol=1e-6)


def test_extremes_of_an_axis_give_nan_if_there_is_one(backend: str) -> None:
    x = np.array([[1, NAN, 3], [INF, 2, -INF]], np.float32)
    _same(_run(backend, lambda x: r.max(x, axes=1), x), [NAN, INF])
    _same(_run(backend, lambda x: r.min(x, axes=1), x), [NAN, -INF])


def test_ties_of_an_extreme_share_the_gradient(backend: str) -> None:
    x = np.array([[1, 2, 2], [3, 3, 3]], np.float32)
    third = np.float32(1 / 3)
    found = _slope(backend, lambda x: r.max(x, axes=1), x)
    np.testing.assert_allclose(found, [[0, 0.5, 0.5], [third, third, third]], rtol=1e-6)


# -- pooling ---------------------------------------------------------------------------------------


def _image(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, np.float32)[None, None]


def test_max_pooling_gives_nan_if_a_window_holds_one(backend: str) -> None:
    x = _image([[1, NAN, 3, 4], [5, 6, 7, -INF]])
    _same(_run(backend, lambda x: max_pool2d(x, window=2), x)[0, 0], [[NAN, 7]])


def test_padding_never_wins_a_maximum(backend: str) -> None:
    x = _image([[-5, -6], [-7, -INF]])
    found = _run(backend, lambda x: max_pool2d(x, window=2, stride=1, padding=1), x)
    _same(found[0, 0], [[-5, -5, -6], [-5, -5, -6], [-7, -7, -INF]])


def test_the_first_maximum_in_row_major_order_gets_the_gradient(backend: str) -> None:
    x = _image([[2, 2, 0, 1], [2, 2, 1, 1], [3, 3, 3, 3], [3, 3, 3, 3]])
    found = _slope(backend, lambda x: max_pool2d(x, window=2), x)
    expected = [[1, 0, 0, 1], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    _same(found[0, 0], expected)


def test_overlapping_windows_add_their_gradients(backend: str) -> None:
    x = _image([[0, 0, 0], [0, 9, 0], [0, 0, 0]])
    found = _slope(backend, lambda x: max_pool2d(x, window=2, stride=1), x)
    _same(found[0, 0], [[0, 0, 0], [0, 4, 0], [0, 0, 0]])


def test_the_gradient_of_a_nan_goes_to_the_first_nan(backend: str) -> None:
    x = _image([[1, NAN], [NAN, 5]])
    _same(_slope(backend, lambda x: max_pool2d(x, window=2), x)[0, 0], [[0, 1], [0, 0]])


def test_average_pooling_counts_padding_only_if_told(backend: str) -> None:
    x = _image([[4, 4], [4, 4]])

    def pooled(include: bool) -> np.ndarray:
        return _run(
            backend,
            lambda x: avg_pool2d(x, window=2, stride=2, padding=1, count_include_pad=include),
            x,
        )[0, 0]

    _same(pooled(True), [[1, 1], [1, 1]])
    _same(pooled(False), [[4, 4], [4, 4]])


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("window", [2, 3])
def test_rounding_up_gives_pytorchs_sizes(window: int, stride: int, padding: int) -> None:
    """pooling_output_shape of PyTorch: up, unless the last window starts in the padding behind."""
    for size in range(window, 15):
        x = make_input("x", TensorType(DType.f32, (1, 1, size, size)))
        found = max_pool2d(x, window=window, stride=stride, padding=padding, ceil_mode=True)
        expected = -(-(size + 2 * padding - window) // stride) + 1
        if (expected - 1) * stride >= size + padding:
            expected -= 1
        assert found.tensor.shape[2:] == (expected, expected), size
        average = avg_pool2d(x, window=window, stride=stride, padding=padding, ceil_mode=True)
        assert average.tensor.shape == found.tensor.shape


# -- losses ----------------------------------------------------------------------------------------


def test_softmax_is_safe_for_large_numbers(backend: str) -> None:
    x = np.array([[1e4, 1e4, -1e4], [-1e4, -1e4, -1e4]], np.float32)
    np.testing.assert_allclose(
        _run(backend, softmax, x), [[0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6
    )
    assert np.isfinite(_run(backend, log_softmax, x)).all()


def test_the_loss_of_a_label_is_minus_its_log_probability(backend: str) -> None:
    logits = np.array([[1, 2, 3], [0, 0, 0]], np.float32)
    labels = np.array([2, 0], np.int32)
    rows = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -(rows[0, 2] + rows[1, 0]) / 2
    assert _run(backend, softmax_cross_entropy, logits, labels) == pytest.approx(expected, rel=1e-6)


def test_soft_labels_that_are_one_hot_are_class_numbers(backend: str) -> None:
    logits = np.array([[1, 2, 3], [0, 0, 5]], np.float32)
    labels = np.array([2, 1], np.int64)
    hot = np.eye(3, dtype=np.float32)[labels]
    whole = _run(backend, softmax_cross_entropy, logits, labels)
    assert _run(backend, softmax_cross_entropy, logits, hot) == pytest.approx(whole, rel=1e-6)
    np.testing.assert_allclose(
        _slope(backend, softmax_cross_entropy, logits, labels),
        _slope(backend, softmax_cross_entropy, logits, hot),
        atol=1e-7,
    )


@pytest.mark.parametrize("label", [-1, 3, -(2**31), 2**31 - 1])
def test_a_label_out_of_range_adds_nothing_to_the_loss(label: int, backend: str) -> None:
    """Feeding such labels to a model is an error; the op itself is defined for any number."""
    logits = np.array([[1, 2, 3], [0, 0, 0]], np.float32)
    found = _run(backend, softmax_cross_entropy, logits, np.array([label, 0], np.int32))
    assert found == pytest.approx(np.log(3) / 2, rel=1e-6)


# -- creation --------------------------------------------------------------------------------------


def test_positions_count_from_0(backend: str) -> None:
    x = np.zeros((2, 3), np.float32)
    found = _run(backend, lambda x: e.add(x, iota(axis=1, shape=(2, 3), dtype=DType.f32)), x)
    _same(found, [[0, 1, 2], [0, 1, 2]])


def test_a_constant_keeps_its_bits(backend: str) -> None:
    for value in (0.1, -0.0, INF, NAN, 1e-42):
        found = _run(backend, lambda x, v=value: e.mul(e.where(x, full(v), full(v)), 1.0), np.True_)
        assert found.tobytes() == np.float32(value).tobytes() or np.isnan(value)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_number_that_is_spread_and_padded_is_the_padding_outside(
    value: float, backend: str
) -> None:
    text = f"""graph padded(%s: f32[]) {{
      %b = broadcast(%s) {{axes=(), shape=(2, 2)}} : f32[2,2]
      %p = pad(%b) {{high=(0, 1), interior=(1, 0), low=(0, 1), value={value}}} : f32[3,4]
      return %p
    }}"""
    expected = np.full((3, 4), value, np.float32)
    expected[::2, 1:3] = 7.0
    assert np.array_equal(gc.compile(gc.parse(text), backend)(s=np.float32(7.0)), expected)


def test_a_number_that_is_spread_and_convolved_is_zero_in_the_padding(backend: str) -> None:
    image = np.pad(np.ones((4, 4)), 1)
    expected = np.lib.stride_tricks.sliding_window_view(image, (3, 3)).sum((2, 3))
    graph = gc.trace(
        lambda x, s, w: nn.conv2d(nn.broadcast(s, shape=x.shape), w, padding=1) + x * 0.0,
        "f32[N,1,4,4]",
        "f32[]",
        "f32[1,1,3,3]",
    )
    x, w = np.zeros((2, 1, 4, 4), np.float32), np.ones((1, 1, 3, 3), np.float32)
    assert np.array_equal(gc.compile(graph, backend)(x, np.float32(1), w)[1, 0], expected)

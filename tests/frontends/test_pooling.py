"""Pooling layers beyond what PyTorch's answers say: closed forms, edges, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.graph import Graph
from graphc.passes.autodiff import gradients
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import trace_callable

RNG = np.random.default_rng(0)


def run(layer, x, backend: str, **held) -> np.ndarray:
    """The output of a layer for an array, whose axis 0 is the batch."""
    shape = ",".join(map(str, ("N", *x.shape[1:])))
    return gc.compile(gc.trace(layer, f"f32[{shape}]"), backend=backend)(x, **held)


def slopes(function, arrays, backend: str, order: int = 1) -> list[np.ndarray]:
    """The gradients of a function's sum; of order 2, those of the sum of their squares."""
    types = [f"f32[{','.join(map(str, a.shape))}]" for a in arrays]
    traced = trace_callable(lambda *x: function(*x).sum(), types)
    found = gradients(traced.outputs[0], traced.data)
    if order == 2:
        squares = [(Tensor(g) * Tensor(g)).sum() for g in found]
        found = gradients(sum(squares[1:], squares[0]).node, traced.data)
    graph = Graph("slopes", traced.data, tuple(found))
    values = gc.compile(graph, backend=backend)(*arrays)
    return list(values) if isinstance(values, tuple) else [values]


# -- windows and bins ------------------------------------------------------------------------------


def test_subsampling_is_average_pooling_until_it_is_trained(backend: str) -> None:
    x = RNG.standard_normal((2, 3, 6, 6), np.float32)
    started = {"weight": np.ones(3, np.float32), "bias": np.zeros(3, np.float32)}
    np.testing.assert_allclose(
        run(nn.Subsample(), x, backend, **started), run(nn.AvgPool(2), x, backend), rtol=1e-6
    )
    model = gc.Model(nn.Subsample(), "f32[N,3,6,6]", backend=backend)
    assert {name: value.tolist() for name, value in model.params.items()} == {
        "weight": [1, 1, 1], "bias": [0, 0, 0],
    }  # fmt: skip


def test_lenet5_s2_has_twelve_parameters() -> None:
    graph = gc.trace(nn.Subsample(2), "f32[N,6,28,28]")
    held = [i for i in graph.inputs if i.attrs["kind"] == "parameter"]
    assert sum(i.tensor.count() for i in held) == 12
    assert graph.outputs[0].tensor.shape[1:] == (6, 14, 14)


def test_l2_pooling_is_pythagoras(backend: str) -> None:
    x = np.array([[[[3, 4], [0, 0]], [[12, 0], [0, 0]]]], np.float32)
    assert run(nn.L2Pool(2), x, backend).ravel().tolist() == [5, 12]
    assert run(nn.L2Pool(2, maps=2), x, backend).ravel().tolist() == [13]
    assert run(nn.L2Pool(1, maps=2), x, backend).tolist()[0][0][0] == [
        pytest.approx(np.hypot(3, 12)), 4,
    ]  # fmt: skip


@pytest.mark.parametrize("order", [1, 2])
def test_l2_pooling_has_slope_0_at_a_window_of_zeros(order: int, backend: str) -> None:
    x = np.array([[[[0, 0, 3, 4], [0, 0, 0, 0]]]], np.float32)
    (slope,) = slopes(nn.L2Pool(2), [x], backend, order)
    assert np.isfinite(slope).all()
    assert not slope[..., :2].any()
    if order == 1:
        np.testing.assert_allclose(slope[0, 0, 0, 2:], [0.6, 0.8], rtol=1e-6)


def test_adaptive_pooling_is_plain_pooling_where_the_size_divides() -> None:
    graph = gc.passes.Pipeline.parse("decompose")(
        gc.trace(nn.AdaptiveAvgPool((3, 2)), "f32[N,2,6,8]")
    )
    pooled = [n.attrs["window"] for n in graph.nodes if n.op.name == "sum_pool2d"]
    assert pooled == [(2, 4)]


def test_adaptive_pooling_to_one_is_the_global_mean(backend: str) -> None:
    x = RNG.standard_normal((3, 4, 5, 7), np.float32)
    means = x.mean((2, 3))
    np.testing.assert_allclose(run(nn.GlobalAvgPool(), x, backend), means, rtol=2e-6, atol=1e-7)
    one = run(nn.AdaptiveAvgPool(1), x, backend)
    np.testing.assert_allclose(one[:, :, 0, 0], means, rtol=2e-6, atol=1e-7)


def test_a_pixel_counts_in_every_bin_that_touches_it(backend: str) -> None:
    x = np.arange(5, dtype=np.float32).reshape(1, 1, 1, 5)
    assert run(nn.AdaptiveAvgPool((1, 3)), x, backend).ravel().tolist() == [0.5, 2, 3.5]
    (slope,) = slopes(nn.AdaptiveAvgPool((1, 3)), [x], backend)
    np.testing.assert_allclose(slope.ravel(), [1 / 2, 1 / 2 + 1 / 3, 1 / 3, 1 / 3 + 1 / 2, 1 / 2])


# -- regions ---------------------------------------------------------------------------------------

IMAGE = np.arange(36, dtype=np.float32).reshape(1, 1, 6, 6)


def pooled(features, boxes, backend: str, size=1, scale: float = 1.0) -> np.ndarray:
    shape = ",".join(map(str, features.shape))
    graph = gc.trace(nn.RoIMaxPool(size, scale), f"f32[{shape}]", "f32[N,5]")
    return gc.compile(graph, backend=backend)(features, np.asarray(boxes, np.float32))


def test_both_corners_of_a_box_are_inside(backend: str) -> None:
    assert pooled(IMAGE, [[0, 1, 2, 3, 4]], backend).item() == IMAGE[0, 0, 4, 3]
    whole = pooled(IMAGE, [[0, 0, 0, 5, 5]], backend, size=2)
    assert whole.tolist() == [[[[14, 17], [32, 35]]]]


@pytest.mark.parametrize(
    ("x", "column"), [(0.5, 1), (1.49, 1), (1.5, 2), (2.5, 3), (-0.5, None), (0.49999997, 0)]
)
def test_corners_are_rounded_halves_away_from_zero(x, column, backend: str) -> None:
    found = pooled(IMAGE, [[0, x, 0, x, 0]], backend).item()
    assert found == (0 if column is None else IMAGE[0, 0, 0, column])


def test_a_box_whose_corners_are_exchanged_is_one_pixel(backend: str) -> None:
    assert pooled(IMAGE, [[0, 4, 3, 1, 1]], backend).item() == IMAGE[0, 0, 3, 4]


def test_bins_overlap_where_they_do_not_divide_the_box(backend: str) -> None:
    found = pooled(IMAGE, [[0, 0, 0, 4, 0]], backend, size=(1, 3))
    assert found.ravel().tolist() == [1, 3, 4]


def test_scale_takes_the_image_to_the_features(backend: str) -> None:
    box = [[0, 16, 32, 63, 63]]
    assert pooled(IMAGE, box, backend, scale=1 / 16).item() == IMAGE[0, 0, 4, 4]


@pytest.mark.parametrize(
    "box",
    [[0, 9, 9, 12, 12], [0, -9, 0, -7, 3], [-1, 0, 0, 5, 5], [1, 0, 0, 5, 5], [0, np.nan, 0, 5, 5]],
    ids=["beyond", "before", "image -1", "image 1", "nan"],
)
def test_without_pixels_there_is_0_and_no_gradient(box, backend: str) -> None:
    shifted = IMAGE - 100
    assert not pooled(shifted, [box], backend, size=2).any()
    layer = nn.RoIMaxPool(2)
    slope, boxes = slopes(layer, [shifted, np.array([box], np.float32)], backend)
    assert not slope.any()
    assert not boxes.any()


def test_the_gradient_goes_to_the_first_maximum_in_row_major_order(backend: str) -> None:
    ties = np.zeros((1, 1, 4, 4), np.float32)
    ties[0, 0, [1, 1, 2], [2, 3, 0]] = 1
    slope, _ = slopes(nn.RoIMaxPool(1), [ties, np.array([[0, 0, 0, 3, 3]], np.float32)], backend)
    expected = np.zeros_like(ties)
    expected[0, 0, 1, 2] = 1
    np.testing.assert_array_equal(slope, expected)


def test_gradients_of_overlapping_boxes_add_up_and_boxes_have_none(backend: str) -> None:
    boxes = np.array([[0, 0, 0, 5, 5], [0, 3, 3, 5, 5], [0, 0, 0, 2, 2]], np.float32)
    slope, of_boxes = slopes(nn.RoIMaxPool(1), [IMAGE, boxes], backend)
    expected = np.zeros_like(IMAGE)
    expected[0, 0, 5, 5], expected[0, 0, 2, 2] = 2, 1
    np.testing.assert_array_equal(slope, expected)
    assert not of_boxes.any()


def test_each_box_sees_its_own_image(backend: str) -> None:
    features = RNG.standard_normal((3, 2, 5, 4), np.float32)
    boxes = [[k, 0, 0, 3, 4] for k in (2, 0, 1, 2)]
    found = pooled(features, boxes, backend)
    np.testing.assert_array_equal(found[:, :, 0, 0], features.max((2, 3))[[2, 0, 1, 2]])


def test_gradients_of_both_orders_are_slopes() -> None:
    features = RNG.permutation(60).reshape(2, 1, 6, 5) / 7.0
    boxes = np.array([[0, 0, 0, 4, 5], [1, 1, 1, 3, 2], [0, 2, 1, 4, 4]], np.float64)
    found = gc.testing.check_grads(nn.RoIMaxPool(2), [features, boxes], wrt=["x0"])
    assert found.worst < 1e-6


# -- what is refused -------------------------------------------------------------------------------

BAD_ARGUMENTS = [
    (lambda: nn.Subsample(0), "Subsample: window 0"),
    (lambda: nn.L2Pool(2, maps=0), "L2Pool: maps 0"),
    (lambda: nn.L2Pool(2, padding=-1), "L2Pool: padding -1"),
    (lambda: nn.AvgPool(2, count_include_pad="no"), "AvgPool: count_include_pad 'no'"),
    (lambda: nn.AdaptiveAvgPool(0), "AdaptiveAvgPool: size 0"),
    (lambda: nn.RoIMaxPool((7, 0)), "RoIMaxPool: size (7, 0)"),
    (lambda: nn.RoIMaxPool(7, scale=-1.0), "RoIMaxPool: scale -1.0"),
    (lambda: nn.RoIMaxPool(7, scale=0), "RoIMaxPool: scale 0"),
]


@pytest.mark.parametrize(("construct", "message"), BAD_ARGUMENTS, ids=[m for _, m in BAD_ARGUMENTS])
def test_bad_arguments_are_refused_by_the_constructor(construct, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        construct()
    assert message in caught.value.what
    assert caught.value.remedy
    assert caught.value.location.file == __file__


BAD_INPUTS = [
    (nn.L2Pool(2, maps=2), ["f32[N,3,4,4]"], "3 feature maps of f32[N,3,4,4] do not divide into 2"),
    (nn.L2Pool(3), ["f32[N,3,2,4]"], "window 3 does not fit size 2"),
    (nn.MaxPool(2, padding=(0, 2, 0, 0)), ["f32[N,3,4,4]"], "padding 2 is not smaller"),
    (nn.GlobalAvgPool(), ["f32[N,3]"], "GlobalAvgPool: the input f32[N,3] has 2 axes, not 4"),
    (nn.AdaptiveAvgPool(2), ["f32[N,3,0,4]"], "has no pixels"),
    (nn.RoIMaxPool(2), ["f32[N,3,4,4]", "f32[7,5]"], "not a known number of images"),
    (nn.RoIMaxPool(2), ["f32[2,3,4,4]", "f32[N,4]"], "f32[N,4] are no boxes"),
    (nn.RoIMaxPool(2), ["f32[2,3,4,4]", "f64[N,5]"], "differ in dtype"),
]


@pytest.mark.parametrize(("layer", "types", "message"), BAD_INPUTS, ids=[m for *_, m in BAD_INPUTS])
def test_inputs_that_do_not_fit_are_refused(layer, types, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        gc.trace(layer, *types)
    assert message in caught.value.what
    assert caught.value.remedy
    assert caught.value.location.file == __file__


def test_reprs_are_what_a_user_would_write() -> None:
    layers = {
        "AvgPool(3, stride=2, count_include_pad=False)": nn.AvgPool(3, 2, count_include_pad=False),
        "MaxPool(3, padding=(0, 1, 0, 1), ceil_mode=True)": nn.MaxPool(
            3, padding=(0, 1, 0, 1), ceil_mode=True
        ),
        "Subsample(2)": nn.Subsample(),
        "L2Pool(2, stride=1, maps=4)": nn.L2Pool(2, 1, maps=4),
        "GlobalAvgPool()": nn.GlobalAvgPool(),
        "AdaptiveAvgPool((3, 2))": nn.AdaptiveAvgPool((3, 2)),
        "RoIMaxPool(7, scale=0.0625)": nn.RoIMaxPool(7, 1 / 16),
    }
    assert [repr(layer) for layer in layers.values()] == list(layers)

"""Dense layers as convolutions, which slide, and convolutions as dense layers, which are sparse."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ops.interpret import interpret
from graphc.passes.base import Pipeline
from graphc.passes.conv_to_dense import ConvToDense, conv_to_dense
from graphc.passes.dense_to_conv import DenseToConv, dense_to_conv

Array = np.ndarray[Any, Any]
ROUNDING = {"f32": 2e-5, "f64": 1e-12}


def parameters(graph: Graph, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        i.attrs["name"]: (
            rng.uniform(0.5, 1.5, i.tensor.concrete(1))
            if "var" in i.attrs["name"]
            else 0.3 * rng.standard_normal(i.tensor.concrete(1))
        ).astype(i.tensor.dtype.numpy)
        for i in graph.inputs
        if i.attrs["kind"] != "data"
    }


def answer(graph: Graph, x: Array, params: dict[str, Array]) -> Array:
    (found,) = interpret(graph, {"x": x, **params})
    return found


def image(graph: Graph, n: int = 2) -> Array:
    type = graph.inputs[0].tensor
    drawn = np.random.default_rng(9).standard_normal(type.concrete(n))
    return drawn.astype(type.dtype.numpy)


# -- dense to conv ---------------------------------------------------------------------------------


class Pooled(nn.Module):
    """Global averages and maxima instead of flattened features."""

    def __init__(self) -> None:
        self.conv, self.dense = nn.Conv(4, 3), nn.Dense(3)

    def __call__(self, x: Any) -> Any:
        y = self.conv(x)
        return nn.log_softmax(self.dense(nn.concat(y.mean((2, 3)), nn.max(y, axes=(2, 3)), axis=1)))


NETWORKS: dict[str, tuple[Callable[[], Any], str, tuple[int, int], int]] = {
    "lenet5": (gc.zoo.lenet5, "[N,1,32,32]", (40, 44), 4),
    "dense from the image on": (
        lambda: nn.Sequential(nn.Flatten(), nn.Dense(7), nn.ReLU(), nn.Dense(4)),
        "[N,2,5,6]", (8, 7), 1),
    "strides, pooling that overlaps, normalisation": (
        lambda: nn.Sequential(
            nn.Conv(4, 3, stride=2), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(3, stride=2),
            nn.Flatten(), nn.Dropout(0.5), nn.ScaledTanh(), nn.Dense(6), nn.BatchNorm(), nn.Tanh(),
            nn.Dense(3), nn.Softmax()),
        "[N,2,13,12]", (22, 21), 4),
    "a window over all that is left": (
        lambda: nn.Sequential(nn.Conv(3, 4), nn.AvgPool(3), nn.Flatten(), nn.Dense(5, bias=False)),
        "[N,1,6,6]", (10, 13), 3),
    "global pooling": (Pooled, "[N,2,6,7]", (8, 9), 1),
    "branches that are joined": (
        lambda: nn.Sequential(
            nn.Concat(nn.Conv(2, 1), nn.Sequential(nn.Conv(3, 1), nn.Sigmoid())),
            nn.Flatten(), nn.Dense(4)),
        "[N,2,3,3]", (5, 4), 1),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_converted_network_gives_the_original_answer_on_every_crop(
    name: str, dtype: str
) -> None:
    build, shape, (height, width), stride = NETWORKS[name]
    original = gc.trace(build(), dtype + shape, name="net")
    params = parameters(original)
    channels, *size = original.inputs[0].tensor.concrete(1)[1:]
    slid, new = dense_to_conv(original, params, f"{dtype}[N,{channels},{height},{width}]")
    x = image(slid)
    found = answer(slid, x, new)
    places = found.shape[2:]
    assert min(places) > 1
    wide = np.pad(x, ((0, 0), (0, 0), (0, size[0]), (0, size[1])))  # what nothing looks at
    for i, j in np.ndindex(*places):
        crop = wide[:, :, i * stride : i * stride + size[0], j * stride : j * stride + size[1]]
        expected = answer(original, crop, params)
        np.testing.assert_allclose(found[:, :, i, j], expected, rtol=1e-5, atol=ROUNDING[dtype])


def test_the_places_are_those_where_the_input_fits() -> None:
    graph = gc.trace(gc.zoo.lenet5(), "f32[N,1,32,32]", name="lenet5")
    for size, places in ((32, 1), (35, 1), (36, 2), (64, 9)):
        slid = DenseToConv(height=size, width=32)(graph)
        assert slid.outputs[0].tensor.shape[1:] == (10, places, 1)


def test_no_matrix_product_is_left_and_weights_become_kernels() -> None:
    graph = gc.trace(gc.zoo.lenet5(), "f32[N,1,32,32]", name="lenet5")
    params = parameters(graph)
    slid, new = dense_to_conv(graph, params, "f32[N,1,40,40]")
    ops = Counter(node.op.name for node in slid)
    assert (ops["conv2d"], ops["matmul"], ops["reshape"], ops["transpose"]) == (5, 0, 0, 0)
    shapes = {"7.weight": (120, 16, 5, 5), "9.weight": (84, 120, 1, 1), "11.weight": (10, 84, 1, 1)}
    assert {name: new[name].shape for name in shapes} == shapes
    assert all(np.array_equal(new[n].ravel(), params[n].ravel()) for n in params)
    assert {i.attrs["name"]: i.tensor.concrete(1) for i in slid.inputs[1:]} == {
        name: value.shape for name, value in new.items()
    }


def test_converting_again_changes_nothing() -> None:
    graph = gc.trace(gc.zoo.lenet5(), "f32[N,1,32,32]", name="lenet5")
    slid = Pipeline.parse("dense_to_conv{height=40,width=36}")(graph)
    assert str(slid.inputs[0].type) == "f32[N,1,40,36]"
    assert DenseToConv()(slid) is slid
    convolution = gc.trace(nn.Sequential(nn.Conv(3, 3), nn.ReLU()), "f32[N,1,8,8]")
    assert DenseToConv()(convolution) is convolution


def test_a_weight_that_is_read_otherwise_too_stays_a_matrix() -> None:
    graph = gc.parse(
        """graph tied(%x: f32[N,2,3,3], %w: parameter f32[18,18]) {
          %flat = reshape(%x) {shape=(N, 18)} : f32[N,18]
          %code = matmul(%flat, %w) : f32[N,18]
          %turned = transpose(%w) {axes=(1, 0)} : f32[18,18]
          %y = matmul(%code, %turned) : f32[N,18]
          return %y
        }"""
    )
    params = parameters(graph)
    slid, new = dense_to_conv(graph, params, "f32[N,2,4,3]")
    assert slid.inputs[1] is graph.inputs[1] and new["w"] is params["w"]
    x = image(slid)
    expected = answer(graph, x[:, :, 1:], params)
    np.testing.assert_allclose(answer(slid, x, new)[:, :, 1, 0], expected, rtol=1e-5, atol=1e-5)


def test_it_slides_on_every_backend(backend: str) -> None:
    net = nn.Sequential(nn.Conv(3, 3), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Dense(4))
    original = gc.trace(net, "f32[N,1,8,8]", name="net")
    slid, new = dense_to_conv(original, parameters(original), "f32[N,1,14,12]")
    model = gc.Model(slid, backend=backend)
    model.load_params(new)
    x = image(slid, 3)
    np.testing.assert_allclose(model.predict(x), answer(slid, x, new), rtol=1e-4, atol=1e-5)


class Attends(nn.Module):
    """A layer that puts the mean of all places back at each of them."""

    def __call__(self, x: Any) -> Any:
        return x * nn.mean(x, axes=(2, 3), keepdims=True)


REFUSED: dict[str, tuple[Callable[[], Any], str, str, str]] = {
    "a smaller image": (gc.zoo.lenet5, "f32[N,1,32,32]", "f32[N,1,31,32]", "instead of"),
    "other channels": (gc.zoo.lenet5, "f32[N,1,32,32]", "f32[N,3,40,40]", "instead of"),
    "another number of axes": (gc.zoo.lenet5, "f32[N,1,32,32]", "f32[N,1,64]", "instead of"),
    "another dtype": (gc.zoo.lenet5, "f32[N,1,32,32]", "f64[N,1,40,40]", "instead of"),
    "no image": (lambda: nn.Dense(3), "f32[N,4]", "f32[N,5]", "not one batch of images"),
    "a mean that goes back": (
        lambda: nn.Sequential(Attends(), nn.Flatten(), nn.Dense(3)),
        "f32[N,1,4,4]", "f32[N,1,6,6]", "repeats one place at another"),
    "a normalisation over places": (
        lambda: nn.Sequential(nn.LayerNorm(), nn.Flatten(), nn.Dense(3)),
        "f32[N,2,4,4]", "f32[N,2,6,6]", "reduces places together with channels"),
    "a scale for each flattened element": (
        lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm(), nn.Dense(3)),
        "f32[N,2,4,4]", "f32[N,2,6,6]", "differs from place to place"),
    "softmax over flattened elements": (
        lambda: nn.Sequential(nn.Flatten(), nn.Softmax(), nn.Dense(3)),
        "f32[N,2,4,4]", "f32[N,2,6,6]", "works along an axis of places"),
    "weights of its own for each place": (
        lambda: nn.Sequential(nn.LocallyConnected(2, 3), nn.Flatten(), nn.Dense(3)),
        "f32[N,1,6,6]", "f32[N,1,8,8]", "has no meaning at one place alone"),
    "a transposed convolution": (
        lambda: nn.Sequential(nn.ConvTranspose(2, 3), nn.Flatten(), nn.Dense(3)),
        "f32[N,1,6,6]", "f32[N,1,8,8]", "has no meaning at one place alone"),
    "rows that change places": (
        lambda: lambda x: nn.reverse(x, axes=(2,)), "f32[N,1,4,4]", "f32[N,1,5,4]",
        "turns the order of places round"),
    "rows that become columns": (
        lambda: lambda x: x.transpose(0, 1, 3, 2), "f32[N,1,4,4]", "f32[N,1,5,4]",
        "moves the axes of places"),
    "places among the channels": (
        lambda: lambda x: x.reshape(x.shape[0], 4, 2, 2), "f32[N,1,4,4]", "f32[N,1,5,4]",
        "moves elements between places"),
    "flattened and nothing more": (
        lambda: nn.Flatten(), "f32[N,1,4,4]", "f32[N,1,5,4]", "places are joined"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_ties_places_together_is_refused(name: str) -> None:
    build, before, after, message = REFUSED[name]
    graph = gc.trace(build(), before, name="net")
    with pytest.raises(GraphcError, match=message) as caught:
        dense_to_conv(graph, parameters(graph), after)
    assert caught.value.remedy


# -- conv to dense ---------------------------------------------------------------------------------


CONVOLUTIONS: dict[str, Callable[[], Any]] = {
    "plain": lambda: nn.Conv(3, 3),
    "stride, padding, dilation": lambda: nn.Conv(4, (3, 2), stride=2, padding=1, dilation=(1, 2)),
    "groups": lambda: nn.Conv(6, 2, groups=2, bias=False),
    "transposed": lambda: nn.ConvTranspose(3, 3, stride=2, padding=1),
    "two of them": lambda: nn.Sequential(nn.Conv(3, 3), nn.Tanh(), nn.Conv(2, 2)),
}


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("build", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_a_convolution_equals_the_product_with_its_matrix(
    build: Callable[[], Any], dtype: str
) -> None:
    graph = gc.trace(build(), f"{dtype}[N,2,6,5]", name="net")
    params = parameters(graph)
    dense, new, report = conv_to_dense(graph, params)
    assert not {"conv2d", "conv2d_input_grad"} & {node.op.name for node in dense}
    x = image(graph, 3)
    expected = answer(graph, x, params)
    np.testing.assert_allclose(answer(dense, x, new), expected, rtol=1e-5, atol=ROUNDING[dtype])
    for layer in report.layers:
        assert new[layer.weight].shape == (layer.rows, layer.columns)
        assert layer.zeros == pytest.approx(1 - np.count_nonzero(new[layer.weight])
                                            / new[layer.weight].size)  # fmt: skip
    assert ConvToDense()(dense) is dense


def test_without_padding_a_row_holds_one_filter_and_zeros() -> None:
    """Each of K H' W' rows has C R S of C H W elements: the share of zeros is 1 - R S / (H W)."""
    graph = gc.trace(gc.zoo.lenet5(), "f32[N,1,32,32]", name="lenet5")
    _, new, report = conv_to_dense(graph, parameters(graph), layers=["0", "3"])
    assert [(c.weight, c.rows, c.columns) for c in report.layers] == [
        ("0.weight", 6 * 28 * 28, 32 * 32), ("3.weight", 16 * 10 * 10, 6 * 14 * 14),
    ]  # fmt: skip
    assert [c.zeros for c in report.layers] == [1 - 25 / 1024, 1 - 25 / 196]
    first = new["0.weight"][0].reshape(32, 32)
    np.testing.assert_array_equal(first[:5, :5], parameters(graph)["0.weight"][0, 0])
    assert np.count_nonzero(first) == 25


def test_the_matrix_of_a_row_of_pixels_is_the_toeplitz_matrix() -> None:
    graph = gc.parse(
        """graph row(%x: f64[N,1,1,4], %w: parameter f64[1,1,1,2]) {
          %y = conv2d(%x, %w) {dilation=(1, 1), groups=1, padding=(0, 0, 0, 0), stride=(1, 1)}
            : f64[N,1,1,3]
          return %y
        }"""
    )
    _, new, _ = conv_to_dense(graph, {"w": np.array([[[[5.0, 7.0]]]])})
    assert new["w"].tolist() == [[5, 7, 0, 0], [0, 5, 7, 0], [0, 0, 5, 7]]


def test_the_matrix_of_a_transposed_convolution_is_the_transpose() -> None:
    forward = gc.trace(nn.Conv(3, 3, stride=2, bias=False), "f64[N,2,7,7]", name="net")
    back = gc.trace(nn.ConvTranspose(2, 3, stride=2, bias=False), "f64[N,3,3,3]", name="net")
    weight = np.random.default_rng(0).standard_normal((3, 2, 3, 3))
    matrices = [conv_to_dense(g, {"weight": weight})[1]["weight"] for g in (forward, back)]
    np.testing.assert_array_equal(matrices[0].T, matrices[1])


def test_converting_to_dense_and_back_gives_kernels_as_large_as_the_image() -> None:
    net = nn.Sequential(nn.Conv(3, 3), nn.ReLU(), nn.Flatten(), nn.Dense(4))
    graph = gc.trace(net, "f64[N,1,5,5]", name="net")
    params = parameters(graph)
    dense, matrices, _ = conv_to_dense(graph, params)
    slid, kernels = dense_to_conv(dense, matrices, "f64[N,1,5,5]")
    assert kernels["0.weight"].shape == (27, 1, 5, 5)
    x = image(graph)
    found = answer(slid, x, kernels)[:, :, 0, 0]
    np.testing.assert_allclose(found, answer(graph, x, params), atol=1e-12)


def test_the_matrices_run_on_every_backend(backend: str) -> None:
    graph = gc.trace(nn.Sequential(nn.Conv(3, 3, padding=1), nn.ReLU()), "f32[N,2,6,6]")
    dense, new, _ = conv_to_dense(graph, parameters(graph))
    model = gc.Model(dense, backend=backend)
    model.load_params(new)
    x = image(graph, 4)
    expected = answer(graph, x, parameters(graph))
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-4, atol=1e-5)


def test_a_weight_of_two_convolutions_is_left_alone() -> None:
    conv = nn.Conv(2, 3, padding=1)
    graph = gc.trace(nn.Sequential(conv, nn.ReLU(), conv), "f32[N,2,6,6]")
    assert ConvToDense()(graph) is graph


def test_a_matrix_that_is_too_large_and_a_layer_that_is_none_are_refused() -> None:
    graph = gc.trace(nn.Sequential(nn.Conv(64, 3), nn.Conv(2, 200)), "f32[N,3,224,224]")
    with pytest.raises(GraphcError, match="3154176 x 150528 elements") as caught:
        ConvToDense(layer="0")(graph)
    assert "name smaller layers" in str(caught.value.remedy)
    with pytest.raises(GraphcError, match="there is no convolution layer 'fc'") as caught:
        ConvToDense(layer="fc")(graph)
    assert "0.weight, 1.weight" in str(caught.value.remedy)


def test_the_report_renders_as_a_table_and_as_data() -> None:
    from rich.console import Console

    graph = gc.trace(nn.Conv(3, 3, bias=False), "f32[N,2,6,6]", name="net")
    _, _, report = conv_to_dense(graph, parameters(graph))
    stream = io.StringIO()
    Console(file=stream, width=100).print(report)
    assert "75.0000%" in stream.getvalue()
    assert report.to_dict() == {
        "layers": [{"weight": "weight", "rows": 48, "columns": 72, "zeros": 0.75}]
    }

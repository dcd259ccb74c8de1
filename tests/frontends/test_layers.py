"""Layers: what they compute, the parameters they own, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn

RNG = np.random.default_rng(0)


def run(net, x, backend: str, **held) -> np.ndarray:
    """The output of a network in evaluation for given parameters."""
    dtype = {"float32": "f32", "float64": "f64"}[x.dtype.name]
    shape = ",".join(map(str, ("N", *x.shape[1:])))
    graph = gc.trace(net, f"{dtype}[{shape}]")
    return gc.compile(graph, backend=backend)(x, **held)


def parameters(net, type_text: str) -> dict[str, tuple[int, ...]]:
    graph = gc.trace(net, type_text)
    return {i.attrs["name"]: i.tensor.shape for i in graph.inputs if i.attrs["kind"] != "data"}


def test_dense_is_x_times_transposed_weight_plus_bias(backend: str) -> None:
    x, w, b = (RNG.standard_normal(s, np.float32) for s in ((5, 3), (4, 3), (4,)))
    found = run(nn.Sequential(nn.Dense(4)), x, backend, **{"0.weight": w, "0.bias": b})
    np.testing.assert_allclose(found, x @ w.T + b, rtol=1e-5, atol=1e-6)


def test_conv_is_correlation_with_a_bias_for_each_map(backend: str) -> None:
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    w = np.array([[[[1, 0], [0, 2]]]], np.float32)
    found = run(nn.Conv(1, 2), x, backend, weight=w, bias=np.array([100.0], np.float32))
    image = x[0, 0]
    np.testing.assert_array_equal(found[0, 0], image[:-1, :-1] + 2 * image[1:, 1:] + 100)


@pytest.mark.parametrize(
    ("layer", "input_type", "weight", "output"),
    [
        (nn.Conv(6, 5), "f32[N,3,32,32]", (6, 3, 5, 5), (6, 28, 28)),
        (nn.Conv(8, 3, stride=2, padding=1), "f32[N,3,32,32]", (8, 3, 3, 3), (8, 16, 16)),
        (nn.Conv(8, (3, 1), padding=(1, 0)), "f32[N,4,9,7]", (8, 4, 3, 1), (8, 9, 7)),
        (nn.Conv(4, 3, padding="same"), "f32[N,4,9,7]", (4, 4, 3, 3), (4, 9, 7)),
        (nn.Conv(4, 2, padding="same"), "f32[N,4,9,7]", (4, 4, 2, 2), (4, 9, 7)),
        (nn.Conv(4, 3, padding="valid"), "f32[N,4,9,7]", (4, 4, 3, 3), (4, 7, 5)),
        (nn.Conv(4, 3, padding=(0, 1, 2, 3)), "f32[N,4,9,7]", (4, 4, 3, 3), (4, 8, 10)),
        (nn.Conv(6, 3, dilation=2, groups=2), "f32[N,4,9,9]", (6, 2, 3, 3), (6, 5, 5)),
        (nn.Conv(6, np.int64(3)), "f32[N,4,9,9]", (6, 4, 3, 3), (6, 7, 7)),
    ],
)
def test_conv_infers_channels_and_size(layer, input_type, weight, output) -> None:
    graph = gc.trace(layer, input_type)
    assert parameters(layer, input_type)["weight"] == weight
    assert graph.outputs[0].tensor.shape[1:] == output


def test_layers_without_bias_own_none() -> None:
    net = nn.Sequential(nn.Conv(2, 3, bias=False), nn.Flatten(), nn.Dense(3, bias=False))
    assert set(parameters(net, "f32[N,1,5,5]")) == {"0.weight", "2.weight"}


def test_pooling(backend: str) -> None:
    x = np.array([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]], np.float32)
    assert run(nn.MaxPool(2), x, backend).tolist() == [[[[5]]]]
    assert run(nn.MaxPool(2, stride=1), x, backend).tolist() == [[[[5, 6], [8, 9]]]]
    assert run(nn.MaxPool(2, ceil_mode=True), x, backend).tolist() == [[[[5, 6], [8, 9]]]]
    assert run(nn.AvgPool(2, stride=1), x, backend).tolist() == [[[[3, 4], [6, 7]]]]
    padded = run(nn.AvgPool(2, padding=1), x, backend)
    np.testing.assert_allclose(padded, [[[[0.25, 1.25], [2.75, 7.0]]]])


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.ReLU(), lambda x: np.maximum(x, 0)),
        (nn.LeakyReLU(), lambda x: np.where(x < 0, 0.01 * x, x)),
        (nn.LeakyReLU(0.5), lambda x: np.where(x < 0, 0.5 * x, x)),
        (nn.Tanh(), np.tanh),
        (nn.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
        (nn.Softmax(), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
        (nn.LogSoftmax(), lambda x: x - np.log(np.exp(x).sum(1, keepdims=True))),
        (nn.Softmax(axis=-1), lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    ],
    ids=repr,
)
def test_activations(layer, expected, backend: str) -> None:
    x = RNG.standard_normal((4, 5)).astype(np.float32)
    np.testing.assert_allclose(run(layer, x, backend), expected(x), rtol=2e-6, atol=1e-6)


def test_every_op_is_a_function() -> None:
    graph = gc.trace(
        lambda x: nn.concat(nn.relu(x), nn.reverse(x, axes=1), axis=1), "f32[N,3]", name="two"
    )
    assert [n.op.name for n in graph.nodes] == ["input", "relu", "reverse", "concat"]
    assert "reverse" in dir(nn)
    assert nn.reverse is nn.reverse
    with pytest.raises(AttributeError, match="no_such_op"):
        _ = nn.no_such_op


def test_dropout_scales_what_it_keeps_and_is_the_identity_in_evaluation() -> None:
    net = nn.Sequential(nn.Dropout(0.25))
    assert len(gc.trace(net, "f32[N,1000]").nodes) == 1
    graph = gc.trace(net, "f32[N,1000]", training=True)
    run = gc.compile(graph, backend="numpy")
    x = np.ones((4, 1000), np.float32)
    first, again, other = (run(x, random_key=np.int32(k)) for k in (1, 1, 2))
    kept = first != 0
    np.testing.assert_allclose(first[kept], 1 / 0.75, rtol=1e-6)
    assert abs(kept.mean() - 0.75) < 0.03
    assert (first == again).all()
    assert (first != other).any()


def test_two_dropouts_draw_different_numbers() -> None:
    class Twice(nn.Module):
        def __init__(self):
            self.first, self.second = nn.Dropout(0.5), nn.Dropout(0.5)

        def __call__(self, x):
            return self.first(x), self.second(x)

    graph = gc.trace(Twice(), "f32[N,100]", training=True)
    one, two = gc.compile(graph, backend="numpy")(np.ones((2, 100), np.float32), random_key=5)
    assert (one != two).any()


BAD_ARGUMENTS = [
    (lambda: nn.Conv(6, 0), "Conv: kernel 0 is not a whole number of at least 1"),
    (lambda: nn.Conv(6, 5, stride=0), "Conv: stride 0"),
    (lambda: nn.Conv(6, 5, stride=-1), "Conv: stride -1"),
    (lambda: nn.Conv(6, 5, padding=-1), "Conv: padding -1"),
    (lambda: nn.Conv(6, 5, padding="full"), "Conv: padding 'full'"),
    (lambda: nn.Conv(6, 5, padding="same", stride=2), 'padding "same" with stride 2'),
    (lambda: nn.Conv(6, 2.5), "Conv: kernel 2.5"),
    (lambda: nn.Conv(6, (3, 3, 3)), "Conv: kernel (3, 3, 3)"),
    (lambda: nn.Conv("a", 5), "Conv: features 'a'"),
    (lambda: nn.Conv(6, 5, groups=4), "6 features do not divide into 4 groups"),
    (lambda: nn.Conv(True, 5), "Conv: features True"),
    (lambda: nn.Conv(6, 5, bias=3), "Conv: bias 3"),
    (lambda: nn.Conv(6, 5, dilation=0), "Conv: dilation 0"),
    (lambda: nn.Conv(6, 10**12), "Conv: kernel"),
    (lambda: nn.Dense("a"), "Dense: features 'a'"),
    (lambda: nn.Dense(0), "Dense: features 0"),
    (lambda: nn.Dense(3, weight_initializer="normal"), "not an initialiser"),
    (lambda: nn.MaxPool(0), "MaxPool: window 0"),
    (lambda: nn.AvgPool(2, stride=0), "AvgPool: stride 0"),
    (lambda: nn.AvgPool(2, ceil_mode=1), "AvgPool: ceil_mode 1"),
    (lambda: nn.Dropout(1.0), "Dropout: rate 1.0 is not a number in [0, 1)"),
    (lambda: nn.Dropout(-0.1), "Dropout: rate -0.1"),
    (lambda: nn.Dropout(float("nan")), "Dropout: rate nan"),
    (lambda: nn.BatchNorm(momentum=2.0), "BatchNorm: momentum 2.0"),
    (lambda: nn.LeakyReLU("a"), "LeakyReLU: slope 'a'"),
    (lambda: nn.Softmax(axis=1.0), "Softmax: axis 1.0"),
]


@pytest.mark.parametrize(("construct", "message"), BAD_ARGUMENTS, ids=[m for _, m in BAD_ARGUMENTS])
def test_bad_arguments_are_refused_by_the_constructor(construct, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        construct()
    assert message in caught.value.what
    assert caught.value.remedy
    assert caught.value.location.file == __file__


BAD_INPUTS = [
    (nn.Conv(6, 5), "f32[N,1,3,3]", "window 5 does not fit size 3 with padding 0"),
    (nn.Conv(6, 5), "f32[N,10]", "Conv: the input f32[N,10] has 2 axes, not 4"),
    (nn.Conv(6, 5), "i32[N,1,8,8]", "not of a float dtype"),
    (nn.Conv(6, 5), "f32[1,N,8,8]", "is the batch"),
    (nn.Conv(6, 3, groups=2), "f32[N,3,8,8]", "3 input channels do not divide into 2 groups"),
    (nn.Dense(10), "f32[N,3,8,8]", "Dense: the input f32[N,3,8,8] has 4 axes, not 2"),
    (nn.MaxPool(3), "f32[N,1,2,2]", "window 3 does not fit size 2"),
    (nn.MaxPool(2, padding=2), "f32[N,1,8,8]", "padding 2 is not smaller than the window"),
    (nn.AvgPool(2), "f32[N,8]", "AvgPool: the input f32[N,8] has 2 axes, not 4"),
    (nn.Flatten(), "f32[N]", "Flatten"),
    (nn.BatchNorm(), "f32[N]", "no channels on axis 1"),
]


@pytest.mark.parametrize(("layer", "type", "message"), BAD_INPUTS, ids=[m for *_, m in BAD_INPUTS])
def test_inputs_that_do_not_fit_are_refused(layer, type: str, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        gc.trace(layer, type)
    assert message in caught.value.what
    assert caught.value.remedy
    assert caught.value.location.file == __file__


def test_reprs_are_what_a_user_would_write() -> None:
    layers = {
        "Conv(6, 5)": nn.Conv(6, 5),
        "Conv(6, (5, 3), stride=2, padding=1, groups=2, bias=False)": nn.Conv(
            6, (5, 3), stride=2, padding=1, groups=2, bias=False
        ),
        "Dense(10)": nn.Dense(10),
        "MaxPool(3, stride=2)": nn.MaxPool(3, 2),
        "AvgPool(2)": nn.AvgPool(2),
        "Dropout(0.5)": nn.Dropout(0.5),
        "BatchNorm(momentum=0.2)": nn.BatchNorm(momentum=0.2),
        "LeakyReLU(slope=0.2)": nn.LeakyReLU(0.2),
        "Softmax()": nn.Softmax(),
        "Sequential(Tanh(), Flatten())": nn.Sequential(nn.Tanh(), nn.Flatten()),
    }
    assert {repr(layer) for layer in layers.values()} == set(layers)
    assert [repr(layer) for layer in layers.values()] == list(layers)

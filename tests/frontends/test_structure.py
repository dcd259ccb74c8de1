"""Layers that lead tensors around: shapes, names, and what is refused.

Values against PyTorch are in test_torch_layers.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn

RNG = np.random.default_rng(3)


def names(net: Any, input_type: str) -> list[str]:
    graph = gc.trace(net, input_type)
    return [i.attrs["name"] for i in graph.inputs if i.attrs["kind"] != "data"]


def output_shape(net: Any, input_type: str) -> tuple[Any, ...]:
    return gc.trace(net, input_type).outputs[0].tensor.shape[1:]


def run(net: Any, x: np.ndarray, backend: str) -> np.ndarray:
    dtype = {"float32": "f32", "float64": "f64"}[x.dtype.name]
    graph = gc.trace(net, f"{dtype}[N,{','.join(map(str, x.shape[1:]))}]")
    return gc.compile(graph, backend)(x)


@pytest.mark.parametrize(
    ("layer", "input_type", "output"),
    [
        (nn.Identity(), "f32[N,3,5]", (3, 5)),
        (nn.Flatten(), "f32[N,3,5,2]", (30,)),
        (nn.Reshape(1, 28, 28), "f32[N,784]", (1, 28, 28)),
        (nn.Reshape(4, -1), "f32[N,2,6]", (4, 3)),
        (nn.Reshape(), "f32[N,1]", ()),
        (nn.Pad(1), "f32[N,2,4,5]", (2, 6, 7)),
        (nn.Pad((1, 2)), "f32[N,2,4,5]", (2, 6, 9)),
        (nn.Pad((1, 2, 3, 4)), "f32[N,2,4,5]", (2, 7, 12)),
        (nn.Crop(1), "f32[N,2,4,5]", (2, 2, 3)),
        (nn.Crop((0, 1, 2, 0)), "f32[N,2,4,5]", (2, 3, 3)),
        (nn.Upsample(2), "f32[N,2,4,5]", (2, 8, 10)),
        (nn.Upsample((1, 3), "bilinear"), "f32[N,2,4,5]", (2, 4, 15)),
        (nn.Concat(nn.Conv(3, 1), nn.Identity()), "f32[N,2,4,5]", (5, 4, 5)),
    ],
    ids=repr,
)
def test_shapes(layer, input_type: str, output) -> None:
    assert output_shape(layer, input_type) == output


def test_identity_builds_nothing() -> None:
    graph = gc.trace(nn.Sequential(nn.Identity(), nn.Upsample(1), nn.Pad(0)), "f32[N,3,4,4]")
    assert graph.outputs == graph.inputs


def test_crop_undoes_pad(backend: str) -> None:
    x = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
    padding = (1, 2, 3, 4)
    found = run(nn.Sequential(nn.Pad(padding, -7.0), nn.Crop(padding)), x, backend)
    np.testing.assert_array_equal(found, x)
    assert run(nn.Pad(padding, -7.0), x, backend)[:, :, 0].tolist() == [[[-7.0] * 12] * 3] * 2


def test_nearest_repeats_pixels(backend: str) -> None:
    x = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
    found = run(nn.Upsample((2, 3)), x, backend)
    np.testing.assert_array_equal(found, x.repeat(2, axis=2).repeat(3, axis=3))


@pytest.mark.parametrize("scale", [1, 2, 3, 4, (5, 2)])
def test_bilinear_interpolation_keeps_constants_and_slopes(scale, backend: str) -> None:
    """A constant stays one up to the edge; a slope stays one between the outer pixels' middles."""
    flat = np.full((1, 2, 3, 4), 7.0)
    np.testing.assert_allclose(run(nn.Upsample(scale, "bilinear"), flat, backend), 7.0, rtol=1e-12)
    down, across = (scale, scale) if isinstance(scale, int) else scale
    slope = np.arange(4.0) * 10 + np.arange(3.0)[:, None]
    found = run(nn.Upsample(scale, "bilinear"), slope[None, None], backend)[0, 0]
    y, x = ((np.arange(e * s) + 0.5) / s - 0.5 for e, s in ((3, down), (4, across)))
    expected = np.clip(x, 0, 3) * 10 + np.clip(y, 0, 2)[:, None]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "layer", [nn.Upsample(2), nn.Upsample(3, "bilinear"), nn.Crop(1), nn.Pad(1, 0.5)], ids=repr
)
def test_gradients_of_both_orders(layer) -> None:
    def squared(x: Any) -> Any:
        return layer(x) ** 2.0

    assert gc.testing.check_grads(squared, (RNG.standard_normal((1, 2, 3, 4)),)).worst < 1e-4


def test_residual_adds_its_body_to_its_input_or_its_shortcut(backend: str) -> None:
    x = RNG.standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(nn.Residual(nn.ReLU()), x, backend), np.maximum(x, 0) + x)
    both = nn.Residual(nn.ReLU(), lambda y: y * 2.0)
    np.testing.assert_array_equal(run(both, x, backend), np.maximum(x, 0) + 2 * x)


def test_parameters_are_named_after_bodies_shortcuts_and_branches() -> None:
    net = nn.Sequential(
        nn.Residual(nn.Sequential(nn.Conv(2, 3, padding=1, bias=False)), nn.Conv(2, 1)),
        nn.Concat(nn.Conv(2, 1, bias=False), nn.tanh, nn.Sequential(nn.ReLU(), nn.Conv(1, 1))),
    )
    assert names(net, "f32[N,2,4,4]") == [
        "0.body.0.weight",
        "0.shortcut.weight",
        "0.shortcut.bias",
        "1.0.weight",
        "1.2.1.weight",
        "1.2.1.bias",
    ]


# -- what is refused -------------------------------------------------------------------------------

BAD_ARGUMENTS = [
    (lambda: nn.Reshape(3, 0), "Reshape: (3, 0) is no shape"),
    (lambda: nn.Reshape(-1, -1), "Reshape: (-1, -1) is no shape"),
    (lambda: nn.Reshape(2.5), "Reshape: extent 2.5"),
    (lambda: nn.Reshape((3, 4)), "Reshape: extent (3, 4)"),
    (lambda: nn.Pad(-1), "Pad: padding -1"),
    (lambda: nn.Pad(1, "a"), "Pad: value 'a' is not a number"),
    (lambda: nn.Crop((1, 2, 3)), "Crop: margin (1, 2, 3)"),
    (lambda: nn.Upsample(0), "Upsample: scale 0"),
    (lambda: nn.Upsample(1.5), "Upsample: scale 1.5"),
    (lambda: nn.Upsample(2, "cubic"), "Upsample: mode 'cubic'"),
    (lambda: nn.Residual(3), "Residual: layer 0 is 3, not a layer"),
    (lambda: nn.Residual(nn.ReLU(), nn.ReLU), "Residual: layer 1 is the class ReLU"),
    (lambda: nn.Concat(), "Concat: no branches"),
    (lambda: nn.Concat(nn.ReLU(), 3), "Concat: layer 1 is 3, not a layer"),
]


@pytest.mark.parametrize(("construct", "message"), BAD_ARGUMENTS, ids=[m for _, m in BAD_ARGUMENTS])
def test_bad_arguments_are_refused_by_the_constructor(construct, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        construct()
    assert message in caught.value.what
    assert caught.value.remedy
    assert caught.value.location.file == __file__


BAD_INPUTS = [
    (nn.Reshape(3, 4), "f32[N,3,5]", "each sample of f32[N,3,5] has 15 elements, the shape (3, 4)"),
    (nn.Reshape(4, -1), "f32[N,3,5]", "the shape (4, -1) a multiple of 4"),
    (nn.Reshape(1), "f32[]", "Reshape: f32[] has no axes"),
    (nn.Reshape(1), "f32[2,N]", "Reshape: axis 1 of f32[2,N] is the batch"),
    (nn.Pad(1), "f32[N,3]", "Pad: the input f32[N,3] has 2 axes, not 4"),
    (nn.Crop(2), "f32[N,1,5,4]", "nothing is left of 5x4 without the margin 2: 1x0"),
    (nn.Upsample(2), "f32[N,3]", "Upsample: the input f32[N,3] has 2 axes, not 4"),
    (nn.Residual(nn.Conv(4, 3)), "f32[N,4,8,8]",
     "the body gives f32[N,4,6,6], the shortcut f32[N,4,8,8]"),
    (nn.Residual(nn.Conv(4, 9)), "f32[N,4,8,8]", "window 9 does not fit size 8"),
    (nn.Concat(nn.Conv(4, 3), nn.Conv(4, 1)), "f32[N,4,8,8]", "differ beside axis 1"),
    (nn.Concat(nn.ReLU(), lambda x: 3), "f32[N,4]", "the branch 1 returned int"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "type", "message"), BAD_INPUTS, ids=[m for *_, m in BAD_INPUTS])
def test_inputs_that_do_not_fit_are_refused(layer, type: str, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        gc.trace(layer, type)
    assert message in caught.value.what
    assert caught.value.node
    assert caught.value.remedy
    assert caught.value.location.file == __file__


def test_an_error_inside_says_where_it_is() -> None:
    inner = nn.Concat(nn.ReLU(), nn.Sequential(nn.Conv(2, 9)))
    with pytest.raises(gc.GraphcError) as caught:
        gc.trace(nn.Sequential(nn.Residual(inner)), "f32[N,2,4,4]")
    places = ("layer 0 (Conv(2, 9))", "branch 1 (Sequential", "body (Concat(", "layer 0 (Residual(")
    at = [caught.value.node.index(place) for place in places]
    assert at == sorted(at)


def test_reprs_are_what_a_user_would_write() -> None:
    layers = {
        "Identity()": nn.Identity(),
        "Reshape(3, -1)": nn.Reshape(3, -1),
        "Pad(1)": nn.Pad(1),
        "Pad((0, 1, 2, 3), value=0.5)": nn.Pad((0, 1, 2, 3), 0.5),
        "Crop((1, 1, 2, 2))": nn.Crop((1, 2)),
        "Upsample(2)": nn.Upsample(2),
        "Upsample((2, 3), mode='bilinear')": nn.Upsample((2, 3), "bilinear"),
        "Residual(ReLU())": nn.Residual(nn.ReLU()),
        "Residual(ReLU(), Identity())": nn.Residual(nn.ReLU(), nn.Identity()),
        "Concat(ReLU(), tanh)": nn.Concat(nn.ReLU(), nn.tanh),
    }
    assert [repr(layer) for layer in layers.values()] == list(layers)

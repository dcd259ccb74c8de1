"""Winograd's algorithm: where it is chosen, that it means the same, and how it rounds."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.ops.contractions import CONV2D, CONV2D_INPUT_GRAD, CONV2D_WEIGHT_GRAD
from graphc.passes.winograd import Winograd

ATTRIBUTES = "{dilation=(1, 1), groups=1, padding=(1, 1, 1, 1), stride=(1, 1)}"
PLAIN = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
# maps, channels, side of the image: layers of VGG-16, ResNet and GoogLeNet, and odd sizes
LAYERS = [(64, 64, 56), (128, 64, 28), (256, 256, 14), (512, 512, 7), (208, 96, 14), (96, 64, 13)]
BOUND = 1e-4


def convolution(maps: int, channels: int, side: int, dtype: str = "f32"):
    image, weights = f"{dtype}[N,{channels},{side},{side}]", f"{dtype}[{maps},{channels},3,3]"
    return gc.parse(
        f"graph layer(%x: {image}, %w: parameter {weights}) {{\n"
        f"  %y = conv2d(%x, %w) {ATTRIBUTES} : {dtype}[N,{maps},{side},{side}]\n"
        "  return %y\n}"
    )


def gradients(maps: int, channels: int, side: int, dtype: str = "f32"):
    """A convolution with the gradients of its input and weights for %g."""
    image, weights = f"{dtype}[N,{channels},{side},{side}]", f"{dtype}[{maps},{channels},3,3]"
    out = f"{dtype}[N,{maps},{side},{side}]"
    size = f"size=({side}, {side})"
    return gc.parse(
        f"graph layer(%x: {image}, %w: parameter {weights}, %g: {out}) {{\n"
        f"  %y = conv2d(%x, %w) {ATTRIBUTES} : {out}\n"
        f"  %dx = conv2d_input_grad(%g, %w) {{dilation=(1, 1), groups=1, padding=(1, 1, 1, 1), "
        f"{size}, stride=(1, 1)}} : {image}\n"
        f"  %dw = conv2d_weight_grad(%x, %g) {{dilation=(1, 1), groups=1, padding=(1, 1, 1, 1), "
        f"stride=(1, 1), window=(3, 3)}} : {weights}\n"
        "  return %y, %dx, %dw\n}"
    )


def drawn(maps: int, channels: int, side: int, n: int = 2) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(maps + side)
    return {
        "x": generator.standard_normal((n, channels, side, side)).astype("f"),
        "w": generator.standard_normal((maps, channels, 3, 3)).astype("f"),
        "g": generator.standard_normal((n, maps, side, side)).astype("f"),
    }


@pytest.mark.parametrize(("maps", "channels", "side"), LAYERS)
def test_a_layer_and_its_gradients_stay_within_the_bound(maps: int, channels: int, side: int):
    """At most 1e-4 of the largest value away from f64, forward and for both gradients."""
    graph, given = gradients(maps, channels, side), drawn(maps, channels, side)
    assert "einsum" in str(Winograd().run(graph)), "the layer is not computed in tiles"
    x, w, g = (given[name].astype("d") for name in "xwg")
    exact = (
        CONV2D.numpy(x, w, **PLAIN),
        CONV2D_INPUT_GRAD.numpy(g, w, size=(side, side), **PLAIN),
        CONV2D_WEIGHT_GRAD.numpy(x, g, window=(3, 3), **PLAIN),
    )
    for found, expected in zip(gc.compile(graph, backend="llvm")(**given), exact, strict=True):
        assert np.abs(found - expected).max() <= BOUND * np.abs(expected).max()


def test_without_it_a_layer_rounds_like_a_plain_sum(monkeypatch):
    monkeypatch.setenv("GRAPHC_WINOGRAD", "0")
    graph, given = convolution(64, 64, 28), drawn(64, 64, 28)
    exact = CONV2D.numpy(given["x"].astype("d"), given["w"].astype("d"), **PLAIN)
    run = gc.compile(graph, backend="llvm")
    found = run(given["x"], w=given["w"])
    assert np.abs(found - exact).max() <= 1e-6 * np.abs(exact).max()
    assert "winograd_input" not in run.explain()


def test_bits_do_not_depend_on_threads():
    graph, given = gradients(64, 64, 14), drawn(64, 64, 14, n=3)
    runs = [gc.compile(graph, backend="llvm", threads=t)(**given) for t in (1, 2, 3)]
    for other in runs[1:]:
        assert all((a == b).all() for a, b in zip(runs[0], other, strict=True))


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        (convolution(64, 64, 28, "f64"), "f64 is for checking"),
        (convolution(24, 24, 28), "24 maps are no blocks of sixteen"),
        (convolution(16, 16, 8), "so small a layer costs more in transforms"),
    ],
)
def test_other_convolutions_stay_as_they_are(graph, why: str):
    assert Winograd().run(graph) is graph or str(Winograd().run(graph)) == str(graph), why

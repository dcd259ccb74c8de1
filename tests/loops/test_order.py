"""The order of a contraction's blocks, and sums in pieces."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.loops.axes import normalized
from graphc.loops.definition import body_of, define
from graphc.loops.order import block_order, pieces
from graphc.loops.schedule import Machine, choose

MACHINES = [Machine(64, 32), Machine(32, 16)]


def scheduled(text: str, machine: Machine):
    node = gc.parse(f"graph g({text} return %y }}").outputs[0]
    definition = normalized(define(body_of(node)))
    return definition, choose(definition, machine)


def convolution(channels: int, side: int) -> str:
    image, weights = f"f32[N,{channels},{side + 2},{side + 2}]", f"f32[{channels},{channels},3,3]"
    return (
        f"%x: {image}{{blocked_1}}, %w: {weights}{{blocked_1_0}}) {{ %y = conv2d(%x, %w) "
        "{dilation=(1, 1), groups=1, padding=(0, 0, 0, 0), stride=(1, 1)} : "
        f"f32[N,{channels},{side},{side}]{{blocked_1}}"
    )


def names(text: str, machine: Machine) -> list[str]:
    definition, schedule = scheduled(text, machine)
    return [a.variable.name for a in block_order(definition, schedule)]


def in_pieces(text: str) -> dict[str, int]:
    definition, schedule = scheduled(text, MACHINES[0])
    return {axis.variable.name: size for axis, size in pieces(definition, schedule)}


@pytest.mark.parametrize("machine", MACHINES)
def test_many_weights_stay_while_the_pixels_of_a_small_image_pass(machine: Machine) -> None:
    order = names(convolution(512, 14), machine)
    assert order.index("kb") < order.index("y")


def test_rows_of_a_large_image_stay_while_the_maps_pass() -> None:
    order = names(convolution(64, 224), MACHINES[0])
    assert order.index("y") < order.index("kb")


def test_every_axis_is_in_the_order_once() -> None:
    definition, schedule = scheduled(convolution(64, 56), MACHINES[0])
    assert sorted(map(str, block_order(definition, schedule))) == sorted(map(str, definition.axes))


def test_lanes_of_samples_leave_the_order_as_it_is() -> None:
    text = (
        "%x: f32[N,64]{batch_last}, %w: f32[64,48]) { %y = matmul(%x, %w) : f32[N,48]{batch_last}"
    )
    assert block_order(*scheduled(text, MACHINES[0])) == ()


def test_sums_down_wide_columns_are_taken_in_pieces() -> None:
    wide = "%x: f32[N,4096], %w: f32[4096,1100]) { %y = matmul(%x, %w) : f32[N,1100]"
    narrow = "%x: f32[N,4096], %w: f32[4096,100]) { %y = matmul(%x, %w) : f32[N,100]"
    assert in_pieces(wide) == {"k": 32}
    assert in_pieces(narrow) == {}


def weight_gradient(channels: int, maps: int, side: int) -> str:
    image, gradient = f"f32[N,{channels},{side + 10},{side + 10}]", f"f32[N,{maps},{side},{side}]"
    return (
        f"%x: {image}, %g: {gradient}{{blocked_1}}) {{ %y = conv2d_weight_grad(%x, %g) "
        "{dilation=(1, 1), groups=1, padding=(0, 0, 0, 0), stride=(1, 1), window=(11, 11)} : "
        f"f32[{maps},{channels},11,11]{{blocked_0}}"
    )


def test_gradients_of_few_weights_are_summed_some_rows_of_an_image_at_a_time() -> None:
    assert in_pieces(weight_gradient(3, 96, 48)) == {"n": 1, "y": 24}


def test_what_a_cache_holds_is_summed_at_once() -> None:
    assert in_pieces(weight_gradient(3, 16, 8)) == {}


@pytest.mark.parametrize("n", [1, 3])
def test_rows_add_up_to_the_same_bits_on_any_number_of_threads(n: int) -> None:
    size, stored = "[N,3,58,58]", "f32[N,96,48,48]"
    graph = gc.parse(
        f"graph g(%x: f32{size}, %g: {stored}) {{ %y = conv2d_weight_grad(%x, %g) "
        "{dilation=(1, 1), groups=1, padding=(0, 0, 0, 0), stride=(1, 1), window=(11, 11)} : "
        "f32[96,3,11,11] return %y }"
    )
    generator = np.random.default_rng(n)
    x = generator.standard_normal((n, 3, 58, 58)).astype("f")
    g = generator.standard_normal((n, 96, 48, 48)).astype("f")
    found = [gc.compile(graph, backend="llvm", threads=t)(x=x, g=g) for t in (1, 2, 3)]
    windows = np.lib.stride_tricks.sliding_window_view(x, (11, 11), (2, 3))
    exact = np.einsum("ncyxrs,nkyx->kcrs", windows, g.astype("d"), optimize=True)
    assert np.abs(found[0] - exact).max() < 1e-5 * np.abs(exact).max()
    assert all(np.array_equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("n", [1, 3, 4, 5, 18])
def test_pieces_add_up_to_the_same_bits_on_any_number_of_threads(n: int) -> None:
    graph = gc.parse(
        "graph g(%x: f32[N,4096], %w: f32[4096,1100]) "
        "{ %y = matmul(%x, %w) : f32[N,1100] return %y }"
    )
    generator = np.random.default_rng(n)
    x = generator.standard_normal((n, 4096)).astype("f")
    w = generator.standard_normal((4096, 1100)).astype("f")
    found = [gc.compile(graph, backend="llvm", threads=t)(x=x, w=w) for t in (1, 2, 3)]
    exact = x.astype("d") @ w
    assert np.abs(found[0] - exact).max() < 1e-5 * np.abs(exact).max()
    assert all(np.array_equal(found[0], other) for other in found[1:])

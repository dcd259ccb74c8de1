"""Products for Hopper processors: the same numbers as the interpreter in emulation, whatever sizes,
strides and paddings; and what does not come in boxes is left to others.

The emulation multiplies tf32 without rounding; bf16 is compared with an interpreter that rounds the
same operands. A device of few multiprocessors makes blocks compute several tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.loops.gpu.device import A100, GPU, H100
from graphc.loops.gpu.launch import launch_of
from graphc.loops.gpu.tensor_maps import Dimension, Image, TensorMap, Tiled
from graphc.loops.language import Kernel
from graphc.ops.interpret import interpret
from tests.loops.emulation import emulated, kernels_of, program_of
from tests.loops.test_gpu_matrix import Convolution

SMALL = GPU("sm_90a", 3, 227 << 10)
OPS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")


def _boxed(graph: Graph, precision: str, gpu: GPU = SMALL) -> list[Kernel]:
    """The kernels whose operands come in boxes."""
    found = kernels_of(program_of(graph, gpu, precision))
    return [kernel for kernel in found if kernel.schedule.startswith("m64")]


def _agrees(graph: Graph, precision: str, sizes: Sequence[int]) -> None:
    program = program_of(graph, SMALL, precision)
    assert any(k.schedule.startswith("m64") for k in kernels_of(program))
    for n in sizes:
        rng = np.random.default_rng(n)
        inputs = {
            i.attrs["name"]: rng.standard_normal(i.tensor.concrete(n)).astype(np.float32)
            for i in graph.inputs
        }
        expected = interpret(program.graph, inputs, n=n)
        for got, want in zip(emulated(program, inputs, n), expected, strict=True):
            off = np.abs(got - want) > 2e-6 * np.sqrt(n * 100) * np.abs(want).max()
            # What is stored as bf16 may round to the neighbour where sums differ a little.
            assert off.mean() < (0.01 if precision == "bf16" else 1e-12)
            np.testing.assert_allclose(got[off], want[off], rtol=2**-7)


SHAPES = {
    "plain": Convolution(64, 64),
    "more than a tile": Convolution(64, 136, size=(5, 7)),
    "channels that end within a line": Convolution(104, 120, size=(6, 5)),
    "strided": Convolution(64, 64, size=(12, 10), stride=(2, 2)),
    "strided, odd": Convolution(64, 64, size=(9, 11), stride=(2, 1)),
    "point": Convolution(64, 120, window=(1, 1), padding=(0, 0, 0, 0)),
    "strided point": Convolution(
        64, 64, size=(10, 12), window=(1, 1), stride=(2, 2), padding=(0, 0, 0, 0)
    ),
    "dilated": Convolution(64, 64, dilation=(2, 3), padding=(2, 1, 0, 3)),
    "uneven padding": Convolution(64, 64, window=(2, 3), padding=(0, 1, 2, 0)),
    "grouped": Convolution(128, 128, groups=2),
}


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("shape", SHAPES)
def test_convolutions_and_their_gradients(shape: str, op: str) -> None:
    _agrees(SHAPES[shape].graph(op), "bf16", (2,))


@pytest.mark.parametrize("shape", ["plain", "channels that end within a line", "strided point"])
def test_convolutions_of_f32(shape: str) -> None:
    _agrees(SHAPES[shape].graph("conv2d"), "tf32", (2,))


@pytest.mark.parametrize("op", OPS)
def test_one_program_serves_all_batches(op: str) -> None:
    _agrees(Convolution(64, 64, size=(5, 6)).graph(op), "bf16", (1, 2, 3, 4, 5))


PRODUCTS = [
    (turned, precision)
    for turned in ("", "left", "right", "both")
    for precision in ("tf32", "bf16")
    if precision == "bf16" or turned == "right"
]


def _product(turned: str, rows: int, summed: int, columns: int) -> Graph:
    """Operands that lie row by row, or `turned`."""
    lines, names, given = [], {}, {}
    for name, place, shape in (("left", "%a", (rows, summed)), ("right", "%b", (summed, columns))):
        is_turned = turned in (name, "both")
        given[name] = "{},{}".format(*(shape[::-1] if is_turned else shape))
        names[name] = f"%t{name}" if is_turned else place
        if is_turned:
            text = f"transpose({place}) {{axes=(1, 0)}} : f32[{shape[0]},{shape[1]}]"
            lines.append(f"%t{name} = {text}")
    newline = "\n"
    return gc.parse(f"""graph f(%a: f32[{given["left"]}], %b: f32[{given["right"]}]) {{
      {newline.join(lines)}
      %y = matmul({names["left"]}, {names["right"]}) : f32[{rows},{columns}]
      return %y
    }}""")


@pytest.mark.parametrize(("turned", "precision"), PRODUCTS)
@pytest.mark.parametrize("sizes", [(72, 96, 88), (200, 64, 136)])
def test_products_of_matrices(sizes: tuple[int, int, int], turned: str, precision: str) -> None:
    _agrees(_product(turned, *sizes), precision, (1,))


def test_results_that_lie_alone_are_stored_one_by_one() -> None:
    """An odd number of columns: no two neighbours are sure to be aligned."""
    _agrees(_product("right", 72, 96, 87), "bf16", (1,))


def test_what_follows_a_product_is_part_of_its_kernel() -> None:
    image, weights = "f32[N,64,7,6]", "f32[72,64,3,3]"
    graph = gc.parse(f"""graph f(%x: {image}, %w: {weights}, %b: f32[72], %r: f32[N,72,7,6]) {{
      %y = conv2d(%x, %w) {{dilation=(1,1), groups=1, padding=(1,1,1,1), stride=(1,1)}}
        : f32[N,72,7,6]
      %d = broadcast(%b) {{axes=(1,), shape=(N,72,7,6)}} : f32[N,72,7,6]
      %z = add(%y, %d) : f32[N,72,7,6]
      %s = add(%z, %r) : f32[N,72,7,6]
      %o = tanh(%s) : f32[N,72,7,6]
      return %o
    }}""")
    (kernel,) = _boxed(graph, "bf16")
    assert {"conv2d", "add", "tanh"} <= set(kernel.ops)
    _agrees(graph, "bf16", (3,))


@pytest.mark.parametrize(
    ("graph", "precision"),
    [
        (Convolution(3, 64).graph("conv2d"), "bf16"),
        (Convolution(20, 64).graph("conv2d"), "bf16"),
        (Convolution(64, 64).graph("conv2d_input_grad"), "tf32"),
        (Convolution(64, 64).graph("conv2d_weight_grad"), "tf32"),
        (_product("left", 64, 64, 64), "tf32"),
        (Convolution(32, 64).graph("conv2d_weight_grad"), "bf16"),
        (_product("right", 64, 100, 64), "bf16"),
    ],
    ids=[
        "lines shorter than 16 bytes",
        "lines that are mostly zeros",
        "right operand of f32 that would have to be turned",
        "operands of f32 that would have to be turned",
        "left operand of f32 that would have to be turned",
        "lines that would hold channels of two taps",
        "rows that are no multiple of 16 bytes",
    ],
)
def test_what_does_not_come_in_boxes_is_left_to_others(graph: Graph, precision: str) -> None:
    assert not _boxed(graph, precision)


def test_other_processors_have_no_boxes() -> None:
    graph = SHAPES["plain"].graph("conv2d")
    assert _boxed(graph, "bf16", H100) and not _boxed(graph, "bf16", A100)


def test_exact_products_are_those_of_threads() -> None:
    assert not _boxed(SHAPES["plain"].graph("conv2d"), "f32", H100)


IMAGES = (Dimension(1, 28 * 30 * 64, True), Dimension(28, 30 * 64), Dimension(30, 64))
GRADIENTS = (Dimension(1, 14 * 15 * 128, True), Dimension(14, 15 * 128), Dimension(15, 128))
WEIGHTS = (Dimension(128, 576), Dimension(3, 192), Dimension(3, 64))
CHANNEL = Dimension(64, 1)
MAP = Dimension(128, 1)


def _maps(op: str) -> list[TensorMap]:
    """Of a convolution of stride 2, 3x3, padding 1: by operand, the left one first."""
    (kernel,) = _boxed(Convolution(64, 128, size=(28, 30), stride=(2, 2)).graph(op), "bf16", H100)
    return [each.map for each in launch_of(kernel).maps]


def test_a_convolution_walks_over_images_and_takes_the_weights_of_a_tap() -> None:
    assert _maps("conv2d") == [
        Image((*IMAGES, CHANNEL), (14, 15), (2, 2), (1, 1), pixels=128, channels=64),
        Tiled((*WEIGHTS, CHANNEL), (64, 1, 1, 64), (1, 1, 1, 1)),
    ]


def test_an_input_gradient_walks_over_gradients_for_each_phase_of_the_stride() -> None:
    assert _maps("conv2d_input_grad") == [
        Image((*GRADIENTS, MAP), (14, 15), (1, 1), (1, 1), pixels=256, channels=64),
        Tiled((*WEIGHTS, CHANNEL), (64, 1, 1, 64), (1, 1, 1, 1)),
    ]


def test_a_weight_gradient_sums_boxes_of_pixels_that_lie_a_stride_apart() -> None:
    assert _maps("conv2d_weight_grad") == [
        Tiled((*GRADIENTS, MAP), (32, 1, 3, 64), (1, 1, 1, 1)),
        Tiled((*IMAGES, CHANNEL), (32, 1, 3, 64), (1, 1, 2, 1)),
    ]


def test_large_products_have_large_tiles() -> None:
    (kernel,) = _boxed(_product("right", 4096, 4096, 4096), "bf16", H100)
    assert kernel.schedule == "m64n256k16.bf16, tiles of 128 x 256 x 64, 4 stages"


def test_steps_of_a_weight_gradient_fit_the_rows_of_its_images() -> None:
    """14 x 8 pixels of 14 x 14: nothing is wasted."""
    graph = Convolution(256, 256, size=(14, 14)).graph("conv2d_weight_grad")
    (kernel,) = _boxed(graph, "bf16", H100)
    assert " x 112," in kernel.schedule

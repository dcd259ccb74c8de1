"""Tensor maps: what the driver is told, and that the copy engine, as NVIDIA's manuals describe it,
then brings what the emulation brings.

The model of the engine knows nothing but the arguments that the driver gets.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest

from graphc.ir.index import Index, index
from graphc.ir.types import DType
from graphc.loops.gpu.launch import Mapped
from graphc.loops.gpu.tensor_maps import Dimension, Image, TensorMap, Tiled
from graphc.loops.language import Read
from graphc.loops.memory import Buffer, Stride
from graphc_cuda.tensor_maps import encoding
from tests.backends.cuda.fake_driver import FakeDriver

pytest.importorskip("cuda.bindings")
BUFFER = Buffer("in0", DType.bf16, (1,), (Stride(1),))
N = 3


@dataclass(frozen=True)
class Encoded:
    """What the driver was told, innermost axis first, all in plain numbers."""

    function: str
    dtype: str
    extents: list[int]
    steps: list[int]  # bytes, of all but the innermost axis
    more: list[list[int] | int]
    strides: list[int]


def _encoded(map: TensorMap, n: int = N, dtype: DType = DType.bf16) -> Encoded:
    fake = FakeDriver()
    function, arguments = encoding(fake, Mapped(0, dtype, map), 1 << 20, n)
    error, _ = getattr(fake, function)(*arguments)  # the real function takes them as they are
    assert error.name == "CUDA_SUCCESS"
    kind, rank, address, extents, steps, *more = arguments
    form = [each.name.split("_MAP_")[1] for each in more[-4:]]
    plain = [list(_ints(each)) if isinstance(each, list) else int(each) for each in more[:-4]]
    assert address == 1 << 20 and len(extents) == rank == len(steps) + 1
    assert form == [
        "INTERLEAVE_NONE", "SWIZZLE_128B", "L2_PROMOTION_L2_256B", "FLOAT_OOB_FILL_NONE"
    ]  # fmt: skip
    type = kind.name.removeprefix("CU_TENSOR_MAP_DATA_TYPE_")
    *others, strides = plain
    assert isinstance(strides, list)
    found = list(_ints(extents)), list(_ints(steps))
    return Encoded(function.removeprefix("cuTensorMapEncode"), type, *found, others, strides)


def _ints(numbers: Sequence[object]) -> Iterator[int]:
    return (int(number) for number in numbers)  # type: ignore[call-overload]


def test_an_array_is_told_in_bytes_innermost_axis_first() -> None:
    map = Tiled(
        (Dimension(2, 640, True), Dimension(10, 64), Dimension(64, 1)), (4, 3, 64), (1, 2, 1)
    )
    told = _encoded(map, n=5)
    assert told == Encoded("Tiled", "BFLOAT16", [64, 10, 10], [128, 1280], [[64, 6, 4]], [1, 2, 1])
    assert _encoded(map, dtype=DType.f32).steps == [256, 2560]
    assert _encoded(map, dtype=DType.f32).dtype == "TFLOAT32", "rounded, not cut off"


def test_an_axis_of_no_samples_has_still_a_length() -> None:
    map = Tiled((Dimension(1, 64, True), Dimension(64, 1)), (8, 64), (1, 1))
    assert _encoded(map, n=0).extents == [64, 1]


def _image(
    size: tuple[int, ...],
    window: tuple[int, ...],
    stride: int,
    dilation: int,
    pads: tuple[int, int],
) -> Image:
    """What a convolution reads; pads: before and behind, along each axis."""
    results = tuple(
        (s + sum(pads) - (w - 1) * dilation - 1) // stride + 1
        for s, w in zip(size, window, strict=True)
    )
    steps = [64]
    for extent in reversed(size):
        steps.insert(0, steps[0] * extent)
    axes = zip((1, *size), steps, strict=True)
    dimensions = tuple(Dimension(e, s, k == 0) for k, (e, s) in enumerate(axes))
    strides = (stride,) * len(size)
    return Image((*dimensions, Dimension(64, 1)), results, strides, (pads[0],) * len(size), 16, 64)


def test_an_images_corners_are_those_of_the_places_of_windows() -> None:
    """As CUTLASS has them: -padding, and padding less what the window covers beyond its first."""
    told = _encoded(_image((9, 7), (3, 2), stride=1, dilation=2, pads=(2, 1)))
    assert told.function == "Im2col" and told.extents == [64, 7, 9, N]
    assert told.steps == [128, 128 * 7, 128 * 63]
    assert told.more == [[-2, -2], [1 - 1 * 2, 1 - 2 * 2], 64, 16] and told.strides == [1, 1, 1, 1]


def _walked(
    told: Encoded, memory: np.ndarray, place: Sequence[int], taps: Sequence[int]
) -> np.ndarray:
    """The box [pixels, channels] that begins at `place`, moved by `taps`; both innermost first."""
    lower, upper, channels, pixels = told.more
    assert isinstance(lower, list) and isinstance(upper, list)
    assert isinstance(channels, int) and isinstance(pixels, int)
    first, *at = place
    box = np.zeros((pixels, channels), memory.dtype)
    for line in range(pixels):
        moved = [i + tap for i, tap in zip(at[:-1], taps, strict=True)]
        for c in range(channels):
            box[line, c] = _fetched(told, memory, [first + c, *moved, at[-1]])
        for k, extent in enumerate(told.extents[1:-1]):
            at[k] += told.strides[k + 1]
            if at[k] <= extent - 1 + upper[k]:
                break
            at[k] = lower[k]
        else:
            at[-1] += 1
    return box


def _fetched(told: Encoded, memory: np.ndarray, place: Sequence[int]) -> int:
    """An element, 0 outside."""
    if any(not 0 <= i < extent for i, extent in zip(place, told.extents, strict=True)):
        return 0
    steps = [1, *(step // 2 for step in told.steps)]
    return int(memory[sum(i * step for i, step in zip(place, steps, strict=True))])


def _emulated(map: TensorMap, memory: np.ndarray, coordinates: Sequence[int]) -> np.ndarray:
    """The same box as the loops of the emulation fetch it."""
    box = np.zeros((map.lines, map.width), memory.dtype)
    for line, at in product(range(map.lines), range(map.width)):
        read = map.element(BUFFER, list(_indices(coordinates)), index(line), index(at))
        if _holds(read):
            box[line, at] = memory[read.indices[0].constant]
    return box


def _indices(numbers: Sequence[int]) -> Iterator[Index]:
    return (index(number) for number in numbers)


def _holds(read: Read) -> bool:
    values = [(b.value.constant, b.low, N if b.high is None else b.high) for b in read.bounds]
    return all(low <= value < high for value, low, high in values)


IMAGES = {
    "plain": _image((5, 6), (3, 3), 1, 1, (1, 1)),
    "strided": _image((7, 8), (3, 3), 2, 1, (1, 1)),
    "strided, even window": _image((8, 8), (2, 2), 2, 1, (0, 0)),
    "strided by 3": _image((11, 7), (2, 3), 3, 1, (0, 2)),
    "dilated": _image((7, 7), (3, 2), 1, 2, (2, 1)),
    "padded before": _image((4, 4), (3, 3), 1, 1, (2, 0)),
    "padded behind": _image((4, 5), (3, 3), 1, 1, (0, 3)),
    "a row": _image((9,), (3,), 2, 1, (1, 0)),
    "a volume": _image((3, 4, 3), (2, 2, 2), 1, 1, (1, 0)),
}


@pytest.mark.parametrize("name", IMAGES)
def test_the_engine_walks_over_images_as_the_emulation_does(name: str) -> None:
    map = IMAGES[name]
    told = _encoded(map)
    memory = np.arange(1, 1 + N * map.dimensions[0].step)
    last = N * int(np.prod(map.results))
    for first, all_taps in zip((0, 5, last - 7), ((0, 1, 0), (1, 0, 1), (1, 1, 1)), strict=True):
        taps = all_taps[: len(map.results)]
        pixel = [i.constant for i in map.pixel(index(first))]
        got = _walked(told, memory, [0, *reversed(pixel)], taps[::-1])
        expected = _emulated(map, memory, [first, *taps, 0])
        np.testing.assert_array_equal(got, expected)


BOXES = {
    "rows": (Tiled((Dimension(5, 64, True), Dimension(64, 1)), (8, 64), (1, 1)), [4, 0]),
    "a tap of weights": (
        Tiled(
            (Dimension(9, 576), Dimension(3, 192), Dimension(3, 64), Dimension(64, 1)),
            (8, 1, 1, 64), (1, 1, 1, 1),
        ),
        [6, 2, 1, 0],
    ),
    "strided pixels of some images": (
        Tiled(
            (Dimension(1, 3072, True), Dimension(6, 512), Dimension(8, 64), Dimension(64, 1)),
            (2, 1, 4, 64), (1, 1, 2, 1),
        ),
        [2, 5, -1, 0],
    ),
    "beyond the last channel": (
        Tiled((Dimension(9, 24), Dimension(24, 1)), (4, 64), (1, 1)), [1, 0]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOXES)
def test_the_engine_cuts_boxes_as_the_emulation_does(name: str) -> None:
    map, start = BOXES[name]
    told = _encoded(map)
    (extents,) = told.more
    assert isinstance(extents, list)
    memory = np.arange(1, 1 + N * map.dimensions[0].step * 9)
    # ceil(extent / stride) elements along each axis.
    ranges = [range(0, e, s) for e, s in zip(extents, told.strides, strict=True)]
    places = product(*reversed(ranges))
    got = [
        _fetched(told, memory, [i + k for i, k in zip(reversed(start), reversed(at), strict=True)])
        for at in places
    ]
    box = np.array(got).reshape(map.lines, map.width)
    np.testing.assert_array_equal(box, _emulated(map, memory, start))


def test_a_launch_passes_maps_behind_the_buffers() -> None:
    """As the bindings take them: by where they lie."""
    fake = FakeDriver()
    map = fake.real.CUtensorMap()
    arguments = ((1 << 20, map, 5), (ctypes.c_void_p, None, ctypes.c_int))
    fake.cuLaunchKernel(0, 1, 1, 1, 32, 1, 1, 0, 0, arguments, 0)
    assert fake.names() == ["cuLaunchKernel"]

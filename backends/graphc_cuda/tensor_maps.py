"""Tensor maps as the driver makes them, for where a buffer lies and how long the batch is.

The driver names axes from the innermost on, sizes in elements and steps in bytes. Pieces of lines
trade places in shared memory as `wgmma` reads them; f32 is rounded to tf32 on its way there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphc.ir.types import DType
from graphc.loops.gpu.launch import Mapped
from graphc.loops.gpu.tensor_maps import Image

TYPES = {DType.bf16: "BFLOAT16", DType.f32: "TFLOAT32"}


def encoding(cuda: Any, mapped: Mapped, address: int, n: int) -> tuple[str, tuple[Any, ...]]:
    """The function of the driver that makes a tensor map, and its arguments.

    cuda: the module `cuda.bindings.driver`. address: of the buffer. n: batch size.
    """
    map, size = mapped.map, mapped.dtype.itemsize
    dimensions = tuple(reversed(map.dimensions))
    array = (
        getattr(cuda.CUtensorMapDataType, f"CU_TENSOR_MAP_DATA_TYPE_{TYPES[mapped.dtype]}"),
        len(dimensions),
        address,
        _words(cuda.cuuint64_t, (max(1, d.length(n)) for d in dimensions)),
        _words(cuda.cuuint64_t, (d.step * size for d in dimensions[1:])),
    )
    strides = (1, *map.strides, 1) if isinstance(map, Image) else map.strides
    steps = _words(cuda.cuuint32_t, reversed(strides))
    form = (
        cuda.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE,
        cuda.CUtensorMapSwizzle.CU_TENSOR_MAP_SWIZZLE_128B,
        cuda.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
        cuda.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
    )
    if isinstance(map, Image):
        lower, upper = (list(reversed(corner)) for corner in map.corners)
        walk = (lower, upper, map.channels, map.pixels, steps)
        return "cuTensorMapEncodeIm2col", (*array, *walk, *form)
    # Indices from the first to behind the last element, those that strides leave out included.
    box = (extent * stride for extent, stride in zip(map.box, map.strides, strict=True))
    return (
        "cuTensorMapEncodeTiled",
        (*array, _words(cuda.cuuint32_t, reversed(tuple(box))), steps, *form),
    )


def _words(type: Any, numbers: Iterable[int]) -> list[Any]:
    return [type(number) for number in numbers]

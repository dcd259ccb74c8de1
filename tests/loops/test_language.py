"""Buffers: where the elements of a tensor lie in memory."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.ir.index import index
from graphc.ir.types import parse_type
from graphc.loops.memory import PADDED, buffer_bytes, buffer_of, padded_batch, stored

BATCH = 3


def _in_memory(x: np.ndarray, layout: str) -> np.ndarray:
    """The elements of x in the order in which they lie, as numpy has it."""
    n, c = x.shape[:2]
    if layout == "batch_last":
        return np.pad(np.moveaxis(x, 0, -1), [(0, 0)] * 3 + [(0, padded_batch(n) - n)])
    if layout == "blocked_1":
        return x.reshape(n, c // 16, 16, *x.shape[2:]).transpose(0, 1, 3, 4, 2)
    if layout in ("blocked_1_0", "blocked_0_1"):
        last = (3, 1) if layout == "blocked_1_0" else (1, 3)
        cut = x.reshape(n // 16, 16, c // 16, 16, *x.shape[2:])
        return cut.transpose(0, 2, 4, 5, *last)
    return x


@pytest.mark.parametrize(
    "text",
    [
        "f32[N,3,2,4]", "f32[N,3,2,4]{batch_last}", "f32[N,32,2,4]{blocked_1}",
        "f32[2,16,3,1]{blocked_1}", "f64[32,48,3,2]{blocked_1_0}", "f64[32,48,3,2]{blocked_0_1}",
    ],
)  # fmt: skip
def test_every_element_lies_where_its_layout_says(text: str) -> None:
    type = parse_type(text)
    buffer, shape = buffer_of("x", type), type.concrete(BATCH)
    x = np.arange(type.count(BATCH)).reshape(shape)
    memory = _in_memory(x, type.layout).ravel()
    assert memory.nbytes // 8 * type.dtype.itemsize == buffer_bytes(type, BATCH)
    for place in np.ndindex(shape):
        fixed, padded = buffer.offset(stored(type, tuple(map(index, place))))
        assert padded.is_constant and fixed.is_constant
        assert memory[fixed.constant + padded.constant * padded_batch(BATCH)] == x[place]


def test_the_padded_batch_is_a_number_known_at_run_time() -> None:
    assert (PADDED.extent, padded_batch(1), padded_batch(16), padded_batch(17)) == (
        None,
        16,
        16,
        32,
    )

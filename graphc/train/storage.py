"""Where parameters and states live: one aligned block of memory with a named view for each tensor.

Compiled steps are bound to the views and overwrite them in place; a snapshot is one copy of the
block. Knows nothing of graphs or training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.types import TensorType

Array = np.ndarray[Any, Any]
ALIGNMENT = 64


class Storage:
    """Zero-filled tensors of the given types, each starting on a multiple of 64 bytes.

    arrays: the views by name. Raises GraphcError for a type with a batch dimension.
    """

    def __init__(self, types: Mapping[str, TensorType]) -> None:
        offsets: dict[str, int] = {}
        size = 0
        for name, type in types.items():
            if type.batch_axis is not None:
                raise GraphcError(
                    f"{name!r} of type {type} is kept between steps but its size is the batch's",
                    remedy="give parameters and states a fixed shape",
                )
            offsets[name] = size
            size += -(-type.bytes() // ALIGNMENT) * ALIGNMENT
        raw = np.zeros(size + ALIGNMENT, np.uint8)
        begin = -raw.ctypes.data % ALIGNMENT
        self._block = raw[begin : begin + size]
        self.arrays: dict[str, Array] = {
            name: _view(self._block, offsets[name], type) for name, type in types.items()
        }

    def snapshot(self) -> Array:
        """A copy of everything, for `restore`."""
        return self._block.copy()

    def restore(self, snapshot: Array) -> None:
        """Everything as it was when `snapshot` was taken."""
        self._block[...] = snapshot

    def not_finite(self) -> str | None:
        """The name of a tensor that holds nan or infinity; None if all are finite."""
        for name, array in self.arrays.items():
            # A sum is finite unless an element is not, or it overflows: only then look closer.
            if array.dtype.kind == "f" and not math.isfinite(float(_sum(array))):
                if not np.isfinite(array).all():
                    return name
        return None


def _view(block: Array, offset: int, type: TensorType) -> Array:
    return block[offset : offset + type.bytes()].view(type.dtype.numpy).reshape(type.concrete(1))


def _sum(array: Array) -> Any:
    with np.errstate(all="ignore"):
        return array.sum(dtype=np.float64)

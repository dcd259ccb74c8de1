"""Arrays that stay between runs: the one place that knows in which layout each lies now, and where.

A compiled step may want parameters in blocks; everybody else wants them row-major. Both take the
same bytes, so an array holds either, and is brought from one to the other when somebody wants it
otherwise: a network that only trains, or only predicts, copies nothing. In the same way the newest
values may be with a `Keeper`, such as the memory of a device, until somebody wants them here.
Knows no graph.
"""

from __future__ import annotations

import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.ir.layouts import BLOCK, CHANNELS_LAST, ROW_MAJOR, blocked_axes, features

Array = np.ndarray[Any, Any]
Part = tuple[str, str, int, int, Array]  # name, layout to be, first row, one past the last; moved
PART = 1 << 21  # bytes: a copy of so many stays in the cache


class Keeper(ABC):
    """Memory elsewhere that may hold newer values of arrays than they do."""

    @abstractmethod
    def take(self, arrays: Iterable[Array]) -> None:
        """From now on nobody looks into these arrays until they are given back."""

    @abstractmethod
    def give_back(self, arrays: Iterable[Array]) -> None:
        """Writes into the arrays what they should hold by now; from now on they may be written."""


class Kept:
    """Contiguous arrays by name, row-major at first.

    lock: to be held by whoever reads or writes them, from `bring` until it is done. layouts: of
    those that are not row-major.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = dict(arrays)
        self.layouts: dict[str, str] = {}
        self.lock = threading.RLock()
        self._half: Part | None = None
        self._keeper: Keeper | None = None
        _ALL.add(self)

    def bring(self, names: Iterable[str], layouts: Mapping[str, str]) -> None:
        """Brings the named arrays into these layouts, those without one to row-major."""
        self._finish()
        if self.layouts == layouts:
            return
        self.recall()
        differing = {*self.layouts, *layouts}
        for name in [name for name in names if name in differing]:
            wanted = layouts.get(name, ROW_MAJOR)
            if self.layouts.get(name, ROW_MAJOR) != wanted:
                self._move(name, ROW_MAJOR)
                self._move(name, wanted)

    def row_major(self) -> dict[str, Array]:
        """All arrays, row-major until the next run."""
        with self.lock:
            self.recall()
            self.bring(self.arrays, {})
            return self.arrays

    def lend(self, keeper: Keeper) -> None:
        """Leaves the newest values with `keeper`, in the layouts that they have, until `recall`."""
        if self._keeper is not keeper:
            self.recall()
            self._keeper = keeper
            keeper.take(self.arrays.values())

    def recall(self) -> None:
        """Has the newest values here, in the layouts that they have."""
        if self._keeper is not None:
            self._keeper.give_back(self.arrays.values())
            self._keeper = None

    def replace(self, arrays: Mapping[str, Array]) -> None:
        """Keeps these arrays instead, which are row-major."""
        with self.lock:
            self.row_major()
            self.arrays = dict(arrays)

    def _move(self, name: str, layout: str) -> None:
        """Brings an array to row-major, or from there into a layout, some rows at a time."""
        if self.layouts.get(name, ROW_MAJOR) != layout:
            self._half = self._part(name, layout, 0)
            self._finish()

    def _part(self, name: str, layout: str, first: int) -> Part:
        """The rows of an array from `first` on that are moved next."""
        array, now = self.arrays[name], self.layouts.get(name, ROW_MAJOR)
        blocks = layout if now == ROW_MAJOR else now
        last = first + _rows(array, blocks)
        # Ctrl-C may come between any two lines: once this is noted, the rest can be done later.
        moved = np.ascontiguousarray(_views(array[first:last], blocks)[now == ROW_MAJOR])
        return name, layout, first, last, moved

    def _finish(self) -> None:
        """Does the rest of a move; it may have been interrupted anywhere."""
        while self._half is not None:
            name, layout, first, last, moved = self._half
            array = self.arrays[name]
            array[first:last].reshape(-1)[...] = moved.reshape(-1)
            if last < len(array):
                self._half = self._part(name, layout, last)
                continue
            if layout == ROW_MAJOR:
                self.layouts.pop(name, None)
            else:
                self.layouts[name] = layout
            self._half = None


def _rows(array: Array, layout: str) -> int:
    """How many rows to move at a time: about as many as fit `PART` bytes, whole blocks of them."""
    axis, pixels = features(layout) or (0 if 0 in blocked_axes(layout) else 1, 1)
    together = 1 if axis else BLOCK * pixels
    return together * max(PART * len(array) // (array.nbytes * together), 1)


def _views(array: Array, layout: str) -> tuple[Array, Array]:
    """(an array that lies in `layout` in row-major order, a row-major one in that of `layout`)."""
    shape, order = _stored(array.shape, layout)
    rows = array.reshape(shape)
    blocks = array.reshape([shape[place] for place in order])
    return blocks.transpose(np.argsort(order)), rows.transpose(order)


def _stored(extents: Sequence[int], layout: str) -> tuple[list[int], list[int]]:
    """The axes of a row-major array, cut as `layout` cuts them, and the order in which they lie."""
    found = features(layout)
    if found is not None:
        axis, pixels = found
        parts = (extents[axis] // (pixels * BLOCK), BLOCK, pixels)
        shape = [*extents[:axis], *parts, *extents[axis + 1 :]]
        order = list(range(len(shape)))
        order[axis + 1], order[axis + 2] = order[axis + 2], order[axis + 1]
        return shape, order
    if layout == CHANNELS_LAST:
        return list(extents), [0, *range(2, len(extents)), 1]
    cut = blocked_axes(layout)
    shape = []
    outer: list[int] = []
    inner: dict[int, int] = {}
    for axis, extent in enumerate(extents):
        outer.append(len(shape))
        shape.append(extent // BLOCK if axis in cut else extent)
        if axis in cut:
            inner[axis] = len(shape)
            shape.append(BLOCK)
    return shape, [*outer, *(inner[axis] for axis in cut)]


def _free() -> None:
    """In a forked child no other thread holds anything."""
    for kept in _ALL:
        kept.lock = threading.RLock()


_ALL: weakref.WeakSet[Kept] = weakref.WeakSet()
os.register_at_fork(after_in_child=_free)

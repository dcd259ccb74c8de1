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
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from graphc.ir.layouts import BLOCK, CHANNELS_LAST, ROW_MAJOR, blocked_axes

Array = np.ndarray[Any, Any]


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
        self._views: dict[tuple[str, str], tuple[Array, Array]] = {}
        self._half: tuple[str, Array, str] | None = None
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
            self._views.clear()

    def _move(self, name: str, layout: str) -> None:
        """Brings an array to row-major, or from there into a layout."""
        now = self.layouts.get(name, ROW_MAJOR)
        if now == layout:
            return
        blocks = layout if now == ROW_MAJOR else now
        views = self._views.get((name, blocks))
        if views is None:
            views = self._views[name, blocks] = _views(self.arrays[name], blocks)
        # Ctrl-C may come between any two lines: once this is noted, the rest can be done later.
        self._half = name, np.ascontiguousarray(views[now == ROW_MAJOR]), layout
        self._finish()

    def _finish(self) -> None:
        """Does the rest of a move, from its beginning: it may have been interrupted anywhere."""
        if self._half is None:
            return
        name, moved, layout = self._half
        self.arrays[name].reshape(-1)[...] = moved.reshape(-1)
        if layout == ROW_MAJOR:
            self.layouts.pop(name, None)
        else:
            self.layouts[name] = layout
        self._half = None


def _views(array: Array, layout: str) -> tuple[Array, Array]:
    """(an array that lies in `layout` in row-major order, a row-major one in that of `layout`)."""
    cut = blocked_axes(layout)
    shape: list[int] = []
    outer: list[int] = []
    inner: dict[int, int] = {}
    for axis, extent in enumerate(array.shape):
        outer.append(len(shape))
        shape.append(extent // BLOCK if axis in cut else extent)
        if axis in cut:
            inner[axis] = len(shape)
            shape.append(BLOCK)
    order = [*outer, *(inner[axis] for axis in cut)]
    if layout == CHANNELS_LAST:
        order = [0, *range(2, array.ndim), 1]
    rows = array.reshape(shape)
    blocks = array.reshape([shape[place] for place in order])
    return blocks.transpose(np.argsort(order)), rows.transpose(order)


def _free() -> None:
    """In a forked child no other thread holds anything."""
    for kept in _ALL:
        kept.lock = threading.RLock()


_ALL: weakref.WeakSet[Kept] = weakref.WeakSet()
os.register_at_fork(after_in_child=_free)

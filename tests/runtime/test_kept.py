"""Arrays that change their layout: every element goes where the layout says, and Ctrl-C at any line
loses none.
"""

from __future__ import annotations

import os
import sys
import threading
from types import FrameType
from typing import Any

import numpy as np
import pytest

from graphc.runtime import kept as module
from graphc.runtime.kept import Kept

RNG = np.random.default_rng(0)


def _held(*shape: int) -> tuple[Kept, np.ndarray[Any, Any]]:
    array = RNG.standard_normal(shape).astype(np.float32)
    return Kept({"w": array}), array.copy()


def test_an_element_lies_where_the_layout_says() -> None:
    held, w = _held(32, 48, 3, 2)
    held.bring(["w"], {"w": "blocked_1_0"})
    blocks = held.arrays["w"].reshape(2, 3, 3, 2, 16, 16)  # [K/16, C/16, R, S, 16 c, 16 k]
    for k, c, r, s in ((0, 0, 0, 0), (31, 47, 2, 1), (5, 20, 1, 0), (17, 3, 0, 1)):
        assert blocks[k // 16, c // 16, r, s, c % 16, k % 16] == w[k, c, r, s]


@pytest.mark.parametrize("part", [1, 800, module.PART])
def test_features_lie_as_those_of_images_in_blocks(
    part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART", part)
    held, w = _held(5, 96)
    held.bring(["w"], {"w": "features_1_3"})
    images = np.ascontiguousarray(w.reshape(5, 2, 16, 3).transpose(0, 1, 3, 2))
    assert np.array_equal(held.arrays["w"], images.reshape(5, 96))
    assert np.array_equal(held.row_major()["w"], w)
    held.bring(["w"], {"w": "features_1_3"})
    columns, _ = _held(96, 5)
    columns.arrays["w"][...] = w.T
    columns.bring(["w"], {"w": "features_0_3"})
    assert np.array_equal(columns.arrays["w"], held.arrays["w"].T)


@pytest.mark.parametrize("part", [1, 12_000, module.PART])
@pytest.mark.parametrize("layout", ["blocked_0", "blocked_1", "blocked_1_0", "blocked_0_1"])
@pytest.mark.parametrize("shape", [(16, 16, 1, 1), (32, 48, 3, 3), (32, 16, 5)])
def test_there_and_back(
    layout: str, shape: tuple[int, ...], part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART", part)  # bytes that are moved at a time
    held, w = _held(*shape)
    array = held.arrays["w"]
    held.bring(["w"], {"w": layout})
    assert held.layouts == {"w": layout}
    held.bring(["w"], {"w": "blocked_0"})
    assert held.row_major()["w"] is array  # nothing else was allocated for good
    assert held.layouts == {} and np.array_equal(array, w)


def test_only_what_is_named_is_moved() -> None:
    a, b = (RNG.standard_normal((16, 16, 1)) for _ in "ab")
    held = Kept({"a": a, "b": b})
    held.bring(["a", "b"], {"a": "blocked_1", "b": "blocked_1"})
    held.bring(["a"], {})
    assert held.layouts == {"b": "blocked_1"}


def test_arrays_are_replaced_when_they_are_row_major() -> None:
    held, w = _held(16, 16, 2)
    array = held.arrays["w"]
    held.bring(["w"], {"w": "blocked_0"})
    held.replace({"v": np.zeros(3)})
    assert np.array_equal(array, w) and list(held.arrays) == ["v"] and held.layouts == {}


@pytest.mark.parametrize("part", [1, module.PART])
def test_ctrl_c_at_any_line_loses_nothing(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", part)  # a few rows at a time, or all at once
    interrupted = 0
    for stop in range(400):
        held, w = _held(16, 32, 3)
        held.bring(["w"], {"w": "blocked_1_0"})
        try:
            _interrupted_at(stop, held)
        except KeyboardInterrupt:
            interrupted += 1
        else:
            break
        assert np.array_equal(held.row_major()["w"], w), f"line {stop}"
    assert interrupted > 10


def _interrupted_at(stop: int, held: Kept) -> None:
    """Moves an array twice; Ctrl-C comes at the line of that number."""
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != module.__file__:
            return None
        if event == "line":
            lines += 1
            if lines > stop:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        held.bring(["w"], {"w": "blocked_0"})
    finally:
        sys.settrace(before)


def test_a_forked_child_does_not_wait_for_its_parents_threads() -> None:
    held, w = _held(16, 16, 2)
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with held.lock:
            taken.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    child = os.fork()
    if child == 0:
        free = held.lock.acquire(blocking=False)
        os._exit(0 if free and np.array_equal(held.row_major()["w"], w) else 1)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

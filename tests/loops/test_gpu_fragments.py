"""Fragments of tensor cores: who holds what, against the tables of the PTX ISA, and how `ldmatrix`
brings it there, against a model of that instruction.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphc.ir.index import Index, Variable, index
from graphc.ir.types import DType
from graphc.loops.gpu.fragments import BF16, COLUMN, INSTRUCTIONS, ROW, TF32, Fragment
from graphc.loops.language import LoadFragment
from graphc.loops.memory import Buffer, Stride
from graphc_cuda.fragments import load_lines

LANES = range(32)


def _low_half(i: int) -> int:
    return 0 if i in (0, 1, 4, 5) else 8


# (row, column) of element i of a thread with `group` = lane / 4 and `inside` = lane % 4, as the PTX
# ISA has them under "Matrix Fragments for mma.m16n8k8" (.tf32) and "mma.m16n8k16" (.bf16).
TABLES: dict[tuple[str, str], Callable[[int, int, int], tuple[int, int]]] = {
    ("m16n8k8.tf32", "left"): lambda group, inside, i: (
        group + (8 if i in (1, 3) else 0),
        inside + (4 if i >= 2 else 0),
    ),
    ("m16n8k8.tf32", "right"): lambda group, inside, i: (inside + 4 * i, group),
    ("m16n8k16.bf16", "left"): lambda group, inside, i: (
        group + _low_half(i),
        inside * 2 + i % 2 + (8 if i >= 4 else 0),
    ),
    ("m16n8k16.bf16", "right"): lambda group, inside, i: (
        inside * 2 + i % 2 + (8 if i >= 2 else 0),
        group,
    ),
    ("m16n8k8.tf32", "target"): lambda group, inside, i: (group + 8 * (i // 2), inside * 2 + i % 2),
    ("m16n8k16.bf16", "target"): lambda group, inside, i: (
        group + 8 * (i // 2),
        inside * 2 + i % 2,
    ),
}


def _fragment(instruction: str, operand: str) -> Fragment:
    found = getattr(INSTRUCTIONS[instruction], operand)
    assert isinstance(found, Fragment)
    return found


def _number(i: Index) -> int:
    assert i.is_constant
    return i.constant


@pytest.mark.parametrize(("instruction", "operand"), TABLES)
def test_each_thread_holds_what_the_manual_says(instruction: str, operand: str) -> None:
    fragment, table = _fragment(instruction, operand), TABLES[instruction, operand]
    for lane in LANES:
        for i in range(fragment.elements):
            place = fragment.place(index(lane), index(i))
            assert tuple(map(_number, place)) == table(lane // 4, lane % 4, i)


@pytest.mark.parametrize(("instruction", "operand"), TABLES)
def test_every_number_has_one_holder(instruction: str, operand: str) -> None:
    fragment = _fragment(instruction, operand)
    held = {
        (lane, i): tuple(map(_number, fragment.place(index(lane), index(i))))
        for lane in LANES
        for i in range(fragment.elements)
    }
    assert len(set(held.values())) == fragment.rows * fragment.columns == len(held)
    for (lane, i), (row, column) in held.items():
        assert tuple(map(_number, fragment.holder(index(row), index(column)))) == (lane, i)


def _ldmatrix(memory: np.ndarray, starts: list[int], words: int, turned: bool) -> np.ndarray:
    """What the instruction gives each lane: [lane, word, half]. memory: numbers of 16 bits;
    starts: where the line that each lane names begins.
    """
    found = np.zeros((32, words, 2), memory.dtype)
    for word in range(words):
        matrix = np.stack([memory[s : s + 8] for s in starts[8 * word : 8 * word + 8]])
        if turned:
            matrix = matrix.T
        found[:, word] = matrix.reshape(32, 2)
    return found


@pytest.mark.parametrize("turned", [False, True], ids=["summed innermost", "kept innermost"])
@pytest.mark.parametrize("operand", ["left", "right"])
@pytest.mark.parametrize("instruction", [TF32, BF16], ids=lambda i: i.name)
def test_loads_bring_each_thread_what_it_is_to_hold(
    instruction: object, operand: str, turned: bool
) -> None:
    assert instruction in (TF32, BF16)
    fragment = _fragment(instruction.name, operand)  # type: ignore[attr-defined]
    dtype: DType = instruction.operands  # type: ignore[attr-defined]
    rows_innermost = (operand == "right") is not turned
    lines = fragment.columns if rows_innermost else fragment.rows
    length = (fragment.rows if rows_innermost else fragment.columns) + 16 // dtype.itemsize
    source = Buffer("source", dtype, (lines, length), (Stride(length), Stride(1)), True)
    place = (COLUMN, ROW) if rows_innermost else (ROW, COLUMN)
    load = LoadFragment(
        instruction.name,  # type: ignore[attr-defined]
        operand, source, (), source, tuple(map(index, place)),
    )  # fmt: skip
    starts: list[Index] = []

    def text(i: Index) -> str:
        starts.append(i)
        return "here"

    (first, *more) = load_lines(load, lambda b, at: b.offset(at)[0], text, "target")
    lane = Variable("lane", 32)
    memory = np.arange(lines * length, dtype=np.uint32)

    def expected(k: int, i: int) -> int:
        row, column = map(_number, fragment.place(index(k), index(i)))
        line, inside = (column, row) if rows_innermost else (row, column)
        return line * length + inside

    if "load_matrices" not in first:
        assert dtype is DType.f32 and turned, "only these need a load for each number"
        assert len(more) + 1 == fragment.elements
        for k in LANES:
            for i, start in enumerate(starts):
                assert _number(start.at({lane: k})) == expected(k, i)
        return
    assert not more
    assert ("transposed" in first) is turned
    per_word = 4 // dtype.itemsize
    words = fragment.elements // per_word
    halves = memory.repeat(2) if dtype is DType.f32 else memory
    scale = 2 if dtype is DType.f32 else 1
    at = [_number(starts[0].at({lane: k})) * scale for k in LANES]
    got = _ldmatrix(halves, at, words, turned)
    for k in LANES:
        for i in range(fragment.elements):
            word = got[k, i // per_word]
            assert word[i % per_word if dtype is not DType.f32 else 0] == expected(k, i)
        if dtype is DType.f32:
            assert (got[k, :, 0] == got[k, :, 1]).all(), "both halves of one number"

"""Kernels over rows: in which stage everything is computed, what is kept, and how it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc as gc
from graphc import nn
from graphc.ir.types import N, parse_type
from graphc.loops.cost import flops_of
from graphc.loops.language import Kernel
from graphc.loops.lower import lower
from graphc.loops.rows import RowDefinition, define_rows
from graphc.loops.schedule import Machine
from graphc.ops.rows import Row, row_of_body
from graphc.passes.base import Pipeline
from graphc.passes.pipelines import BACKEND

FUSE = Pipeline.parse("decompose,simplify,fuse")


def definition(function: Callable[..., Any], *types: str) -> RowDefinition:
    """What the one kernel of a function computes."""
    (node,) = (n for n in FUSE(gc.trace(function, *types)).nodes if n.op.name == "fused")
    row = row_of_body(node.attrs["body"])
    assert row is not None
    return define_rows(node.attrs["body"], row)


def kernel(function: Callable[..., Any], *types: str, variant: str = "small") -> Kernel:
    """The one kernel of a function, for AVX-512."""
    graph = BACKEND[variant](gc.trace(function, *types))
    (found,) = (lower(n, Machine(64, 32)) for n in graph.nodes if n.op.name == "fused")
    return found


def shape(found: RowDefinition) -> list[tuple[int, int, int]]:
    """How many numbers are kept, summed and stored for an element in each stage."""
    return [(len(s.kept), len(s.sums), len(s.results)) for s in found.stages]


def test_a_softmax_keeps_its_powers_for_the_last_of_three_stages() -> None:
    found = definition(nn.softmax, "f32[N,10]")
    assert shape(found) == [(0, 1, 0), (1, 1, 0), (0, 0, 1)]
    assert [s.combine for stage in found.stages for s in stage.sums] == ["maximum", "sum"]


def test_sums_that_do_not_need_each_other_share_a_loop() -> None:
    def spread(x: nn.Tensor) -> nn.Tensor:
        low, high = nn.min(x, axes=1, keepdims=True), nn.max(x, axes=1, keepdims=True)
        return (x - low) / (high - low)

    assert shape(definition(spread, "f32[N,10]")) == [(0, 2, 0), (0, 0, 1)]


def test_cheap_arithmetic_is_computed_again_instead_of_kept() -> None:
    found = definition(lambda x: nn.standardize(x, axes=1), "f32[N,10]")
    assert found.kept == ()


def test_what_is_the_same_along_a_row_is_computed_once_a_row() -> None:
    found = definition(nn.log_softmax, "f32[N,10]")
    numbers = [o.buffer.name.rstrip("0123456789") for s in found.stages for o in s.numbers]
    assert numbers == ["log"]
    assert flops_of(found).sample == 10 * (1 + 3 + 2) + 1


def test_a_row_of_an_image_is_one_loop_where_memory_runs_on() -> None:
    text = str(kernel(lambda x: nn.standardize(x, axes=(1, 2, 3)), "f32[N,3,8,8]"))
    assert "for i1o in 0..3:" in text and "i2" not in text


def test_lanes_are_elements_of_a_row_or_samples_whichever_lie_side_by_side() -> None:
    def behind(x: nn.Tensor, w: nn.Tensor) -> nn.Tensor:
        return nn.softmax(x @ w) @ w

    assert "block 16 i1" in kernel(nn.softmax, "f32[N,40]").schedule
    graph = BACKEND["large"](gc.trace(behind, "f32[N,40]", "f32[40,40]"))
    schedules = [lower(n, Machine(64, 32)).schedule for n in graph.nodes if n.op.name == "fused"]
    assert [s for s in schedules if "rows" in s] == ["rows in 3 stages, block 16 n"]
    assert "block 16 i1" in kernel(lambda x: nn.softmax(x, axis=0), "f32[7,40]").schedule


SOFTMAX = """\
kernel max_sub_exp_sum_div: max, sub, exp, sum, div    # rows in 3 stages, block 16 i1
  in  in0: f32[N,10]
  out out0: f32[N,10]
  parallel t in 0..N:
    local max0: f32[]
    local sum1: f32[]
    local row0: f32[10]
    local max0_acc: f32[1,16]
    vector l in 0..16: max0_acc[0, l] = -inf
    vector l in 0..min(16, 10): max0_acc[0, l] = maximum(max0_acc[0, l], in0[t, l])
    max0 = maximum_of_lanes(max0_acc[0])
    local sum1_acc: f32[1,16]
    vector l in 0..16: sum1_acc[0, l] = 0.0
    vector l in 0..min(16, 10): row0[l] = exp((in0[t, l] - max0))
    vector l in 0..min(16, 10): sum1_acc[0, l] += row0[l]
    sum1 = sum_of_lanes(sum1_acc[0])
    vector l in 0..min(16, 10): out0[t, l] = (row0[l] / sum1)"""


def test_a_kernel_reads_as_what_it_does() -> None:
    assert str(kernel(nn.softmax, "f32[N,10]")) == SOFTMAX


@pytest.mark.parametrize(
    ("type", "place"),
    [
        ("f32[N,3,8]", "n i1 i2"),
        ("bool[N,3,8]", "n i1 i2"),
        ("f32[N,1,1]", "n 0 0"),
        ("f32[N]", "n"),
        ("f32[3,8]", None),
        ("f32[N,3,1]", None),
        ("bf16[N]", "n"),
    ],
)
def test_a_tensor_of_rows_is_whole_or_has_one_number_each(type: str, place: str | None) -> None:
    found = Row((N, 3, 8), (1, 2), "batch_first").place(parse_type(type))
    assert (found and " ".join(map(str, found))) == place

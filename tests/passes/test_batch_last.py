"""Which networks put samples side by side, and which keep rows of pixels in lanes."""

from __future__ import annotations

import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.passes.batch_last import BatchLast

IMAGES = "%x: f32[N,3,32,32]"
ATTRS = "dilation=(1, 1), groups=1, padding=(1, 1, 1, 1), stride=(1, 1)"
CONVOLUTION = f"%y = conv2d(%x, %w) {{{ATTRS}}} : f32[N,12,32,32]"


def graph(lines: str, result: str, inputs: str = f"{IMAGES}, %w: f32[12,3,3,3]") -> Graph:
    return gc.parse(f"graph g({inputs}) {{ {lines} return {result} }}")


def puts_samples_side_by_side(graph: Graph) -> bool:
    return any(n.op.name == "relayout" for n in BatchLast().run(graph).nodes)


def test_a_narrow_convolution_on_its_own_keeps_its_rows() -> None:
    assert not puts_samples_side_by_side(graph(CONVOLUTION, "%y"))


def test_its_epilogue_does_not_matter() -> None:
    assert not puts_samples_side_by_side(
        graph(f"{CONVOLUTION} %z = tanh(%y) : f32[N,12,32,32]", "%z")
    )


@pytest.mark.parametrize("side", [9, 18, 33])
def test_rows_that_leave_lanes_empty_do_not_pay(side: int) -> None:
    wide = f"f32[N,12,{side},{side}]"
    given = f"%x: f32[N,20,{side},{side}], %w: f32[12,20,3,3]"
    assert puts_samples_side_by_side(
        graph(f"%y = conv2d(%x, %w) {{{ATTRS}}} : {wide}", "%y", given)
    )


def test_what_stands_between_convolutions_does_not_pay_along_rows() -> None:
    pooled = (
        f"{CONVOLUTION} %z = sum_pool2d(%y) {{padding=(0, 0, 0, 0), stride=(2, 2), window=(2, 2)}} "
        ": f32[N,12,16,16]"
    )
    assert puts_samples_side_by_side(graph(pooled, "%z"))

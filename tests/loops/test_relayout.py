"""Copies from one layout to another move every element and change none."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.loops.lower import lower
from graphc.loops.schedule import Machine

# shape, the layout in between, and the one on the way back
WAYS = [
    ("[N,32,5,7]", "blocked_1", "batch_first"),
    ("[N,32,14,14]", "blocked_1", "batch_first"),
    ("[N,16,1,3]", "blocked_1", "batch_first"),
    ("[N,5,3]", "batch_last", "batch_first"),
    ("[N,32,5,7]", "blocked_1", "batch_last"),
    ("[N,32,5,7]", "batch_last", "blocked_1"),
    ("[N,16,1,1]", "batch_last", "blocked_1"),
    ("[48,32,3,3]", "blocked_1_0", "blocked_0_1"),
    ("[48,32,1,1]", "blocked_1_0", "blocked_0_1"),
    ("[64,3,7,7]", "blocked_0", "batch_first"),
    ("[36,32,48]", "blocked_2_1", "blocked_1_2"),
]


def there_and_back(dtype: str, shape: str, layout: str, back: str):
    def typed(name: str) -> str:
        return f"{dtype}{shape}" + ("" if name == "batch_first" else f"{{{name}}}")

    lines = [f"%a = relayout(%x) {{layout='{layout}'}} : {typed(layout)}"]
    lines.append(f"%b = relayout(%a) {{layout='{back}'}} : {typed(back)}")
    if back != "batch_first":
        lines.append(f"%c = relayout(%b) {{layout='batch_first'}} : {typed('batch_first')}")
    last = lines[-1].partition(" ")[0]
    return gc.parse("\n".join([f"graph g(%x: {dtype}{shape}) {{", *lines, f"return {last}", "}"]))


@pytest.mark.parametrize("n", [1, 3, 17])
@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "u8", "bool"])
@pytest.mark.parametrize(("shape", "layout", "back"), WAYS)
def test_there_and_back(shape: str, layout: str, back: str, dtype: str, n: int) -> None:
    graph = there_and_back(dtype, shape, layout, back)
    type = graph.inputs[0].tensor
    values = np.random.default_rng(n).integers(0, 1000, type.concrete(n))
    given = (values % 2 if dtype == "bool" else values).astype(type.dtype.numpy)
    found = gc.compile(graph, backend="llvm", threads=2)(given)
    assert np.array_equal(found, given)


def test_blocks_are_exchanged_in_registers() -> None:
    graph = there_and_back("f32", "[64,64,3,3]", "blocked_1_0", "blocked_0_1")
    kernels = [lower(n, Machine(64, 32)) for n in graph.nodes if n.op.name == "relayout"]
    assert [k.schedule for k in kernels] == ["tiles through registers"] * 3
    assert "transpose 16 x 16" in str(kernels[1])


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("dtype", ["f32", "i32"])
@pytest.mark.parametrize("ring", [((1, 1), (1, 1)), ((0, 2), (3, 0)), ((0, 0), (2, 2))])
def test_zeros_are_put_around_an_image_on_the_way_to_blocks(
    ring: tuple[tuple[int, int], ...], dtype: str, n: int
) -> None:
    (top, bottom), (left, right) = ring
    wide = f"{dtype}[N,32,{5 + top + bottom},{7 + left + right}]"
    graph = gc.parse(
        f"graph g(%x: {dtype}[N,32,5,7]) {{\n"
        f"%p = pad(%x) {{high=(0, 0, {bottom}, {right}), interior=(0, 0, 0, 0), "
        f"low=(0, 0, {top}, {left}), value={'0.0' if dtype == 'f32' else 0}}} : {wide}\n"
        f"%y = relayout(%p) {{layout='blocked_1'}} : {wide}{{blocked_1}}\n"
        f"%m = neg(%y) : {wide}{{blocked_1}}\n"
        f"%z = relayout(%m) {{layout='batch_first'}} : {wide}\nreturn %z\n}}"
    )
    x = np.random.default_rng(n).integers(0, 1000, (n, 32, 5, 7))
    run = gc.compile(graph, backend="llvm", threads=2)
    found = run(x.astype(graph.inputs[0].tensor.dtype.numpy))
    assert np.array_equal(-found, np.pad(x, ((0, 0), (0, 0), *ring)))
    copies = [k for k in run.profiles()[0].kernels if "pad" in k.ops]
    assert [k.schedule for k in copies] == ["tiles through registers"]

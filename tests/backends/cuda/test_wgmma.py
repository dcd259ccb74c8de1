"""Matrices in shared memory as `wgmma` reads them: where it finds each number, by the bits of its
descriptor, is where the tensor copy engine has put it.

Both are modelled after the PTX ISA ("Asynchronous warpgroup level matrix shared memory layout") and
CUTLASS's canonical layouts, in units of 16 bytes:

    lines along what is summed     swizzle of ((8, m), 2) : ((8, stride), 1)
    lines along rows or columns    swizzle of ((8, m), (8, 2)) : ((1, leading), (8, stride))
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graphc.ir.graph import Graph
from graphc.ir.index import Index, Variable, index
from graphc.ir.types import DType
from graphc.loops.gpu.boxes import BoxSteps, Operand
from graphc.loops.gpu.device import H100
from graphc.loops.gpu.fragments import COLUMN, ROW, WARPGROUP, WarpgroupInstruction
from graphc.loops.gpu.hopper import PADDING, STAGED, TILES, Tile
from graphc.loops.gpu.launch import launch_of
from graphc.loops.gpu.places import Span
from graphc.loops.language import STAGE, Kernel, MultiplyShared, Pipeline, Read, within
from graphc.loops.memory import Buffer, Stride
from graphc_cuda.compile import compiled
from graphc_cuda.source import kernel_source
from graphc_cuda.specialised import COMPUTING, LOADING
from graphc_cuda.wgmma import described
from tests.loops.emulation import kernels_of, program_of
from tests.loops.test_gpu_matrix import Convolution, disassembled

Place = Callable[[int, int], int]
LINE = 128


def _swizzled(address: int) -> int:
    """Bits 4 to 6 of an address, by bits 7 to 9: a permutation of each 1024 bytes."""
    return address ^ (address >> 7 & 7) << 4


def _copied_to(start: int, line: int, byte: int) -> int:
    """Where the engine puts a byte of a line of a box: pieces of 16 bytes trade places."""
    assert start % 1024 == 0
    piece = byte // 16 ^ line % 8
    return start + line * LINE + piece * 16 + byte % 16


def _read_from(descriptor: int, size: int, turned: bool) -> Place:
    """Where the instruction reads the number at (row or column, number summed)."""
    start = (descriptor & 0x3FFF) << 4
    leading = (descriptor >> 16 & 0x3FFF) << 4
    stride = (descriptor >> 32 & 0x3FFF) << 4
    assert descriptor >> 62 == 1, "lines of 128 bytes"
    assert descriptor >> 49 & 7 == 0, "patterns begin at multiples of 1024 bytes"

    def along_summed(kept: int, deep: int) -> int:
        return _swizzled(start + kept // 8 * stride + kept % 8 * LINE + deep * size)

    def along_kept(kept: int, deep: int) -> int:
        line = deep // 8 * stride + deep % 8 * LINE
        return _swizzled(start + kept // 64 * leading + line + kept % 64 * size)

    return along_kept if turned else along_summed


def _operand(name: str, dtype: DType, turned: bool) -> Operand:
    read = Read(Buffer("in0", dtype, (1,), (Stride(1),)), (Index(),))
    rows, summed = Span(Variable("rows", 256), 256), Span(Variable("summed", 512), 512)
    return Operand(name, read, (), (rows,), rows if turned else summed, not turned)


@pytest.mark.parametrize("kept", [64, 128, 256])
@pytest.mark.parametrize(
    ("dtype", "turned", "depth"),
    [
        (DType.f32, False, 32),
        (DType.bf16, False, 64),
        *((DType.bf16, True, depth) for depth in (32, 64, 112)),
    ],
    ids=str,
)
def test_the_instruction_reads_what_was_copied(
    dtype: DType, turned: bool, depth: int, kept: int
) -> None:
    """For the first and the last instruction of a step: `kept` rows or columns of 320."""
    operand, size = _operand("array", dtype, turned), dtype.itemsize
    assert turned or depth == operand.line
    steps = BoxSteps((Span(Variable("summed", 512), 512),), (depth,))
    array, stages, stage = operand.array(320, steps, 3), 3, 2
    assert array.shape[0] == stages
    deep = WarpgroupInstruction(dtype, 64).k
    for first, k in ((0, 0), (64, depth // deep - 1)):
        row, column = index(ROW), index(COLUMN)
        place = operand.place(row + first, column + k * deep)
        found = described(array, place, ROW, COLUMN, lambda b, at: b.offset(at)[0])
        assert found.along_summed is not turned
        start = found.start.at({STAGE: stage})
        descriptor = found.bits | start.constant * size >> 4
        read = _read_from(descriptor, size, turned)
        for m in range(kept):
            for s in range(deep):
                at = tuple(i.at({STAGE: stage, ROW: m, COLUMN: s}) for i in place)
                assert read(m, s) == _put(array, at)


def _put(array: Buffer, at: tuple[Index, ...]) -> int:
    """Where a number is, whose box began at the last two axes' zeros."""
    *outer, line, element = (i.constant for i in at)
    start, _ = array.offset((*map(index, outer), Index(), Index()))
    size = array.dtype.itemsize
    return _copied_to(start.constant * size, line, element * size)


# -- code ------------------------------------------------------------------------------------------


GRAPHS: dict[str, tuple[Graph, str]] = {
    "convolution": (Convolution(64, 128, size=(28, 28)).graph("conv2d"), "bf16"),
    "convolution of f32": (Convolution(64, 128, size=(28, 28)).graph("conv2d"), "tf32"),
    "input gradient": (Convolution(64, 128, size=(28, 28)).graph("conv2d_input_grad"), "bf16"),
    "weight gradient": (Convolution(64, 128, size=(28, 28)).graph("conv2d_weight_grad"), "bf16"),
}


def _kernel(name: str) -> Kernel:
    graph, precision = GRAPHS[name]
    program = program_of(graph, H100, precision)
    (kernel,) = (k for k in kernels_of(program) if k.schedule.startswith("m64"))
    return kernel


@pytest.mark.parametrize("name", GRAPHS)
def test_machine_code_copies_boxes_and_multiplies_in_groups_of_warps(
    name: str, tmp_path: Path
) -> None:
    pytest.importorskip("cuda.bindings")
    code = compiled(kernel_source(_kernel(name)), "sm_90a")
    (resources,) = code.resources.values()
    assert resources["spill_bytes"] == resources["stack_bytes"] == 0
    assert "serializ" not in code.log and "C75" not in code.log, code.log
    assembly = disassembled(code.cubin, tmp_path)
    words = set(assembly.replace(".", " ").split())
    walks = "gradient" not in name or "input" in name
    assert {"HGMMA", "UTMALDG", "SYNCS"} <= words
    assert ("IM2COL" in words) is walks
    assert not {"LDL", "STL"} & words, "no local memory"
    assert not {"HMMA", "LDSM"} & words


def test_products_overlap_with_those_of_the_step_before(tmp_path: Path) -> None:
    """All that a step waits for is the step before: not each instruction for the one before."""
    pytest.importorskip("cuda.bindings")
    kernel = _kernel("convolution")
    assembly = disassembled(compiled(kernel_source(kernel), "sm_90a").cubin, tmp_path)
    (pipeline,) = (s for s in within(kernel.body) if isinstance(s, Pipeline))
    instructions = sum(isinstance(s, MultiplyShared) for s in within(pipeline.use))
    assert instructions == 1
    assert assembly.count("HGMMA") > assembly.count("WARPGROUP.DEPBAR")


@pytest.mark.parametrize("tile", TILES, ids=str)
def test_registers_suffice(tile: Tile) -> None:
    """A multiprocessor has 64 K registers, given out in eights."""
    groups = tile.threads // 128
    sums = tile.rows * tile.columns // tile.threads
    if groups == 1:
        assert sums <= 128 and 2 * 128 * 255 <= 1 << 16
    else:
        assert 128 * (groups * COMPUTING + LOADING) <= 1 << 16
        assert sums <= COMPUTING - 64 and COMPUTING % 8 == LOADING % 8 == 0


@pytest.mark.parametrize("name", GRAPHS)
def test_launches_have_room_and_begin_arrays_where_patterns_do(name: str) -> None:
    launch = launch_of(_kernel(name))
    assert launch.shared_bytes <= H100.shared_bytes and launch.alignment == 1024
    assert all(start % 1024 == 0 for _, start in launch.shared)
    assert launch.barriers + 16 * launch.stages == launch.shared_bytes
    assert launch.grid(1) <= launch.grid(64) <= H100.multiprocessors
    assert {each.number for each in launch.maps} == {0, 1}


def test_results_that_go_through_shared_memory_meet_no_conflict() -> None:
    """Half a warp stores 8 bytes a thread at a time: 4 rows of 4 pairs, each bank once."""
    for tile in TILES:
        line = tile.groups[1] * STAGED + PADDING
        words = [row * line + 2 * pair + k for row in range(4) for pair in range(4) for k in (0, 1)]
        assert len({word % 32 for word in words}) == 32


def test_consumers_alone_wait_for_each_other_around_what_they_stage() -> None:
    """Before they write what others may still read, and before they read what others write."""
    source = kernel_source(_kernel("convolution"))
    producer, _, consumers = source.partition("} else {")
    waits = "await_each_other<256>();"
    assert waits not in producer and producer.count("__syncthreads();") == 1
    assert "__syncthreads" not in consumers and consumers.count(waits) == 2
    first, second = (consumers.index(text) for text in ("store<float, 2>(staged", "(staged + 8"))
    assert consumers.index(waits) < first < consumers.rindex(waits) < second


def test_warpgroups_are_told_apart_by_their_part_of_the_rows() -> None:
    kernel = _kernel("convolution")
    products = [s for s in within(kernel.body) if isinstance(s, MultiplyShared)]
    assert all(WARPGROUP in s.left.offset(s.left_place)[0].variables for s in products)

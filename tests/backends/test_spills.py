"""Register blocks stay in registers: the assembly of the innermost loops of contractions moves no
vector to or from the stack, on processors with 16 and with 32 registers, in either layout.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from graphc.ir.graph import Graph, make_input
from graphc.ir.types import parse_type
from graphc.loops.definition import body_of
from graphc.loops.language import Kernel
from graphc.loops.schedule import Machine
from graphc.ops.contractions import conv2d, conv2d_input_grad, conv2d_weight_grad, matmul
from graphc.ops.op import family_of
from graphc.ops.views import transpose
from graphc.passes.base import Pipeline
from graphc.passes.pipelines import LARGE, SMALL, backend_pipelines
from graphc.runtime.program import build_program
from graphc_llvm.engine import Target, assembly, lowering, machine_of
from graphc_llvm.module import step_module
from graphc_llvm.spills import functions, innermost_loops, stack_traffic

AVX512 = Target("x86_64-unknown-linux-gnu", "x86-64-v4")
AVX2 = Target("x86_64-unknown-linux-gnu", "x86-64-v3")
BF16 = Target("x86_64-unknown-linux-gnu", "x86-64-v4", "+avx512bf16")
TARGETS = {"avx512": AVX512, "avx2": AVX2}
WIDE_PASSES = ("winograd", "block_channels")
BATCH_LAST = Pipeline(tuple(p for p in LARGE.passes if p.name not in WIDE_PASSES))
MULTIPLY_ADD = re.compile(r"\b(vfmadd\w+|vdpbf16)ps\b")
MASKED = re.compile(r"vmaskmovps|\{%k\d\}")


def convolution(
    channels: int, maps: int, window: int, size: int, *, padding: int = 0, **attrs: int
) -> Graph:
    """A convolution and both of its gradients."""
    groups = attrs.get("groups", 1)
    x = make_input("x", parse_type(f"f32[N,{channels},{size},{size}]"))
    w = make_input("w", parse_type(f"f32[{maps},{channels // groups},{window},{window}]"))
    given = {"padding": padding, **attrs}
    y = conv2d(x, w, **given)
    g = make_input("g", y.tensor)
    gradients = (
        conv2d_input_grad(g, w, size=(size, size), **given),
        conv2d_weight_grad(x, g, window=(window, window), **given),
    )
    return Graph("layer", [x, w, g], [y, *gradients])


def dense(features: int, units: int) -> Graph:
    """A dense layer and both of its gradients: every transpose of a matrix product."""
    x, w, g = (
        make_input(name, parse_type(f"f32[{shape}]"))
        for name, shape in (
            ("x", f"N,{features}"),
            ("w", f"{units},{features}"),
            ("g", f"N,{units}"),
        )
    )
    y = matmul(x, transpose(w, axes=(1, 0)))
    return Graph("layer", [x, w, g], [y, matmul(g, w), matmul(transpose(g, axes=(1, 0)), x)])


LAYERS = {
    "dense, wide": dense(784, 256),
    "dense, 10 classes": dense(84, 10),
    "1x1": convolution(256, 64, 1, 14),
    "1x1, stride 2": convolution(64, 128, 1, 28, stride=2),
    "3x3, in tiles": convolution(64, 64, 3, 28, padding=1),
    "3x3, few channels": convolution(3, 24, 3, 32, padding=1),
    "3x3, stride 2": convolution(128, 128, 3, 28, padding=1, stride=2),
    "3x3, dilated": convolution(64, 64, 3, 28, padding=2, dilation=2),
    "3x3, grouped": convolution(64, 64, 3, 14, padding=1, groups=4),
    "5x5, LeNet's": convolution(6, 16, 5, 14),
    "5x5, padded": convolution(48, 128, 5, 27, padding=2),
    "7x7, stride 2": convolution(3, 64, 7, 112, padding=3, stride=2),
}


def contractions(
    graph: Graph, pipeline: Pipeline, target: Target, machine: Machine
) -> Iterator[tuple[Kernel, str]]:
    """(kernel, assembly) of each contraction that `graph` becomes."""
    program = build_program(graph, pipeline, lowering(machine))
    found = functions(assembly(step_module(program.calls, target.triple), target))
    by_number = {int(re.match(r"k(\d+)_", n)[1]): f for n, f in found.items() if n[0] == "k"}  # type: ignore[index]
    kernels = {id(call.kernel): call.kernel for call in program.calls}
    numbers = {key: number for number, key in enumerate(kernels)}
    families = {
        id(call.kernel): {family_of(n) for n in body_of(step.node).nodes}
        for call, step in zip(program.calls, program.scheduled.steps, strict=True)
    }
    for key, kernel in kernels.items():
        if "contraction" in families[key]:
            yield kernel, by_number[numbers[key]]


def micro_kernels(kernel: Kernel, function: str) -> list[str]:
    """The innermost loops of a contraction that multiply and add.

    A sum that runs along lanes ends with the lanes that fill no vector. That is a loop of a single
    turn with a mask in one more register, and is not among them.
    """
    loops = [loop for loop in innermost_loops(function) if MULTIPLY_ADD.search(loop)]
    if "sum_of_lanes" in str(kernel):
        loops = [loop for loop in loops if not MASKED.search(loop)]
    return loops


@pytest.mark.parametrize("layout", ["by channels", "by samples"])
@pytest.mark.parametrize("processor", TARGETS)
@pytest.mark.parametrize("layer", LAYERS)
def test_micro_kernels_do_not_spill(layer: str, processor: str, layout: str) -> None:
    target = TARGETS[processor]
    pipeline = SMALL if layout == "by channels" else BATCH_LAST
    found = list(contractions(LAYERS[layer], pipeline, target, machine_of(target)))
    assert len(found) >= 2  # the gradient of the input may be the layer's own kernel
    for kernel, function in found:
        loops = micro_kernels(kernel, function)
        assert loops, f"{kernel.name} [{kernel.schedule}] has no inner loop"
        traffic = [line for loop in loops for line in stack_traffic(loop)]
        assert not traffic, f"{kernel.name} [{kernel.schedule}] spills:\n" + "\n".join(traffic)


@pytest.mark.parametrize("layer", ["dense, wide", "1x1", "3x3, stride 2", "3x3, grouped"])
def test_products_of_pairs_do_not_spill(layer: str) -> None:
    pipeline = backend_pipelines("bf16")["small"]
    found = list(contractions(LAYERS[layer], pipeline, BF16, machine_of(BF16)))
    loops = [loop for pair in found for loop in micro_kernels(*pair)]
    assert any("vdpbf16ps" in loop for loop in loops)
    assert not [line for loop in loops for line in stack_traffic(loop)]


def test_products_of_tiles_are_among_the_micro_kernels() -> None:
    program = build_program(LAYERS["3x3, in tiles"], SMALL, lowering(machine_of(AVX512)))
    assert [call.kernel.ops for call in program.calls].count(("einsum",)) == 3


def test_a_block_for_more_registers_than_there_are_is_seen_to_spill() -> None:
    """What the other tests look for is found where it must be."""
    twice = Machine(vector_bytes=32, registers=32)
    kernel, function = next(contractions(LAYERS["1x1"], SMALL, AVX2, twice))
    assert any(stack_traffic(loop) for loop in micro_kernels(kernel, function))


def test_only_vectors_on_the_stack_count() -> None:
    loop = """.LBB0_2:
	movq	8(%rsp), %rax
	vmovups	64(%rsp), %zmm1
	vfmadd231ps	(%rdi,%rax), %zmm1, %zmm2
	vmovaps	%ymm3, (%rsp,%rcx,4)
	vfmadd231ps	96(%rsp), %ymm4, %ymm5
	cmpq	%rcx, %rax
	jl	.LBB0_2
"""
    function = f"\n.LBB0_1:\n\tvmovups\t32(%rsp), %ymm0\n{loop}.LBB0_3:\n\tretq\n"
    (found,) = innermost_loops(function)
    assert [line.split()[1] for line in stack_traffic(found)] == [
        "64(%rsp),", "%ymm3,", "96(%rsp),",
    ]  # fmt: skip

"""Code for other processors: assembly holds their vector instructions, inner loops no spills."""

from __future__ import annotations

import re

import pytest

import graphc as gc
from graphc import optim, zoo
from graphc.passes.pipelines import BACKEND
from graphc.runtime.program import build_program
from graphc_llvm.engine import Target, assembly, lowering, machine_of
from graphc_llvm.module import step_module

V3 = Target("x86_64-unknown-linux-gnu", "x86-64-v3")
V4 = Target("x86_64-unknown-linux-gnu", "x86-64-v4")
ARM = Target("aarch64-unknown-linux-gnu", "neoverse-n1")
MULTIPLY_ADD = {V3: r"vfmadd\w+ps\s.*%ymm", V4: r"vfmadd\w+ps\s.*%zmm", ARM: r"fmla\s+v\d+\.4s"}
FOREIGN = {V3: "%zmm", V4: "v0.4s", ARM: "%ymm"}


def _convolution(target: Target) -> str:
    """Assembly of a 3x3 convolution for large batches, and of nothing else."""
    graph = gc.trace(lambda x, w: gc.nn.functional.conv2d(x, w), "f32[N,6,14,14]", "f32[12,6,5,5]")
    program = build_program(graph, BACKEND["large"], lowering(machine_of(target)))
    return assembly(step_module(program.calls, target.triple), target)


def _inner_loops(text: str, pattern: str) -> list[str]:
    """Basic blocks that branch back to themselves and hold multiply-adds."""
    blocks = re.split(r"\n(?=\.LBB\S+:)", text)
    found = []
    for block in blocks:
        label = re.match(r"(\.LBB\S+):", block)
        loops = label and re.search(rf"\s(?:j\w+|b\.\w+)\s+{re.escape(label[1])}\b", block)
        if loops and re.search(pattern, block):
            found.append(block)
    return found


@pytest.mark.parametrize("target", [V3, V4, ARM], ids=["x86-64-v3", "x86-64-v4", "aarch64"])
def test_a_convolution_uses_the_vectors_of_its_target(target: Target) -> None:
    text = _convolution(target)
    assert len(re.findall(MULTIPLY_ADD[target], text)) >= 8
    assert FOREIGN[target] not in text


@pytest.mark.parametrize("target", [V3, V4, ARM], ids=["x86-64-v3", "x86-64-v4", "aarch64"])
def test_inner_loops_of_a_convolution_do_not_spill(target: Target) -> None:
    loops = _inner_loops(_convolution(target), MULTIPLY_ADD[target])
    assert loops
    stack = r"%[xyz]mm\d+.*\(%rsp\)|\(%rsp\).*%[xyz]mm|\bq\d+, \[sp"
    assert not [line for loop in loops for line in loop.splitlines() if re.search(stack, line)]


@pytest.mark.parametrize("target", [V3, V4, ARM], ids=["x86-64-v3", "x86-64-v4", "aarch64"])
def test_a_whole_training_step_compiles_for_every_target(target: Target) -> None:
    model = gc.Model(zoo.lenet5(), "f32[N,1,32,32]", "cross_entropy", optim.SGD(0.1, momentum=0.9))
    for pipeline in BACKEND.values():
        program = build_program(model.graphs["train"], pipeline, lowering(machine_of(target)))
        text = assembly(step_module(program.calls, target.triple), target)
        assert re.search(MULTIPLY_ADD[target], text)
        calls = re.findall(r"\s(?:callq?|bl)\s+(\w+)@?", text)
        assert not [c for c in calls if c in ("expf", "logf", "tanhf", "powf", "fmaf", "exp")]

"""Kernels for graphics processors, run without one: as plain loops that LLVM compiles."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import partial
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc.ir.graph import Graph
from graphc.loops.gpu.device import GPU, H100
from graphc.loops.gpu.emulate import emulate
from graphc.loops.gpu.lower import lower
from graphc.loops.language import Kernel
from graphc.loops.memory import buffer_bytes
from graphc.passes.base import Pipeline
from graphc.passes.pipelines import device_pipelines
from graphc.runtime.program import Call, Program, build_program
from graphc_llvm.engine import machine_code
from graphc_llvm.module import step_module
from graphc_llvm.variant import Step

Array = np.ndarray[Any, Any]


def program_of(
    graph: Graph, gpu: GPU = H100, precision: str = "f32", pipeline: Pipeline | None = None
) -> Program:
    """`graph` as kernels for `gpu`."""
    pipeline = pipeline or device_pipelines(precision)["any"]
    return build_program(graph, pipeline, partial(lower, gpu=gpu, precision=precision))


def emulated(program: Program, inputs: Mapping[str, Any], n: int) -> list[Array]:
    """The outputs of `program` for a batch of `n`; what is not written is nan or nonsense."""
    memory: dict[int, Array] = {}
    outputs: dict[int, Array] = {}
    for storage, slot in program.slots.items():
        bytes = _poisoned(buffer_bytes(storage.type, n))
        if storage.kind == "input":
            name = program.graph.inputs[storage.number].attrs["name"]
            axis = storage.type.batch_axis or 0
            given = np.asarray(inputs[name], storage.type.dtype.memory)
            given = np.ascontiguousarray(np.moveaxis(given, axis, 0) if axis else given)
            bytes[: given.nbytes] = given.reshape(-1).view(np.uint8)
        memory[slot] = bytes
    calls, scratch = [], []
    for call in program.calls:
        loops = emulate(call.kernel)
        first = len(memory) + len(scratch)
        scratch += [_poisoned(_size(b.shape) * b.dtype.itemsize) for b in loops.scratch]
        slots = (*call.slots, *range(first, first + len(loops.scratch)))
        calls.append(Call(loops.kernel, slots, call.phase))
    text = step_module(tuple(calls), llvm.get_process_triple())
    table = (ctypes.c_int64 * (len(memory) + len(scratch)))()
    for slot, array in (*memory.items(), *enumerate(scratch, len(memory))):
        table[slot] = array.ctypes.data
    Step(machine_code(text)).run(ctypes.addressof(table), n, 1)
    for storage, slot in program.slots.items():
        if storage.kind == "output":
            outputs[storage.number] = memory[slot]
    for output, source in program.graph.donations:
        outputs[output] = memory[source]
    found = []
    for number, node in enumerate(program.graph.outputs):
        type = node.tensor
        raw = outputs[number][: type.bytes(n)].view(type.dtype.memory)
        shape, axis = type.concrete(n), type.batch_axis or 0
        shape = (*shape[axis : axis + 1], *shape[:axis], *shape[axis + 1 :])
        found.append(np.moveaxis(raw.reshape(shape), 0, axis) if axis else raw.reshape(shape))
    return found


def kernels_of(program: Program) -> list[Kernel]:
    """Every kernel once."""
    return list({id(call.kernel): call.kernel for call in program.calls}.values())


def _poisoned(size: int) -> Array:
    """Memory that holds nan, whatever it is read as."""
    return np.full(size + 64, 0xFF, np.uint8)


def _size(shape: tuple[Any, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))

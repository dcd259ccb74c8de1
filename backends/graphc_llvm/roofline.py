"""What this machine can do: multiply-adds and bytes a second of one thread, measured by native
loops.

A kernel cannot be faster than its arithmetic at the first rate and its bytes at the second; the
larger of the two times is its roofline. Measured once a process, in about 30 ms.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from graphc_llvm.engine import Code, machine_code, machine_of
from graphc_llvm.text import vector_type

CHAINS = 12
STREAM_BYTES = 64 << 20


@dataclass(frozen=True)
class Roofline:
    """Rates of one thread."""

    flops_per_second: float
    bytes_per_second: float


@cache
def measured() -> Roofline:
    """The rates of this machine."""
    lanes = machine_of().lanes(4)
    code = Code(machine_code(_text(lanes)))
    multiply = code.function("multiply", None, ctypes.c_void_p, ctypes.c_int64)
    read = code.function("read", None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    small = np.zeros(64 * CHAINS, np.float32)
    steps = 200_000
    arithmetic = _least(lambda: multiply(small.ctypes.data, steps))
    data = np.zeros(STREAM_BYTES // 4, np.float32)
    vectors = data.size // lanes
    stream = _least(lambda: read(data.ctypes.data, small.ctypes.data, vectors))
    return Roofline(2.0 * lanes * CHAINS * steps / arithmetic, data.nbytes / stream)


def _least(call: Any) -> float:
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def _text(lanes: int) -> str:
    v = vector_type("float", lanes)
    fma = f"llvm.fma.v{lanes}f32"
    chains = range(CHAINS)
    starts = "\n".join(
        f"  %a{k} = phi {v} [zeroinitializer, %entry], [%b{k}, %loop]" for k in chains
    )
    steps = "\n".join(f"  %b{k} = call {v} @{fma}({v} %x, {v} %x, {v} %a{k})" for k in chains)
    ends = "\n".join(
        f"  %p{k} = getelementptr {v}, ptr %data, i64 {k}\n  store {v} %b{k}, ptr %p{k}, align 4"
        for k in chains
    )
    return f"""target triple = "{llvm.get_process_triple()}"
declare {v} @{fma}({v}, {v}, {v})
define void @multiply(ptr %data, i64 %n) {{
entry:
  %x = load {v}, ptr %data, align 4
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
{starts}
{steps}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %out
out:
{ends}
  ret void
}}
define void @read(ptr %data, ptr %result, i64 %n) {{
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %sum = phi {v} [zeroinitializer, %entry], [%added, %loop]
  %p = getelementptr {v}, ptr %data, i64 %i
  %x = load {v}, ptr %p, align 4
  %added = fadd {v} %sum, %x
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %out
out:
  store {v} %added, ptr %result, align 4
  ret void
}}"""

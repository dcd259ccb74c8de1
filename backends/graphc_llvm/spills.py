"""Vector registers that the code generator keeps on the stack inside of innermost loops.

A register block that does not fit the registers is moved to and from the stack at each step of a
sum, which no time and no count of operations shows. It is read off the assembly: vector
instructions with the stack pointer in their address, in basic blocks that branch back to
themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import llvmlite.binding as llvm

from graphc.runtime.object_cache import object_cache
from graphc.runtime.program import Call
from graphc_llvm.engine import assembly, code_origin, digest_of
from graphc_llvm.module import step_module

FUNCTION = re.compile(r"^_?(\w+):", re.MULTILINE)
BLOCK = re.compile(r"\n(?=\.?LBB\w+:)")
LABEL = re.compile(r"(\.?LBB\w+):")
BRANCH = r"\s(?:j\w+|b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+,\s*#\d+,)\s*{}\b"
TRAFFIC = re.compile(r"%[xyz]mm\d.*\(%rsp|\(%rsp.*%[xyz]mm\d|\b[qdv]\d+\b.*\[sp\b")
KERNEL = re.compile(r"k(\d+)_")


def innermost_loops(function: str) -> list[str]:
    """The basic blocks of a function that branch back to themselves, with their labels."""
    found = []
    for block in BLOCK.split(function):
        label = LABEL.match(block)
        if label and re.search(BRANCH.format(re.escape(label[1])), block):
            found.append(block)
    return found


def stack_traffic(loop: str) -> list[str]:
    """The instructions of a loop that move vectors to or from the stack."""
    return [line.strip() for line in loop.splitlines() if TRAFFIC.search(line)]


def functions(text: str) -> dict[str, str]:
    """The functions of an assembly file by name."""
    parts = FUNCTION.split(text)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def spills(calls: Sequence[Call]) -> list[int]:
    """For each call of a step, the stack traffic in innermost loops of its kernel's host code."""
    text = step_module(tuple(calls), llvm.get_process_triple())
    cache, origin = object_cache(), b"spills of " + code_origin(digest_of(text))
    kept = None if cache is None else cache.get(origin)
    counts: list[int] = json.loads(kept) if kept is not None else _counted(assembly(text))
    if cache is not None and kept is None:
        cache.put(origin, json.dumps(counts).encode())
    numbers: dict[int, int] = {}
    for call in calls:
        numbers.setdefault(id(call.kernel), len(numbers))
    return [counts[numbers[id(call.kernel)]] for call in calls]


def _counted(text: str) -> list[int]:
    """The stack traffic of each kernel, by its number in the module."""
    found: dict[int, int] = {}
    for name, function in functions(text).items():
        kernel = KERNEL.match(name)
        if kernel:
            loops = innermost_loops(function)
            found[int(kernel[1])] = sum(len(stack_traffic(loop)) for loop in loops)
    return [found[k] for k in sorted(found)]

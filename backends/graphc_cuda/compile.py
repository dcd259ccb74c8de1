"""CUDA C++ to machine code (a cubin), by NVIDIA's run-time compiler. Needs no device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from graphc.base.errors import GraphcError, InternalError
from graphc_cuda.source import prelude

AROUND = 8  # lines shown before and behind an error


@dataclass(frozen=True)
class Code:
    """Machine code of one source. log: what the compiler and the assembler said. cached: whether it
    was on disk from an earlier run.
    """

    cubin: bytes
    log: str
    cached: bool = False

    @property
    def resources(self) -> dict[str, dict[str, int]]:
        """By function: registers, and bytes of spilled registers, as the assembler reports."""
        found = {}
        for block in self.log.split("Compiling entry function")[1:]:
            name = re.search(r"'(\w+)'", block)
            registers = re.search(r"Used (\d+) registers", block)
            spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", block)
            stack = re.search(r"(\d+) bytes stack frame", block)
            if name and registers and spills and stack:
                found[name[1]] = {
                    "registers": int(registers[1]),
                    "stack_bytes": int(stack[1]),
                    "spill_bytes": int(spills[1]) + int(spills[2]),
                }
        return found


def _nvrtc() -> Any:
    """NVIDIA's bindings, imported when first needed."""
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise GraphcError(
            f"CUDA code cannot be compiled: {error}",
            remedy="install the compiler's wheels: pip install 'graphc[cuda]'",
        ) from error
    return nvrtc


def compiler_version() -> str:
    """The version of the compiler, such as "13.0"."""
    nvrtc = _nvrtc()
    error, major, minor = nvrtc.nvrtcVersion()
    _check(nvrtc, error)
    return f"{major}.{minor}"


def unit(source: str, wide: bool = False) -> str:
    """What is compiled for `source`: all of it behind the prelude."""
    return f"typedef {'long long' if wide else 'int'} index;\n{prelude()}\n{source}"


def compiled(source: str, architecture: str, wide: bool = False) -> Code:
    """`source` behind the prelude, compiled for `architecture`, such as "sm_90a".

    wide: whether indices take 64 bits. Raises GraphcError where the compiler is not installed or
    does not know the architecture.
    """
    with _program(source, architecture, wide) as (nvrtc, program):
        log = _text(nvrtc, program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
        cubin = _text(nvrtc, program, nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, binary=True)
    return Code(cubin, log)


def listing(source: str, architecture: str) -> str:
    """The PTX of `source`, which the assembler gets. Raises GraphcError as `compiled` does."""
    with _program(source, architecture, wide=False) as (nvrtc, program):
        return str(_text(nvrtc, program, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX))


@contextmanager
def _program(source: str, architecture: str, wide: bool) -> Iterator[tuple[Any, Any]]:
    """The compiler, and a program that it has compiled."""
    nvrtc = _nvrtc()
    options = [
        f"--gpu-architecture={architecture}",
        "--std=c++17",
        "--split-compile=0",  # on all cores
        "--ptxas-options=-v",
        "--device-as-default-execution-space",
        "--diag-suppress=177",  # of variables that a kernel has no use for
    ]
    text = unit(source, wide)
    error, program = nvrtc.nvrtcCreateProgram(text.encode(), b"graphc.cu", 0, [], [])
    _check(nvrtc, error)
    try:
        (error,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
        if error == nvrtc.nvrtcResult.NVRTC_ERROR_INVALID_OPTION:
            raise GraphcError(
                f"no code can be made for the architecture {architecture!r}",
                remedy="use one such as sm_80, sm_90a or sm_100",
            )
        if error != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            log = _text(nvrtc, program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
            raise InternalError(
                f"generated CUDA code does not compile:\n{log}\n{_around_errors(text, log)}"
            )
        yield nvrtc, program
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _text(nvrtc: Any, program: Any, size: Any, get: Any, binary: bool = False) -> Any:
    error, count = size(program)
    _check(nvrtc, error)
    content = b" " * count
    (error,) = get(program, content)
    _check(nvrtc, error)
    return content if binary else content.rstrip(b"\0 \n").decode()


def _check(nvrtc: Any, error: Any) -> None:
    if error != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise InternalError(f"the CUDA compiler failed: {error.name}")


def _around_errors(text: str, log: str) -> str:
    """The lines of `text` that errors are on, with those around them, numbered."""
    wrong = {int(number) for number in re.findall(r"\((\d+)\): error", log)}
    near = {k for number in wrong for k in range(number - AROUND, number + AROUND + 1)}
    lines = enumerate(text.splitlines(), 1)
    return "\n".join(f"{k:5} {line}" for k, line in lines if k in near)

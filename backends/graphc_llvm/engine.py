"""From LLVM text to callable code: target machines, verification, SROA, emission, and keeping
code alive.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from graphc.base.errors import InternalError
from graphc.loops.schedule import Machine


@dataclass(frozen=True)
class Target:
    """A processor to generate code for. Empty strings: the host."""

    triple: str = ""
    cpu: str = ""
    features: str = ""


HOST = Target()


@cache
def _initialize(every: bool = False) -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    if every:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()


@cache
def host_features() -> dict[str, bool]:
    """LLVM's features of this processor; a hypervisor may mask some."""
    _initialize()
    return dict(llvm.get_host_cpu_features())


@cache
def machine_of(target: Target = HOST) -> Machine:
    """Vector bytes and registers of a target, by its features."""
    triple = target.triple or llvm.get_process_triple()
    if triple.startswith(("aarch64", "arm64")):
        return Machine(vector_bytes=16, registers=32)
    if target.cpu:
        wide = target.cpu in ("x86-64-v4",) or "+avx512f" in target.features
        middle = wide or target.cpu == "x86-64-v3" or "+avx2" in target.features
    else:
        features = host_features()
        wide = all(features.get(f) for f in ("avx512f", "avx512vl", "avx512bw", "avx512dq"))
        middle = wide or bool(features.get("avx2"))
    if wide:
        return Machine(vector_bytes=64, registers=32)
    return Machine(vector_bytes=32 if middle else 16, registers=16)


def target_machine(target: Target = HOST) -> Any:
    """An LLVM target machine; for the host with its exact name and features."""
    _initialize(bool(target.triple))
    if not target.triple:
        features = ",".join(
            ("+" if on else "-") + name for name, on in sorted(host_features().items())
        )
        found = llvm.Target.from_default_triple()
        return found.create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True
        )
    found = llvm.Target.from_triple(target.triple)
    return found.create_target_machine(cpu=target.cpu, features=target.features, opt=3)


def parsed(text: str, machine: Any) -> Any:
    """A verified module with its local arrays in registers.

    Verifying comes first: LLVM would end the process on bad text. Raises InternalError with LLVM's
    message.
    """
    try:
        module = llvm.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise InternalError(f"LLVM refuses the generated code: {error}") from error
    tuning = llvm.create_pipeline_tuning_options(speed_level=0)
    builder = llvm.create_pass_builder(machine, tuning)
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)
    return module


def assembly(text: str, target: Target = HOST) -> str:
    """The assembly of a module for a target, host or other."""
    machine = target_machine(target)
    return str(machine.emit_assembly(parsed(text, machine)))


class Code:
    """Loaded machine code; functions stay callable as long as this object lives."""

    def __init__(self, text: str) -> None:
        machine = target_machine()
        self.engine = llvm.create_mcjit_compiler(parsed(text, machine), machine)
        self.engine.finalize_object()

    def address(self, name: str) -> int:
        """Where a function is."""
        found = int(self.engine.get_function_address(name))
        if not found:
            raise InternalError(f"the generated code has no function {name}")
        return found

    def function(self, name: str, result: Any, *arguments: Any) -> Any:
        """A function of the code as a ctypes callable (which releases Python's lock while it
        runs).
        """
        call = ctypes.CFUNCTYPE(result, *arguments)(self.address(name))
        call.keep = self  # type: ignore[attr-defined]
        return call

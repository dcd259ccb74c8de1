"""From LLVM text to callable code: target machines, verification, SROA, emission, the cache on
disk, and keeping code alive.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from graphc.base.errors import InternalError
from graphc.ir.node import Node
from graphc.loops.language import Kernel
from graphc.loops.lower import lower
from graphc.loops.schedule import Machine
from graphc.runtime.object_cache import object_cache

OPTIMIZATION = 3
PASSES = ("sroa",)


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
    """Vectors of a target and what it has for bf16, by its features."""
    triple = target.triple or llvm.get_process_triple()
    if triple.startswith(("aarch64", "arm64")):
        return Machine(vector_bytes=16, registers=32)
    if target.cpu:
        pairs = "+avx512bf16" in target.features
        wide = target.cpu in ("x86-64-v4",) or "+avx512f" in target.features
        middle = wide or target.cpu == "x86-64-v3" or "+avx2" in target.features
    else:
        features = host_features()
        pairs = bool(features.get("avx512bf16"))
        wide = all(features.get(f) for f in ("avx512f", "avx512vl", "avx512bw", "avx512dq"))
        middle = wide or bool(features.get("avx2"))
    if wide:
        return Machine(vector_bytes=64, registers=32, pairs=pairs)
    return Machine(vector_bytes=32 if middle else 16, registers=16)


def lowering(machine: Machine) -> Callable[[Node], Kernel]:
    """Makes the kernels of nodes for `machine`."""
    return partial(lower, machine=machine)


@cache
def host_feature_text() -> str:
    """The features of this processor as LLVM reads them: ``+avx2,-avx512f,...``."""
    return ",".join(("+" if on else "-") + name for name, on in sorted(host_features().items()))


def target_machine(target: Target = HOST) -> Any:
    """An LLVM target machine; for the host with its exact name and features."""
    _initialize(bool(target.triple))
    if not target.triple:
        found = llvm.Target.from_default_triple()
        return found.create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=host_feature_text(), opt=OPTIMIZATION, jit=True
        )
    found = llvm.Target.from_triple(target.triple)
    return found.create_target_machine(cpu=target.cpu, features=target.features, opt=OPTIMIZATION)


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
    for name in PASSES:
        getattr(passes, f"add_{name}_pass")()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)
    return module


def assembly(text: str, target: Target = HOST) -> str:
    """The assembly of a module for a target, host or other."""
    machine = target_machine(target)
    return str(machine.emit_assembly(parsed(text, machine)))


@cache
def host_facts() -> dict[str, Any]:
    """All that the host's machine code for a text depends on beside the text."""
    return {
        "llvmlite": llvmlite.__version__,
        "llvm": llvm.llvm_version_info,
        "triple": llvm.get_process_triple(),
        "cpu": llvm.get_host_cpu_name(),
        "features": host_feature_text(),
        "optimization": OPTIMIZATION,
        "passes": PASSES,
    }


def digest_of(text: str) -> str:
    """What machine code is looked up by: SHA-256 of the text that it is made from."""
    return hashlib.sha256(text.encode()).hexdigest()


def code_origin(digest: str) -> bytes:
    """All that the host's machine code for the text of that digest depends on."""
    return json.dumps({"text": digest, **host_facts()}, sort_keys=True).encode()


def machine_code(text: str) -> bytes:
    """An object file for the host, from the cache if it was compiled before."""
    cache = object_cache()
    origin = code_origin(digest_of(text))
    found = None if cache is None else cache.get(origin)
    if found is None:
        machine = target_machine()
        found = bytes(machine.emit_object(parsed(text, machine)))
        if cache is not None:
            cache.put(origin, found)
    return found


class Code:
    """Loaded machine code; functions stay callable as long as this object lives."""

    def __init__(self, image: bytes) -> None:
        empty = llvm.parse_assembly(f'target triple = "{llvm.get_process_triple()}"')
        self.engine = llvm.create_mcjit_compiler(empty, target_machine())
        self.engine.add_object_file(llvm.ObjectFileRef.from_data(image))
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

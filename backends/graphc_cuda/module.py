"""All kernels of a step as one source, and the machine code that it becomes.

They are compiled together: a compilation takes 60 ms before it has seen the first kernel.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from graphc.loops.gpu.launch import Launch, launch_of
from graphc.loops.language import Kernel
from graphc.runtime.object_cache import object_cache
from graphc_cuda.compile import Code, compiled, compiler_version, unit
from graphc_cuda.source import kernel_source, symbol_of


@dataclass(frozen=True, eq=False)
class Module:
    """kernels: by the name of their function. wide: whether indices take 64 bits."""

    kernels: Mapping[str, Kernel]
    wide: bool = False
    _codes: dict[str, Code] = field(default_factory=dict)

    @staticmethod
    def of(kernels: Sequence[Kernel], wide: bool = False) -> Module:
        """A module of kernels, numbered: two may have one name."""
        named = (replace(kernel, name=f"{k}_{kernel.name}") for k, kernel in enumerate(kernels))
        return Module({symbol_of(kernel): kernel for kernel in named}, wide)

    @cached_property
    def launches(self) -> dict[str, Launch]:
        """How each function is launched."""
        return {name: launch_of(kernel) for name, kernel in self.kernels.items()}

    @cached_property
    def source(self) -> str:
        """The CUDA C++ of all kernels."""
        return "\n".join(kernel_source(kernel) for kernel in self.kernels.values())

    @property
    def cached(self) -> bool:
        """Whether the code that was asked for was on disk from an earlier run."""
        return bool(self._codes) and all(code.cached for code in self._codes.values())

    def code(self, architecture: str) -> Code:
        """The machine code, from the cache if it was compiled before."""
        found = self._codes.get(architecture)
        if found is None:
            found = self._codes[architecture] = _machine_code(self, architecture)
        return found


def _machine_code(module: Module, architecture: str) -> Code:
    cache = object_cache()
    text = unit(module.source, module.wide)
    facts = {
        "text": hashlib.sha256(text.encode()).hexdigest(),
        "architecture": architecture,
        "compiler": compiler_version(),
    }
    origin = json.dumps(facts, sort_keys=True).encode()
    cubin = None if cache is None else cache.get(origin)
    log = None if cache is None else cache.get(b"log of " + origin)
    if cubin is not None and log is not None:
        return Code(cubin, log.decode(), cached=True)
    code = compiled(module.source, architecture, module.wide)
    if cache is not None:
        cache.put(origin, code.cubin)
        cache.put(b"log of " + origin, code.log.encode())
    return code

"""The source of kernels in CUDA C++, and what all of them stand behind."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from graphc.loops.gpu.launch import launch_of
from graphc.loops.language import Kernel
from graphc_cuda.specialised import Specialised
from graphc_cuda.statements import Source
from graphc_cuda.statements import symbol_of as symbol_of

PRELUDES = ("prelude.cu", "hopper.cu")


@cache
def prelude() -> str:
    """The functions that every kernel may use."""
    folder = Path(__file__).parent
    return "\n".join((folder / name).read_text() for name in PRELUDES)


def kernel_source(kernel: Kernel) -> str:
    """The function of `kernel`, without the prelude. `index` is the type of its indices."""
    kind = Specialised if launch_of(kernel).producers else Source
    return kind(kernel).text()

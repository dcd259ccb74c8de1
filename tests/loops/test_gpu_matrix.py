"""Products by tensor cores: the same numbers as the interpreter in emulation, the instructions
asked for in machine code.

The emulation multiplies tf32 without rounding; bf16 is compared with an interpreter that rounds the
same operands. So both must agree to the rounding of sums.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.loops.gpu.device import A100
from graphc.ops.interpret import interpret
from graphc_cuda.compile import compiled
from graphc_cuda.source import kernel_source
from tests.loops.emulation import emulated, kernels_of, program_of

PRECISIONS = ("tf32", "bf16")


@dataclass(frozen=True)
class Convolution:
    """Sizes that are multiples of nothing, on purpose."""

    channels: int
    maps: int
    size: tuple[int, int] = (9, 11)
    window: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (1, 1, 1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def result(self) -> tuple[int, int]:
        top, bottom, left, right = self.padding
        sides = zip(
            self.size, self.window, self.stride, (top + bottom, left + right), self.dilation,
            strict=True,
        )  # fmt: skip
        height, width = ((s - (w - 1) * d - 1 + p) // step + 1 for s, w, step, p, d in sides)
        return height, width

    def graph(self, op: str) -> Graph:
        weights = (
            f"f32[{self.maps},{self.channels // self.groups},{self.window[0]},{self.window[1]}]"
        )
        image = f"f32[N,{self.channels},{self.size[0]},{self.size[1]}]"
        result = f"f32[N,{self.maps},{self.result[0]},{self.result[1]}]"
        operands, more = {
            "conv2d": ((image, weights), ""),
            "conv2d_input_grad": ((result, weights), f", size={self.size}"),
            "conv2d_weight_grad": ((image, result), f", window={self.window}"),
        }[op]
        out = {"conv2d": result, "conv2d_input_grad": image}.get(op, weights)
        return gc.parse(f"""graph f(%a: {operands[0]}, %b: {operands[1]}) {{
          %y = {op}(%a, %b) {{dilation={self.dilation}, groups={self.groups},
            padding={self.padding}, stride={self.stride}{more}}} : {out}
          return %y
        }}""")


SHAPES = {
    "plain": Convolution(24, 40),
    "one tile and a bit": Convolution(32, 72, size=(5, 7)),
    "odd channels": Convolution(13, 19),
    "three channels": Convolution(3, 32, size=(12, 13), window=(7, 7), stride=(2, 2)),
    "strided": Convolution(16, 24, stride=(2, 1)),
    "point": Convolution(48, 24, window=(1, 1), padding=(0, 0, 0, 0)),
    "dilated": Convolution(16, 16, dilation=(2, 2), padding=(2, 2, 2, 2)),
    "grouped": Convolution(32, 48, groups=2),
    "uneven padding": Convolution(16, 16, window=(2, 3), padding=(0, 1, 2, 0)),
}


def _inputs(graph: Graph, n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        i.attrs["name"]: rng.standard_normal(i.tensor.concrete(n)).astype(np.float32)
        for i in graph.inputs
    }


def _agrees(graph: Graph, precision: str, n: int, thin: bool = False) -> None:
    program = program_of(graph, A100, precision)
    by_tensor_cores = any("m16n8k" in k.schedule for k in kernels_of(program))
    assert by_tensor_cores is not thin
    inputs = _inputs(graph, n)
    expected = interpret(program.graph, inputs, n=n)
    for got, want in zip(emulated(program, inputs, n), expected, strict=True):
        off = np.abs(got - want) > 2e-6 * np.sqrt(n * 100) * np.abs(want).max()
        # An image that is stored as bf16 may round to the neighbour where the sum differs a little.
        assert off.mean() < (0.01 if precision == "bf16" else 1e-12)
        np.testing.assert_allclose(got[off], want[off], rtol=2**-7)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("op", ["conv2d", "conv2d_input_grad", "conv2d_weight_grad"])
@pytest.mark.parametrize("shape", SHAPES)
def test_convolutions_and_their_gradients(shape: str, op: str, precision: str) -> None:
    thin = op == "conv2d_input_grad" and SHAPES[shape].channels < 8
    _agrees(SHAPES[shape].graph(op), precision, 3, thin)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("turned", ["", "left", "right", "both"])
@pytest.mark.parametrize("sizes", [(70, 90), (64, 64), (33, 17)])
def test_products_of_matrices(sizes: tuple[int, int], turned: str, precision: str) -> None:
    rows, (summed, columns) = 50, sizes
    left, right = (rows, summed), (summed, columns)
    lines, names = [], {"left": "%a", "right": "%b"}
    for name, shape in (("left", left), ("right", right)):
        if turned in (name, "both"):
            lines.append(
                f"%t{name} = transpose({names[name]}) {{axes=(1, 0)}} : f32[{shape[0]},{shape[1]}]"
            )
            names[name] = f"%t{name}"
    given = [s[::-1] if turned in (n, "both") else s for n, s in (("left", left), ("right", right))]
    graph = gc.parse(f"""graph f(%a: f32[{given[0][0]},{given[0][1]}],
        %b: f32[{given[1][0]},{given[1][1]}]) {{
      {chr(10).join(lines)}
      %y = matmul({names["left"]}, {names["right"]}) : f32[{rows},{columns}]
      return %y
    }}""")
    _agrees(graph, precision, n=1)


def test_exact_products_are_those_of_threads() -> None:
    program = program_of(SHAPES["plain"].graph("conv2d"), precision="f32")
    assert not any("m16n8k" in k.schedule for k in kernels_of(program))


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("op", ["conv2d", "conv2d_input_grad", "conv2d_weight_grad"])
def test_machine_code_multiplies_by_tensor_cores_and_spills_nothing(
    op: str, precision: str, architecture: str, tmp_path: Path
) -> None:
    shape = Convolution(64, 128, size=(28, 28))
    program = program_of(shape.graph(op), A100, precision)
    (kernel,) = (k for k in kernels_of(program) if "m16n8k" in k.schedule)
    code = compiled(kernel_source(kernel), architecture)
    (resources,) = code.resources.values()
    assert resources["spill_bytes"] == resources["stack_bytes"] == 0
    assembly = disassembled(code.cubin, tmp_path)
    names = {"tf32": "HMMA.1688.F32.TF32", "bf16": "HMMA.16816.F32.BF16"}
    assert names[precision] in assembly
    assert "LDGSTS" in assembly, "copies run while threads go on"
    assert not {"LDL", "STL"} & set(assembly.replace(".", " ").split()), "no local memory"


def disassembled(cubin: bytes, folder: Path) -> str:
    """Machine code as NVIDIA's disassembler writes it."""
    import nvidia

    (tool,) = (found for path in nvidia.__path__ for found in Path(path).glob("*/bin/nvdisasm"))
    file = folder / "kernel.cubin"
    file.write_bytes(cubin)
    return subprocess.run([tool, "-c", file], capture_output=True, text=True, check=True).stdout

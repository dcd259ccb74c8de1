"""What NVIDIA's compiler makes of the kernels of the networks of the zoo; no device is needed.

Usually one kernel of each structure is compiled: of products by tensor cores every tile with all
that is multiplied in it, of others every list of ops. `pytest --all-kernels` takes every kernel
there is, and the deepest networks, and says which took longest to compile.
"""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from itertools import chain, product

import pytest

from graphc.loops.gpu.device import A100, B200, H100
from graphc_nn.zoo import NETWORKS
from tests.backends.cuda.zoo_kernels import Examined, Listed, examined, listed, one_of_each

pytest.importorskip("cuda.bindings")

AS_OTHERS = {"resnet34", "resnet101", "resnet152"}  # made of the blocks of ResNet-18 and -50
# Kernels in one compilation, which costs 30 ms by itself, and 350 ms to be disassembled.
TOGETHER = 8
LONGEST = 20

Code = Sequence[tuple[Listed, Examined]]


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    """A process for each core: compilations do not share one."""
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as found:
        yield found


@pytest.fixture(scope="module")
def kernels(request: pytest.FixtureRequest, pool: Executor) -> list[Listed]:
    """Those that are compiled, no two alike."""
    everything = request.config.getoption("--all-kernels")
    names = [name for name in NETWORKS if everything or name not in AS_OTHERS]
    lists = pool.map(listed, *zip(*product(names, (False, True)), strict=True))
    found = {(k.architecture, k.source): k for k in chain.from_iterable(lists)}.values()
    return list(found) if everything else one_of_each(found)


@pytest.fixture(scope="module")
def code(request: pytest.FixtureRequest, pool: Executor, kernels: list[Listed]) -> Code:
    """Each kernel with its machine code."""
    units: list[list[Listed]] = []
    for gpu in (A100, H100):
        here = [k for k in kernels if k.architecture == gpu.architecture]
        here.sort(key=lambda kernel: kernel.instruction is None)
        units += [here[start : start + TOGETHER] for start in range(0, len(here), TOGETHER)]
    found = list(zip(chain(*units), chain(*pool.map(examined, units)), strict=True))
    if request.config.getoption("--all-kernels"):
        for kernel, made in sorted(found, key=lambda pair: -pair[1].seconds)[:LONGEST]:
            print(f"{made.seconds:.1f} s, {made.registers} registers: {kernel}")
    return found


def test_they_are_of_every_kind(kernels: list[Listed]) -> None:
    """Forward, both gradients, and the update; by threads and by tensor cores of either kind."""
    for gpu in (A100, H100):
        here = [k for k in kernels if k.architecture == gpu.architecture]
        assert {"conv2d", "max_pool2d", "sum", "exp", "sub"} <= {op for k in here for op in k.ops}
        for op in ("conv2d", "conv2d_input_grad", "conv2d_weight_grad", "matmul"):
            multiplied_by = {
                (k.instruction or "threads").rpartition(".")[2]
                for k in here
                if any(name.startswith(op) for name in k.ops)
            }
            assert multiplied_by == {"tf32", "bf16", "threads"}, (gpu.architecture, op)
        of_warpgroups = [k for k in here if k.instruction and k.instruction.startswith("m64")]
        assert bool(of_warpgroups) is (gpu is H100)


def test_products_spill_nothing_and_others_next_to_nothing(code: Code) -> None:
    """Arrays of a thread stay in registers."""
    assert [str(kernel) for kernel, made in code if made.spills(kernel)] == []


def test_products_are_multiplied_by_the_instruction_asked_for(code: Code) -> None:
    for kernel, made in code:
        if kernel.instruction is not None:
            assert machine_name(kernel.instruction) in made.instructions, kernel
            names = {name.partition(".")[0] for name in made.instructions}
            assert not {"LDL", "STL"} & names, kernel


def machine_name(instruction: str) -> str:
    """What the assembler calls an instruction of tensor cores."""
    found = re.fullmatch(r"m(\d+)n(\d+)k(\d+)\.(tf32|bf16)", instruction)
    assert found is not None
    m, n, k, operands = found.groups()
    if m == "16":  # of a warp
        return f"HMMA.{m}{n}{k}.F32.{operands.upper()}"
    return f"HGMMA.{m}x{n}x{k}.F32.{operands.upper()}"  # of four warps


@pytest.mark.parametrize("mixed", [False, True])
def test_there_is_code_for_later_processors(mixed: bool) -> None:
    kernels = listed("lenet5", mixed, gpus=(B200,))
    assert all(not made.spill_bytes for made in examined(kernels))

"""Those who load and those who compute: whatever order their steps come in, nobody reads what is
not there, nothing is overwritten that is still read, and all come to an end.

Barriers are modelled after the PTX ISA (`mbarrier`): a phase is over when so many have passed and
as many bytes have arrived as were expected; a wait for a phase's parity lets through when the phase
under way has the other one. How many pass, and how many stages there are, is read off the kernel.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import pytest

from graphc.loops.gpu.device import H100
from graphc_cuda.source import kernel_source
from tests.loops.emulation import kernels_of, program_of
from tests.loops.test_gpu_matrix import Convolution

Condition = Callable[[], bool]
Role = Generator[Condition, None, None]  # yields what it waits for
WARP = 32


@dataclass
class Barrier:
    """passes: how many end a phase."""

    passes: int
    parity: int = 0
    left: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        self.left = self.passes

    def passed(self) -> None:
        self.left -= 1
        assert self.left >= 0, "passed more often than a phase has room for"
        self._settle()

    def arrived(self, bytes: int) -> None:
        self.bytes -= bytes
        self._settle()

    def expect(self, bytes: int) -> None:
        self.bytes += bytes
        self.passed()

    def over(self, parity: int) -> Condition:
        return lambda: self.parity != parity

    def _settle(self) -> None:
        if self.left == 0 and self.bytes == 0:
            self.parity, self.left = 1 - self.parity, self.passes


@dataclass
class Block:
    """What the roles of a block share. held: the turn whose boxes are in a stage, if all of them
    are; reading: how many warps still read it.
    """

    stages: int
    full: list[Barrier]
    empty: list[Barrier]
    under_way: list[tuple[int, int]] = field(default_factory=list)
    held: dict[int, int | None] = field(default_factory=dict)
    reading: dict[int, int] = field(default_factory=dict)

    def producer(self, tiles: int, steps: int) -> Role:
        stage, phase = 0, 0
        for turn in range(tiles * steps):
            yield self.empty[stage].over(phase ^ 1)
            assert self.reading.get(stage, 0) == 0, "overwritten while it is read"
            self.full[stage].expect(2)
            self.held[stage] = None
            self.under_way += [(stage, turn)] * 2  # two boxes
            stage, phase = self._next(stage, phase)

    def consumer(self, tiles: int, steps: int) -> Role:
        """A warp: products of a step end when those of the next have begun, or at a tile's end."""
        stage, phase = 0, 0
        for tile in range(tiles):
            for step in range(steps):
                yield self.full[stage].over(phase)
                assert self.held[stage] == tile * steps + step, "not there, or no longer"
                self.reading[stage] = self.reading.get(stage, 0) + 1
                yield lambda: True
                if step > 0:
                    self._through((stage or self.stages) - 1)
                stage, phase = self._next(stage, phase)
            yield lambda: True
            self._through((stage or self.stages) - 1)

    def engine(self, copies: int, choose: random.Random) -> Role:
        """Boxes arrive in any order."""
        half: set[int] = set()
        for _ in range(copies):
            yield lambda: bool(self.under_way)
            stage, turn = self.under_way.pop(choose.randrange(len(self.under_way)))
            if turn in half:
                self.held[stage] = turn
            half.add(turn)
            self.full[stage].arrived(1)

    def _through(self, stage: int) -> None:
        self.reading[stage] -= 1
        self.empty[stage].passed()

    def _next(self, stage: int, phase: int) -> tuple[int, int]:
        return (0, phase ^ 1) if stage + 1 == self.stages else (stage + 1, phase)


def _run(roles: list[Role], choose: random.Random) -> None:
    """Steps of all roles in any order, until all have ended."""
    waiting = [(role, next(role)) for role in roles]
    while waiting:
        able = [k for k, (_, condition) in enumerate(waiting) if condition()]
        assert able, "all wait for each other"
        role, _ = waiting.pop(choose.choice(able))
        condition = next(role, None)
        if condition is not None:
            waiting.append((role, condition))


def _numbers() -> tuple[int, int, int]:
    """Of a generated kernel: who passes `full`, who passes `empty`, its threads that compute."""
    program = program_of(Convolution(64, 64).graph("conv2d"), H100, "bf16")
    (kernel,) = (k for k in kernels_of(program) if k.schedule.startswith("m64"))
    source = kernel_source(kernel)
    found = re.findall(r"begin_barrier\((full|empty) \+ stage, (\d+)\)", source)
    threads = re.search(r"threadIdx\.x >= (\d+)", source)
    assert [name for name, _ in found] == ["full", "empty"] and threads
    return int(found[0][1]), int(found[1][1]), int(threads[1])


@pytest.mark.parametrize("stages", [2, 3, 4, 7])
def test_loads_and_products_keep_out_of_each_others_way(stages: int) -> None:
    passes_full, passes_empty, threads = _numbers()
    for seed in range(20):
        choose = random.Random(seed)
        tiles, steps = choose.randrange(1, 5), choose.randrange(1, 9)
        block = Block(
            stages,
            [Barrier(passes_full) for _ in range(stages)],
            [Barrier(passes_empty) for _ in range(stages)],
        )
        warps = [block.consumer(tiles, steps) for _ in range(threads // WARP)]
        engine = block.engine(2 * tiles * steps, choose)
        _run([block.producer(tiles, steps), engine, *warps], choose)
        assert not block.under_way

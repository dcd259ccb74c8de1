"""What a kernel is launched with: its grid, its threads, its shared memory, its tensor maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphc.base.errors import InternalError
from graphc.ir.index import Index
from graphc.ir.types import DType
from graphc.loops.gpu.device import WARP
from graphc.loops.gpu.tensor_maps import TensorMap
from graphc.loops.language import BATCH, Allocate, CopyTile, For, Kernel, Multiply, Pipeline, within
from graphc.loops.memory import Buffer

ALIGNMENT = 128  # bytes: where arrays begin in shared memory
SWIZZLED_ALIGNMENT = 1024  # eight lines of 128 bytes, within which pieces trade places
PRODUCERS = 128  # threads besides those of the loops, one of which has boxes copied
BARRIER = 8  # bytes of a barrier in shared memory
REGISTERS = 65_536  # of a multiprocessor
FEW_RESULTS = 32  # of a thread: beside them, these are enough
ENOUGH_REGISTERS = 128
SOME_RESULTS = 64  # beside more, the assembler saves registers by itself


@dataclass(frozen=True)
class Mapped:
    """A buffer of a kernel that the tensor copy engine reads, by its number among them."""

    number: int
    dtype: DType
    map: TensorMap


@dataclass(frozen=True)
class Launch:
    """blocks: the least of these, by batch size, is how many. threads: of a block. shared: (array,
    its first byte) of each shared array. shared_bytes: of a block.

    producers: how many of the threads, the last ones, only have boxes copied; barriers: the first
    byte of the barriers between them and the others, two for each of `stages`. maps: tensor maps,
    which the function takes behind its buffers. resident: how many blocks should at least share a
    multiprocessor; 0 leaves it to the assembler, which would rather spill registers than have one
    less.
    """

    blocks: tuple[Index, ...]
    threads: int
    shared: tuple[tuple[Buffer, int], ...] = ()
    shared_bytes: int = 0
    producers: int = 0
    barriers: int = 0
    stages: int = 0
    maps: tuple[Mapped, ...] = ()
    resident: int = 0

    @property
    def alignment(self) -> int:
        """Bytes: where shared memory begins."""
        swizzled = any(buffer.swizzled for buffer, _ in self.shared)
        return SWIZZLED_ALIGNMENT if swizzled else ALIGNMENT

    def grid(self, n: int) -> int:
        """Blocks for batch size n."""
        return min(blocks.evaluate({BATCH: n}.__getitem__) for blocks in self.blocks)


def launch_of(kernel: Kernel) -> Launch:
    """How `kernel` is launched. Raises InternalError if it is not one loop over blocks."""
    if not kernel.body:
        return Launch((Index(),), WARP)
    (outer, *others) = kernel.body
    if others or not isinstance(outer, For) or outer.mode != "block":
        raise InternalError(f"{kernel.name} is not one loop over blocks")
    threads, stages, shared, used, results = WARP, 0, [], 0, 0
    maps: dict[Mapped, None] = {}
    for s in within(outer.body):
        if isinstance(s, For) and s.mode == "thread":
            threads = max(threads, s.high[0].constant)
        elif isinstance(s, Allocate) and s.buffer.shared:
            used = _aligned(used, SWIZZLED_ALIGNMENT if s.buffer.swizzled else ALIGNMENT)
            shared.append((s.buffer, used))
            used += math.prod(s.buffer.shape) * s.buffer.dtype.itemsize  # type: ignore[arg-type]
        elif isinstance(s, Pipeline) and any(isinstance(c, CopyTile) for c in within(s.load)):
            stages = s.stages
        elif isinstance(s, Multiply):
            results = math.prod(s.target.shape[1:])  # type: ignore[arg-type]
        elif isinstance(s, CopyTile):
            maps.setdefault(mapped(kernel, s))
    threads, used = _aligned(threads, WARP), _aligned(used, ALIGNMENT)
    producers = PRODUCERS if stages else 0
    return Launch(
        outer.high,
        threads + producers,
        tuple(shared),
        used + 2 * stages * BARRIER,
        producers,
        used,
        stages,
        tuple(maps),
        _resident(results, threads),
    )


def _resident(results: int, threads: int) -> int:
    """How many blocks should share a multiprocessor, of threads that multiply fragments for so many
    results each.
    """
    if not 0 < results <= SOME_RESULTS:
        return 0
    return REGISTERS // ENOUGH_REGISTERS // threads if results <= FEW_RESULTS else 1


def mapped(kernel: Kernel, copy: CopyTile) -> Mapped:
    """The tensor map of a copy."""
    return Mapped(kernel.buffers.index(copy.source), copy.source.dtype, copy.map)


def _aligned(size: int, to: int) -> int:
    return -(-size // to) * to

"""What a kernel is launched with: its grid, its threads, its shared memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphc.base.errors import InternalError
from graphc.ir.index import Index
from graphc.loops.gpu.device import WARP
from graphc.loops.language import BATCH, Allocate, Buffer, For, Kernel, within

ALIGNMENT = 128  # bytes: where arrays begin in shared memory


@dataclass(frozen=True)
class Launch:
    """blocks: how many, by batch size. threads: of a block. shared: (array, its first byte) of each
    shared array. shared_bytes: of a block.
    """

    blocks: Index
    threads: int
    shared: tuple[tuple[Buffer, int], ...]
    shared_bytes: int

    def grid(self, n: int) -> int:
        """Blocks for batch size n."""
        return self.blocks.evaluate({BATCH: n}.__getitem__)


def launch_of(kernel: Kernel) -> Launch:
    """How `kernel` is launched. Raises InternalError if it is not one loop over blocks."""
    if not kernel.body:
        return Launch(Index(), WARP, (), 0)
    (outer, *others) = kernel.body
    if others or not isinstance(outer, For) or outer.mode != "block":
        raise InternalError(f"{kernel.name} is not one loop over blocks")
    threads, shared, used = WARP, [], 0
    for s in within(outer.body):
        if isinstance(s, For) and s.mode == "thread":
            threads = max(threads, s.high[0].constant)
        if isinstance(s, Allocate) and s.buffer.shared:
            shared.append((s.buffer, used))
            size = math.prod(s.buffer.shape) * s.buffer.dtype.itemsize  # type: ignore[arg-type]
            used += -(-size // ALIGNMENT) * ALIGNMENT
    return Launch(outer.high[0], -(-threads // WARP) * WARP, tuple(shared), used)


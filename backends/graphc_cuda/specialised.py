"""Kernels whose loads are boxes, for Hopper processors: some threads load, the others compute.

A block has groups of four warps that compute (consumers), and one more of which a single thread has
boxes copied (the producer). Both go through the same loops: the producer through the loads alone,
the others through all else. Between them stand two barriers a stage, in shared memory:

    full    the boxes of a turn are there        the consumers wait for it
    empty   every consumer is through with them  the producer waits for it

Stages and the phases of barriers are counted through all pipelines of a block, one after the other,
so that the producer runs ahead into the next tile while results of this one are stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from graphc.base.errors import InternalError
from graphc.ir.index import Index
from graphc.loops.gpu.device import WARP
from graphc.loops.gpu.launch import mapped
from graphc.loops.gpu.tensor_maps import Image
from graphc.loops.language import (
    Allocate,
    CopyTile,
    For,
    Kernel,
    MultiplyShared,
    Pipeline,
    Statement,
    within,
)
from graphc_cuda.statements import Source
from graphc_cuda.wgmma import function_of, multiply_line

# Registers of a thread while loading and computing, where several groups of warps compute; the
# sums of a tile of 128 x 256 are 128 of them.
LOADING, COMPUTING = 40, 232


class Specialised(Source):
    """Writes the function of a kernel whose producer and consumers part."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.loading = False
        self.wait = f"await_each_other<{self.threads}>();"
        self.totals = {
            s.target.name: None for s in within(kernel.body) if isinstance(s, MultiplyShared)
        }

    @property
    def bounds(self) -> str:
        return f"{self.launch.threads}, 1"

    def parameters(self) -> list[str]:
        *pointers, batch = super().parameters()
        maps = (f"const __grid_constant__ TensorMap map{k}" for k in range(len(self.launch.maps)))
        return [*pointers, *maps, batch]

    def head(self) -> list[str]:
        products = [s for s in within(self.kernel.body) if isinstance(s, MultiplyShared)]
        functions = dict.fromkeys(function_of(s) for s in products)
        barriers = self.launch.barriers
        return [
            *functions,
            *super().head(),
            self.pointer("full", "u64", barriers),
            f"    u64* const empty = full + {self.launch.stages};",
        ]

    # -- roles ------------------------------------------------------------------------------------

    def block(self, body: tuple[Statement, ...]) -> None:
        stages, consumers = self.launch.stages, self.threads
        self.line(f"if (threadIdx.x == {consumers}) {{")
        for k in range(len(self.launch.maps)):
            self.line(f"    prefetch_map(&map{k});")
        self.line(f"    for (index stage = 0; stage < {stages}; ++stage) {{")
        self.line("        begin_barrier(full + stage, 1);")
        self.line(f"        begin_barrier(empty + stage, {consumers // WARP});")
        self.line("    }")
        self.line("    show_barriers();")
        self.line("}")
        self.line("__syncthreads();")
        self.line("index stage = 0;")
        self.line("unsigned phase = 0;")
        several = consumers > self.launch.producers
        self.line(f"if (threadIdx.x >= {consumers}) {{")
        self.indent += "    "
        if several:
            self.line(f"leave_registers<{LOADING}>();")
        first = f"__shfl_sync(~0u, threadIdx.x / 32, 0) == {consumers // WARP}"
        self.line(f"if ({first} && is_elected()) {{")
        self.loading = True
        self.inside(_loads(body))
        self.loading = False
        self.line("}")
        self.indent = self.indent[:-4]
        self.line("} else {")
        self.indent += "    "
        if several:
            self.line(f"take_registers<{COMPUTING}>();")
        self.line("const index warpgroup = __shfl_sync(~0u, threadIdx.x / 128, 0);")
        self.fresh(body)
        self.indent = self.indent[:-4]
        self.line("}")

    def pipeline(self, s: Pipeline) -> None:
        if self.loading:
            self._produce(s)
        else:
            self._consume(s)

    def _produce(self, s: Pipeline) -> None:
        name = s.variable.name
        size = sum(
            times * c.map.lines * c.map.width * c.target.dtype.itemsize
            for c, times in _repeated(s.load)
        )
        self.line(f"for (index {name} = 0; {name} < {self.index(s.extent)}; ++{name}) {{")
        self.indent += "    "
        self.line("await_barrier(empty + stage, phase ^ 1);")
        self.line(f"expect_bytes(full + stage, {size});")
        self.fresh(s.load)
        self._advance(s)
        self.indent = self.indent[:-4]
        self.line("}")

    def _consume(self, s: Pipeline) -> None:
        """The products of a turn are under way while those of the turn before end, whose stage is
        then free.
        """
        name, extent = s.variable.name, self.index(s.extent)
        self.line(f"for (index {name} = 0; {name} < {extent}; ++{name}) {{")
        self.indent += "    "
        self.line("await_barrier(full + stage, phase);")
        self._hold()
        self.line("begin_products();")
        self.fresh(s.use)
        self.line("commit_products();")
        self.line("await_products<1>();")
        self._hold()
        self.line(f"if ({name} > 0) pass_barrier(empty + {self._before(s)});")
        self._advance(s)
        self.indent = self.indent[:-4]
        self.line("}")
        self.line("await_products<0>();")
        self._hold()
        some = "" if s.extent.is_constant else f"if (0 < {extent}) "
        self.line(f"{some}pass_barrier(empty + {self._before(s)});")

    def _hold(self) -> None:
        for name in self.totals:
            self.line(f"hold({name});")

    def _before(self, s: Pipeline) -> str:
        return f"(stage == 0 ? {s.stages - 1} : stage - 1)"

    def _advance(self, s: Pipeline) -> None:
        self.line(f"if (++stage == {s.stages}) {{ stage = 0; phase ^= 1; }}")

    # -- statements -------------------------------------------------------------------------------

    def statement(self, s: Statement) -> None:
        if isinstance(s, CopyTile):
            self._copy_tile(s)
        elif isinstance(s, MultiplyShared):
            total = self.part(s.target, s.target_indices)
            self.line(multiply_line(s, total, self.offset, self.index))
        else:
            super().statement(s)

    def _copy_tile(self, s: CopyTile) -> None:
        """Coordinates go the other way round: the innermost first."""
        number = self.launch.maps.index(mapped(self.kernel, s))
        target = (*s.indices, Index(), Index())
        to = f"{s.target.name} + {self.index(self.offset(s.target, target))}"
        if isinstance(s.map, Image):
            first, *taps, channel = s.coordinates
            places: tuple[Index, ...] = (*s.map.pixel(first), channel)
            more = [f"{self.index(tap)}" for tap in reversed(taps)]
        else:
            places, more = s.coordinates, []
        texts = [self.index(i) for i in reversed(places)]
        kind = "image" if isinstance(s.map, Image) else "box"
        arguments = ", ".join([to, f"&map{number}", "full + stage", *texts, *more])
        self.line(f"copy_{kind}({arguments});")


def _loads(body: Iterable[Statement]) -> tuple[Statement, ...]:
    """The pipelines in `body`, and the loops that lead to them."""
    found: list[Statement] = []
    for s in body:
        if isinstance(s, Pipeline):
            found.append(s)
        elif isinstance(s, Allocate):
            found += _loads(s.body)
        elif isinstance(s, For) and any(isinstance(each, Pipeline) for each in within(s.body)):
            if s.mode != "serial":
                raise InternalError(f"a pipeline of boxes stands in a loop that is {s.mode}")
            found.append(For(s.variable, s.low, s.high, s.mode, _loads(s.body)))
    return tuple(found)


def _repeated(body: Iterable[Statement], times: int = 1) -> list[tuple[CopyTile, int]]:
    """The copies in `body`, and how often each is made."""
    found = []
    for s in body:
        if isinstance(s, CopyTile):
            found.append((s, times))
        elif isinstance(s, For):
            found += _repeated(s.body, times * math.prod(i.constant for i in s.high))
        else:
            raise InternalError(f"{type(s).__name__} stands beside copies of boxes")
    return found

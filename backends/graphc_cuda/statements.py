"""One kernel's loops as a function of CUDA C++.

Blocks and threads of the loops are those of the launch. Between two thread loops stands a barrier
where one of them writes shared memory that the other touches, and only there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from graphc.base.errors import InternalError
from graphc.ir.index import Index, index
from graphc.loops.gpu.launch import Launch, launch_of
from graphc.loops.language import (
    Accumulate,
    Allocate,
    CopyAsync,
    For,
    Kernel,
    LoadFragment,
    Multiply,
    Pipeline,
    Read,
    Scalar,
    Statement,
    Store,
    reads,
    within,
)
from graphc.loops.memory import Buffer
from graphc_cuda.fragments import load_lines, multiply_line, words_of
from graphc_cuda.scalar import MEMORY, REGISTER, call
from graphc_cuda.touched import Touched, shared_touched
from graphc_cuda.values import Lane, Values


def symbol_of(kernel: Kernel) -> str:
    """The name of a kernel's function."""
    return "k_" + "".join(c if c.isalnum() else "_" for c in kernel.name)


class Source(Values):
    """Writes the function of a kernel."""

    wait = "__syncthreads();"

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.kernel = kernel
        self.launch: Launch = launch_of(kernel)
        self.touched = Touched()
        self.in_threads = False
        self.around_threads: set[str] = set()  # arrays whose first axis is the thread
        loads = (s for s in within(kernel.body) if isinstance(s, LoadFragment))
        self.fragments = {s.target.name for s in loads}

    def text(self) -> str:
        """The function."""
        if self.fragments:
            self.line("const index warp = threadIdx.x / 32, lane = threadIdx.x % 32;")
        for s in self.kernel.body:
            assert isinstance(s, For)
            self.line(f"const index {s.variable.name} = blockIdx.x;")
            self.block(s.body)
        return "\n".join([*self.head(), *self.lines, "}"]) + "\n"

    def head(self) -> list[str]:
        """All that stands before what a block does."""
        lines = [
            f"// {', '.join(self.kernel.ops)}: {self.kernel.schedule}",
            f'extern "C" __global__ void __launch_bounds__({self.bounds})',
            f"{symbol_of(self.kernel)}({', '.join(self.parameters())}) {{",
        ]
        if self.launch.shared:
            align = self.launch.alignment
            lines.append(f"    extern __shared__ __align__({align}) unsigned char shared_memory[];")
        for buffer, start in self.launch.shared:
            lines.append(self.pointer(buffer.name, MEMORY[buffer.dtype], start))
        return lines

    @property
    def bounds(self) -> str:
        """The arguments of `__launch_bounds__`."""
        resident = f", {self.launch.resident}" if self.launch.resident else ""
        return f"{self.launch.threads}{resident}"

    @property
    def threads(self) -> int:
        """How many go through the loops."""
        return self.launch.threads - self.launch.producers

    def parameters(self) -> list[str]:
        """The parameters of the function."""
        written = {b.name for b in self.kernel.written}
        pointers = [
            f"{'' if b.name in written else 'const '}{MEMORY[b.dtype]}* {b.name}"
            for b in self.kernel.buffers
        ]
        return [*pointers, "const index N"]

    def pointer(self, name: str, type: str, start: int) -> str:
        """A name for the part of shared memory that begins at byte `start`."""
        place = f"reinterpret_cast<{type}*>(shared_memory + {start})"
        return f"    {type}* const {name} = {place};"

    def block(self, body: tuple[Statement, ...]) -> None:
        """What a block does."""
        self.body(body)

    # -- statements -------------------------------------------------------------------------------

    def body(self, body: Iterable[Statement]) -> None:
        """Statements in order; stores that stand together read everything before they write
        anything.
        """
        for are_stores, group in groupby(body, lambda s: isinstance(s, Store)):
            if are_stores:
                self._stores([s for s in group if isinstance(s, Store)])
                continue
            for s in group:
                self.statement(s)

    def statement(self, s: Statement) -> None:
        if isinstance(s, For):
            self._for(s)
        elif isinstance(s, Accumulate):
            self._accumulate(s)
        elif isinstance(s, Allocate):
            self._allocate(s)
        elif isinstance(s, CopyAsync):
            self._copy(s)
        elif isinstance(s, Pipeline):
            self.pipeline(s)
        elif isinstance(s, LoadFragment):
            self._load_fragment(s)
        elif isinstance(s, Multiply):
            target, left, right = (
                self.part(buffer, indices)
                for buffer, indices in (
                    (s.target, s.target_indices),
                    (s.left, s.left_indices),
                    (s.right, s.right_indices),
                )
            )
            self._forget(s.target)
            self.line(multiply_line(s, target, left, right))
        else:
            raise InternalError(f"{type(s).__name__} is no statement for graphics processors")

    def pipeline(self, s: Pipeline) -> None:
        """Loads run `stages` - 1 turns ahead. One barrier a turn: behind it the stage that is used
        is there for all threads, and the one that is loaded next is used by none.
        """
        name, extent, ahead = s.variable.name, self.index(s.extent), s.stages - 1
        self.barrier()
        self.line(f"for (index {name} = 0; {name} < {ahead}; ++{name}) {{")
        self._load_stage(s, name, "commit_copies();")
        self.line("}")
        self.line(f"for (index turn = 0; turn < {extent}; ++turn) {{")
        self.indent += "    "
        self.line(f"await_copies<{ahead - 1}>();")
        self.barrier()
        self.line("{")
        self.line(f"    const index {name} = turn + {ahead};")
        self._load_stage(s, name, "commit_copies();")
        self.line("}")
        self.line(f"const index {name} = turn, stage = turn % {s.stages};")
        self.fresh(s.use)
        self.indent = self.indent[:-4]
        self.line("}")
        self.line("await_copies<0>();")
        self.barrier()

    def _load_stage(self, s: Pipeline, name: str, end: str) -> None:
        """The load of the turn `name`, if there is one, as a group of copies."""
        self.indent += "    "
        self.line(f"if ({name} < {self.index(s.extent)}) {{")
        self.line(f"    const index stage = {name} % {s.stages};")
        self.touched = Touched()
        self.inside(s.load)
        self.line("}")
        self.line(end)
        self.touched = Touched()
        self.indent = self.indent[:-4]

    def _load_fragment(self, s: LoadFragment) -> None:
        if s.source.name in self.touched.written:
            self.barrier()
        self.touched.read.add(s.source.name)
        target = self.part(s.target, s.target_indices)
        for line in load_lines(s, self.offset, self.index, target):
            self.line(line)

    def part(self, buffer: Buffer, indices: tuple[Index, ...]) -> str:
        """A fragment among those of a thread: an array of its elements."""
        return buffer.name + "".join(f"[{self.index(i)}]" for i in indices)

    def barrier(self) -> None:
        """Waits for the other threads."""
        self.line(self.wait)
        self.touched = Touched()

    def _for(self, s: For) -> None:
        if s.mode == "thread":
            self._threads(s)
        elif s.mode == "vector":
            self._vector(s)
        else:
            self.loop(s)

    def _threads(self, s: For) -> None:
        """All threads at once, behind a barrier if they touch what others have written."""
        read, written, copied = shared_touched(s.body)
        before = self.touched
        if (written | copied) & (before.read | before.written) or read & before.written:
            self.barrier()
        self.touched.read |= read
        self.touched.written |= written
        self.in_threads = True
        name = s.variable.name
        own = index(s.variable)
        limits = [self.above_zero(limit - own) for limit in s.high[1:]]
        if s.high[0].constant < self.threads:
            limits.insert(0, self.above_zero(s.high[0] - own))
        self.line("{")
        self.indent += "    "
        self.line(f"const index {name} = threadIdx.x;")
        if limits:
            self.line(f"if ({' && '.join(limits)}) {{")
            self.inside(s.body)
            self.line("}")
        else:
            self.fresh(s.body)
        self.indent = self.indent[:-4]
        self.line("}")
        self.in_threads = False

    def loop(self, s: For) -> None:
        """A loop that every thread goes through."""
        if s.mode == "unroll":
            self._unrolled(s)
            return
        name = s.variable.name
        low = _extreme("max", [self.index(i) for i in s.low])
        high = _extreme("min", [self.index(i) for i in s.high])
        self.line(f"for (index {name} = {low}; {name} < {high}; ++{name}) {{")
        if not self.in_threads:
            self._learn_end(s)
        self.inside(s.body)
        self.line("}")

    def _unrolled(self, s: For) -> None:
        """A loop whose every turn is written out by the compiler; arrays in it are registers. Ends
        that are known late become conditions.
        """
        count, *limits = s.high
        if not count.is_constant or any(i != Index() for i in s.low):
            raise InternalError(f"the loop over {s.variable} has no known length to unroll")
        if count.constant == 1:
            self._where(limits, s)
            return
        name = s.variable.name
        self.line("#pragma unroll")
        self.line(f"for (index {name} = 0; {name} < {count.constant}; ++{name}) {{")
        if not self.in_threads:
            self._learn_end(s)
        self.indent += "    "
        self._where(limits, s)
        self.indent = self.indent[:-4]
        self.line("}")

    def _where(self, limits: Sequence[Index], s: For) -> None:
        """One turn of an unrolled loop, if its variable is below all `limits`."""
        if not limits:
            self.fresh(s.body)
            return
        known = dict(self.places)
        tests = [self.above_zero(limit - index(s.variable)) for limit in limits]
        self.line(f"if ({' && '.join(tests)}) {{")
        self.inside(s.body)
        self.line("}")
        self.places = known

    def _learn_end(self, s: For) -> None:
        """What the last turn of a loop leaves touched, the next one finds: so it is gone through
        twice, and the lines of the first time are dropped.
        """
        lines, counter, before = self.lines, self.counter, self.touched.copy()
        self.lines = []
        self.inside(s.body)
        self.lines, self.counter = lines, counter
        self.touched.read |= before.read
        self.touched.written |= before.written

    def inside(self, body: Iterable[Statement]) -> None:
        self.indent += "    "
        self.fresh(body)
        self.indent = self.indent[:-4]

    def fresh(self, body: Iterable[Statement]) -> None:
        """A block of C: what is named in it is not known outside."""
        known, loads, places = self.known, self.loads, self.places
        self.known, self.loads, self.places = dict(known), dict(loads), dict(places)
        self.body(body)
        self.known, self.loads, self.places = known, {}, places

    def _vector(self, s: For) -> None:
        if not (s.high[0].is_constant and s.high[0].constant == s.lanes):
            raise InternalError("lanes beyond the end are not masked on graphics processors")
        self.lane = Lane(s.variable, s.lanes)
        self.fresh(s.body)
        self.lane = None

    def _allocate(self, s: Allocate) -> None:
        buffer = s.buffer
        if not buffer.shared:
            shape = buffer.shape
            if not self.in_threads:
                self.around_threads.add(buffer.name)
                shape = shape[1:]
            type = REGISTER[buffer.dtype]
            if buffer.name in self.fragments:
                elements = shape[-1]
                assert isinstance(elements, int)
                type, shape = "unsigned", (*shape[:-1], words_of(buffer.dtype, elements))
            extents = "".join(f"[{d}]" for d in shape)
            self.line(f"{type} {buffer.name}{extents};")
        self.body(s.body)
        self.around_threads.discard(buffer.name)

    def own(self, buffer: Buffer, indices: tuple[Index, ...]) -> tuple[Index, ...]:
        return indices[1:] if buffer.name in self.around_threads else indices

    def _stores(self, stores: Sequence[Store]) -> None:
        values = [self.value(s.value) for s in stores]
        for s, texts in zip(stores, values, strict=True):
            self._assign(s.buffer, s.indices, texts)

    def _assign(self, buffer: Buffer, indices: tuple[Index, ...], texts: tuple[str, ...]) -> None:
        self._forget(buffer)
        if self.neighbours(buffer, indices):
            assert self.lane is not None
            lane, type = self.lane, MEMORY[buffer.dtype]
            spread = texts * lane.count if len(texts) == 1 else texts
            start = self.index(self.offset(buffer, indices).without(lane.variable))
            values = ", ".join(f"{type}({t})" if type == "byte" else t for t in spread)
            self.line(f"store<{type}, {lane.count}>({buffer.name} + {start}, {{{{{values}}}}});")
            return
        if self.lane is None or not any(self.lane.variable in i.variables for i in indices):
            self.line(f"{self.place(buffer, indices)} = {texts[0]};")
            return
        spread = texts * self.lane.count if len(texts) == 1 else texts
        for k, text in enumerate(spread):
            at = tuple(i.at({self.lane.variable: k}) for i in indices)
            self.line(f"{self.place(buffer, at)} = {text};")

    def _forget(self, buffer: Buffer) -> None:
        """What was read of a buffer is no longer what it holds."""
        self.loads = {k: v for k, v in self.loads.items() if k[0] != buffer.name}  # type: ignore[index]
        self.known = {
            k: (e, texts)
            for k, (e, texts) in self.known.items()
            if all(r.buffer.name != buffer.name for r in reads(e))
        }

    def _accumulate(self, s: Accumulate) -> None:
        if s.combine == "fma":
            assert isinstance(s.value, Scalar)
            parts = [self.value(a) for a in s.value.arguments]
        else:
            parts = [self.value(s.value)]
        old = self.value(Read(s.buffer, s.indices))
        count = max(map(len, (*parts, old)))
        spread = [texts * count if len(texts) == 1 else texts for texts in (*parts, old)]
        function = {"sum": "add"}.get(s.combine, s.combine)
        dtype = s.buffer.dtype
        texts = tuple(
            call(function, [each[k] for each in spread], dtype, dtype) for k in range(count)
        )
        self._assign(s.buffer, s.indices, texts)

    def _copy(self, s: CopyAsync) -> None:
        (inside,) = self.condition(s.source.bounds)
        size = s.lanes * s.target.dtype.itemsize
        target = f"{s.target.name} + {self.index(self.offset(s.target, s.indices))}"
        start = self.offset(s.source.buffer, s.source.indices)
        source = f"{s.source.buffer.name} + ({inside} ? {self.index(start)} : 0)"
        if inside == "true":
            source = f"{s.source.buffer.name} + {self.index(start)}"
        self.line(f"copy_async<{size}>({target}, {source}, {inside});")


def _extreme(function: str, texts: list[str]) -> str:
    texts = list(dict.fromkeys(texts))
    result = texts[0]
    for other in texts[1:]:
        result = f"{function}({result}, {other})"
    return result

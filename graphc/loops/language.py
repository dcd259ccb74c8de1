"""The loop language, on one screen.

    statement  = For(variable, low.., high.., mode, body)     serial, parallel, unroll, vector,
                                                              block, thread
               | Store(buffer, indices, value)
               | Accumulate(buffer, indices, combine, value)  sum, maximum, minimum, fma, dot
               | Allocate(buffer, body)         an array of the kernel's own: if local, registers,
                                                its indices constant
               | Transpose(target, source, ..)  a tile of lines and columns changes layout
               | Prefetch(buffer, indices)      will be read soon; means nothing
               | Pipeline(variable, .., load, use)   a loop that loads ahead of use
               | CopyAsync(target, .., source)  neighbours move to a shared array meanwhile
               | LoadFragment(target, source)   a piece of a matrix, spread over a warp's threads
               | Multiply(target, left, right)  such pieces, by tensor cores
               | CopyTile(target, source, ..)   a box of memory moves to a shared array meanwhile
               | MultiplyShared(target, ..)     matrices in shared arrays, by tensor cores
    expression = Literal | Read(buffer, indices, bounds) | Scalar(function, arguments)
               | Position(index)
               | Lanes(combine, buffer, indices)   all lanes of a vector made one number

A `vector` loop runs its body on all lanes at once; its high bound may be less than its lanes: the
rest is masked. On a graphics processor a `block` loop runs its steps in any order on its
multiprocessors; a `thread` loop inside runs its steps at once, one a thread, and all threads are
through with it before what follows begins. So thread loops are plain loops cut at barriers: run one
after the other in order, they mean the same. Bounds: a For runs from the greatest of its lows to
the least of its highs. A Read whose bounds do not hold yields 0. Sizes known only at run time are
the variables `N` (batch) and `P` (batch rounded up to `BATCH_PADDING`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from graphc.ir.index import Index, Variable, index
from graphc.ir.types import DType
from graphc.loops.memory import Buffer
from graphc.ops.create import BATCH as BATCH
from graphc.ops.op import Bound as Bound

STAGE = Variable("stage")


@dataclass(frozen=True)
class Amount:
    """fixed + sample * N of something."""

    fixed: int = 0
    sample: int = 0

    def at(self, n: int) -> int:
        """The amount for batch size n."""
        return self.fixed + self.sample * n

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.fixed + other.fixed, self.sample + other.sample)


# -- expressions ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Literal:
    """A number."""

    value: float | int | bool
    dtype: DType


@dataclass(frozen=True)
class Read:
    """One element of a buffer; 0 if a bound does not hold (the memory is then not touched)."""

    buffer: Buffer
    indices: tuple[Index, ...]
    bounds: tuple[Bound, ...] = ()

    @property
    def dtype(self) -> DType:
        """That of the buffer."""
        return self.buffer.dtype


@dataclass(frozen=True, eq=False)
class Scalar:
    """A function of the scalar vocabulary; "select", "cast" and "within" (its bounds hold)
    included.
    """

    function: str
    arguments: tuple[Expression, ...]
    dtype: DType
    bounds: tuple[Bound, ...] = ()


@dataclass(frozen=True)
class Position:
    """The number an index has."""

    index: Index
    dtype: DType


@dataclass(frozen=True)
class Lanes:
    """All lanes of a vector combined into one number, in a fixed order."""

    combine: str
    buffer: Buffer
    indices: tuple[Index, ...]

    @property
    def dtype(self) -> DType:
        """That of the buffer."""
        return self.buffer.dtype


Expression = Literal | Read | Scalar | Position | Lanes

# -- statements -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class For:
    """A loop. lanes: how many a vector loop has."""

    variable: Variable
    low: tuple[Index, ...]
    high: tuple[Index, ...]
    mode: str
    body: tuple[Statement, ...]
    lanes: int = 0


@dataclass(frozen=True)
class Store:
    """buffer[indices] = value."""

    buffer: Buffer
    indices: tuple[Index, ...]
    value: Expression


@dataclass(frozen=True)
class Accumulate:
    """buffer[indices] = combine(buffer[indices], value).

    "fma" adds a product with one rounding, "dot" both products of two pairs of bf16: they are read
    as one i32 each.
    """

    buffer: Buffer
    indices: tuple[Index, ...]
    combine: str
    value: Expression


@dataclass(frozen=True)
class Allocate:
    """An array for the statements inside: registers if it is `local`, else memory on the stack."""

    buffer: Buffer
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Transpose:
    """target[to(i, j)] = source[from(i, j)] for i < rows, j < columns, at most `lanes` of each.

    i and j stand for the variables `row` and `column` in the places. Steps of `column` are
    neighbours in the source, steps of `row` in the target, so that the tile goes through
    registers: whole lines read, exchanged, whole lines written. Along `samples` (one of the two
    variables, or None) lines at or beyond `limit` do not exist; there the other side is padded.
    """

    target: Buffer
    target_place: tuple[Index, ...]
    source: Buffer
    source_place: tuple[Index, ...]
    row: Variable
    column: Variable
    rows: int
    columns: int
    lanes: int
    samples: Variable | None = None
    limit: Index | None = None


@dataclass(frozen=True)
class Prefetch:
    """buffer[indices], and in lanes what follows it, moves towards the processor ahead of a read.

    It changes no value, and the place need not exist.
    """

    buffer: Buffer
    indices: tuple[Index, ...]


@dataclass(frozen=True)
class CopyAsync:
    """target[indices + k] = source + k for k < lanes: neighbours go from memory to a shared array
    while the thread goes on; zeros, if a bound of the read does not hold. It stands in the load
    of a `Pipeline`, which knows when they are there. lanes * itemsize is 4, 8 or 16, and both sides
    are aligned so.
    """

    target: Buffer
    indices: tuple[Index, ...]
    source: Read
    lanes: int


@dataclass(frozen=True)
class Pipeline:
    """For each variable < extent: load, then use. Loads may run ahead: `stages` of them are under
    way or in use at a time, in shared arrays whose first index is the variable `stage`.

    load: thread loops that fill the shared arrays of a stage. use: statements that read them; they
    begin when all threads have loaded it.
    """

    variable: Variable
    extent: Index
    stages: int
    load: tuple[Statement, ...]
    use: tuple[Statement, ...]


@dataclass(frozen=True)
class CopyTile:
    """The tensor copy engine brings a box of memory into a `swizzled` shared array, while all
    threads go on: target[indices, line, k] = element k of that line of the box of `source` at
    `coordinates`, zeros outside. It stands in the load of a `Pipeline`, alone. map: one of
    `graphc.loops.gpu.tensor_maps`, which says what the coordinates and lines are.
    """

    target: Buffer
    indices: tuple[Index, ...]
    source: Buffer
    map: Any
    coordinates: tuple[Index, ...]


@dataclass(frozen=True)
class MultiplyShared:
    """Stands between thread loops: for each group of 4 warps target += left @ right, in f32, both
    read from shared memory.

    The places are those of the element at (`row`, `column`) of an operand, for the group of warps
    that the variable `warpgroup` numbers. target: a fragment for each 8 columns,
    [thread, .., columns / 8, 4].
    """

    instruction: str
    target: Buffer
    target_indices: tuple[Index, ...]
    left: Buffer
    left_place: tuple[Index, ...]
    right: Buffer
    right_place: tuple[Index, ...]


@dataclass(frozen=True)
class LoadFragment:
    """Stands between thread loops: every warp takes a piece of a matrix into its registers.

    The piece holds source[place] for each `row` and `column`, the two variables in `place`; which
    warp reads is the variable `warp` in it. operand: "left" or "right"; of a right operand, rows
    are what is summed over. For instruction and target, see `Multiply`.
    """

    instruction: str
    operand: str
    target: Buffer
    target_indices: tuple[Index, ...]
    source: Buffer
    place: tuple[Index, ...]


@dataclass(frozen=True)
class Multiply:
    """Stands between thread loops: in each warp of 32 threads, target += left @ right, in f32.

    Each buffer holds fragments, [thread, .., element], at `indices`, which leave out these two
    axes: a few numbers of a matrix that lies spread over the registers of a warp. instruction: one
    of `graphc.loops.gpu.fragments`, which says which thread holds which number.
    """

    instruction: str
    target: Buffer
    target_indices: tuple[Index, ...]
    left: Buffer
    left_indices: tuple[Index, ...]
    right: Buffer
    right_indices: tuple[Index, ...]


Statement = (
    For
    | Store
    | Accumulate
    | Allocate
    | Transpose
    | Prefetch
    | CopyAsync
    | Pipeline
    | LoadFragment
    | Multiply
    | CopyTile
    | MultiplyShared
)


@dataclass(frozen=True)
class Kernel:
    """One unit of work between barriers: buffers it touches, its loops, and what it costs.

    ops: names of the fused ops. schedule: the choice made, in words. flops: its arithmetic.
    pairs: whether it is for a processor with instructions for pairs of bf16.
    """

    name: str
    buffers: tuple[Buffer, ...]
    written: tuple[Buffer, ...]
    body: tuple[Statement, ...]
    ops: tuple[str, ...]
    schedule: str
    flops: Amount = Amount()
    pairs: bool = False

    def __str__(self) -> str:
        from graphc.loops.text import kernel_text

        return kernel_text(self)


def substitute(expression: Expression, values: Mapping[Variable, Index]) -> Expression:
    """`expression` with variables replaced; shared parts stay shared."""
    done: dict[int, Expression] = {}
    places: dict[Index, Index] = {}

    def place(i: Index) -> Index:
        found = places.get(i)
        if found is None:
            found = places[i] = i.substitute(values)
        return found

    def visit(e: Expression) -> Expression:
        found = done.get(id(e))
        if found is not None:
            return found
        result: Expression
        if isinstance(e, Read):
            result = Read(e.buffer, tuple(map(place, e.indices)), _bounds(e.bounds, values))
        elif isinstance(e, Scalar):
            result = Scalar(
                e.function, tuple(map(visit, e.arguments)), e.dtype, _bounds(e.bounds, values)
            )
        elif isinstance(e, Position):
            result = Position(e.index.substitute(values), e.dtype)
        else:
            result = e
        done[id(e)] = result
        return result

    return visit(expression)


def map_reads(e: Expression, change: Callable[[Read], Expression]) -> Expression:
    """`e` with every read replaced by what `change` makes of it; shared parts stay shared."""
    done: dict[int, Expression] = {}

    def visit(e: Expression) -> Expression:
        if id(e) not in done:
            if isinstance(e, Read):
                done[id(e)] = change(e)
            elif isinstance(e, Scalar):
                done[id(e)] = Scalar(e.function, tuple(map(visit, e.arguments)), e.dtype, e.bounds)
            else:
                done[id(e)] = e
        return done[id(e)]

    return visit(e)


def _bounds(bounds: tuple[Bound, ...], values: Mapping[Variable, Index]) -> tuple[Bound, ...]:
    kept = []
    for bound in bounds:
        new = replace(bound, value=bound.value.substitute(values))
        low, high = new.value.bounds()
        if low is None or high is None or new.high is None or low < new.low or high >= new.high:
            kept.append(new)
    return tuple(kept)


def parts(*expressions: Expression) -> Iterator[Expression]:
    """Every part of `expressions`, themselves included, each object once."""
    seen: set[int] = set()
    stack = list(expressions)
    while stack:
        e = stack.pop()
        if id(e) in seen:
            continue
        seen.add(id(e))
        yield e
        if isinstance(e, Scalar):
            stack.extend(e.arguments)


def within(body: Iterable[Statement]) -> Iterator[Statement]:
    """Every statement of `body`, those inside of others included, in the order they are written."""
    for s in body:
        yield s
        if isinstance(s, For | Allocate):
            yield from within(s.body)
        elif isinstance(s, Pipeline):
            yield from within((*s.load, *s.use))


def reads(*expressions: Expression) -> list[Read]:
    """Every read in `expressions`, each object once."""
    return [e for e in parts(*expressions) if isinstance(e, Read)]


def loop(
    variable: Variable,
    extent: Index | int,
    mode: str,
    body: Any,
    *,
    lanes: int = 0,
    low: tuple[Index, ...] = (),
    high: tuple[Index, ...] = (),
) -> For:
    """A For from 0 (or the greatest of `low`) to `extent` (or the least of that and `high`)."""
    statements = (
        body if isinstance(body, tuple) else tuple(body) if isinstance(body, list) else (body,)
    )
    return For(variable, (Index(), *low), (index(extent), *high), mode, statements, lanes)

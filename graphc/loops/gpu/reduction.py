"""Sums and extremes: a few results a block, several threads for each.

    row sums (softmax, losses)            threads beside each other read along the row
    column sums (statistics of a batch)   threads beside each other read along the results
    windows (pooling), few numbers each   a thread takes all of them

Each thread combines every so many-th number, then threads combine what they found, half of them at
a time: the order of every sum is fixed by the shapes alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphc.ir.index import Index, Variable, index
from graphc.loops.definition import Definition, identity, with_accumulator
from graphc.loops.gpu.device import ACCESS, GPU
from graphc.loops.gpu.places import (
    THREAD,
    Spanned,
    blocks_for,
    count,
    grid,
    lanes_along,
    longest_read,
    own_array,
    taken_apart,
    usual_count,
    where,
    with_lane,
)
from graphc.loops.gpu.pointwise import LANE, in_lanes, result_lanes, stores
from graphc.loops.language import (
    Accumulate,
    Allocate,
    Expression,
    Literal,
    Read,
    Scalar,
    Statement,
    Store,
    loop,
    reads,
    substitute,
)
from graphc.loops.memory import Buffer

THREADS = 256
WINDOW = 64  # numbers that one thread combines alone
SHARE = 2  # steps that each of several threads makes at least
MOST_RESULTS = 8  # of a thread: of bytes an access would move twice as many
LINE, SECTOR = 8, 2  # neighbouring threads that read 128 bytes, and 32
BLOCKS = 2  # for each multiprocessor, to keep it busy
STEP = Variable("step")


@dataclass(frozen=True)
class Shape:
    """How a block is shared out: `results` groups of `lanes` neighbouring results, `helpers`
    threads for each; or, if `along`, threads and `lanes` run along what is reduced.
    """

    results: int
    helpers: int
    lanes: int
    along: bool

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.results * self.helpers

    @property
    def result_lanes(self) -> int:
        """Neighbouring results of a thread."""
        return 1 if self.along else self.lanes

    def share(self, thread: Index) -> tuple[Index, Index]:
        """(result, helper): whose numbers a thread combines, and which of them. Threads beside each
        other read memory side by side.
        """
        if self.along:
            return thread // self.helpers, thread % self.helpers
        return thread % self.results, thread // self.results

    def __str__(self) -> str:
        if self.along:
            return f"{self.results} results x {self.helpers} threads x {self.lanes} summed"
        return f"{self.results} x {self.lanes} results x {self.helpers} threads"


def reduction(spanned: Spanned[Definition], gpu: GPU) -> tuple[tuple[Statement, ...], str]:
    """The loops of a definition that reduces, and the choice made, in words."""
    spanned = _contiguous_last(spanned)
    shape = choose(spanned, gpu)
    return _Builder(spanned, shape).result(), str(shape)


def choose(spanned: Spanned[Definition], gpu: GPU) -> Shape:
    """One thread a result for windows, and where results alone keep the device busy; else as many
    threads a result as it takes.
    """
    definition, kept, reduced = spanned.definition, spanned.kept, spanned.reduced
    assert definition.term is not None
    numbers = usual_count(reduced)
    if numbers <= WINDOW and not any(s.samples for s in reduced):
        lanes = min(result_lanes(definition.outputs, kept), MOST_RESULTS)
        return Shape(THREADS, 1, lanes, False)
    access = longest_read(definition.term)
    widest = max((r.dtype.itemsize for r in reads(definition.term)), default=4)
    if access.step(reduced[-1].variable) == 1 and reduced[-1].usual > 1:
        lanes = lanes_along(reduced[-1], ACCESS // widest)
        helpers = max(2, power(numbers // lanes // SHARE, THREADS))
        return Shape(THREADS // helpers, helpers, lanes, True)
    lanes = 1
    if kept and access.step(kept[-1].variable) == 1:
        lanes = lanes_along(kept[-1], ACCESS // widest)
    units = usual_count(kept) // lanes
    results, helpers = THREADS, 1
    while numbers // (2 * helpers) >= SHARE and _idle(units, results, gpu):
        results, helpers = results // 2, helpers * 2
    return Shape(results, helpers, lanes, False)


def _idle(units: int, results: int, gpu: GPU) -> bool:
    """Whether blocks of so many results leave multiprocessors without work. Blocks read at least
    whole lines of memory if that is only half of them, and at least whole sectors of lines.
    """
    blocks = units // results
    if results > LINE:
        return blocks < BLOCKS * gpu.multiprocessors
    return results > SECTOR and blocks < gpu.multiprocessors // 2


def power(number: int, most: int) -> int:
    """The greatest power of two up to both, at least 1."""
    return 1 << (max(1, min(number, most)).bit_length() - 1)


def _contiguous_last(spanned: Spanned[Definition]) -> Spanned[Definition]:
    """Kept spans with the one along which most memory is read side by side as the last."""
    assert spanned.definition.term is not None
    access = longest_read(spanned.definition.term)
    along = [s for s in spanned.kept if access.step(s.variable) == 1 and not s.samples]
    if not along:
        return spanned
    kept = (*(s for s in spanned.kept if s is not along[0]), along[0])
    return Spanned(spanned.definition, kept, spanned.reduced)


def finish(
    definition: Definition, place: Mapping[Variable, Index], total: Expression
) -> tuple[Statement, ...]:
    """Every result of one point, whose accumulated value is `total`."""
    found = []
    for s in stores(definition.outputs, place):
        found.append(Store(s.buffer, s.indices, with_accumulator(s.value, total)))
    return tuple(found)


def combined(combine: str, first: Expression, *others: Expression) -> Expression:
    """Numbers made one, from the first on."""
    function = {"sum": "add", "fma": "add"}.get(combine, combine)
    for other in others:
        first = Scalar(function, (first, other), first.dtype)
    return first


def halving(
    partials: Sequence[tuple[Buffer, str]], shape: Shape, until: int = 1
) -> list[Statement]:
    """Half of the helpers take over what the other half found, until so many are left.

    partials: (shared array of [helper, result], how its numbers are combined).
    """
    statements: list[Statement] = []
    half, lanes = shape.helpers // 2, shape.result_lanes
    while half >= until:
        thread = Variable(THREAD, half * shape.results)
        helper, result = index(thread) // shape.results, index(thread) % shape.results
        lane = result * lanes + (index(LANE) if lanes > 1 else Index())
        body = []
        for partial, combine in partials:
            mine, other = (Read(partial, (h, lane)) for h in (helper, helper + half))
            body.append(Store(partial, mine.indices, combined(combine, mine, other)))
        threads = loop(thread, half * shape.results, "thread", in_lanes(lanes, tuple(body)))
        statements.append(threads)
        half //= 2
    return statements


class _Builder:
    def __init__(self, spanned: Spanned[Definition], shape: Shape) -> None:
        self.definition, self.shape = spanned.definition, shape
        self.kept, self.reduced = spanned.kept, spanned.reduced
        assert self.definition.term is not None and self.definition.combine is not None
        self.dtype = self.definition.term.dtype
        self.combine = self.definition.combine
        self.blocks = blocks_for(count(self.kept, shape.result_lanes), shape.results)
        self.block = grid(self.blocks)
        # The lane under way, among a thread's totals and among its results.
        self.lane = (index(LANE) if shape.lanes > 1 else Index(),)
        self.result_lane = index(LANE) if shape.result_lanes > 1 else Index()
        self.partial = own_array(
            "partial", self.dtype, (shape.helpers, shape.results * shape.result_lanes), shared=True
        )

    def result(self) -> tuple[Statement, ...]:
        body: tuple[Statement, ...]
        if self.shape.helpers == 1:
            body = (self._alone(),)
        else:
            tree = halving([(self.partial, self.combine)], self.shape)
            body = (self._serial(), *tree, self._epilogue())
            body = (Allocate(self.partial, body),)
        return (loop(self.block, self.blocks, "block", body),)

    # -- who does what ----------------------------------------------------------------------------

    def _unit(self, result: Index) -> tuple[dict[Variable, Index], Index]:
        """The place of a block's group of results, and how many groups are left from there on."""
        unit = index(self.block) * self.shape.results + result
        lanes = self.shape.result_lanes
        place = taken_apart(unit, self.kept, lanes)
        if lanes > 1:
            place = with_lane(place, self.kept, LANE)
        return place, count(self.kept, lanes) - unit

    # -- statements -------------------------------------------------------------------------------

    def _alone(self) -> Statement:
        """One thread for each group of results, from the first number to the stores."""
        thread = Variable(THREAD, self.shape.threads)
        place, left = self._unit(index(thread))
        total, sums = self._sums(place, index(0))
        last = in_lanes(self.shape.lanes, finish(self.definition, place, Read(total, self.lane)))
        body = Allocate(total, (*sums, *last))
        return loop(thread, self.shape.threads, "thread", where([left], (body,)))

    def _serial(self) -> Statement:
        """Every thread combines its share of the numbers."""
        shape = self.shape
        thread = Variable(THREAD, shape.threads)
        result, helper = shape.share(index(thread))
        place, left = self._unit(result)
        total, sums = self._sums(place, helper)
        start, *others = sums
        body: list[Statement] = [start, *where([left], tuple(others))]
        if shape.along:
            lanes = [Read(total, (index(lane),)) for lane in range(shape.lanes)]
            body.append(Store(self.partial, (helper, result), combined(self.combine, *lanes)))
        else:
            to = (helper, result * shape.lanes + self.lane[0])
            body += in_lanes(shape.lanes, (Store(self.partial, to, Read(total, self.lane)),))
        return loop(thread, shape.threads, "thread", (Allocate(total, tuple(body)),))

    def _sums(
        self, place: Mapping[Variable, Index], helper: Index
    ) -> tuple[Buffer, tuple[Statement, ...]]:
        """A thread's totals, and what computes them: helper number `helper` takes every
        `helpers`-th group of numbers.
        """
        shape = self.shape
        total = own_array("total", self.dtype, (shape.lanes,))
        zero = Literal(identity(self.combine, self.dtype), self.dtype)
        assert self.definition.term is not None
        deep = self._alone_loops() if shape.helpers > 1 else len(self.reduced)
        outer, inner = self.reduced[:deep], self.reduced[deep:]
        place = dict(place)
        lanes = shape.lanes if shape.along else 1
        if inner:
            flat = index(STEP) * shape.helpers + helper
            place |= taken_apart(flat, inner, lanes)
            if lanes > 1:
                place = with_lane(place, inner, LANE)
        term = substitute(self.definition.term, place)
        body = in_lanes(shape.lanes, (Accumulate(total, self.lane, self.combine, term),))
        if inner:
            steps = blocks_for(count(inner, lanes) - helper, shape.helpers)
            body = (loop(STEP, steps, "serial", body),)
        for span in reversed(outer):
            body = (loop(span.variable, span.end, "serial", body),)
        return total, (*in_lanes(shape.lanes, (Store(total, self.lane, zero),)), *body)

    def _alone_loops(self) -> int:
        """How many of the reduced spans every thread goes through alone: those outside of spans
        that are long enough to be shared out.
        """
        last = self.reduced[-1]
        lanes = self.shape.lanes if self.shape.along else 1
        return len(self.reduced) - 1 if last.usual // lanes >= 4 * self.shape.helpers else 0

    def _epilogue(self) -> Statement:
        shape = self.shape
        thread = Variable(THREAD, shape.results)
        place, left = self._unit(index(thread))
        at = index(thread) * shape.result_lanes + self.result_lane
        body = finish(self.definition, place, Read(self.partial, (Index(), at)))
        body = in_lanes(shape.result_lanes, body)
        return loop(thread, shape.results, "thread", where([left], body))

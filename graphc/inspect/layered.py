"""Where the boxes of a layered drawing go and how its edges run: Sugiyama's method.

Every vertex has a layer below those it depends on. An edge over several layers bends once in each;
edges that leave one vertex share their way until they part. Crossings are reduced by medians.
Places along a layer are the best in the sense of least squares: as close to their neighbours above
and below as the widths allow. Each step is linear in what is drawn, or nearly so. It knows sizes
and edges, no graph of ours.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low

GAP = 18.0  # between two boxes of a layer
LANE = 9.0  # what a bend takes of a layer
RISE = 20.0  # between two layers
STEEPNESS = 0.06  # more between layers whose edges go far sideways
MOST_RISE = 64.0
MARGIN = 12.0
ORDERINGS = 6
ALIGNMENTS = 12
STRAIGHT = 8.0  # how much more chains and bends want to be in line than boxes with many edges

Point = tuple[float, float]
Edge = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """A drawing's geometry, y pointing down.

    corners: the upper left corner of each box. routes: for each edge the points it runs through,
    from the lower side of its source to the upper side of its target.
    """

    corners: tuple[Point, ...]
    routes: dict[Edge, tuple[Point, ...]]
    width: float
    height: float


def longest_paths(count: int, edges: Iterable[Edge]) -> list[int]:
    """A layer for each of `count` vertices: 0 at the top, below all that it depends on.

    edges: (source, target) with source < target.
    """
    layers = [0] * count
    for source, target in sorted(edges):
        layers[target] = max(layers[target], layers[source] + 1)
    return layers


def lay_out(
    sizes: Sequence[tuple[float, float]], layers: Sequence[int], edges: Iterable[Edge]
) -> Layout:
    """Places boxes of `sizes` (width, height) in their `layers`, and routes the edges.

    Every edge leads from a layer to one below. Boxes never overlap, nor does an edge run through
    one.
    """
    return _Drawing(sizes, layers, sorted(set(edges))).layout()


class _Drawing:
    """Boxes and bends (numbers behind the boxes') by layer."""

    def __init__(
        self, sizes: Sequence[tuple[float, float]], layers: Sequence[int], edges: list[Edge]
    ) -> None:
        self.sizes = sizes
        self.edges = edges
        self.layer = list(layers)
        self.trunks: dict[int, list[int]] = {}
        self.above: list[list[int]] = [[] for _ in sizes]
        self.below: list[list[int]] = [[] for _ in sizes]
        for source, target in edges:
            self._connect(self._before(source, target), target)
        rows: list[list[int]] = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for vertex in self._from_the_top():
            rows[self.layer[vertex]].append(vertex)
        self.places = [0] * len(self.layer)
        self._order(rows)

    def _before(self, source: int, target: int) -> int:
        """What stands directly above `target` on the edge from `source`: it, or its last bend."""
        trunk = self.trunks.setdefault(source, [source])
        while len(trunk) < self.layer[target] - self.layer[source]:
            bend = len(self.layer)
            self.layer.append(self.layer[source] + len(trunk))
            self.above.append([])
            self.below.append([])
            self._connect(trunk[-1], bend)
            trunk.append(bend)
        return trunk[self.layer[target] - self.layer[source] - 1]

    def _connect(self, upper: int, lower: int) -> None:
        self.below[upper].append(lower)
        self.above[lower].append(upper)

    def _from_the_top(self) -> list[int]:
        """Every vertex, each behind what stands left above it: a good order to begin with."""
        found: dict[int, None] = {}
        for root in range(len(self.layer)):
            waiting = [] if self.above[root] else [root]
            while waiting:
                vertex = waiting.pop()
                if vertex not in found:
                    found[vertex] = None
                    waiting.extend(reversed(self.below[vertex]))
        return list(found)

    def width(self, vertex: int) -> float:
        return self.sizes[vertex][0] if vertex < len(self.sizes) else LANE

    def layout(self) -> Layout:
        self._reduce_crossings()
        across = self._align()
        tops, bottoms = self._heights(across)
        left = min((x - self.width(v) / 2 for v, x in enumerate(across)), default=0.0) - MARGIN
        across = [x - left for x in across]
        corners = tuple(
            (across[v] - width / 2, tops[self.layer[v]]) for v, (width, _) in enumerate(self.sizes)
        )
        routes = {edge: self._route(edge, across, tops, bottoms) for edge in self.edges}
        right = max((x + self.width(v) / 2 for v, x in enumerate(across)), default=0.0)
        return Layout(corners, routes, right + MARGIN, (bottoms or [0.0])[-1] + MARGIN)

    # -- order in layers -----------------------------------------------------------------------

    def _reduce_crossings(self) -> None:
        best, fewest = [row[:] for row in self.rows], self._crossings()
        for number in range(ORDERINGS):
            if not fewest:
                break
            downwards = number % 2 == 0
            neighbours = self.above if downwards else self.below
            for row in self.rows[1:] if downwards else self.rows[-2::-1]:
                place = self.places
                wanted = {
                    v: median_low([place[u] for u in neighbours[v]]) if neighbours[v] else place[v]
                    for v in row
                }
                row.sort(key=wanted.__getitem__)
                for k, vertex in enumerate(row):
                    place[vertex] = k
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [row[:] for row in self.rows], crossings
        self._order(best)

    def _order(self, rows: list[list[int]]) -> None:
        """Sets the order in the layers, and the place of every vertex in its layer."""
        self.rows = rows
        for row in rows:
            for k, vertex in enumerate(row):
                self.places[vertex] = k

    def _crossings(self) -> int:
        place, total = self.places, 0
        for row in self.rows:
            ends: list[int] = []
            for vertex in row:
                here = sorted(place[u] for u in self.below[vertex])
                total += sum(len(ends) - bisect.bisect_right(ends, end) for end in here)
                for end in here:
                    bisect.insort(ends, end)
        return total

    # -- places along layers -------------------------------------------------------------------

    def _align(self) -> list[float]:
        across = [0.0] * len(self.layer)
        for row in self.rows:
            total = sum(map(self.width, row)) + GAP * (len(row) - 1)
            at = -total / 2
            for vertex in row:
                across[vertex] = at + self.width(vertex) / 2
                at += self.width(vertex) + GAP
        for number in range(ALIGNMENTS):
            both = number >= ALIGNMENTS // 2
            downwards = number % 2 == 0
            for row in self.rows if downwards else reversed(self.rows):
                self._align_row(row, across, downwards or both, not downwards or both)
        self._straighten(across)
        return across

    def _straighten(self, across: list[float]) -> None:
        """Moves bends of one edge that could stand in one line into it; nothing else moves."""
        for trunk in self.trunks.values():
            run: list[int] = []
            low, high = -math.inf, math.inf
            for bend in trunk[1:]:
                left, right = self._free(bend, across)
                if max(low, left) > min(high, right):
                    _line_up(run, low, high, across)
                    run, low, high = [], -math.inf, math.inf
                run.append(bend)
                low, high = max(low, left), min(high, right)
            _line_up(run, low, high, across)

    def _free(self, vertex: int, across: Sequence[float]) -> tuple[float, float]:
        """Between which places a vertex can move without touching what stands beside it."""
        row = self.rows[self.layer[vertex]]
        place = self.places[vertex]
        low, high = -math.inf, math.inf
        if place > 0:
            low = across[row[place - 1]] + self._apart(row[place - 1], vertex)
        if place < len(row) - 1:
            high = across[row[place + 1]] - self._apart(vertex, row[place + 1])
        return low, high

    def _align_row(self, row: list[int], across: list[float], above: bool, below: bool) -> None:
        wanted, weights = [], []
        for vertex in row:
            near = (self.above[vertex] if above else []) + (self.below[vertex] if below else [])
            pulls = [self._pull(vertex, other) for other in near]
            total = sum(pulls)
            target = sum(p * across[o] for p, o in zip(pulls, near, strict=True))
            wanted.append(target / total if total else across[vertex])
            weights.append(total or 0.1)
        gaps = [self._apart(a, b) for a, b in pairwise(row)]
        for vertex, x in zip(row, spaced(wanted, weights, gaps), strict=True):
            across[vertex] = x

    def _pull(self, one: int, other: int) -> float:
        upper, lower = (one, other) if self.layer[one] < self.layer[other] else (other, one)
        alone = len(self.below[upper]) == len(self.above[lower]) == 1
        return STRAIGHT if alone or min(one, other) >= len(self.sizes) else 1.0

    def _apart(self, one: int, other: int) -> float:
        """How far the middles of two neighbours in a layer are apart at least."""
        bends = (one >= len(self.sizes)) + (other >= len(self.sizes))
        return (self.width(one) + self.width(other)) / 2 + (GAP, GAP / 2, 0.0)[bends]

    # -- heights and routes --------------------------------------------------------------------

    def _heights(self, across: Sequence[float]) -> tuple[list[float], list[float]]:
        """(top, bottom) of every layer."""
        tops, bottoms, at = [], [], MARGIN
        for row in self.rows:
            high = max((self.sizes[v][1] for v in row if v < len(self.sizes)), default=0.0)
            tops.append(at)
            bottoms.append(at + high)
            far = max((abs(across[v] - across[u]) for v in row for u in self.below[v]), default=0)
            at += high + min(RISE + STEEPNESS * far, MOST_RISE)
        return tops, bottoms

    def _route(
        self, edge: Edge, across: list[float], tops: list[float], bottoms: list[float]
    ) -> tuple[Point, ...]:
        source, target = edge
        first, last = self.layer[source], self.layer[target]
        begin = tops[first] + self.sizes[source][1]
        points = [(across[source], begin), (across[source], bottoms[first])]
        for bend in self.trunks[source][1 : last - first]:
            level = self.layer[bend]
            points += [(across[bend], tops[level]), (across[bend], bottoms[level])]
        return (*points, (across[target], tops[last]))


def _line_up(run: list[int], low: float, high: float, across: list[float]) -> None:
    """Moves a run of bends to one place between `low` and `high`."""
    if run:
        middle = sum(across[bend] for bend in run) / len(run)
        for bend in run:
            across[bend] = min(max(middle, low), high)


def spaced(wanted: Sequence[float], weights: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """The x nearest to `wanted` in weighted least squares with x[k + 1] - x[k] >= gaps[k].

    Pool adjacent violators: places that would come too close are moved together, as one block.
    """
    blocks: list[tuple[float, float, int]] = []  # (mean, weight, how many)
    offsets, offset = [], 0.0
    for k, (target, weight) in enumerate(zip(wanted, weights, strict=True)):
        offset += gaps[k - 1] if k else 0.0
        offsets.append(offset)
        mean, total, many = target - offset, weight, 1
        while blocks and blocks[-1][0] > mean:
            other, heavy, more = blocks.pop()
            mean = (mean * total + other * heavy) / (total + heavy)
            total, many = total + heavy, many + more
        blocks.append((mean, total, many))
    means = [mean for mean, _, many in blocks for _ in range(many)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]

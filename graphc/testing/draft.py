"""A graph that is being drawn: its pool of values, and how operands are taken from it.

What joins the pool is finite and of moderate size for trial inputs, so that graphs are safe by
construction: no value overflows, no logarithm sees a negative number. It knows ops only through
what they declare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from graphc.ir.graph import make_input, topological_order
from graphc.ir.node import OPERATORS, Node
from graphc.ir.types import Dim, DType, N, Shape, TensorType, TupleType, parse_type
from graphc.ops.elementwise import absolute, add, less, mul, sigmoid
from graphc.ops.interpret import evaluate
from graphc.ops.op import Op, Sample
from graphc.ops.reductions import mean
from graphc.ops.softmax import softmax
from graphc.ops.structure import get
from graphc.ops.views import broadcast
from graphc.testing.draw import draw

Below = Callable[[int], int]
T = TypeVar("T")
EXTENTS = (1, 2, 2, 3, 3, 4, 5, 7, 17)
CHANNELS = (16, 16, 32, 32, 48, 3, 24)
MAPS = (16, 32, 64)
TRIAL_BATCH = 3
LARGEST_VALUE = 40.0
LARGEST_COUNT = 8000


@dataclass
class Draft:
    """A graph that is being drawn.

    below: a number from 0 up to, but not including, its argument: the only source of chance.
    wide: whether images have many channels, mostly in sixteens. values: the pool. trials: what
    every node of it is for trial inputs.
    """

    below: Below
    dtype: DType
    wide: bool = False
    inputs: list[Node] = field(default_factory=list)
    values: list[Node] = field(default_factory=list)
    trials: dict[Node, Any] = field(default_factory=dict)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.below(len(options))]

    def chance(self, percent: int) -> bool:
        """True in about `percent` of a hundred cases."""
        return self.below(100) < percent

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def fresh(self, shape: Shape, dtype: DType | None = None) -> Node:
        """A new input."""
        type = TensorType(dtype or self.dtype, shape)
        kind = "parameter" if type.batch_axis is None and self.chance(50) else "data"
        node = make_input(f"x{len(self.inputs)}", type, kind)
        self.inputs.append(node)
        self.values.append(node)
        self.trials[node] = draw(type, TRIAL_BATCH, self.rng)
        return node

    def shape(self, rank: int | None = None) -> Shape:
        """A random shape, most often with the batch in front; rank 4 is an image."""
        rank = self.between(0, 4) if rank is None else rank
        extents: list[Dim] = [self.pick(EXTENTS) for _ in range(rank)]
        if rank == 4:
            channels = self.pick(CHANNELS) if self.wide else self.between(1, 4)
            extents = [self.between(1, 3), channels, self.extent(), self.extent()]
        if rank and self.chance(70):
            extents[0 if rank == 4 or self.chance(90) else self.below(rank)] = N
        return tuple(extents)

    def extent(self) -> int:
        """The height or width of an image."""
        return self.between(1, 6 if self.wide else 8)

    def value(
        self,
        accepts: Callable[[TensorType], bool],
        shape: Callable[[], Shape],
        dtype: DType | None = None,
    ) -> Node:
        """A value of the pool of `dtype` whose type is accepted, later ones first.

        Else a new input.
        """
        wanted = dtype or self.dtype
        found = [v for v in self.values if v.tensor.dtype is wanted and accepts(v.tensor)]
        if found and self.chance(85):
            return found[-1] if self.chance(40) else self.pick(found)
        return self.fresh(shape(), wanted)

    def any(self, dtype: DType | None = None) -> Node:
        """A value of any shape; in a wide graph most often an image."""
        if self.wide and self.chance(70):
            return self.value(lambda t: t.rank == 4, lambda: self.shape(4), dtype)
        return self.value(lambda _: True, self.shape, dtype)

    def of(self, type: TensorType) -> Node:
        """A value of exactly that type: one of the pool, or a new input, joined with the pool."""
        same = [v for v in self.values if v.tensor == type]
        if same and self.chance(60):
            return self.pick(same)
        node = self.fresh(type.shape, type.dtype)
        floats = [v for v in self.values if v.tensor.dtype is type.dtype and v is not node]
        if type.dtype.is_float and floats and self.chance(60):
            spread = broadcast(mean(self.pick(floats)), shape=type.shape)
            node = self.keep(add(node, spread)) or node
        return node

    def suited(self, node: Node, kind: str) -> Node:
        """`node` made to hold values of the kind that a sample names."""
        if not node.tensor.dtype.is_float:
            return node
        if kind == "positive":
            return add(absolute(node), 0.5)
        if kind == "unit":
            return sigmoid(node)
        if kind == "probability" and node.tensor.rank:
            return softmax(node, axis=node.tensor.rank - 1)
        return node

    def truth(self, like: Node) -> Node:
        """A bool tensor: a comparison, or an input."""
        bools = [v for v in self.values if v.tensor.dtype is DType.bool]
        if bools and self.chance(40):
            return self.pick(bools)
        if like.tensor.dtype.is_float and self.chance(70):
            return less(like, 0.1)
        return self.fresh(like.tensor.shape, DType.bool)

    def keep(self, node: Node) -> Node | None:
        """Takes `node` into the pool, scaled if it is large; None if it is not fit to be used."""
        if isinstance(node.type, TupleType):
            return self._keep_results(node, len(node.type.elements))
        if node.tensor.count(TRIAL_BATCH) > LARGEST_COUNT:
            return None
        trial = np.asarray(self._trial(node))
        if trial.dtype.kind == "f":
            size = float(np.max(np.abs(trial), initial=0.0))
            if not size < 1e6:
                return None
            if size > LARGEST_VALUE:
                node = mul(node, 2.0 ** -int(np.ceil(np.log2(size))))
                self._trial(node)
        if node not in self.values:
            self.values.append(node)
        return node

    def _keep_results(self, several: Node, count: int) -> Node | None:
        kept = [self.keep(get(several, k)) for k in range(count)]
        return next((k for k in kept if k is not None), None)

    def _trial(self, node: Node) -> Any:
        """What `node` is for the trial inputs."""
        waiting = [n for n in topological_order([node]) if n not in self.trials]
        with np.errstate(all="ignore"):
            for n in waiting:
                self.trials[n] = evaluate(n, [self.trials[i] for i in n.inputs], TRIAL_BATCH)
        return self.trials[node]


def good_samples(op: Op) -> list[Sample]:
    """The samples of `op` that build."""
    return [s for s in op.samples if s.raises is None]


def sampled_ops() -> list[Op]:
    """Every declared op that has a sample that builds, by name."""
    declared = (OPERATORS[name] for name in sorted(OPERATORS))
    return [op for op in declared if isinstance(op, Op) and good_samples(op)]


def from_sample(draft: Draft, op: Op) -> Node | None:
    """`op` on inputs of the types of one of its samples, with that sample's attributes."""
    chosen = draft.pick(good_samples(op))
    types = [parse_type(text) for text in chosen.types]
    kinds = (chosen.values,) * len(types) if isinstance(chosen.values, str) else chosen.values
    nodes = [
        draft.suited(draft.of(in_dtype(draft, type)), kind)
        for type, kind in zip(types, kinds, strict=True)
    ]
    built: Node = op.build(*nodes, **chosen.attrs)
    return built


def in_dtype(draft: Draft, type: TensorType) -> TensorType:
    """`type` with the draft's float dtype."""
    return TensorType(draft.dtype if type.dtype.is_float else type.dtype, type.shape)

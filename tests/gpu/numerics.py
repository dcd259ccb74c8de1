"""Whether a device computes what graphs mean, in every precision.

The numpy interpreter in f64 is right; an output is off by the norm of the difference over the norm
of what is right, of a parameter's update by that of what it changes. nan is never good. Inputs are
new random numbers, memory is nan before a kernel writes it, and a second run must give the same
bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

import graphc as gc
from graphc import optim, zoo
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import OPERATORS
from graphc.ir.types import DType, TupleType, parse_type
from graphc.ops.interpret import interpret
from graphc.ops.op import Op, Sample
from graphc.ops.structure import get
from graphc.passes.retype import retype
from graphc.testing import Expectation
from graphc.testing.draw import sample_inputs
from tests.gpu.networks import IMAGES, LAYERS, OPTIMIZERS, PLAIN, around, inputs_of, step_of
from tests.gpu.rows import Item, Row
from tests.gpu.shapes import CONVOLUTIONS, DENSE, OPS, TINY_CONVOLUTIONS, TINY_DENSE

Array = np.ndarray[Any, Any]
PRECISIONS = ("f32", "tf32", "bf16")
# How far a product may be off: sums of f32 round 1e-7 each; tf32 and bf16 round each factor, by
# 2.9e-4 and 2.4e-3 (the root of the mean square of both factors); bf16 images are rounded again.
PRODUCT = {"f32": 1e-5, "tf32": 6e-4, "bf16": 1e-2}
STEP = {"f32": 1e-4, "tf32": 6e-3, "bf16": 6e-2}  # a few products one after the other
# Where rounding decides which of two numbers is larger, a gradient goes elsewhere.
KINKED = {"f32": 1e-4, "tf32": 5e-2, "bf16": 2e-1}
KINKS = ("max pooling", "relu")
# For the same reason whole networks have their gradients compared in f32 only; in tf32 and bf16
# the loss and the outputs are.
NETWORK = {"f32": 1e-2, "tf32": 5e-3, "bf16": 5e-2}
LOSSES = {"f32": 1e-4, "tf32": 1e-3, "bf16": 1e-2}
ROUNDING = 2.0**-24  # of a number in f32, at most
UNSAMPLED = {"fused", "get", "max_pool2d_index", "relayout"}
SECTION = "numerics"


class Numerics:
    """All checks of a backend by name. tiny: few and small, for a device that is emulated."""

    def __init__(self, backend: str, tiny: bool, seed: int) -> None:
        self.backend, self.tiny, self.seed = backend, tiny, seed

    def items(self) -> dict[str, Item]:
        """By name what runs on its own."""
        convolutions = TINY_CONVOLUTIONS if self.tiny else CONVOLUTIONS
        dense = TINY_DENSE if self.tiny else DENSE
        found: dict[str, Item] = {
            f"{op}, {name}": partial(self._product, f"{op}, {name}", shape.graph(op), shape.n)
            for name, shape in convolutions.items()
            for op in OPS
        }
        for name, matrices in dense.items():
            found[f"matmul, {name}"] = partial(self._product, f"matmul, {name}", matrices.graph())
        families: dict[str, list[Op]] = {}
        for name, op in sorted(OPERATORS.items()):
            if isinstance(op, Op) and name not in UNSAMPLED:
                families.setdefault(op.family, []).append(op)
        for family, ops in families.items():
            found[f"ops: {family}"] = partial(self._ops, family, ops[:1] if self.tiny else ops)
        for name in list(LAYERS)[: 2 if self.tiny else None]:
            found[f"layer: {name}"] = partial(self._layer, name)
        for name in list(OPTIMIZERS)[: 2 if self.tiny else None]:
            found[f"optimizer: {name}"] = partial(self._optimizer, name)
        networks = ("lenet5", "mcdnn", "alexnet", "vgg16", "resnet18")
        for name in ("mlp",) if self.tiny else networks:
            found[f"network: {name}"] = partial(self._network, name)
        found["training"] = self._training
        return found

    # -- products, layers, networks ----------------------------------------------------------------

    def _product(self, name: str, graph: Graph, n: int = 1) -> Iterator[Row]:
        yield from self._compared(name, graph, {}, n, PRODUCT)

    def _layer(self, name: str) -> Iterator[Row]:
        graph, known = step_of(around(LAYERS[name]()), IMAGES, PLAIN)
        bounds = KINKED if name.startswith(KINKS) else STEP
        yield from self._compared(f"layer: {name}", graph, known, 4 if self.tiny else 32, bounds)

    def _optimizer(self, name: str) -> Iterator[Row]:
        graph, known = step_of(zoo.mlp(), "f32[N,1,28,28]", OPTIMIZERS[name])
        bounds = {"f32": STEP["f32"]}  # whose step can be as large where a gradient is near zero
        yield from self._compared(f"optimizer: {name}", graph, known, 8, bounds)

    def _network(self, name: str) -> Iterator[Row]:
        row = zoo.NETWORKS[name]
        types = row.small_input_type or row.input_type
        graph, known = step_of(row.build(), types, PLAIN, row.loss)
        for precision, bound in NETWORK.items():
            donated = dict(graph.donations)
            results = [o for k, o in enumerate(graph.outputs) if k not in donated]
            part = graph if precision == "f32" else Graph(graph.name, graph.inputs, results)
            bounds = {precision: bound}
            yield from self._compared(f"network: {name}", part, known, 4, bounds)

    def _compared(
        self,
        name: str,
        graph: Graph,
        known: Mapping[str, Array],
        n: int,
        bounds: Mapping[str, float],
    ) -> Iterator[Row]:
        """A row for each precision that `bounds` has."""
        inputs = inputs_of(graph, dict(known), n, self.seed)
        right = _in_f64(graph, inputs, n)
        names = {output: graph.inputs[k].attrs["name"] for output, k in graph.donations}
        before = {output: known[name] for output, name in names.items() if name in known}
        for precision, bound in bounds.items():
            run = gc.compile(graph, self.backend, precision=precision)
            first, again = _arrays(run(**inputs)), _arrays(run(**inputs))
            pairs = enumerate(zip(first, right, strict=True))
            error = max(off(*pair, before.get(k)) for k, pair in pairs)
            same = all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))
            note = "" if same else "a second run gives other bits"
            yield Row(SECTION, f"{name}, {precision}", error, bound, error <= bound and same, note)

    # -- ops ---------------------------------------------------------------------------------------

    def _ops(self, family: str, ops: Iterable[Op]) -> Iterator[Row]:
        """All samples of a family's ops; integers and comparisons as the oracle judges them."""
        worst, count, wrong = 0.0, 0, []
        for op in ops:
            for sample in op.samples:
                if sample.raises is not None:
                    continue
                graph, n = _sampled(op, sample)
                names = [i.attrs["name"] for i in graph.inputs]
                drawn = sample_inputs(sample, n, np.random.default_rng(self.seed))
                inputs = dict(zip(names, drawn, strict=True))
                run = gc.compile(graph, self.backend, precision="f32")
                got = _arrays(run(**inputs))
                expected = Expectation(graph, inputs, n, seed=self.seed)
                problem = expected.problem(got)
                count += 1
                if problem is not None:
                    wrong.append(f"{op.name}: {problem}")
                    continue
                pairs = zip(got, expected.outputs, strict=True)
                floats = [off(g, e.value) for g, e in pairs if g.dtype.kind == "f" and g.size]
                worst = max([worst, *(e for e in floats if np.isfinite(e))])
        note = f"{count} samples" + "".join(f"; {each}" for each in wrong)
        yield Row(SECTION, f"ops: {family}, f32", worst, None, not wrong, note)

    # -- training ----------------------------------------------------------------------------------

    def _training(self) -> Iterator[Row]:
        """Losses of LeNet-5 on digits, beside those of the processor."""
        steps, batch = (2, 8) if self.tiny else (20, 64)
        train, _ = gc.data.digits()
        precisions = PRECISIONS[:1] if self.tiny else PRECISIONS
        here = list(self._losses("llvm", "f32", train, steps, batch))
        for precision in precisions:
            there = list(self._losses(self.backend, precision, train, steps, batch))
            error = off(np.array(there), np.array(here))
            bound, what = LOSSES[precision], f"training: {steps} steps of LeNet-5, {precision}"
            good = error <= bound and (self.tiny or there[-1] < there[0])
            yield Row(SECTION, what, error, bound, good, f"loss {there[0]:.3f} to {there[-1]:.3f}")

    def _losses(
        self, backend: str, precision: str, data: Any, steps: int, batch: int
    ) -> Iterator[float]:
        model = lenet5(backend, precision)
        for k in range(steps):
            part = slice(k * batch % 1024, k * batch % 1024 + batch)
            yield model.step(data.x[part], data.y[part])


def lenet5(backend: str, precision: str) -> gc.Model:
    """The same network with the same weights on any backend."""
    rate = optim.SGD(0.05, momentum=0.9)
    return gc.Model(
        zoo.lenet5(), "f32[N,1,32,32]", "cross_entropy", rate, backend=backend, precision=precision
    )


def _in_f64(graph: Graph, inputs: Mapping[str, Array], n: int) -> list[Array]:
    wide = retype(graph, DType.f64)
    given = {i.attrs["name"]: i.tensor.dtype.numpy for i in wide.inputs}
    return interpret(wide, {name: np.asarray(inputs[name], given[name]) for name in given}, n)


def _arrays(outputs: Any) -> list[Array]:
    return [np.asarray(a) for a in (outputs if isinstance(outputs, tuple) else (outputs,))]


def off(got: Array, right: Array, before: Array | None = None) -> float:
    """The relative norm of the difference; infinite for what is no number.

    before: what a parameter was: the difference is then relative to what it has changed by, without
    what storing it in f32 rounds.
    """
    if not (np.isfinite(got).all() and np.isfinite(right).all()):
        return np.inf
    got, right = got.astype(np.float64), right.astype(np.float64)
    difference, size = np.linalg.norm(got - right), np.linalg.norm(right)
    if before is not None:
        difference = max(0.0, difference - ROUNDING * size)
        size = np.linalg.norm(right - before)
    return float(difference / size) if size else float(difference)


def _sampled(op: Op, sample: Sample) -> tuple[Graph, int]:
    """The graph of an op's sample, and a batch size for it."""
    inputs = [make_input(f"x{k}", parse_type(text)) for k, text in enumerate(sample.types)]
    node = op.build(*inputs, **sample.attrs)
    several = isinstance(node.type, TupleType)
    outputs = [get(node, k) for k in range(len(node.type.elements))] if several else [node]
    batched = any(i.tensor.batch_axis is not None for i in inputs)
    return Graph(op.name, inputs, outputs), 5 if batched else 1

"""Random graphs: the numpy oracle = after every pass = every backend at 1, 2 and 3 threads.

Every graph is drawn from its own seed, which a failure prints with the graph's text:
``random_graph(numpy.random.default_rng(seed))`` draws it again. GRAPHC_TEST_GRAPHS or --graphs sets
how many there are, 2,000 by default; CHUNKS tests share them, so that a failure stays local.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc.ir.graph import Graph
from graphc.ir.types import DType
from graphc.ops.interpret import interpret
from graphc.ops.op import Op
from graphc.passes import catalog
from graphc.passes.base import PASSES, Pipeline
from graphc.passes.block_channels import BlockChannels
from graphc.passes.pipelines import BACKEND
from graphc.passes.winograd import Winograd
from graphc.testing import Expectation, check_grads, graphs, random_graph, random_inputs

CHUNKS = 20
FIRST_SEED = 0
FIRST_ORDER, SECOND_ORDER = 150, 40
BATCHES = (1, 2, 3, 5, 16, 19, 33)
THREADS = (1, 2, 3)

catalog.load()
DEFAULT = tuple(BACKEND.values())
# Channels in blocks wherever they can be, as large images have them, and other layouts around.
MIXED = {
    name: Pipeline(tuple(
        replace(step, everywhere=True) if isinstance(step, Winograd | BlockChannels) else step
        for step in pipeline.passes
    ))
    for name, pipeline in BACKEND.items()
}  # fmt: skip
PLACED = {step.name for pipeline in DEFAULT for step in pipeline.passes} - {"simplify"}
ALONE = [k for _, k in sorted(PASSES.items()) if not k.changes_values and k.name not in PLACED]
PIPELINES = (*(Pipeline((kind(),)) for kind in ALONE), *DEFAULT, *MIXED.values())
Arrays = dict[str, np.ndarray]


def _seeds(chunk: int, config: pytest.Config) -> range:
    count = config.getoption("--graphs")
    return range(FIRST_SEED + chunk * count // CHUNKS, FIRST_SEED + (chunk + 1) * count // CHUNKS)


def _drawn(seed: int) -> tuple[Graph, Arrays, int]:
    rng = np.random.default_rng(seed)
    dtype = DType.f64 if seed % 10 == 9 else DType.f32
    graph = random_graph(rng, dtype=dtype)
    has_batch = any(i.tensor.batch_axis is not None for i in graph.inputs)
    n = int(rng.choice(BATCHES)) if has_batch else 1
    return graph, random_inputs(graph, n, rng), n


def _told(seed: int, what: str, graph: Graph, error: Exception) -> AssertionError:
    return AssertionError(f"seed {seed}, {what}: {type(error).__name__}: {error}\n{graph}")


def _steps(graph: Graph) -> dict[str, Graph]:
    """What every pass of every pipeline makes of `graph`, each but once."""
    found: dict[str, Graph] = {}
    for pipeline in PIPELINES:
        changed, done = graph, ""
        for step in pipeline.passes:
            before, changed = changed, step.run(changed)
            done = f"{done},{step}".lstrip(",")
            if changed is not before and changed not in found.values():
                found[done] = changed
    return found


def _run(graph: Graph, backend: str, threads: int, inputs: Arrays) -> tuple[Any, ...]:
    result = gc.compile(graph, backend, threads=threads)(**inputs)
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_text_and_passes_keep_the_meaning(chunk: int, request: pytest.FixtureRequest) -> None:
    for seed in _seeds(chunk, request.config):
        graph, inputs, n = _drawn(seed)
        what = "text"
        try:
            assert gc.parse(str(graph)) is graph, "the text reads back as another graph"
            gc.verify(graph)
            expected = Expectation(graph, inputs, n, seed=seed)
            for what, changed in _steps(graph).items():
                gc.verify(changed)
                expected.check(interpret(changed, inputs, n), f"after {what}")
        except Exception as error:
            raise _told(seed, what, graph, error) from error


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_backends_keep_the_meaning_with_the_same_bits_at_any_number_of_threads(
    chunk: int, backend: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in _seeds(chunk, request.config):
        for name, pipeline in (
            MIXED if seed % 4 else dict(zip(BACKEND, DEFAULT, strict=True))
        ).items():
            monkeypatch.setitem(BACKEND, name, pipeline)
        graph, inputs, n = _drawn(seed)
        kept = {name: array.tobytes() for name, array in inputs.items()}
        try:
            first, *others = (_run(graph, backend, k, inputs) for k in THREADS)
            Expectation(graph, inputs, n, seed=seed).check(first, backend)
            bits = [np.asarray(a).tobytes() for a in first]
            for threads, other in zip(THREADS[1:], others, strict=True):
                same = bits == [np.asarray(a).tobytes() for a in other]
                assert same, f"{threads} threads give other bits than one"
            left = {name: array.tobytes() for name, array in inputs.items()}
            assert left == kept, "an input was written to"
        except Exception as error:
            raise _told(seed, backend, graph, error) from error


def _smooth_enough(graph: Graph) -> bool:
    """Whether there is something to differentiate, through ops that all have a gradient."""
    floats = any(i.tensor.dtype.is_float for i in graph.inputs)
    ops = [node.op for node in graph.nodes if isinstance(node.op, Op)]
    rules = all(op.vjp is not None or op.decompose is not None for op in ops)
    return floats and rules and any(o.tensor.dtype.is_float for o in graph.outputs)


@pytest.mark.parametrize("chunk", range(5))
def test_gradients_are_slopes(chunk: int) -> None:
    wanted = range(chunk * FIRST_ORDER // 5, (chunk + 1) * FIRST_ORDER // 5)
    second = SECOND_ORDER // 5
    checked = 0
    seed = 10_000 * (chunk + 1)
    while checked < len(wanted):
        seed += 1
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, max_ops=8, with_gradients=0)
        if not _smooth_enough(graph):
            continue
        inputs = random_inputs(graph, 2, rng)
        order = 2 if checked < second else 1
        try:
            check_grads(graph, inputs, order=order, seed=seed)
        except Exception as error:
            raise _told(seed, f"order {order}", graph, error) from error
        checked += 1


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(graph=graphs(max_ops=8, dtypes=(DType.f32, DType.f64)), seed=st.integers(0, 2**32 - 1))
def test_graphs_that_shrink(graph: Graph, seed: int) -> None:
    inputs = random_inputs(graph, 1, np.random.default_rng(seed))
    expected = Expectation(graph, inputs, 1, seed=seed)
    expected.check(_run(graph, "numpy", 1, inputs), "numpy")
    for name, changed in _steps(graph).items():
        expected.check(interpret(changed, inputs, 1), f"after {name}")
    assert gc.parse(str(graph)) is graph

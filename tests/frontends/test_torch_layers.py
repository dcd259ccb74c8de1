"""Layers and losses against PyTorch: outputs, gradients and states, row by row, in f32 and f64; and
gradients of both orders against finite differences.

The rows and the files of answers are in tests/fixtures/torch_layers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.graph import Graph, make_input
from graphc.ir.types import DType, N, TensorType
from graphc.ops.create import full
from graphc.ops.elementwise import add, mul
from graphc.ops.reductions import sum as sum_of
from graphc.passes.autodiff import gradients
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import Traced, trace_callable
from graphc.train import losses
from tests.fixtures.torch_layers import MODULES, SCRIPT, Array, Row, answers_file, rows_of

ALL = [(module, row) for module in MODULES for row in rows_of(module)]
WITHOUT_TIES = [(m, row) for m, row in ALL if "whole" not in {kind for _, kind in row.inputs}]
TOLERANCES = {"f32": 1e-5, "f64": 1e-10}


@cache
def answers(module: str) -> dict[str, Array]:
    file = answers_file(module)
    assert file.exists(), f"{file.name} is missing: run {SCRIPT} {module}"
    return dict(np.load(file))


def traced(module: str, row: Row, dtype: DType) -> Traced:
    """Our side of a row."""
    types = []
    for position, array in enumerate(row.arrays()):
        shape = (N, *array.shape[1:]) if position in row.with_batch else array.shape
        types.append(TensorType(dtype if array.dtype.kind == "f" else DType.i32, shape))
    ours = row.ours(losses if module == "losses" else nn)
    if isinstance(ours, str | losses.Loss):
        ours = loss_function(losses.loss_from(ours, None), len(types) - row.targets)
    names = [f"input {p}" for p in range(len(types))]
    return trace_callable(ours, types, training=row.training, names=names)


def loss_function(loss: losses.Loss, outputs: int) -> Any:
    """A loss as a function of traced tensors, the first `outputs` of which a network gave."""

    def function(*tensors: Tensor) -> Tensor:
        nodes = [t.node for t in tensors]
        return Tensor(loss.build(nodes[:outputs], nodes[outputs:]))

    return function


def batch_of(row: Row) -> int:
    """How many samples the inputs have; 1 if none of them is a batch."""
    return next((row.inputs[p][0][0] for p in row.with_batch), 1)


def fed(row: Row, found: Traced, batch: int) -> dict[str, Array]:
    """The inputs, parameters and states of a row by name, in f64."""
    held = [n for n, _ in (*found.trace.parameters.values(), *found.trace.states.values())]
    named = {i.attrs["name"]: a for i, a in zip(found.data, row.arrays(), strict=True)}
    for node in held:
        name = node.attrs["name"]
        named[name] = row.parameter(name, node.tensor.concrete(batch))
    return named


def computed(module: str, row: Row, dtype: DType, backend: str) -> dict[str, Array]:
    """What we find for everything that PyTorch was asked for, by the same names."""
    found = traced(module, row, dtype)
    batch = batch_of(row)
    outputs = [*found.outputs, *found.trace.penalties]
    sent, total = [], full(0.0, dtype=dtype)
    for position, output in enumerate(outputs):
        sent.append(make_input(f"cotangent {position}", output.tensor))
        total = add(total, sum_of(mul(output, sent[-1])))
    parameters = [node for node, _ in found.trace.parameters.values()]
    states = [node for node, _ in found.trace.states.values()]
    wrt = [*(found.data[p] for p in row.differentiated), *parameters]
    results = {f"output {k}": y for k, y in enumerate(outputs)}
    for node, slope in zip(wrt, gradients(total, wrt), strict=True):
        results[f"gradient of {node.attrs['name']}"] = slope
    if row.training:
        for state in states:
            name = state.attrs["name"]
            results[f"state {name}"] = found.trace.updates.get(name, state)
    given = fed(row, found, batch)
    for position, node in enumerate(sent):
        given[node.attrs["name"]] = row.cotangent(position, node.tensor.concrete(batch))
    inputs = (*found.data, *parameters, *states, *sent)
    arrays = {i.attrs["name"]: given[i.attrs["name"]].astype(i.tensor.dtype.numpy) for i in inputs}
    graph = Graph("row", inputs, tuple(results.values()))
    values = gc.compile(graph, backend)(**arrays)
    several = values if isinstance(values, tuple) else (values,)
    return dict(zip(results, map(np.asarray, several), strict=True))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("module", "row"), ALL, ids=[f"{m}: {r.name}" for m, r in ALL])
def test_row(module: str, row: Row, dtype: str, backend: str) -> None:
    start = row.key("")
    expected = {
        key.removeprefix(start): a for key, a in answers(module).items() if key.startswith(start)
    }
    assert expected, f"PyTorch was not asked for {row.name!r}: run {SCRIPT} {module}"
    got = computed(module, row, DType[dtype], backend)
    assert sorted(got) == sorted(expected)
    for name, right in expected.items():
        assert got[name].shape == right.shape, name
        assert got[name].dtype == DType[dtype].numpy, name
        away, scale = (np.max(np.abs(a), initial=0.0) for a in (got[name] - right, right))
        assert away <= TOLERANCES[dtype] * scale, f"{name}: off by {away:.3g} of {scale:.3g}"


@pytest.mark.parametrize(
    ("module", "row"), WITHOUT_TIES, ids=[f"{m}: {r.name}" for m, r in WITHOUT_TIES]
)
def test_gradients_of_both_orders_are_slopes(module: str, row: Row) -> None:
    found = traced(module, row, DType.f64)
    held = [n for n, _ in (*found.trace.parameters.values(), *found.trace.states.values())]
    graph = Graph("row", (*found.data, *held), (*found.outputs, *found.trace.penalties))
    wrt = [f"input {p}" for p in row.differentiated] + list(found.trace.parameters)
    check = gc.testing.check_grads(graph, fed(row, found, batch_of(row)), order=2, wrt=wrt)
    assert check.first.keys() == check.second.keys() == set(wrt)
    assert check.worst < 1e-4


@pytest.mark.parametrize("module", MODULES)
def test_every_answer_belongs_to_a_row(module: str) -> None:
    rows = {row.name for row in rows_of(module)}
    asked = {key.rpartition("/")[0] for key in answers(module)} if rows else set()
    assert asked == rows, f"run {SCRIPT} {module}"

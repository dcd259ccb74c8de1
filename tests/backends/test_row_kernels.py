"""Kernels over rows give the oracle's numbers, in either layout, and the same bits at any number of
threads; their loops do not spill on processors with few registers.
"""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim
from graphc.ir.types import DType
from graphc.ops.interpret import interpret
from graphc.ops.rows import row_of_body
from graphc.passes.pipelines import BACKEND, LARGE_BATCH
from graphc.runtime.program import build_program
from graphc.testing import Expectation, check_grads, random_graph, random_inputs
from graphc_llvm.engine import Target, assembly, lowering, machine_of
from graphc_llvm.module import step_module
from graphc_llvm.spills import functions, innermost_loops, stack_traffic

OPS = (
    "softmax", "log_softmax", "softmax_cross_entropy", "standardize", "sum", "max", "min", "mul",
    "sub", "add", "exp", "sigmoid", "broadcast", "where", "div", "matmul", "relu", "slice",
)  # fmt: skip
BATCHES = (1, 3, 16, 19, 33)
GRAPHS = 20


def test_random_rows_keep_the_meaning_with_the_same_bits_at_any_number_of_threads() -> None:
    checked = 0
    for seed in range(GRAPHS):
        rng = np.random.default_rng(seed)
        dtype = DType.f64 if seed % 7 == 0 else DType.f32
        graph = random_graph(rng, dtype=dtype, with_gradients=50, max_ops=8, ops=OPS)
        batched = any(i.tensor.batch_axis is not None for i in graph.inputs)
        n = int(rng.choice(BATCHES)) if batched else 1
        kernels = BACKEND["large" if n >= LARGE_BATCH else "small"](graph)
        fused = [k.attrs["body"] for k in kernels.nodes if k.op.name == "fused"]
        if not any(row_of_body(body) for body in fused):
            continue
        inputs = random_inputs(graph, n, rng)
        results = [gc.compile(graph, "llvm", threads=k)(**inputs) for k in (1, 2, 3)]
        first, *others = (r if isinstance(r, tuple) else (r,) for r in results)
        Expectation(graph, inputs, n, seed=seed).check(first, "llvm")
        bits = [np.asarray(a).tobytes() for a in first]
        assert all(bits == [np.asarray(a).tobytes() for a in o] for o in others), seed
        checked += 1
    assert checked >= GRAPHS // 4


@pytest.mark.parametrize("n", [3, 64])
def test_a_classifiers_loss_and_gradient_are_those_of_the_formula(n: int) -> None:
    net = nn.Sequential(nn.Dense(37))
    model = gc.Model(net, "f32[N,20]", "cross_entropy", optim.SGD(1.0), backend="llvm", seed=0)
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((n, 20), np.float32), rng.integers(0, 37, n)
    w, b = (np.array(model.params[k], np.float64) for k in ("0.weight", "0.bias"))
    logits = x.astype(np.float64) @ w.T + b
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    assert model.step(x, y) == pytest.approx(-np.log(p[np.arange(n), y]).mean(), rel=1e-5)
    p[np.arange(n), y] -= 1
    np.testing.assert_allclose(w - model.params["0.weight"], p.T @ x / n, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(b - model.params["0.bias"], p.mean(0), rtol=1e-3, atol=1e-6)


def test_rows_without_a_finite_number_say_so() -> None:
    graph = gc.trace(nn.softmax, "f32[N,20]")
    x = np.zeros((18, 20), np.float32)
    x[1, 3], x[2, 5], x[3] = np.nan, -np.inf, -np.inf
    with np.errstate(all="ignore"):
        (expected,) = interpret(graph, {"x": x}, 18)
    np.testing.assert_allclose(gc.compile(graph, "llvm")(x), expected, rtol=1e-5)


def test_gradients_of_normalised_rows_are_slopes() -> None:
    graph = gc.trace(lambda x, g: (nn.standardize(x, axes=1) * g).sum(), "f64[N,9]", "f64[N,9]")
    inputs = random_inputs(graph, 8, np.random.default_rng(0))
    check_grads(graph, inputs, order=2)


@pytest.mark.parametrize("cpu", ["x86-64-v3", "x86-64-v4"])
def test_loops_along_rows_do_not_spill(cpu: str) -> None:
    def loss(x: nn.Tensor, w: nn.Tensor, g: nn.Tensor) -> nn.Tensor:
        return (nn.standardize(x, axes=1) * w * g).sum()

    target = Target("x86_64-unknown-linux-gnu", cpu)
    types = ("f32[N,512]", "f32[512]", "f32[N,512]")
    graph = gc.grad(gc.trace(loss, *types), wrt="x0")
    program = build_program(graph, BACKEND["small"], lowering(machine_of(target)))
    text = assembly(step_module(program.calls, target.triple), target)
    loops = [loop for body in functions(text).values() for loop in innermost_loops(body)]
    assert len(loops) >= 4
    assert not [line for loop in loops for line in stack_traffic(loop)]

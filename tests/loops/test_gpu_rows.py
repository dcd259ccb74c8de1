"""Kernels over rows for graphics processors, run as plain loops: what they compute is what the
interpreter computes, the same bits at any batch; and they compile to code that keeps its registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn, zoo
from graphc.ir.graph import Graph
from graphc.ir.types import DType
from graphc.loops.gpu.device import A100, GPU, H100
from graphc.loops.gpu.launch import launch_of
from graphc.loops.language import Kernel
from graphc.testing import random_graph
from graphc_cuda.compile import compiled
from graphc_cuda.source import kernel_source
from tests.backends.test_row_kernels import BATCHES, GRAPHS, OPS
from tests.loops.emulation import emulated, kernels_of, program_of
from tests.loops.test_gpu_kernels import check, training_step


def row_kernels(graph: Graph, gpu: GPU = H100) -> list[Kernel]:
    """The kernels of `graph` that go over rows."""
    return [k for k in kernels_of(program_of(graph, gpu)) if k.schedule.startswith("rows")]


def only(graph: Graph) -> Kernel:
    """The one kernel of `graph`, which goes over rows."""
    (kernel,) = kernels_of(program_of(graph))
    assert kernel.schedule.startswith("rows")
    return kernel


def loss(x: nn.Tensor, w: nn.Tensor, g: nn.Tensor) -> nn.Tensor:
    """What is learned with normalised rows."""
    return (nn.standardize(x, axes=1) * w * g).sum()


def test_random_rows_keep_the_meaning() -> None:
    checked = 0
    for seed in range(GRAPHS):
        rng = np.random.default_rng(seed)
        dtype = DType.f64 if seed % 7 == 0 else DType.f32
        graph = random_graph(rng, dtype=dtype, with_gradients=50, max_ops=8, ops=OPS)
        batched = any(i.tensor.batch_axis is not None for i in graph.inputs)
        n = int(rng.choice(BATCHES)) if batched else 1
        if row_kernels(graph):
            check(graph, n, seed=seed)
            checked += 1
    assert checked >= GRAPHS // 4


@pytest.mark.parametrize("n", [1, 2, 33])
@pytest.mark.parametrize(
    ("type", "axis"),
    [
        ("f32[N,2]", 1),
        ("f32[N,10]", 1),
        ("f32[N,37]", 1),
        ("f32[N,1000]", 1),
        ("f64[N,1000]", 1),
        ("f32[N,9000]", 1),  # steps of a thread
        ("f32[N,5,64]", 2),
        ("f32[N,21,6,7]", 1),  # rows beside each other
        ("f32[3,40,9]", 1),  # no samples
    ],
)
def test_rows_of_any_length(type: str, axis: int, n: int) -> None:
    graph = gc.trace(lambda x: nn.softmax(x, axis=axis), type)
    only(graph)
    check(graph, n)


@pytest.mark.parametrize(
    ("type", "words"),
    [
        ("f32[N,10]", "8 a block x 4 threads x 2 numbers"),
        ("f32[N,1000]", "1 a block x 128 threads x 4 numbers"),  # few rows: more threads for each
        ("f32[N,400,1000]", "32 a block x 8 threads x 1 numbers"),  # threads beside each other
    ],
)
def test_a_row_gets_threads_by_its_length_and_a_block_as_many_rows_as_fit(
    type: str, words: str
) -> None:
    assert only(gc.trace(nn.softmax, type)).schedule == f"rows in 3 stages, {words}"


@pytest.mark.parametrize("gpu", [A100, H100], ids=lambda gpu: gpu.architecture)
def test_what_does_not_fit_shared_memory_is_computed_again(gpu: GPU) -> None:
    for type, kept in (("f32[N,8192]", 1), ("f64[N,4096]", 1), ("f64[N,16384]", 0)):
        graph = gc.trace(nn.softmax, type)
        (kernel,) = row_kernels(graph, gpu)
        launch = launch_of(kernel)
        names = [array.name for array, _ in launch.shared]
        assert sum(name.startswith("row") for name in names) == kept
        assert launch.shared_bytes <= gpu.shared_bytes
    check(graph, 3)


def test_the_order_of_a_sum_is_that_of_its_shape() -> None:
    """Samples that are there or not change no bit of the others' rows."""
    graph = gc.trace(nn.softmax, "f32[N,300]")
    array = np.random.default_rng(0).standard_normal((9, 300), np.float32)
    (few,), (many,) = (emulated(program_of(graph), {"x": array[:n]}, n) for n in (2, 9))
    assert few.tobytes() == many[:2].tobytes()


# -- in networks -----------------------------------------------------------------------------------


def groups(x: nn.Tensor) -> nn.Tensor:
    """Normalised over groups of channels."""
    samples, channels, *size = x.shape
    apart = nn.reshape(x, shape=(samples, 4, channels // 4, *size))
    return nn.reshape(nn.standardize(apart, axes=(2, 3, 4)), shape=x.shape)


def layer(x: nn.Tensor) -> nn.Tensor:
    """Normalised over all of a sample."""
    return nn.standardize(x, axes=(1, 2, 3))


def channels(x: nn.Tensor) -> nn.Tensor:
    """Normalised at every pixel."""
    return nn.standardize(x, axes=1)


def convolutional(*layers: Any) -> nn.Module:
    return nn.Sequential(nn.Conv(8, 3, padding=1), *layers, nn.ReLU(), nn.Flatten(), nn.Dense(10))


NETWORKS = {
    "pooled": (zoo.lenet5(), "f32[N,1,32,32]", 1),  # the loss and its gradient
    "layers": (convolutional(layer), "f32[N,3,9,9]", 3),
    "groups": (convolutional(groups), "f32[N,3,9,9]", 3),
    "pixels": (convolutional(channels), "f32[N,3,9,9]", 3),
    "in two steps": (convolutional(layer), "f32[N,2,48,48]", 1),  # its sums are split
}


@pytest.mark.parametrize("name", NETWORKS)
def test_training_steps(name: str) -> None:
    network, type, count = NETWORKS[name]
    for n in (1, 2, 7, 70):
        graph, inputs = training_step(network, type, n)
        assert len(row_kernels(graph)) == count
        check(graph, n, inputs)


@pytest.mark.parametrize("name", NETWORKS)
def test_images_in_bf16_are_widened_before_they_are_rows(name: str) -> None:
    network, type, count = NETWORKS[name]
    graph, inputs = training_step(network, type, 7)
    program = program_of(graph, precision="bf16")
    kernels = [k for k in kernels_of(program) if k.schedule.startswith("rows")]
    assert len(kernels) == count
    for found, exact in zip(
        emulated(program, inputs, 7), emulated(program_of(graph), inputs, 7), strict=True
    ):
        wide = np.asarray(exact, np.float64)
        assert np.linalg.norm(found - wide) <= 0.03 * np.linalg.norm(wide) + 1e-6


def test_rows_of_images_are_read_as_they_lie() -> None:
    """Channels lie innermost: neighbouring threads take neighbouring channels."""
    graph, _ = training_step(convolutional(channels), "f32[N,3,9,9]", 1)
    forward = row_kernels(graph)[0]
    assert forward.schedule.endswith("x 4 numbers")


# -- machine code ----------------------------------------------------------------------------------


@pytest.mark.parametrize("gpu", [A100, H100], ids=lambda gpu: gpu.architecture)
def test_machine_code_keeps_its_registers(gpu: GPU) -> None:
    pytest.importorskip("cuda.bindings")
    graphs = [gc.trace(nn.softmax, f"{d}[N,{n}]") for d in ("f32", "f64") for n in (10, 1000, 9000)]
    graphs += [gc.grad(gc.trace(loss, "f32[N,512]", "f32[512]", "f32[N,512]"), wrt="x0")]
    graphs += [training_step(network, type, 1)[0] for network, type, _ in NETWORKS.values()]
    kernels = [kernel for graph in graphs for kernel in row_kernels(graph, gpu)]
    source = "\n".join(
        kernel_source(kernel).replace("k_", f"k{k}_", 1) for k, kernel in enumerate(kernels)
    )
    resources = compiled(source, gpu.architecture).resources
    assert len(resources) == len(kernels) > 15
    spilled = {k: v for k, v in resources.items() if v["spill_bytes"] or v["stack_bytes"]}
    assert spilled == {}

"""What `networks.py` times, in each of the systems that it knows, as a user of that system writes
it. Run as a program it is one process of one system:

    python -m tests.benchmarks.systems SYSTEM WORK SECONDS

prints milliseconds of a call as JSON, null if the system does not do such work. Needs that system
alone.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from tests.benchmarks.timing import median

Call = Callable[[], object]
RATE, MOMENTUM = 1e-3, 0.9  # of stochastic gradient descent


@dataclass(frozen=True)
class Work:
    """Training steps or predictions of a network of the zoo. images: (channels, rows, columns)."""

    network: str
    training: bool
    batch: int
    images: tuple[int, int, int]
    classes: int = 10

    def __str__(self) -> str:
        what = "training step" if self.training else "prediction"
        return f"{self.network}, {what}, batch {self.batch}"

    def data(self) -> tuple[Any, Any]:
        """(images, the number of each one's class)"""
        generator = np.random.default_rng(0)
        x = generator.standard_normal((self.batch, *self.images), dtype=np.float32)
        return x, generator.integers(0, self.classes, self.batch)


MNIST, LARGE = (1, 28, 28), (3, 224, 224)
SHAPES = {
    "lenet5": (1, 32, 32), "mlp": MNIST, "cifar_small": (3, 32, 32), "mcdnn": (1, 29, 29),
    "autoencoder": MNIST, "alexnet": (3, 227, 227),
}  # fmt: skip
TRAINING = {
    "lenet5": 64, "mlp": 64, "cifar_small": 64, "mcdnn": 64, "autoencoder": 64,
    "alexnet": 16, "vgg16": 4, "googlenet": 8, "resnet18": 8, "resnet50": 4,
}  # fmt: skip
PREDICTION = {
    "lenet5": (1, 64), "mcdnn": (64,), "alexnet": (1,), "vgg16": (1,), "googlenet": (1,),
    "resnet18": (1,), "resnet50": (1, 8),
}  # fmt: skip


def _work(network: str, training: bool, batch: int) -> Work:
    images = SHAPES.get(network, LARGE)
    return Work(network, training, batch, images, 1000 if images[1] > 100 else 10)


WORKS = (
    *(_work(network, True, batch) for network, batch in TRAINING.items()),
    *(_work(network, False, batch) for network, each in PREDICTION.items() for batch in each),
)


def graphc(work: Work) -> Call:
    """A model of the zoo."""
    import graphc as gc
    from graphc import optim, zoo

    x, y = work.data()
    model = gc.Model(
        getattr(zoo, work.network)(),
        "f32[N," + ",".join(map(str, work.images)) + "]",
        loss="cross_entropy",
        optimizer=optim.SGD(RATE, momentum=MOMENTUM),
        seed=0,
    )
    return partial(model.step, x, y) if work.training else partial(model.predict, x)


def _torch_network(work: Work) -> Any:
    """The network with its dropout, in whose place the fixtures' networks have something else."""
    from torch import nn

    from tests.fixtures.torch_networks import LARGE, SMALL

    build = SMALL.get(work.network)
    net = build() if build else LARGE[work.network](work.images[1])
    for name, layer in net.named_children():
        if isinstance(layer, nn.Identity):
            setattr(net, name, nn.Dropout(0.5))
    return net


def pytorch(work: Work, compiled: bool = False) -> Call:
    """Eager, or compiled by `torch.compile`."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    net = _torch_network(work)
    x, y = map(torch.from_numpy, work.data())
    forward = torch.compile(net) if compiled else net
    optimizer = torch.optim.SGD(net.parameters(), RATE, momentum=MOMENTUM)
    net.train(work.training)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(forward(x), y).backward()
        optimizer.step()

    def predict() -> None:
        with torch.inference_mode():
            forward(x)

    return step if work.training else predict


def onnxruntime(work: Work) -> Call | None:
    """PyTorch's network, exported; it only predicts."""
    if work.training:
        return None
    import onnxruntime
    import torch

    x, _ = work.data()
    exported = io.BytesIO()
    net = _torch_network(work).eval()
    torch.onnx.export(net, (torch.from_numpy(x),), exported, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    session = onnxruntime.InferenceSession(exported.getvalue(), options)
    return partial(session.run, None, {session.get_inputs()[0].name: x})


def jax(work: Work) -> Call | None:
    """The two simplest networks, written out."""
    if work.network not in ("lenet5", "mlp") or not work.training:
        return None
    import jax
    import jax.numpy as jnp
    from jax import lax

    convolutions = [(6, 1, 5, 5), (16, 6, 5, 5)] if work.network == "lenet5" else []
    dense = [400, 120, 84, 10] if work.network == "lenet5" else [784, 256, 128, 10]
    activation = jnp.tanh if work.network == "lenet5" else jax.nn.relu
    x, y = map(jnp.asarray, work.data())
    generator = np.random.default_rng(0)

    def parameters(shape: tuple[int, ...], biases: int) -> tuple[Any, Any]:
        return jnp.asarray(generator.normal(size=shape, scale=0.05), "float32"), jnp.zeros(biases)

    params = [parameters(shape, shape[0]) for shape in convolutions]
    params += [parameters(shape, shape[1]) for shape in pairwise(dense)]

    def loss(params: Any, x: Any, y: Any) -> Any:
        names = ("NCHW", "OIHW", "NCHW")
        for w, b in params[: len(convolutions)]:
            x = lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=names)
            x = activation(x + b[None, :, None, None])
            x = lax.reduce_window(x, 0.0, lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") / 4
        x = x.reshape(x.shape[0], -1)
        for w, b in params[len(convolutions) : -1]:
            x = activation(x @ w + b)
        w, b = params[-1]
        scores = jax.nn.log_softmax(x @ w + b)
        return -jnp.take_along_axis(scores, y[:, None], 1).mean()

    @jax.jit
    def step(params: Any, velocity: Any, x: Any, y: Any) -> Any:
        gradients = jax.grad(loss)(params, x, y)
        velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, gradients)
        return jax.tree.map(lambda p, v: p - RATE * v, params, velocity), velocity

    velocity = jax.tree.map(jnp.zeros_like, params)
    return lambda: jax.block_until_ready(step(params, velocity, x, y))


SYSTEMS: dict[str, Callable[[Work], Call | None]] = {
    "graphc": graphc,
    "PyTorch": pytorch,
    "PyTorch, compiled": partial(pytorch, compiled=True),
    "JAX": jax,
    "ONNX Runtime": onnxruntime,
}


def measured(system: str, work: Work, seconds: float) -> float | None:
    """Milliseconds of a call once it is warm; None if the system does not do such work."""
    call = SYSTEMS[system](work)
    if call is None:
        return None
    call(), call(), call()
    return median(call, seconds)


if __name__ == "__main__":
    system, name, seconds = sys.argv[1:]
    (work,) = (each for each in WORKS if str(each) == name)
    print(json.dumps(measured(system, work, float(seconds))))

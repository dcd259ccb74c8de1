"""The two-layer sigmoid net worked by hand: every number of the example, to its nine digits.

Inputs .05 and .10, targets .01 and .99, squared error, learning rate 0.5, biases not updated.
"""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn, zoo

WEIGHTS = {
    "0.weight": [[0.15, 0.20], [0.25, 0.30]],
    "0.bias": [0.35, 0.35],
    "2.weight": [[0.40, 0.45], [0.50, 0.55]],
    "2.bias": [0.60, 0.60],
}
UPDATED = {
    "0.weight": [[0.149780716, 0.199561432], [0.249751144, 0.299502287]],
    "2.weight": [[0.358916480, 0.408666186], [0.511301270, 0.561370121]],
}
INPUT, TARGET = [[0.05, 0.10]], [[0.01, 0.99]]
HIDDEN = [[0.593269992, 0.596884378]]
PRECISION = [("f64", 1.5e-9), ("f32", 3e-7)]


class SquaredError(nn.Module):
    """Half the sum of squares of a network's errors."""

    def __init__(self, net):
        self.net = net

    def __call__(self, x, target):
        error = self.net(x) - target
        return (error * error).sum() * 0.5


def arrays(dtype: str, values: dict) -> dict[str, np.ndarray]:
    kind = {"f64": np.float64, "f32": np.float32}[dtype]
    return {name: np.array(value, kind) for name, value in values.items()}


def fed(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    return tuple(arrays(dtype, {"x": INPUT, "target": TARGET}).values())


@pytest.fixture(params=PRECISION, ids=lambda p: p[0])
def precision(request) -> tuple[str, float]:
    return request.param


def close(found, expected, tolerance: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_forward_values(precision, backend: str) -> None:
    dtype, tolerance = precision
    layers = list(zoo.sigmoid_2_2_2())
    for count, expected in ((2, HIDDEN), (4, [[0.751365070, 0.772928465]])):
        model = gc.Model(nn.Sequential(*layers[:count]), f"{dtype}[N,2]", backend=backend)
        model.load_params({k: v for k, v in WEIGHTS.items() if int(k[0]) < count})
        close(model.predict(fed(dtype)[0]), expected, tolerance)


def test_error_of_each_output_and_in_total(precision, backend: str) -> None:
    dtype, tolerance = precision
    graph = gc.trace(SquaredError(zoo.sigmoid_2_2_2()), f"{dtype}[N,2]", f"{dtype}[N,2]")
    held = {f"net.{name}": array for name, array in arrays(dtype, WEIGHTS).items()}
    close(gc.compile(graph, backend=backend)(*fed(dtype), **held), 0.298371109, tolerance)
    model = gc.Model(zoo.sigmoid_2_2_2(), f"{dtype}[N,2]", backend=backend)
    model.load_params(WEIGHTS)
    errors = 0.5 * (model.predict(fed(dtype)[0]) - TARGET) ** 2
    close(errors, [[0.274811083, 0.023560026]], tolerance)


def test_gradients_and_updated_weights(precision, backend: str) -> None:
    dtype, tolerance = precision
    graph = gc.trace(SquaredError(zoo.sigmoid_2_2_2()), f"{dtype}[N,2]", f"{dtype}[N,2]")
    held = {f"net.{name}": array for name, array in arrays(dtype, WEIGHTS).items()}
    wanted = ["net.0.weight", "net.2.weight"]
    first, second = gc.compile(gc.grad(graph, wanted), backend=backend)(*fed(dtype), **held)
    close(second[0, 0], 0.082167041, tolerance)
    close(first[0, 0], 0.000438568, tolerance)
    for name, gradient in (("0.weight", first), ("2.weight", second)):
        close(np.array(WEIGHTS[name]) - 0.5 * gradient, UPDATED[name], tolerance)


def test_gradient_of_the_hidden_layer(precision, backend: str) -> None:
    dtype, tolerance = precision
    upper = SquaredError(nn.Sequential(*list(zoo.sigmoid_2_2_2())[2:]))
    graph = gc.trace(upper, f"{dtype}[N,2]", f"{dtype}[N,2]")
    held = arrays(dtype, {"net.0.weight": WEIGHTS["2.weight"], "net.0.bias": WEIGHTS["2.bias"]})
    hidden = arrays(dtype, {"x": HIDDEN})["x"]
    found = gc.compile(gc.grad(graph, ["x0"]), backend=backend)(hidden, fed(dtype)[1], **held)
    close(found[0, 0], 0.036350306, tolerance)

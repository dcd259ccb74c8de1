"""The two-layer sigmoid network that textbooks work by hand, every printed number in f64.

Inputs .05 and .10, targets .01 and .99, squared error, learning rate 0.5, biases not updated.
"""

import numpy as np

import graphc as gc
from graphc import nn, zoo

weights = {
    "0.weight": np.array([[0.15, 0.20], [0.25, 0.30]]),
    "0.bias": np.array([0.35, 0.35]),
    "2.weight": np.array([[0.40, 0.45], [0.50, 0.55]]),
    "2.bias": np.array([0.60, 0.60]),
}
x, target = np.array([[0.05, 0.10]]), np.array([[0.01, 0.99]])


class SquaredError(nn.Module):
    """Half the sum of the squares of a network's errors."""

    def __init__(self, net):
        self.net = net

    def __call__(self, x, target):
        error = self.net(x) - target
        return (error * error).sum() * 0.5


net = zoo.sigmoid_2_2_2()
model = gc.Model(net, "f64[N,2]")
model.load_params(weights)
outputs = model.predict(x)
print("outputs      ", *(f"{o:.9f}" for o in outputs[0]))

graph = gc.trace(SquaredError(net), "f64[N,2]", "f64[N,2]", name="error")
named = {f"net.{name}": array for name, array in weights.items()}
print(f"error         {gc.compile(graph)(x, target, **named):.9f}")

wanted = ["net.0.weight", "net.2.weight"]
first, second = gc.compile(gc.grad(graph, wanted))(x, target, **named)
print(f"dE/dw1        {first[0, 0]:.9f}")
print(f"dE/dw5        {second[0, 0]:.9f}")

after = [(weights["0.weight"] - 0.5 * first).ravel(), (weights["2.weight"] - 0.5 * second).ravel()]
print("after a step ", *(f"{w:.9f}" for w in np.concatenate(after)))

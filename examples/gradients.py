"""Gradients are graphs: print them, take a second derivative, check both against differences."""

import numpy as np

import graphc as gc
from graphc import nn, zoo


def f(x):
    """x^3 / 3, whose derivatives are x^2 and 2 x."""
    return x * x * x / 3.0


graph = gc.trace(f, "f64[]")
first = gc.grad(graph)
second = gc.grad(first)
simplify = gc.passes.Pipeline.parse("simplify")
print(simplify(first))
print(simplify(second))
three = np.array(3.0)
values = [float(gc.compile(g)(three)) for g in (graph, first, second)]
print("f(3), f'(3), f''(3):", *(f"{v:.6f}" for v in values))

# The gradients of a whole network, and the gradients of those, along random directions in f64.
# inputs: those of the callable; the network's parameters get their initial values.
rng = np.random.default_rng(0)
found = gc.testing.check_grads(zoo.lenet5(), [rng.standard_normal((2, 1, 32, 32))])
for name in found.first:
    print(f"{name:10s} first {found.first[name]:.1e}   second {found.second[name]:.1e}")

# relu has a kink at 0: there any value between the slopes of both sides, 0 and 1, is right.
print("at a kink:", gc.testing.check_grads(nn.relu, [np.zeros(1)], order=1).worst)

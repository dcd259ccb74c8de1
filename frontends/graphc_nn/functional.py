"""Every op as a function of traced tensors: ``nn.relu(x)``, ``nn.concat(a, b, axis=1)``.

The common ones are named here, so that editors and type checkers know them; any other op is
resolved by its name when it is asked for, so a newly declared op needs no line in this file.
Operands are positional, static parameters keywords. The functions know nothing of layers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from graphc.ir.node import OPERATORS
from graphc.ops import contractions, elementwise, losses, pooling, reductions, views
from graphc.tracing.tensor import Tensor, function, function_named

Function = Callable[..., Tensor]

relu: Function = function(elementwise.relu)
leaky_relu: Function = function(elementwise.leaky_relu)
tanh: Function = function(elementwise.tanh)
sigmoid: Function = function(elementwise.sigmoid)
softmax: Function = function(losses.softmax)
log_softmax: Function = function(losses.log_softmax)

exp: Function = function(elementwise.exp)
log: Function = function(elementwise.log)
sqrt: Function = function(elementwise.sqrt)
absolute: Function = function(elementwise.absolute)
power: Function = function(elementwise.power)
maximum: Function = function(elementwise.maximum)
minimum: Function = function(elementwise.minimum)
where: Function = function(elementwise.where)

sum: Function = function(reductions.sum)
max: Function = function(reductions.max)
min: Function = function(reductions.min)
mean: Function = function(reductions.mean)

reshape: Function = function(views.reshape)
flatten: Function = function(views.flatten)
transpose: Function = function(views.transpose)
broadcast: Function = function(views.broadcast)
concat: Function = function(views.concat)
pad: Function = function(views.pad)

matmul: Function = function(contractions.matmul)
conv2d: Function = function(contractions.conv2d)
max_pool2d: Function = function(pooling.max_pool2d)
avg_pool2d: Function = function(pooling.avg_pool2d)

softmax_cross_entropy: Function = function(losses.softmax_cross_entropy)
mean_squared_error: Function = function(losses.mean_squared_error)


@cache
def __getattr__(name: str) -> Function:
    found = function_named(name)
    if found is None:
        raise AttributeError(f"there is no op named {name!r}")
    return found


def names() -> list[str]:
    """Every function there is: those above and every declared op."""
    written = {name for name, value in globals().items() if name.islower() and callable(value)}
    declared = {name for name in OPERATORS if function_named(name) is not None}
    return sorted((written | declared) - {"cache", "function", "function_named", "names"})

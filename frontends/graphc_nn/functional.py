"""Every op as a function of traced tensors: ``nn.relu(x)``, ``nn.concat(a, b, axis=1)``.

The common ones are named here, so that editors and type checkers know them; any other op is
resolved by its name when it is asked for, so a newly declared op needs no line in this file.
Operands are positional, static parameters keywords. The functions know nothing of layers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from graphc.ir.node import OPERATORS
from graphc.ops import (
    activations,
    contractions,
    contrast,
    elementwise,
    losses,
    normalization,
    pooling,
    reductions,
    regularization,
    views,
)
from graphc.ops import softmax as softmax_
from graphc.ops import softplus as softplus_
from graphc.tracing.tensor import Tensor, function, function_named

Function = Callable[..., Tensor]

relu: Function = function(elementwise.relu)
leaky_relu: Function = function(elementwise.leaky_relu)
tanh: Function = function(elementwise.tanh)
sigmoid: Function = function(elementwise.sigmoid)
elu: Function = function(activations.elu)
gelu: Function = function(activations.gelu)
silu: Function = function(activations.silu)
scaled_tanh: Function = function(activations.scaled_tanh)
softplus: Function = function(softplus_.softplus)
softmax: Function = function(softmax_.softmax)
log_softmax: Function = function(softmax_.log_softmax)

exp: Function = function(elementwise.exp)
log: Function = function(elementwise.log)
erf: Function = function(elementwise.erf)
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
l2_pool2d: Function = function(pooling.l2_pool2d)
adaptive_avg_pool2d: Function = function(pooling.adaptive_avg_pool2d)
roi_max_pool: Function = function(pooling.roi_max_pool)

standardize: Function = function(normalization.standardize)
local_response_norm: Function = function(normalization.local_response_norm)
local_contrast_norm: Function = function(contrast.local_contrast_norm)

softmax_cross_entropy: Function = function(losses.softmax_cross_entropy)
negative_log_likelihood: Function = function(losses.negative_log_likelihood)
binary_cross_entropy: Function = function(losses.binary_cross_entropy)
hinge: Function = function(losses.hinge)
mean_squared_error: Function = function(losses.mean_squared_error)
squared_error: Function = function(losses.squared_error)
smooth_l1: Function = function(losses.smooth_l1)
kl_divergence: Function = function(losses.kl_divergence)
pair_distance: Function = function(losses.pair_distance)
contrastive: Function = function(losses.contrastive)
box_regression: Function = function(losses.box_regression)
multi_task: Function = function(losses.multi_task)
sparsity: Function = function(regularization.sparsity)


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

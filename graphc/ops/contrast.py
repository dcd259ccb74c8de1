"""Local contrast normalisation: each pixel against the mean and the deviation around it.

Jarrett, Kavukcuoglu, Ranzato and LeCun, "What is the best multi-stage architecture for object
recognition?", 2009, section 2: subtractive, then divisive. Beyond the border there is nothing: the
weights that fall inside are scaled up to sum to 1, as in Torch's SpatialContrastiveNormalization.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import DType, TensorType
from graphc.ops.contractions import Pair, conv2d, pair
from graphc.ops.create import full, iota, plain_number
from graphc.ops.elementwise import div, exp, maximum, mul, sub
from graphc.ops.families import layer, require_dtype
from graphc.ops.op import Op, sample
from graphc.ops.reductions import mean
from graphc.ops.root import root
from graphc.ops.views import broadcast

Window = tuple[int, int]
NARROWEST = 1e-30
"""Of sigma^2: below it every weight but the middle's is 0 anyway, and 1 / sigma^2 has no number."""


def local_contrast_norm(
    x: Node,
    *,
    window: Pair = 9,
    sigma: float | None = None,
    across_maps: bool = True,
    standard_score: bool = False,
    eps: float = 1e-4,
) -> Node:
    """v / max(s, c, eps), v = x - the local mean, s = the local deviation, of x [N,C,H,W].

    Local: over the window around a pixel, odd and weighted with a Gaussian of deviation `sigma`
    (inf: all alike; by default a quarter of the window's height), and over all maps or, without
    `across_maps`, each map for itself. s is the root of the local mean of v^2, c the mean of s over
    the image. With `standard_score` s is the deviation of x from the window's one mean instead, and
    there is no c: (x - mean) / max(s, eps).
    """
    height, width = pair(window, "local_contrast_norm: window", 1)
    deviation = height / 4 if sigma is None else plain_number(sigma, "local_contrast_norm: sigma")
    attrs = {
        "window": (height, width),
        "sigma": float(deviation),
        "across_maps": across_maps,
        "standard_score": standard_score,
        "eps": float(plain_number(eps, "local_contrast_norm: eps")),
    }
    return make(LOCAL_CONTRAST_NORM, (x,), attrs)


def _rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    x = inputs[0]
    require_dtype("local_contrast_norm", x, "float")
    window = pair(attrs["window"], "local_contrast_norm: window", 1)
    if x.rank != 4 or not all(isinstance(d, int) and d for d in x.shape[1:]):
        raise GraphcError(
            f"local_contrast_norm: {x} is not an image batch",
            remedy="give [N,channels,height,width]",
        )
    if not all(extent % 2 for extent in window):
        raise GraphcError(
            f"local_contrast_norm: window {window} has no middle", remedy="use odd extents"
        )
    for name, most in (("sigma", math.inf), ("eps", 1e30)):
        if not 0.0 < attrs[name] <= most:
            raise GraphcError(
                f"local_contrast_norm: {name} {attrs[name]} is not above 0",
                remedy=f"give {name} above 0",
            )
    return x


def _weights(extent: int, sigma: float, dtype: DType) -> Node:
    """exp(-d^2 / (2 sigma^2)) for the distances d from the middle of the window."""
    from_middle = sub(iota(axis=0, shape=(extent,), dtype=dtype), float(extent // 2))
    steepness = 0.5 / max(sigma**2, NARROWEST)
    weights: Node = exp(mul(mul(from_middle, from_middle), -steepness))
    return weights


def _along(x: Node, axis: int, extent: int, sigma: float) -> Node:
    """The weighted mean of the `extent` pixels around each along one axis, every map alone."""
    maps, *size = x.tensor.concrete(1)[1:]
    window, line = [1, 1], [1, 1]
    window[axis - 2], line[axis - 2] = extent, size[axis - 2]
    padding = tuple(w // 2 for w in window)
    weights = _weights(extent, sigma, x.tensor.dtype)
    inside = conv2d(
        full(1.0, shape=(1, 1, *line), dtype=x.tensor.dtype),
        broadcast(weights, shape=(1, 1, *window), axes=(axis,)),
        padding=padding,
    )
    kernels = broadcast(weights, shape=(maps, 1, *window), axes=(axis,))
    smooth: Node = div(conv2d(x, kernels, padding=padding, groups=maps), inside)
    return smooth


def _local_mean(x: Node, window: Window, sigma: float, across_maps: bool) -> Node:
    """[N,C,H,W] -> [N,1 or C,H,W]: the Gaussian is a product of one for each axis."""
    if across_maps:
        x = mean(x, axes=1, keepdims=True)
    for axis, extent in zip((2, 3), window, strict=True):
        x = _along(x, axis, extent, sigma)
    return x


def _decompose(
    x: Node, *, window: Window, sigma: float, across_maps: bool, standard_score: bool, eps: float
) -> Node:
    whole = (1, 2, 3) if across_maps else (2, 3)

    def local(y: Node) -> Node:
        return _local_mean(y, window, sigma, across_maps)

    if standard_score:
        # x^2 - mean^2 cancels least around the image's mean
        centred = sub(x, mean(x, axes=whole, keepdims=True))
        middle = local(centred)
        rest = sub(centred, middle)
        variance = maximum(sub(local(mul(centred, centred)), mul(middle, middle)), 0.0)
        floor = full(eps, dtype=x.tensor.dtype)
    else:
        rest = sub(x, local(x))
        variance = local(mul(rest, rest))
        floor = maximum(mean(root(variance), axes=whole, keepdims=True), eps)
    normal: Node = div(rest, maximum(root(variance), floor))
    return normal


def _numpy(
    x: Any,
    *,
    n: int,
    window: Window,
    sigma: float,
    across_maps: bool,
    standard_score: bool,
    eps: float,
) -> Any:
    maps = (1,) if across_maps else ()
    rest, squares = np.empty_like(x), np.empty_like(x)

    def weighted(y: Any, around: Any, weights: Any) -> Any:
        """The weighted mean of y in a window."""
        found = (y[around] * weights).sum((2, 3), keepdims=True) / weights.sum()
        return found.mean(maps, keepdims=True)

    windows = [
        (at, *_numpy_window(at, x.shape[2:], window, sigma)) for at in np.ndindex(x.shape[2:])
    ]
    for (i, j), around, weights in windows:
        middle = weighted(x, around, weights)
        rest[:, :, i : i + 1, j : j + 1] = x[:, :, i : i + 1, j : j + 1] - middle
        squares[:, :, i : i + 1, j : j + 1] = weighted((x - middle) ** 2, around, weights)
    if standard_score:
        return rest / np.maximum(np.sqrt(squares), eps)
    for (i, j), around, weights in windows:
        squares[:, :, i : i + 1, j : j + 1] = weighted(rest**2, around, weights)
    deviation = np.sqrt(squares)
    usual = deviation.mean((*maps, 2, 3), keepdims=True)
    return rest / np.maximum(np.maximum(deviation, usual), x.dtype.type(eps))


def _numpy_window(
    at: tuple[int, int], size: tuple[int, int], window: Window, sigma: float
) -> tuple[Any, Any]:
    """(the part of an image around a pixel, its weights)."""
    places = [
        np.arange(max(i - w // 2, 0), min(i + w // 2 + 1, extent))
        for i, w, extent in zip(at, window, size, strict=True)
    ]
    rows, columns = (np.exp(-0.5 * ((p - i) / sigma) ** 2) for p, i in zip(places, at, strict=True))
    part = tuple(slice(p[0], p[-1] + 1) for p in places)
    return (slice(None), slice(None), *part), np.outer(rows, columns)


LOCAL_CONTRAST_NORM: Op = layer(
    "local_contrast_norm", rule=_rule, numpy=_numpy, build=local_contrast_norm,
    decompose=_decompose, arity=1,
    samples=(
        sample("f32[N,2,4,5]", window=(3, 3), sigma=0.75, across_maps=True, standard_score=False,
               eps=1e-4),
        sample("f32[N,2,4,3]", window=(3, 5), sigma=math.inf, across_maps=False,
               standard_score=True, eps=1e-4),
        sample("f64[2,2,3,4]", window=(5, 3), sigma=1.5, across_maps=False, standard_score=False,
               eps=1e-4),
        sample("f64[2,3,3,3]", window=(3, 3), sigma=1.0, across_maps=True, standard_score=True,
               eps=1e-4),
        sample("f32[N,2,4,3]", window=(2, 3), sigma=1.0, across_maps=True, standard_score=False,
               eps=1e-4, raises="no middle"),
        sample("f32[N,4]", window=(3, 3), sigma=1.0, across_maps=True, standard_score=False,
               eps=1e-4, raises="not an image batch"),
    ),
)  # fmt: skip

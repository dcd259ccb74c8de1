"""Normalisation layers, with PyTorch's semantics: over the batch, a sample, groups, neighbours.

Statistics are ops' business; layers add what is learnt and what is remembered. How states are
stored is not known here.
"""

from __future__ import annotations

from graphc.base.errors import GraphcError
from graphc.ops import contrast, normalization, views
from graphc.ops.create import batch_size, full
from graphc.ops.reductions import counted
from graphc.tracing.tensor import Tensor, function
from graphc.tracing.trace import current_trace
from graphc_nn import functional, initializers
from graphc_nn.arguments import Pair, arguments_text, flag, number, pair, shown, whole
from graphc_nn.module import Layer
from graphc_nn.parameters import IMAGES, channels_of, scaled

INFINITY = float("inf")

_batch_norm = function(normalization.batch_norm)
_standardize = function(normalization.standardize)
_local_response_norm = function(normalization.local_response_norm)
_local_contrast_norm = function(contrast.local_contrast_norm)


class BatchNorm(Layer):
    """(x - mean) / sqrt(variance + eps) * weight + bias for each channel (axis 1) of [N,C,...].

    In training mean and (biased) variance are the batch's, and the states ``running_mean`` and
    ``running_var`` move towards them: running = (1 - momentum) running + momentum batch, the
    variance unbiased (times n / (n - 1), or 0 if a channel has one element). In evaluation the
    running values are used. Parameters ``weight`` (ones) and ``bias`` (zeros), all [C].
    Ioffe and Szegedy, "Batch normalization", 2015.
    """

    def __init__(self, momentum: float = 0.1, eps: float = 1e-5) -> None:
        self.momentum = number("BatchNorm", "momentum", momentum, 0.0, 1.0, closed=True)
        self.eps = number("BatchNorm", "eps", eps, 0.0, INFINITY)

    def apply(self, x: Tensor) -> Tensor:
        """The normalised traced `x`, of the same type."""
        shape = (_channels(self, x),)
        trace = current_trace()
        weight = trace.parameter(self, "weight", shape, initializers.ones, x.dtype)
        bias = trace.parameter(self, "bias", shape, initializers.zeros, x.dtype)
        running_mean = trace.state(self, "running_mean", shape, initializers.zeros, x.dtype)
        running_var = trace.state(self, "running_var", shape, initializers.ones, x.dtype)
        if not trace.training:
            return self._normalised(x, running_mean, running_var, weight, bias)
        mean, _, variance = map(Tensor, normalization.channel_statistics(x.node))
        count = _count(x)
        unbiased = variance * (count / functional.maximum(count - 1.0, 1.0))
        keep = 1.0 - self.momentum
        trace.update(running_mean, trace.latest(running_mean) * keep + mean * self.momentum)
        trace.update(running_var, trace.latest(running_var) * keep + unbiased * self.momentum)
        return _batch_norm(x, weight, bias, eps=self.eps)

    def _normalised(
        self, x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        scale = weight / functional.sqrt(variance + self.eps)
        centred = x - _along_channels(mean, x)
        return centred * _along_channels(scale, x) + _along_channels(bias, x)

    def __repr__(self) -> str:
        changed: dict[str, tuple[object, object]] = {
            "momentum": (self.momentum, 0.1),
            "eps": (self.eps, 1e-5),
        }
        return "BatchNorm" + arguments_text((), changed)


class LayerNorm(Layer):
    """(x - mean) / sqrt(variance + eps) * weight + bias over all axes of each sample of [N,...].

    The variance is the biased one. Parameters ``weight`` (ones) and ``bias`` (zeros) have the shape
    of a sample, as PyTorch's ``LayerNorm([C,H,W])``; none if `affine` is off. Batch and mode do not
    matter. Ba, Kiros and Hinton, "Layer normalization", 2016.
    """

    def __init__(self, eps: float = 1e-5, affine: bool = True) -> None:
        self.eps = number("LayerNorm", "eps", eps, 0.0, INFINITY)
        self.affine = flag("LayerNorm", "affine", affine)

    def apply(self, x: Tensor) -> Tensor:
        """The normalised traced `x`, of the same type."""
        _channels(self, x)
        axes = range(1, len(x.shape))
        y = _standardize(x, axes=axes, eps=self.eps)
        return scaled(self, y, axes, x.type.concrete(1)[1:]) if self.affine else y

    def __repr__(self) -> str:
        return "LayerNorm" + arguments_text((), _options(self.eps, self.affine, True))


class InstanceNorm(Layer):
    """(x - mean) / sqrt(variance + eps) over each feature map of each sample of [N,C,...].

    With `affine` times ``weight`` (ones) plus ``bias`` (zeros), both [C]. The variance is the
    biased one; batch and mode do not matter, as in PyTorch without running statistics. Ulyanov,
    Vedaldi and Lempitsky, "Instance normalization", 2016.
    """

    def __init__(self, eps: float = 1e-5, affine: bool = False) -> None:
        self.eps = number("InstanceNorm", "eps", eps, 0.0, INFINITY)
        self.affine = flag("InstanceNorm", "affine", affine)

    def apply(self, x: Tensor) -> Tensor:
        """The normalised traced `x`, of the same type."""
        channels = _channels(self, x)
        if len(x.shape) < 3:
            raise GraphcError(
                f"InstanceNorm: the feature maps of {x.type} are single numbers",
                node=repr(self),
                remedy="give [N,channels,height,width], or use LayerNorm or BatchNorm",
            )
        y = _standardize(x, axes=range(2, len(x.shape)), eps=self.eps)
        return scaled(self, y, (1,), (channels,)) if self.affine else y

    def __repr__(self) -> str:
        return "InstanceNorm" + arguments_text((), _options(self.eps, self.affine, False))


class GroupNorm(Layer):
    """(x - mean) / sqrt(variance + eps) * weight + bias over each of `groups` groups of channels.

    Neighbouring channels of [N,C,...] form a group. Parameters ``weight`` (ones) and ``bias``
    (zeros), both [C]; none if `affine` is off. Batch and mode do not matter. Raises GraphcError if
    the groups do not divide the channels. Wu and He, "Group normalization", 2018.
    """

    def __init__(self, groups: int, eps: float = 1e-5, affine: bool = True) -> None:
        self.groups = whole("GroupNorm", "groups", groups, 1)
        self.eps = number("GroupNorm", "eps", eps, 0.0, INFINITY)
        self.affine = flag("GroupNorm", "affine", affine)

    def apply(self, x: Tensor) -> Tensor:
        """The normalised traced `x`, of the same type."""
        channels = _channels(self, x)
        if channels % self.groups:
            raise GraphcError(
                f"GroupNorm: {channels} channels do not divide into {self.groups} groups",
                node=repr(self),
                remedy="choose groups that divide the channels",
            )
        grouped = x.reshape(x.shape[0], self.groups, channels // self.groups, *x.shape[2:])
        y = _standardize(grouped, axes=range(2, len(grouped.shape)), eps=self.eps)
        y = scaled(self, y, (1, 2), (channels,)) if self.affine else y
        return y.reshape(*x.shape)

    def __repr__(self) -> str:
        changed = _options(self.eps, self.affine, True)
        return "GroupNorm" + arguments_text((self.groups,), changed)


class LocalResponseNorm(Layer):
    """x / (k + alpha s)^beta, s the sum of squares of `size` neighbouring channels of [N,C,...].

    Channel i sums those from i - size//2 to i + (size - 1)//2, as far as they exist. Formula and
    defaults are AlexNet's (Krizhevsky et al., 2012); `alpha_over_size` divides alpha by the size,
    as PyTorch does, whose default k is 1.
    """

    def __init__(
        self,
        size: int = 5,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 2.0,
        alpha_over_size: bool = False,
    ) -> None:
        name = "LocalResponseNorm"
        self.size = whole(name, "size", size, 1)
        self.alpha = number(name, "alpha", alpha, 0.0, INFINITY)
        self.beta = number(name, "beta", beta, 0.0, INFINITY)
        self.k = number(name, "k", k, 0.0, INFINITY)
        self.alpha_over_size = flag(name, "alpha_over_size", alpha_over_size)

    def apply(self, x: Tensor) -> Tensor:
        """The normalised traced `x`, of the same type."""
        _channels(self, x)
        return _local_response_norm(
            x,
            size=self.size,
            alpha=self.alpha,
            beta=self.beta,
            k=self.k,
            alpha_over_size=self.alpha_over_size,
        )

    def __repr__(self) -> str:
        changed: dict[str, tuple[object, object]] = {
            "size": (self.size, 5),
            "alpha": (self.alpha, 1e-4),
            "beta": (self.beta, 0.75),
            "k": (self.k, 2.0),
            "alpha_over_size": (self.alpha_over_size, False),
        }
        return "LocalResponseNorm" + arguments_text((), changed)


class LocalContrastNorm(Layer):
    """Each pixel of [N,C,H,W] less the mean around it, over the deviation around it.

    v = x - m and v / max(s, c, eps): m and s^2 are weighted means of x and of v^2 over the window
    (a number or (vertical, horizontal), odd) and over all maps, or with ``across_maps=False`` over
    each map alone; c is the mean of s over the image. Weights are a Gaussian of deviation `sigma`,
    by default a quarter of its height; `inf` makes them alike. Window 9 and c are Jarrett et al.'s
    ("What is the best multi-stage architecture for object recognition?", 2009), sigma and eps those
    of Torch's SpatialContrastiveNormalization and its image.gaussian. With ``standard_score=True``
    it is (x - m) / max(deviation of x in the window, eps). Where nothing varies the result is 0,
    and the gradient finite.
    """

    def __init__(
        self,
        window: Pair = 9,
        sigma: float | None = None,
        across_maps: bool = True,
        standard_score: bool = False,
        eps: float = 1e-4,
    ) -> None:
        name = "LocalContrastNorm"
        self.window = pair(name, "window", window, 1)
        self.sigma = None if sigma is None else _above_zero(name, "sigma", sigma)
        self.across_maps = flag(name, "across_maps", across_maps)
        self.standard_score = flag(name, "standard_score", standard_score)
        self.eps = _above_zero(name, "eps", eps)

    def apply(self, x: Tensor) -> Tensor:
        """The normalised traced `x`, of the same type."""
        channels_of(self, x, IMAGES, "normalise before Flatten")
        return _local_contrast_norm(
            x,
            window=self.window,
            sigma=self.sigma,
            across_maps=self.across_maps,
            standard_score=self.standard_score,
            eps=self.eps,
        )

    def __repr__(self) -> str:
        changed: dict[str, tuple[object, object]] = {
            "window": (shown(self.window), "9"),
            "sigma": (self.sigma, None),
            "across_maps": (self.across_maps, True),
            "standard_score": (self.standard_score, False),
            "eps": (self.eps, 1e-4),
        }
        return "LocalContrastNorm" + arguments_text((), changed)


def _channels(layer: Layer, x: Tensor) -> int:
    """The channels of a float [N,C,...]."""
    extents = [d for d in x.shape[1:] if isinstance(d, int)]
    if not extents or len(extents) < len(x.shape) - 1 or not x.dtype.is_float:
        raise GraphcError(
            f"{type(layer).__name__}: the input {x.type} has no channels on axis 1",
            node=repr(layer),
            remedy="give a float tensor [N,channels,...]",
        )
    return extents[0]


def _above_zero(layer: str, argument: str, value: float) -> float:
    """`value` as a float above 0, infinity included."""
    if isinstance(value, bool) or not isinstance(value, float | int) or not value > 0:
        raise GraphcError(
            f"{layer}: {argument} {value!r} is not a number above 0",
            remedy=f"give {argument} above 0",
        )
    return float(value)


def _options(eps: float, affine: bool, usual: bool) -> dict[str, tuple[object, object]]:
    return {"eps": (eps, 1e-5), "affine": (affine, usual)}


def _along_channels(vector: Tensor, x: Tensor) -> Tensor:
    return Tensor(views.broadcast(vector.node, shape=x.shape, axes=(1,)))


def _count(x: Tensor) -> Tensor:
    """How many elements a channel has, as a scalar of x's dtype."""
    fixed, batched = counted(x.node, [a for a in range(len(x.shape)) if a != 1])
    constant = Tensor(full(float(fixed), dtype=x.dtype))
    return Tensor(batch_size(dtype=x.dtype)) * constant if batched else constant

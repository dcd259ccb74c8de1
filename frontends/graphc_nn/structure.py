"""Layers that lead tensors around: reshape, pad, crop, enlarge, add to and join.

They own no parameters; `Residual` and `Concat` hold layers that may.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from graphc.base.errors import GraphcError
from graphc.ir.types import Batch, DType
from graphc.ops import contractions, views
from graphc.ops.create import iota
from graphc.tracing.tensor import Tensor, function
from graphc.tracing.trace import Owner, inside
from graphc_nn import functional
from graphc_nn.arguments import Pair, arguments_text, number, padding4, pair, shown, whole
from graphc_nn.module import Layer, Module, layers_of, owners, short
from graphc_nn.parameters import IMAGES, channels_of

Body = Callable[[Tensor], Tensor]
MODES = ("nearest", "bilinear")

_flatten = function(views.flatten)
_conv2d_input_grad = function(contractions.conv2d_input_grad)


class Identity(Layer):
    """Its input, unchanged."""

    def apply(self, x: Tensor) -> Tensor:
        """The traced `x` itself."""
        return x

    def __repr__(self) -> str:
        return "Identity()"


class Flatten(Layer):
    """All axes but the first joined into one: [N,...] to [N,inputs]."""

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,...] -> [N,inputs]."""
        if len(x.shape) < 2:
            raise GraphcError(
                f"Flatten: {x.type} has nothing but its first axis",
                remedy="give a tensor of at least two axes",
            )
        return _flatten(x)

    def __repr__(self) -> str:
        return "Flatten()"


class Reshape(Layer):
    """The same elements of each sample under another shape: [N,...] to [N,*shape].

    One extent may be -1, which is what is left. Raises GraphcError for extents that are not whole
    numbers; when traced, if the elements do not fit the shape.
    """

    def __init__(self, *shape: int) -> None:
        self.shape = tuple(whole("Reshape", "extent", d, -1) for d in shape)
        if self.shape.count(-1) > 1 or 0 in self.shape:
            raise GraphcError(
                f"Reshape: {self.shape} is no shape",
                remedy="give extents above 0, at most one of them -1",
            )

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,...] -> [N,*shape]."""
        if not x.shape:
            raise GraphcError(f"Reshape: {x.type} has no axes", remedy="give a tensor [N,...]")
        later = [axis for axis, d in enumerate(x.shape) if isinstance(d, Batch) and axis]
        if later:
            raise GraphcError(
                f"Reshape: axis {later[0]} of {x.type} is the batch", remedy="put N first"
            )
        elements = math.prod(x.type.concrete(1)[1:])
        known = math.prod(d for d in self.shape if d != -1)
        rest = -1 in self.shape
        if elements % known if rest else elements != known:
            wanted = f"a multiple of {known}" if rest else known
            raise GraphcError(
                f"Reshape: each sample of {x.type} has {elements} elements, the shape "
                f"{self.shape} {wanted}",
                remedy="keep the number of elements; the batch is no part of the shape",
            )
        return functional.reshape(x, shape=(x.shape[0], *self.shape))

    def __repr__(self) -> str:
        return f"Reshape({', '.join(map(str, self.shape))})"


class Pad(Layer):
    """[N,C,H,W] with `value` put around: (top, bottom, left, right), (vertical, horizontal) or one
    number of pixels for all sides.

    Raises GraphcError for arguments out of range; when traced, for an input that is no image.
    """

    def __init__(self, padding: Pair, value: float = 0.0) -> None:
        self.padding = padding4("Pad", padding)
        self.value = number("Pad", "value", value, -math.inf, math.inf)

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,C,H,W] -> [N,C,top + H + bottom,left + W + right]."""
        channels_of(self, x, IMAGES, "pad images, before Flatten")
        top, bottom, left, right = self.padding
        low, high = (0, 0, top, left), (0, 0, bottom, right)
        return functional.pad(x, low=low, high=high, value=self.value)

    def __repr__(self) -> str:
        return "Pad" + arguments_text((shown(self.padding),), {"value": (self.value, 0.0)})


class Crop(Layer):
    """[N,C,H,W] without its edges: (top, bottom, left, right), (vertical, horizontal) or one number
    of pixels for all sides.

    Raises GraphcError for arguments out of range; when traced, for an input that is no image or of
    which nothing would be left.
    """

    def __init__(self, margin: Pair) -> None:
        self.margin = padding4("Crop", margin, "margin")

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,C,H,W] -> [N,C,H - top - bottom,W - left - right]."""
        channels_of(self, x, IMAGES, "crop images, before Flatten")
        top, bottom, left, right = self.margin
        height, width = x.type.concrete(1)[2:]
        if top + bottom >= height or left + right >= width:
            raise GraphcError(
                f"Crop: nothing is left of {height}x{width} without the margin "
                f"{shown(self.margin)}: {height - top - bottom}x{width - left - right}",
                remedy="use a smaller margin, or a larger input",
            )
        return functional.pad(x, low=(0, 0, -top, -left), high=(0, 0, -bottom, -right))

    def __repr__(self) -> str:
        return f"Crop({shown(self.margin)})"


class Upsample(Layer):
    """[N,C,H,W] enlarged by whole numbers: scale is a number or (vertical, horizontal).

    mode "nearest" repeats each pixel; "bilinear" interpolates between pixels' middles, those
    outside being those at the edge (PyTorch's align_corners=False). Raises GraphcError for
    arguments out of range; when traced, for an input that is no image.
    """

    def __init__(self, scale: Pair, mode: str = "nearest") -> None:
        self.scale = pair("Upsample", "scale", scale, 1)
        self.mode = mode
        if mode not in MODES:
            raise GraphcError(
                f"Upsample: mode {mode!r}", remedy='use mode="nearest" or mode="bilinear"'
            )

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,C,H,W] -> [N,C,H * vertical,W * horizontal]."""
        channels = channels_of(self, x, IMAGES, "enlarge images, before Flatten")
        if self.scale == (1, 1):
            return x
        height, width = x.type.concrete(1)[2:]
        size = height * self.scale[0], width * self.scale[1]
        if self.mode == "bilinear":
            return self._bilinear(x, channels, size)
        spread = (x.shape[0], channels, height, self.scale[0], width, self.scale[1])
        repeated = functional.broadcast(x, shape=spread, axes=(0, 1, 2, 4))
        return functional.reshape(repeated, shape=(x.shape[0], channels, *size))

    def _bilinear(self, x: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
        """Each pixel spread as a hat, a transposed convolution, over what the hats add up to.

        The hats add up to 1 but where one from outside is missing: there the edge takes its share.
        """
        hats = [_hat(scale, axis, x.dtype) for axis, scale in enumerate(self.scale, 2)]
        weight = functional.broadcast(
            hats[0] * hats[1], shape=(channels, 1, hats[0].shape[2], hats[1].shape[3])
        )
        vertical, horizontal = (s // 2 for s in self.scale)
        y = _conv2d_input_grad(
            x,
            weight,
            size=size,
            stride=self.scale,
            padding=(vertical, vertical, horizontal, horizontal),
            groups=channels,
        )
        for axis, (scale, extent) in enumerate(zip(self.scale, size, strict=True), 2):
            y = y / _sum_of_hats(scale, extent, axis, x.dtype)
        return y

    def __repr__(self) -> str:
        return "Upsample" + arguments_text(
            (shown(self.scale),), {"mode": (repr(self.mode), "'nearest'")}
        )


def _hat(scale: int, axis: int, dtype: DType) -> Tensor:
    """1 - |distance| / scale at the outputs that a pixel reaches, along `axis` of four."""
    extent = 2 * scale - scale % 2
    middle = (extent - 1) / 2
    return 1.0 - abs(_positions(extent, axis, dtype) - middle) / float(scale)


def _sum_of_hats(scale: int, extent: int, axis: int, dtype: DType) -> Tensor:
    """What the hats of all pixels add up to at each output along `axis` of four."""
    at = _positions(extent, axis, dtype)
    from_low, from_high = at + 0.5, (extent - 0.5) - at
    nearest = functional.minimum(from_low, from_high)
    return functional.minimum(nearest / float(scale) + 0.5, 1.0)


def _positions(extent: int, axis: int, dtype: DType) -> Tensor:
    shape = tuple(extent if a == axis else 1 for a in range(4))
    return Tensor(iota(axis=axis, shape=shape, dtype=dtype))


class Residual(Module):
    """body(x) + shortcut(x); the shortcut is x itself if left out.

    He et al., "Deep residual learning for image recognition", 2015; the activation behind the sum
    is a layer of its own. Its layers are named "body" and "shortcut". Raises GraphcError if one
    cannot be called; when traced, if the two results differ in type.
    """

    def __init__(self, body: Body, shortcut: Body | None = None) -> None:
        layers_of("Residual", (body,) if shortcut is None else (body, shortcut))
        self.body, self.shortcut = body, shortcut

    def __call__(self, x: Tensor) -> Tensor:
        y = _inside(self.body, x, "body")
        across = x if self.shortcut is None else _inside(self.shortcut, x, "shortcut")
        with inside(self, self.location):
            if y.type != across.type:
                raise GraphcError(
                    f"Residual: the body gives {y.type}, the shortcut {across.type}",
                    node=short(self),
                    location=self.location,
                    remedy="give both the same shape: pad in the body, or put a Conv(features, 1, "
                    "stride) on the shortcut",
                )
            return y + across

    def __repr__(self) -> str:
        return (
            f"Residual({', '.join(short(b) for b in (self.body, self.shortcut) if b is not None)})"
        )


class Concat(Module):
    """The results of all branches for one input, joined along channels (axis 1), as in Inception.

    Szegedy et al., "Going deeper with convolutions", 2014. The branches are named "0", "1", ...
    Raises GraphcError if one cannot be called; when traced, if results differ beside axis 1.
    """

    def __init__(self, *branches: Body) -> None:
        self.branches = layers_of("Concat", branches)
        if not branches:
            raise GraphcError("Concat: no branches", remedy="give at least one layer")

    def children(self) -> Iterator[tuple[str, Owner]]:
        """The branches that are modules, named by their position."""
        for position, branch in enumerate(self.branches):
            yield from owners(str(position), branch)

    def __call__(self, x: Tensor) -> Tensor:
        found = [_inside(b, x, f"branch {k}") for k, b in enumerate(self.branches)]
        with inside(self, self.location):
            return functional.concat(*found, axis=1)

    def __repr__(self) -> str:
        return f"Concat({', '.join(map(short, self.branches))})"


def _inside(body: Body, x: Tensor, role: str) -> Tensor:
    """``body(x)``; an error inside says where it is. Raises GraphcError for no tensor."""
    try:
        found = body(x)
    except GraphcError as error:
        raise error.within(f"{role} ({short(body)})") from error.__cause__
    if not isinstance(found, Tensor):
        raise GraphcError(
            f"the {role} returned {type(found).__name__}, not a traced tensor",
            node=short(body),
            remedy="return one traced tensor",
        )
    return found

"""Dense layers: every output reads every input. A weight is (features, inputs), as in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

from graphc.base.errors import GraphcError
from graphc.ops import views
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import Initializer, Owner, current_trace
from graphc_nn import initializers
from graphc_nn.arguments import arguments_text, flag, initializer, whole
from graphc_nn.module import Layer
from graphc_nn.parameters import MATRIX, biased, channels_of, weight_of


class Dense(Layer):
    """y = x W^T + b on [N,inputs], giving [N,features].

    Parameters ``weight`` [features,inputs] and ``bias`` [features]. Raises GraphcError for
    arguments out of range; when traced, for an input that is not a matrix.
    """

    def __init__(
        self,
        features: int,
        bias: bool = True,
        *,
        weight_initializer: Initializer | None = None,
        bias_initializer: Initializer | None = None,
    ) -> None:
        self.features = whole("Dense", "features", features, 1)
        self.bias = flag("Dense", "bias", bias)
        self.weight_initializer = initializer("Dense", "weight_initializer", weight_initializer)
        self.bias_initializer = initializer("Dense", "bias_initializer", bias_initializer)

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,inputs] -> [N,features]."""
        inputs = channels_of(self, x, MATRIX, "put Flatten() before Dense")
        weight = weight_of(self, (self.features, inputs), x, self.weight_initializer)
        y = x @ weight.T
        drawn = self.bias_initializer or initializers.torch_bias(inputs)
        return biased(self, y, drawn) if self.bias else y

    def __repr__(self) -> str:
        return "Dense" + arguments_text((self.features,), {"bias": (self.bias, True)})


class RBF(Layer):
    """Radial basis functions: the squared distance of [N,inputs] to each centre, [N,features].

    y_j = sum over i of (x_i - w_ji)^2. Parameter ``weight`` [features,inputs], the centres, -1 or 1
    at random. LeNet-5's output layer is one whose centres are not trained: freeze them. LeCun et
    al., "Gradient-based learning applied to document recognition", 1998. Raises GraphcError for
    arguments out of range; when traced, for an input that is not a matrix.
    """

    def __init__(self, features: int, *, weight_initializer: Initializer | None = None) -> None:
        self.features = whole("RBF", "features", features, 1)
        self.weight_initializer = initializer("RBF", "weight_initializer", weight_initializer)

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,inputs] -> [N,features]."""
        inputs = channels_of(self, x, MATRIX, "put Flatten() before RBF")
        drawn = self.weight_initializer or initializers.signs
        centres = weight_of(self, (self.features, inputs), x, drawn)
        shape = (x.shape[0], self.features, inputs)
        away = Tensor(views.broadcast(x.node, shape=shape, axes=(0, 2))) - centres
        return (away * away).sum(axes=2)

    def __repr__(self) -> str:
        return f"RBF({self.features})"


class TiedDense(Layer):
    """y = x W + b on [N,features], giving [N,inputs]: the way back through a `Dense` encoder.

    W is the encoder's weight [features,inputs], one parameter for both, so its gradient is the sum
    of both uses. The only parameter of its own is ``bias`` [inputs]. Raises GraphcError if the
    encoder is no Dense; when traced, if the encoder has not been called before, or the input is not
    what it gives.
    """

    def __init__(
        self, encoder: Dense, bias: bool = True, *, bias_initializer: Initializer | None = None
    ) -> None:
        if not isinstance(encoder, Dense):
            raise GraphcError(
                f"TiedDense: the encoder is {encoder!r}, not a Dense",
                remedy="give the Dense layer whose weight is to be shared",
            )
        self.encoder = encoder
        self.bias = flag("TiedDense", "bias", bias)
        self.bias_initializer = initializer("TiedDense", "bias_initializer", bias_initializer)

    def children(self) -> Iterator[tuple[str, Owner]]:
        """None: the encoder belongs to the network it is in, and names its weight."""
        return iter(())

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,features] -> [N,inputs]."""
        features = channels_of(self, x, MATRIX, "put Flatten() before TiedDense")
        weight = current_trace().found(self.encoder, "weight")
        if weight is None:
            raise GraphcError(
                f"TiedDense: the encoder {self.encoder!r} has not been called yet",
                remedy="call the encoder first, in the same network",
            )
        if features != weight.shape[0]:
            raise GraphcError(
                f"TiedDense: the input {x.type} does not have the encoder's {weight.shape[0]} "
                "features",
                remedy="feed what the encoder gives, or a tensor of its size",
            )
        y = x @ weight
        drawn = self.bias_initializer or initializers.torch_bias(features)
        return biased(self, y, drawn) if self.bias else y

    def __repr__(self) -> str:
        return "TiedDense" + arguments_text((self.encoder,), {"bias": (self.bias, True)})

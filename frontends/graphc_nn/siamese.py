"""Siamese networks: two inputs through one and the same network."""

from __future__ import annotations

from collections.abc import Callable

from graphc.base.errors import GraphcError
from graphc.tracing.tensor import Tensor
from graphc_nn import functional
from graphc_nn.arguments import flag
from graphc_nn.module import Module


class Siamese(Module):
    """A pair of inputs to a pair of embeddings [N,features] by one network, or to their distance.

    net: gives one embedding of one input; its parameters "net...." are shared, so their gradients
    are the sums of both uses. distance: return the Euclidean distance [N] instead of the two.
    Trained with the loss "contrastive" on `gc.data.pairs`. Bromley et al., "Signature verification
    using a 'Siamese' time delay neural network", 1993. Raises GraphcError if `net` cannot be
    called.
    """

    def __init__(self, net: Callable[[Tensor], Tensor], distance: bool = False) -> None:
        if isinstance(net, type) or not callable(net):
            raise GraphcError(
                f"Siamese: {net!r} is no network", remedy="give a module, such as Sequential(...)"
            )
        self.net = net
        self.distance = flag("Siamese", "distance", distance)

    def __call__(self, first: Tensor, second: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        a, b = self.net(first), self.net(second)
        return functional.pair_distance(a, b) if self.distance else (a, b)

    def __repr__(self) -> str:
        return f"Siamese({self.net!r}{', distance=True' if self.distance else ''})"

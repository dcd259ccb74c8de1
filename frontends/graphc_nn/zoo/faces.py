"""Networks that learn to tell faces apart: DeepID and Pyramid CNN.

Knows layers, nothing of training.
"""

from __future__ import annotations

from collections.abc import Iterator

import graphc_nn as nn
from graphc.base.errors import GraphcError
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import Owner

WIDTHS = (16, 32, 64)
NUMBERS = 8


class DeepID(nn.Module):
    """DeepID: [N,1,39,31] to one logit for each identity.

    Its 160 features read both the third pooling and the fourth convolution, so that little is lost
    on the way. Weights of the third convolution are shared within blocks of 2x2, of the fourth not
    at all.
    """

    def __init__(self, identities: int) -> None:
        self.lower = nn.Sequential(
            nn.Conv(20, 4),
            nn.ReLU(),
            nn.MaxPool(2),
            nn.Conv(40, 3),
            nn.ReLU(),
            nn.MaxPool(2),
            nn.LocallyConnected(60, 3, block=2),
            nn.ReLU(),
            nn.MaxPool(2),
        )
        self.upper = nn.Sequential(nn.LocallyConnected(80, 2), nn.ReLU())
        self.features = nn.Sequential(nn.Dense(160), nn.ReLU())
        self.identity = nn.Dense(identities)

    def __call__(self, x: Tensor) -> Tensor:
        third = self.lower(x)
        both = [nn.functional.flatten(part) for part in (third, self.upper(third))]
        return self.identity(self.features(nn.functional.concat(*both, axis=1)))


class PyramidBranch(nn.Module):
    """A face patch [N,1,H,W] to 8 numbers: stages that filter and halve it, then the numbers.

    stages and head: its parts by name, for `nn.pretrain_pairs`, which trains one stage after the
    other, each under a head of its own.
    """

    def __init__(self, stages: int) -> None:
        if stages not in range(1, len(WIDTHS) + 1):
            raise GraphcError(
                f"pyramid_cnn: stages is {stages!r}",
                remedy=f"give a number from 1 to {len(WIDTHS)}",
            )
        self.stages = {
            f"stage{k}": nn.Sequential(nn.Conv(width, 3, padding=1), nn.Tanh(), nn.MaxPool(2))
            for k, width in enumerate(WIDTHS[:stages], 1)
        }
        self.head = {"numbers": nn.Sequential(nn.Flatten(), nn.Dense(NUMBERS))}

    def children(self) -> Iterator[tuple[str, Owner]]:
        """The parts under their names."""
        yield from (self.stages | self.head).items()

    def __call__(self, x: Tensor) -> Tensor:
        for part in (self.stages | self.head).values():
            x = part(x)
        return x


def deepid(identities: int = 10_000) -> DeepID:
    """DeepID for 1x39x31 images and 10,000 identities: 1,869,460 parameters.

    Sun, Wang and Tang, "Deep learning face representation from predicting 10,000 classes", 2014.
    """
    return DeepID(identities)


def pyramid_cnn(stages: int = len(WIDTHS)) -> nn.Siamese:
    """Pyramid CNN for pairs of 1x32x32 patches: 31,496 parameters.

    Fan et al., "Learning deep face representation", 2014: 8 numbers say who it is. Both patches go
    through one branch, whose stages have 16, 32 and 64 maps; with fewer `stages` it is a level of
    its greedy training, for patches of 4 * 2**stages pixels a side.
    """
    return nn.Siamese(PyramidBranch(stages))

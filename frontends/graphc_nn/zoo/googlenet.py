"""GoogLeNet: nine inception modules, and two classifiers on the way that help to train it.

Szegedy et al., "Going deeper with convolutions", 2014. Knows layers, nothing of training.
"""

from __future__ import annotations

from collections.abc import Iterator

import graphc_nn as nn
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import Owner, current_trace

POOL = None
ROWS: tuple[tuple[int, int, int, int, int, int] | None, ...] = (
    (64, 96, 128, 16, 32, 32),  # 3a
    (128, 128, 192, 32, 96, 64),
    POOL,
    (192, 96, 208, 16, 48, 64),  # 4a
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),  # 4d
    (256, 160, 320, 32, 128, 128),
    POOL,
    (256, 160, 320, 32, 128, 128),  # 5a
    (384, 192, 384, 48, 128, 128),
)
READ_BY_HEADS = (3, 6)


class Inception(nn.Module):
    """Four branches on one image, joined along the channels: 1x1, 3x3, 5x5, and pooling.

    Each takes [N,C,H,W] to [N,its features,H,W]. a: features of the first; b, c: (between, after)
    of the second and third, which narrow the image by 1x1 first; d: of the last.
    """

    def __init__(self, a: int, b: tuple[int, int], c: tuple[int, int], d: int) -> None:
        self.a = _conv(a, 1)
        self.b = nn.Sequential(_conv(b[0], 1), _conv(b[1], 3))
        self.c = nn.Sequential(_conv(c[0], 1), _conv(c[1], 5))
        self.d = nn.Sequential(nn.MaxPool(3, stride=1, padding=1), _conv(d, 1))

    def __call__(self, x: Tensor) -> Tensor:
        return nn.functional.concat(self.a(x), self.b(x), self.c(x), self.d(x), axis=1)


class GoogLeNet(nn.Module):
    """GoogLeNet with its auxiliary classifiers.

    In training it returns the logits of three classifiers, (last, after 4a, after 4d); in
    evaluation the last's alone. Parameters of the trunk have the names that they have without
    classifiers on the way; those of the others begin with "auxiliary.0" and "auxiliary.1".
    """

    def __init__(self, trunk: nn.Sequential, heads: dict[int, nn.Sequential]) -> None:
        self.trunk = trunk
        self.heads = heads

    def children(self) -> Iterator[tuple[str, Owner]]:
        """The trunk's layers by their position in it, and the auxiliary classifiers."""
        yield from self.trunk.children()
        for position, head in enumerate(self.heads.values()):
            yield f"auxiliary.{position}", head

    def __call__(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        found = []
        for position, layer in enumerate(self.trunk):
            x = layer(x)
            if position in self.heads and current_trace().training:
                found.append(self.heads[position](x))
        return (x, *found) if found else x


def googlenet(auxiliary: bool = False, classes: int = 1000) -> nn.Sequential | GoogLeNet:
    """GoogLeNet for 3x224x224 images and 1000 classes: 6,998,552 parameters.

    auxiliary: with the two classifiers on the way, 13,378,280 parameters; in training it then has
    three outputs, whose losses count 1, 0.3 and 0.3. They need images of at least 80x80.
    """
    front = (
        nn.Conv(64, 7, stride=2, padding=3),
        nn.ReLU(),
        _pool(),
        nn.LocalResponseNorm(alpha_over_size=True, k=1.0),
        nn.Conv(64, 1),
        nn.ReLU(),
        nn.Conv(192, 3, padding=1),
        nn.ReLU(),
        nn.LocalResponseNorm(alpha_over_size=True, k=1.0),
        _pool(),
    )
    modules = [
        _pool() if row is POOL else Inception(row[0], row[1:3], row[3:5], row[5]) for row in ROWS
    ]
    end = (nn.GlobalAvgPool(), nn.Flatten(), nn.Dropout(0.4), nn.Dense(classes))
    trunk = nn.Sequential(*front, *modules, *end)
    if not auxiliary:
        return trunk
    return GoogLeNet(trunk, {len(front) + row: _head(classes) for row in READ_BY_HEADS})


def _conv(features: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv(features, kernel, padding=kernel // 2), nn.ReLU())


def _pool() -> nn.MaxPool:
    return nn.MaxPool(3, stride=2, ceil_mode=True)


def _head(classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.AvgPool(5, stride=3),
        *_conv(128, 1),
        nn.Flatten(),
        nn.Dense(1024),
        nn.ReLU(),
        nn.Dropout(0.7),
        nn.Dense(classes),
    )

"""How ``graphc train NAME`` trains each network of the zoo: one frozen record each.

LeNet-5's were chosen on the shipped digits as the fewest epochs at which the mean test accuracy
over seeds 0-4 has settled above 98 %; the others are plain choices that learn. Knows names of
networks, not their layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from graphc.train.dataset import Dataset
from graphc.train.digits import digits
from graphc.train.optim import SGD, Adam, Optimizer


@dataclass(frozen=True)
class Recipe:
    """Optimiser, length and data of one training. `data` gives (train, test)."""

    optimizer: Optimizer
    epochs: int
    batch_size: int
    data: Callable[[], tuple[Dataset, Dataset]]


LENET5_OPTIMIZER = SGD(0.1, momentum=0.9, nesterov=True)
LENET5_EPOCHS = 8
BATCH_SIZE = 64

RECIPES: dict[str, Recipe] = {
    "lenet5": Recipe(LENET5_OPTIMIZER, LENET5_EPOCHS, BATCH_SIZE, digits),
    "lenet5_original": Recipe(Adam(1e-3), 16, BATCH_SIZE, digits),
    "mlp": Recipe(SGD(0.1, momentum=0.9), 8, BATCH_SIZE, partial(digits, 3, size=28)),
    "cifar_small": Recipe(SGD(0.05, momentum=0.9), 8, BATCH_SIZE, partial(digits, 4, channels=3)),
    "mcdnn": Recipe(SGD(0.1, momentum=0.9), 8, BATCH_SIZE, partial(digits, 3, size=29)),
    "tf_tutorial": Recipe(SGD(0.05, momentum=0.9), 6, BATCH_SIZE, partial(digits, 3, size=28)),
    "autoencoder": Recipe(Adam(1e-3), 10, BATCH_SIZE, partial(digits, 3, size=28)),
}

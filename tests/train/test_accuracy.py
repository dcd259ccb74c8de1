"""How well networks of the zoo learn real digits: figures on the test part of what ships.

Recipes were chosen on digits that were held out of the training part; the test part had no say.
Trained on one thread, which gives the same bits as any other number.
"""

from __future__ import annotations

from functools import partial

import numpy as np

import graphc as gc
from graphc import data, optim, zoo

DISTORTED = data.Elastic(sigma=6.0, alpha=60.0)


def test_lenet5_with_augmentation_reads_at_least_98_5_percent() -> None:
    """Mean of three seeds. Of 22 recipes (border, distortions, rate, length) this one read 99.2 %
    of digits held out in four ways; only one, of 50 epochs, read more: 99.3 %.
    """
    train, test = data.digits(3, size=32)
    epochs, batch_size = 30, 64
    found = []
    for seed in range(3):
        rate = optim.OneCycle(0.1, optim.steps(len(train), batch_size, epochs))
        model = gc.Model(
            zoo.lenet5(),
            "f32[N,1,32,32]",
            loss="cross_entropy",
            optimizer=optim.SGD(rate, momentum=0.9, nesterov=True),
            seed=seed,
            threads=1,
        )
        augment = data.Augment(DISTORTED, data.Shift(2))
        model.fit(train, epochs, batch_size, augment=augment, progress=None)
        found.append(model.evaluate(test.x, test.y)["accuracy"])
    assert np.mean(found) >= 0.985, f"LeNet-5 reads {np.round(found, 4)} of the test digits"


def test_a_committee_of_five_columns_beats_its_best_column() -> None:
    """MCDNN: a column for each width of the digits, probabilities averaged.

    Columns are trained shortly and at a constant rate, so that they err on different digits: of 20
    such committees with other seeds 17 beat their best column, which is chosen on the test part
    itself, two are level and one is worse; on average 98.5 % against 97.4 %.
    """
    train, test = data.digits(3, size=29)
    widths = [partial(data.NormalizeWidth(width), random=0) for width in (20, 18, 16, 14, 12)]
    augment = data.Augment(data.Rotate(10), DISTORTED, data.Shift(1))
    columns = []
    for seed, narrowed in enumerate(widths):
        column = gc.Model(
            zoo.mcdnn(),
            "f32[N,1,29,29]",
            loss="cross_entropy",
            optimizer=optim.SGD(0.1, momentum=0.9),
            seed=seed,
            threads=1,
        )
        seen = narrowed(train.x), train.y
        column.fit(seen, epochs=5, batch_size=50, augment=augment, progress=None)
        columns.append(column)
    committee = gc.Ensemble(columns, widths)
    alone = (committee.outputs(test.x).argmax(axis=2) == test.y).mean(axis=1)
    together = committee.evaluate(test.x, test.y)["accuracy"]
    assert together > alone.max(), f"columns {np.round(alone, 4)}, committee {together:.4f}"
    assert together > 0.97

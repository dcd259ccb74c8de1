"""A multi-column network: five columns see digits in five widths, and their outputs are averaged.

Each column is 1x29x29-20C4-MP2-40C5-MP3-150N-10N (Ciresan, Meier and Schmidhuber, 2012). What it
learns from is distorted anew in every epoch. The training is short and its rate does not fall, so
that columns are wrong about different digits: 17 of 20 committees, with other seeds, read more
digits than the column that was best on them. Writes mcdnn_committee.png.
"""

import sys
from functools import partial

import numpy as np

import graphc as gc
from graphc import data, optim, zoo
from graphc.inspect.pictures import save_images

small = "--small" in sys.argv
widths, epochs = ((18, 14), 2) if small else ((20, 18, 16, 14, 12), 5)

train, test = data.digits(3, size=29)
distort = data.Augment(data.Rotate(10), data.Elastic(sigma=6.0, alpha=60.0), data.Shift(1))
# Normalising the width draws nothing, so any seed is right.
prepare = [partial(data.NormalizeWidth(width), random=0) for width in widths]

columns = []
for seed, prepared in enumerate(prepare):
    column = gc.Model(
        zoo.mcdnn(),
        "f32[N,1,29,29]",
        loss="cross_entropy",
        optimizer=optim.SGD(0.1, momentum=0.9),
        seed=seed,
    )
    seen = prepared(train.x), train.y
    column.fit(seen, epochs, batch_size=50, augment=distort, progress=None)
    columns.append(column)

committee = gc.Ensemble(columns, prepare)
accuracies = (committee.outputs(test.x).argmax(axis=2) == test.y).mean(axis=1)
for width, accuracy in zip(widths, accuracies, strict=True):
    print(f"column of width {width}: {100 * accuracy:.1f} % of the test digits")
together = committee.evaluate(test.x, test.y)["accuracy"]
print(f"best column {100 * accuracies.max():.1f} %, committee {100 * together:.1f} %")

shown = np.concatenate([prepared(test.x[:8]) for prepared in prepare])
captions = [f"width {width}" for width in widths for _ in range(8)]
print(save_images("mcdnn_committee.png", shown, columns=8, captions=captions))

"""What unlabelled images are worth: a deep sigmoid network that learns from 100 labelled digits.

Once from random weights, and once from those of autoencoders that were trained one level after the
other on images without labels: each gives back, from a damaged copy, what the level below makes of
an image. Fine-tuning is the same for both. The share of masked pixels and the lengths were chosen
on a part of the training digits. Writes stacked_autoencoder.png.
"""

import sys

import numpy as np

import graphc as gc
from graphc import data, nn, optim, zoo
from graphc.inspect.pictures import save_curves

LABELS = 100
small = "--small" in sys.argv
seeds, levels, epochs = (1, 2, 8) if small else (3, 20, 40)  # epochs of each level, of the whole

train, test = data.digits(3, size=28)
curves = {"from random weights": [], "pretrained": []}
for seed in range(seeds):
    found = nn.pretrain(
        zoo.autoencoder(),
        train.x,
        nn.Pretraining(optim.Adam(1e-3), epochs=levels, seed=seed),
        noise=data.MaskingNoise(0.4),
    )
    labelled = np.random.default_rng(seed).permutation(len(train))[:LABELS]
    for start, accuracies in curves.items():
        model = gc.Model(
            zoo.autoencoder(),
            "f32[N,1,28,28]",
            loss="cross_entropy",
            optimizer=optim.Adam(1e-3),
            seed=seed,
        )
        if start == "pretrained":
            model.load_params(found.params, strict=False)  # all but the last layer's
        history = model.fit(
            train.take(labelled), epochs, batch_size=20, validation=test, progress=None
        )
        accuracies.append(history.validation_accuracy)
        print(f"seed {seed}, {start}: {100 * history.validation_accuracy[-1]:.1f} % of test digits")

means = {start: np.mean(accuracies, axis=0) for start, accuracies in curves.items()}
for start, mean in means.items():
    print(f"mean {start}: {100 * mean[-1]:.1f} %")
title = f"{LABELS} labels, mean of {seeds} seeds"
print(save_curves("stacked_autoencoder.png", means, x="epoch", y="test accuracy", title=title))

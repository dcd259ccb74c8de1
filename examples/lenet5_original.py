"""LeNet-5 as it was published in 1998, on the digits that ship with graphc.

C3 reads a table of 60 of 96 pairs of maps, S2 and S4 have a trained coefficient and bias for each
map, and the outputs are distances to a code of each digit. Cross entropy of minus the distances is
the paper's loss (its equation 9) without the constant e^-j, which only spares classes that are far
away already. The codes are random and stay fixed; those of the paper, fixed too, are drawn by hand.

Writes lenet5_original_filters.png and lenet5_original_hardest.png.
"""

import sys

import numpy as np

import graphc as gc
from graphc import data, optim, zoo
from graphc.inspect.pictures import save_images

LAYERS = {"0": "C1", "2": "S2", "4": "C3", "6": "S4", "8": "C5", "11": "F6", "13": "codes"}
BATCH = 64
small = "--small" in sys.argv
epochs = 4 if small else 30  # length and rate were chosen on a part of the training digits

train, test = data.digits(3, size=32)  # 24x24 pixels of digit in the middle of 32x32
change = data.Augment(data.Rotate(10), data.Scale(0.1), data.Shift(2))
rate = optim.OneCycle(0.002, optim.steps(len(train), BATCH, epochs))
model = gc.Model(
    zoo.lenet5_original(),
    "f32[N,1,32,32]",
    loss="cross_entropy",
    optimizer=optim.Adam(rate),
    frozen=("13.*",),
)
counts = dict.fromkeys(LAYERS.values(), 0)
for name, array in model.params.items():
    counts[LAYERS[name.partition(".")[0]]] += array.size
print(", ".join(f"{layer} {count:,}" for layer, count in counts.items()), "parameters")
print(f"{sum(counts.values()) - counts['codes']:,} are trained, as the paper says")

model.fit(train, epochs=epochs, batch_size=BATCH, augment=change)
distances = -model.predict(test.x)
said = distances.argmin(axis=1)
wrong = np.count_nonzero(said != test.y)
print(
    f"{wrong} of {len(test)} test digits are wrong: accuracy {100 * (said == test.y).mean():.1f} %"
)

# How much nearer the nearest wrong code is than the right one: what is wrong comes first.
right = distances[np.arange(len(test)), test.y]
others = np.where(np.arange(10) == test.y[:, None], np.inf, distances).min(axis=1)
hardest = np.argsort(others - right)[:24]
captions = [f"{test.y[k]}" + (f" as {said[k]}" if said[k] != test.y[k] else "") for k in hardest]
path = "lenet5_original_filters.png"
print(save_images(path, model.params["0.weight"], columns=6, title="what C1 has learnt"))
print(
    save_images(
        "lenet5_original_hardest.png",
        test.x[hardest],
        columns=8,
        captions=captions,
        title="the hardest test digits; wrong ones say what they were taken for",
    )
)

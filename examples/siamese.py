"""The same digit or not: two images through one network to 8 numbers each, compared by distance.

A small Pyramid CNN (Fan et al., 2014) is trained with the contrastive loss on pairs of digits: its
three stages one after the other, each on frozen ones and under a head of its own, then all of them
together. Whoever compares needs a threshold; it is the one that is best on the training pairs, for
the distance of the pixels too. Pairs of digits that were not trained on tell how good each is.
Writes siamese.png.
"""

import sys

import numpy as np

import graphc as gc
from graphc import data, losses, nn, optim, zoo
from graphc.inspect.pictures import save_curves

small = "--small" in sys.argv
COUNT, EPOCHS = (800, 3) if small else (4000, 4)

train, test = data.digits()
known = data.pairs(train.x, train.y, COUNT, seed=0)
fresh = data.pairs(test.x, test.y, 2000, seed=1)
loss = losses.Contrastive(alpha=1.0, beta=2.0)  # distances below 2 mean the same
net = zoo.pyramid_cnn()
model = gc.Model(net, ("f32[N,1,32,32]", "f32[N,1,32,32]"), loss, optim.Adam(1e-3))


def pixels(pair):
    """The distance of two images."""
    return np.linalg.norm((pair[0] - pair[1]).reshape(len(pair[0]), -1), axis=1)


def numbers(pair):
    """The distance of what the network makes of two images."""
    first, second = model.predict(pair)
    return np.linalg.norm(first - second, axis=1)


curves = {}


def verify(name, distance):
    """Prints the share of fresh pairs told right; notes both kinds of acceptance."""
    seen, found = distance(known.x), distance(fresh.x)
    thresholds = np.quantile(seen, np.linspace(0, 1, 101))
    shares = [((seen < t) == known.y).mean() for t in thresholds]
    right = ((found < thresholds[np.argmax(shares)]) == fresh.y).mean()
    print(f"{name:28} {100 * right:.1f} % of {len(found)} pairs right")
    places = np.quantile(found, np.linspace(0, 1, 41))
    curves[name] = tuple(
        [100 * (found[fresh.y == same] <= t).mean() for t in places] for same in (0, 1)
    )


verify("distance of the pixels", pixels)
verify("untrained", numbers)
branch, how = net.net, nn.Pretraining(optim.Adam(3e-3), epochs=EPOCHS)
levels = nn.pretrain_pairs(
    branch.stages, branch.head, train.x, train.y, how, count=COUNT, loss=loss
)
for name, history in zip(branch.stages, levels.histories, strict=True):
    print(f"{name}: loss " + " ".join(f"{epoch.loss:.3f}" for epoch in history.epochs))
model.load_params({f"net.{name}": array for name, array in levels.params.items()})
verify("stage by stage", numbers)
history = model.fit(known, epochs=EPOCHS, progress=None)
print("together: loss " + " ".join(f"{epoch.loss:.3f}" for epoch in history.epochs))
verify("then together", numbers)
axes = {"x": "different pairs taken for the same [%]", "y": "same pairs found [%]"}
print(save_curves("siamese.png", curves, **axes))

"""Transfer: what a network has learnt from the digits 0-4, used for 5-9 with five labels of each.

LeNet-5 is cut at a layer. What is below stays frozen under a new softmax layer or a linear support
vector machine, or learns on, more slowly than the new layer. The first layers are worth a little
more than ones that learn from the few labels themselves; higher ones have learnt what tells the old
digits apart (Yosinski et al., 2014). Writes transfer.png.
"""

import re
import sys

import numpy as np

import graphc as gc
from graphc import data, nn, optim, zoo
from graphc.inspect.pictures import save_curves

IMAGE = "f32[N,1,32,32]"
LABELS = 5
small = "--small" in sys.argv
cuts, seeds, epochs = ((7,), 1, 20) if small else ((7, 9, 11), 5, 60)


def digits_from(part, first):
    """The five digits from `first` on, as the classes 0-4."""
    chosen = (part.y >= first) & (part.y < first + 5)
    return data.Dataset(part.x[chosen], part.y[chosen] - first)


def trained(net, few, seed, learnt, **options):
    """A model of `net` that starts with what was learnt, trained on the few labelled images."""
    model = gc.Model(net, IMAGE, "cross_entropy", seed=seed, **options)
    if learnt:
        model.load_params(learnt, strict=False)
    model.fit(few, epochs, batch_size=10, progress=None)
    return model


def accuracy(predictor, x):
    """The share of right answers of a model or a support vector machine."""
    found = predictor.predict(x)
    return np.mean((found if found.ndim == 1 else found.argmax(1)) == test.y)


train, test = data.digits(3, size=32)
old, new, test = digits_from(train, 0), digits_from(train, 5), digits_from(test, 5)
samples = []
for seed in range(seeds):
    order = np.random.default_rng(seed).permutation(len(new))
    places = [order[new.y[order] == digit][:LABELS] for digit in range(5)]
    samples.append(new.take(np.concatenate(places)))

whole = nn.Sequential(*zoo.lenet5()[:-1], nn.Dense(5))
base = gc.Model(whole, IMAGE, "cross_entropy", optim.SGD(0.05, momentum=0.9))
base.fit(old, epochs=10, progress=None)
fresh = [trained(whole, few, k, {}, optimizer=optim.Adam(1e-3)) for k, few in enumerate(samples)]
scratch = np.mean([accuracy(model, test.x) for model in fresh])
print(f"{5 * LABELS} labels, from scratch: {100 * scratch:.1f} % of the test digits 5-9")

curves = {"frozen, softmax": [], "frozen, SVM": [], "fine-tuned": []}
for cut in cuts:
    features = gc.Model(whole[:cut], IMAGE)  # a part of a network is a network
    learnt = {name: base.params[name] for name in features.params}
    features.load_params(learnt)
    net = nn.Sequential(*whole[:cut], nn.Dense(5))
    slower = optim.Groups((f"{cut}.*", optim.Adam(3e-3)), ("*", optim.Adam(1e-3)))
    rows = []
    for seed, few in enumerate(samples):
        top = trained(net, few, seed, learnt, optimizer=optim.Adam(3e-3), frozen=list(learnt))
        tuned = trained(net, few, seed, learnt, optimizer=slower)
        svm = gc.LinearSVM(cost=0.1).fit(features.predict(few[0]), few[1])
        on_features = accuracy(svm, features.predict(test.x))
        rows.append([accuracy(top, test.x), on_features, accuracy(tuned, test.x)])
    for (name, means), mean in zip(curves.items(), np.mean(rows, axis=0), strict=True):
        means.append(mean)
        print(f"cut before layer {cut}, {name}: {100 * mean:.1f} %")
    for name, model in (("fine-tuned", tuned), ("frozen", top)):
        graph = model.graphs["train"]
        ops = sorted(set(re.findall(r"gradient of %?(\w+?)(?:_\d+)?\b", str(graph))))
        print(f"  training step, {name}: {len(graph)} nodes, gradients of {', '.join(ops)}")

curves = {name: (cuts, means) for name, means in curves.items()}
curves["from scratch"] = (cuts, [scratch] * len(cuts))
print(save_curves("transfer.png", curves, x="cut before layer", y="test accuracy"))

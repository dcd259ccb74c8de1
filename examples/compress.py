"""Dense layers cut to low ranks by singular value decomposition: what a weight less costs.

A dense layer of u x v weights becomes two of rank t, with t (u + v). One rank for all layers, an
energy to keep in each, or a budget that the layers share spend their weights in different ways;
three epochs of fine-tuning win back much of what was lost. Then the largest saving within half a
percentage point is looked for, on data that neither trains nor tests. Writes compress.png.
"""

import sys

import graphc as gc
from graphc import data, optim, zoo
from graphc.inspect.pictures import save_curves

small = "--small" in sys.argv
LAYERS = ["1", "3"]  # the last one, 10 x 128, has a break-even rank of 9.3: it stays as it is
CRITERIA = {
    "rank": (8,) if small else (2, 4, 8, 16),
    "energy": (0.2,) if small else (0.1, 0.2, 0.3, 0.5),
    "budget": (9_000,) if small else (6_000, 9_000, 12_000, 24_000),
}

images, test = data.digits(3, size=28)
train, validation = images.split(0.8, seed=0)
model = gc.Model(
    zoo.mlp(),
    "f32[N,1,28,28]",
    loss="cross_entropy",
    optimizer=optim.SGD(0.05, momentum=0.9, weight_decay=1e-3),
)
model.fit(train, epochs=8, batch_size=64, progress=None)
gentle = optim.SGD(0.01, momentum=0.9, weight_decay=1e-3)  # what is trained already moves less


def tune(lean):
    """Trains a model that was cut."""
    lean.fit(train, epochs=3, batch_size=64, progress=None)


def line(report):
    """What became of the model, in words."""
    ranks = " and ".join(str(layer.rank) for layer in report.layers)
    before, after = report.before.parameters, report.after.parameters
    return f"ranks {ranks}, {before:,} -> {after:,} parameters"


print(f"trained: {100 * model.evaluate(test.x, test.y)['accuracy']:.1f} %")
curves = {}
for name, values in CRITERIA.items():
    reports = [
        gc.compress(model, test, layers=LAYERS, optimizer=gentle, fine_tune=tune, **{name: value})[
            1
        ]
        for value in values
    ]
    for value, report in zip(values, reports, strict=True):
        accuracy, tuned = 100 * report.after.accuracy, 100 * report.fine_tuned
        print(f"{name} {value}: {line(report)}, {accuracy:.1f} %, fine-tuned {tuned:.1f} %")
    parameters = [r.after.parameters / 1000 for r in reports]
    curves[name] = parameters, [100 * r.after.accuracy for r in reports]
    curves[f"{name}, fine-tuned"] = parameters, [100 * r.fine_tuned for r in reports]

lean, report = gc.compress(model, validation, layers=LAYERS, accuracy_drop=0.005)
accuracy = 100 * lean.evaluate(test.x, test.y)["accuracy"]
print(f"half a point on other data: {line(report)}, {accuracy:.1f} %")
print(save_curves("compress.png", curves, x="thousand parameters", y="accuracy [%]"))

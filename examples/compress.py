"""Compress the dense layers of a trained network by truncated singular value decomposition."""

import graphc as gc
from graphc import data, optim, zoo
from graphc.passes.compress import compress_dense

train, test = data.digits(3, size=28)
model = gc.Model(
    zoo.mlp(),
    "f32[N,1,28,28]",
    loss="cross_entropy",
    optimizer=optim.SGD(0.05, momentum=0.9, weight_decay=1e-3),
)
model.fit(train, epochs=8, batch_size=64)


def accuracy(predictor):
    """The share of the test images that are classified right."""
    return (predictor.predict(test.x).argmax(1) == test.y).mean()


print(f"trained: {100 * accuracy(model):.1f} %")
# The last layer, 10 x 128, has a break-even rank of 9.3: it stays as it is.
for energy in (0.8, 0.6, 0.4, 0.2):
    graph, params, report = compress_dense(
        model.graphs["forward"], model.params, energy=energy, layers=["1", "3"]
    )
    small = gc.Model(graph)
    small.load_params(params)
    counts = report.to_dict()
    ranks = " and ".join(str(layer.rank) for layer in report.layers)
    print(
        f"energy {energy}: ranks {ranks}, {counts['before']:,} -> {counts['after']:,} weights, "
        f"{100 * accuracy(small):.1f} %"
    )

"""A network of your own on the digits that ship with graphc: train, test, save, load."""

import tempfile
from pathlib import Path

import numpy as np

import graphc as gc
from graphc import data, nn, optim

net = nn.Sequential(
    nn.Conv(8, 3, padding=1),  # input channels are inferred
    nn.ReLU(),
    nn.MaxPool(2),
    nn.Conv(16, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool(2),
    nn.Flatten(),
    nn.Dropout(0.2),
    nn.Dense(10),
)
train, test = data.digits(upsample=2)  # f32[n,1,16,16], labels i32[n]

model = gc.Model(
    net,
    "f32[N,1,16,16]",
    loss="cross_entropy",
    optimizer=optim.SGD(0.05, momentum=0.9, weight_decay=1e-4),
)
history = model.fit(train, epochs=6, batch_size=64, validation=test)
print(f"{history.samples_per_second:,.0f} images/s, compiling included")

found = model.evaluate(test.x, test.y)
print(f"test accuracy {100 * found['accuracy']:.1f} %")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "digits.safetensors"
    model.save(path)
    again = gc.load(path)  # the file holds the graph too: the network's code is not needed
    difference = np.abs(again.predict(test.x) - model.predict(test.x)).max()
print(f"loaded from its file, it differs by {difference}")

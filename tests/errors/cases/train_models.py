"""Models: what they are made of, trained on and saved to; losses, optimisers and schedules."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import losses, nn, optim
from graphc.tracing.trace import current_trace
from graphc.train import model_file, tensor_file
from graphc.train.rates import Rates

X, LABELS = np.ones((4, 3), np.float32), np.array([0, 1, 0, 1], np.int32)
DATA, MATRIX, IMAGE = (X, LABELS), "f32[N,3]", "f32[N,1,4,4]"
SGD, FALLING = optim.SGD(0.1), optim.SGD(optim.Exponential(0.1, 0.9))


def net() -> nn.Sequential:
    """A layer."""
    return nn.Sequential(nn.Dense(2))


def model(loss: Any = "cross_entropy", optimizer: Any = SGD, **options: Any) -> gc.Model:
    """A model of a layer."""
    return gc.Model(net(), MATRIX, loss, optimizer, "numpy", **options)


def fit(trained: gc.Model) -> Any:
    """One epoch, saved to the file "c"."""
    return trained.fit(DATA, 1, progress=None, checkpoint="c")


PAIRS = gc.Model(nn.Siamese(net()), (MATRIX, MATRIX), "contrastive")


class Twice(nn.Module):
    """Both results of two layers."""

    def __init__(self) -> None:
        self.layers = [nn.Dense(2), nn.Dense(3)]

    def __call__(self, x: nn.Tensor) -> tuple[nn.Tensor, ...]:
        return tuple(layer(x) for layer in self.layers)


class Remembering(nn.Module):
    """Keeps the last batch."""

    def __call__(self, x: nn.Tensor) -> nn.Tensor:
        return x + current_trace().state(self, "last", x.shape, nn.initializers.zeros)


def _loses_arrays(folder: Path) -> Any:
    fit(model())
    text, _, training = model_file.read("c")
    model_file.write("c", {}, text, training=training)
    return model().fit(DATA, 2, progress=None, checkpoint="c", resume=True)


def _without_tensorboard(folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorboardX", None)
        return model().fit(DATA, log="events")


def _full_disk(folder: Path) -> Any:
    def replace(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", replace)
        return model().save("saved")


CASES = (
    # models
    lambda folder: gc.Model(net(), MATRIX, "mse", 0.1),
    lambda folder: gc.Model(net(), MATRIX, None, SGD),
    lambda folder: gc.Model(net(), MATRIX, seed=-1),
    lambda folder: gc.Model(net(), MATRIX, "mse", frozen=("0.*",)),
    lambda folder: gc.Model(net(), MATRIX, "mse", SGD, frozen="0.*"),
    lambda folder: gc.Model(net(), MATRIX, "mse", SGD, frozen=("1.*",)),
    lambda folder: gc.Model(net(), MATRIX, "mse", SGD, frozen=("*",)),
    lambda folder: gc.Model(net(), MATRIX, "mse", SGD, clip_norm=0.0),
    lambda folder: gc.Model(net(), MATRIX, "mse", SGD, clip_norm=1.0, clip_value=1.0),
    lambda folder: gc.Model(net(), MATRIX, "mse", SGD, accumulate=0),
    lambda folder: gc.Model(gc.trace(net(), MATRIX), loss="mse"),
    lambda folder: gc.Model(nn.Dense, MATRIX),
    lambda folder: gc.Model(net(), 3),
    lambda folder: gc.Model(nn.Dense(2, weight_initializer=lambda s, g: g.random(3)), MATRIX),
    lambda folder: gc.Model(Remembering(), MATRIX),
    lambda folder: model(None, None).evaluate(X, LABELS),
    lambda folder: model(optimizer=None).step(X, LABELS),
    lambda folder: model().predict((X, X)),
    lambda folder: model().executable("forwards"),
    lambda folder: model().step(X * np.inf, LABELS),
    # parameters
    lambda folder: model().load_params([X, X[0]]),
    lambda folder: model().load_params({"1.weight": X}),
    lambda folder: model().load_params({"0.weight": X, "0.bias": X[0]}),
    lambda folder: model().load_params({"0.weight": X}, strict=False),
    # losses
    lambda folder: gc.Model(net(), MATRIX, "mae"),
    lambda folder: gc.Model(net(), MATRIX, lambda y, t: y.mean()),
    lambda folder: gc.Model(net(), MATRIX, lambda y, t: 1.0, SGD, target_type=MATRIX),
    lambda folder: gc.Model(Twice(), MATRIX, lambda y, t: y, SGD, target_type=MATRIX),
    lambda folder: gc.Model(Twice(), MATRIX, "mse"),
    lambda folder: gc.Model(nn.ReLU(), IMAGE, "cross_entropy"),
    lambda folder: model().step(X, (LABELS, LABELS)),
    lambda folder: model().step(X, LABELS[:, None]),
    lambda folder: model("hinge").step(X, LABELS * 0.5),
    lambda folder: model().step(X, LABELS + 1),
    lambda folder: losses.SmoothL1(beta=-1.0),
    lambda folder: losses.Hinge(form="cubed"),
    lambda folder: losses.Auxiliary(weights=()),
    lambda folder: gc.Model(Twice(), MATRIX, losses.Auxiliary()),
    lambda folder: gc.Model(Twice(), MATRIX, losses.Auxiliary("mse", (1.0, 0.3))),
    lambda folder: gc.Model(Twice(), MATRIX, "contrastive"),
    lambda folder: PAIRS.evaluate((X, X), LABELS + 1),
    lambda folder: gc.Model(net(), MATRIX, "multi_task"),
    # optimisers
    lambda folder: optim.SGD(momentum=1.0),
    lambda folder: optim.SGD(nesterov=True),
    lambda folder: optim.SGD(nesterov=1),
    lambda folder: optim.Adam(betas=0.9),
    lambda folder: optim.Groups(("0.*", 0.1)),
    lambda folder: optim.Groups(),
    lambda folder: gc.Model(net(), MATRIX, "mse", optim.Groups(("0.weight", SGD))),
    lambda folder: optim.MultiStep(0.1, at=(20, 10)),
    lambda folder: optim.Step(0.1, every=0),
    lambda folder: optim.Exponential(0.1, 0.9).restore({"best": 1.0}),
    lambda folder: Rates([optim.Group(("0.*",), FALLING)], X.dtype).restore([]),
    # training
    lambda folder: model().fit(DATA, -1),
    lambda folder: model().fit(DATA, batch_size=0),
    lambda folder: model().fit(DATA, checkpoint="c", checkpoint_every=0),
    lambda folder: model().fit(DATA, resume=True),
    lambda folder: model().fit(DATA, augment=3),
    lambda folder: model().fit(DATA, early_stopping=3),
    lambda folder: model().fit(DATA, progress="verbose"),
    lambda folder: model().fit(DATA, log=3),
    lambda folder: model().fit(DATA, progress=None, log="absent/run.jsonl"),
    lambda folder: [Path("run").touch(), model().fit(DATA, log="run/events")],
    _without_tensorboard,
    lambda folder: model().fit(((X, X), LABELS)),
    lambda folder: model().fit((X * np.nan, LABELS), progress=None),
    lambda folder: model(optimizer=optim.SGD(optim.Plateau(0.1))).fit(DATA),
    lambda folder: model().fit(DATA, early_stopping=gc.EarlyStopping()),
    lambda folder: gc.EarlyStopping(patience=0),
    lambda folder: gc.EarlyStopping(minimum_delta=-1.0),
    lambda folder: gc.EarlyStopping(monitor="speed"),
    # checkpoints
    lambda folder: model().fit(DATA, checkpoint=folder),
    lambda folder: model().fit(DATA, checkpoint="."),
    lambda folder: [model().fit(DATA, 1, progress=None, checkpoint="c") for _ in range(2)],
    lambda folder: [Path("c").touch(), model().fit(DATA, checkpoint="c", resume=True)],
    lambda folder: [model().save("c"), model().fit(DATA, checkpoint="c", resume=True)],
    lambda folder: [fit(model()), model().fit(DATA, 2, 2, checkpoint="c", resume=True)],
    lambda folder: [fit(model(optimizer=FALLING)), model().fit(DATA, checkpoint="c", resume=True)],
    _loses_arrays,
    # files
    _full_disk,
    lambda folder: gc.load("absent"),
    lambda folder: [Path("text").write_text("text"), gc.load("text")],
    lambda folder: [tensor_file.write("t", {"a": X}, {}), gc.load("t")],
    lambda folder: [tensor_file.write("t", {}, {"format": "graphc", "graph": ""}), gc.load("t")],
    lambda folder: tensor_file.write("t", {"a": X.astype(complex)}, {}),
)  # fmt: skip

"""Transfer: a trained network cut at a layer, its features, and new heads on them.

A network learns the ten digits; then 60 labels have to do for another question: odd or even?
"""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import data, nn, optim

IMAGES = "f32[N,1,8,8]"
HEAD = 5  # the position of the last layer
Pair = tuple[np.ndarray, np.ndarray]


def net(classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv(8, 3), nn.ReLU(), nn.Flatten(), nn.Dense(32), nn.Tanh(), nn.Dense(classes)
    )


def body() -> nn.Sequential:
    return net(10)[:HEAD]


@pytest.fixture(scope="module")
def trained() -> gc.Model:
    train, _ = data.digits(1)
    model = gc.Model(net(10), IMAGES, "cross_entropy", optim.Adam(3e-3), backend="numpy")
    model.fit((train.x[60:], train.y[60:]), epochs=4, progress=None)
    return model


@pytest.fixture(scope="module")
def features(trained) -> gc.Model:
    """The trained network without its last layer."""
    found = gc.Model(body(), IMAGES, backend="numpy")
    report = found.load_params(trained.params, strict=False)
    assert not report.missing and report.unknown == ("5.bias", "5.weight")
    return found


@pytest.fixture(scope="module")
def few() -> Pair:
    train, _ = data.digits(1)
    return train.x[:60], train.y[:60] % 2


@pytest.fixture(scope="module")
def held_out() -> Pair:
    _, test = data.digits(1)
    return test.x, test.y % 2


def test_features_are_what_the_last_layer_sees(trained, features, held_out) -> None:
    x = held_out[0]
    logits = features.predict(x) @ trained.params["5.weight"].T + trained.params["5.bias"]
    np.testing.assert_allclose(logits, trained.predict(x), rtol=1e-4, atol=1e-5)


def test_a_linear_svm_learns_more_from_trained_features(features, few, held_out) -> None:
    def reached(model: gc.Model) -> float:
        svm = gc.LinearSVM(0.1).fit(model.predict(few[0]), few[1])
        return gc.metrics.accuracy(svm.predict(model.predict(held_out[0])), held_out[1])

    random = gc.Model(body(), IMAGES, backend="numpy")
    assert reached(features) > 0.93
    assert reached(random) < 0.9


def test_a_new_head_on_a_frozen_body(trained, few, held_out) -> None:
    model = gc.Model(
        net(2), IMAGES, "cross_entropy", optim.Adam(1e-2), backend="numpy", frozen=("0.*", "3.*")
    )
    report = model.load_params(trained.params, strict=False)
    assert report.different == ("5.weight", "5.bias")
    model.fit(few, epochs=60, batch_size=20, progress=None)
    assert model.evaluate(*held_out)["accuracy"] > 0.9
    for name in report.loaded:
        np.testing.assert_array_equal(model.params[name], trained.params[name])

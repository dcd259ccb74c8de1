"""Compressing trained models within an accuracy drop or by a criterion, and training them on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim
from graphc.base.errors import GraphcError
from graphc.inspect import as_text
from graphc.train.compression import compress

Data = tuple[gc.data.Dataset, gc.data.Dataset]
DROP = 0.02


@pytest.fixture(scope="module")
def digits() -> Data:
    return gc.data.digits(upsample=2)


@pytest.fixture(scope="module")
def trained(digits: Data) -> gc.Model:
    """A network of dense layers that reads digits."""
    net = nn.Sequential(
        nn.Flatten(), nn.Dense(64), nn.ReLU(), nn.Dense(48), nn.ReLU(), nn.Dense(10)
    )
    model = gc.Model(
        net, "f32[N,1,16,16]", "cross_entropy", optim.SGD(0.1, momentum=0.9), backend="numpy"
    )
    model.fit(digits[0], epochs=4, progress=None)
    assert accuracy(model, digits) > 0.9
    return model


def accuracy(model: gc.Model, digits: Data) -> float:
    """From the predictions alone."""
    return float((model.predict(digits[1].x).argmax(1) == digits[1].y).mean())


def test_what_is_returned_is_within_the_drop(trained: gc.Model, digits: Data) -> None:
    before = {name: array.copy() for name, array in trained.params.items()}
    small, report = compress(trained, digits[1], accuracy_drop=DROP)
    assert report.before.accuracy == pytest.approx(accuracy(trained, digits))
    assert report.after.accuracy == pytest.approx(accuracy(small, digits))
    assert accuracy(small, digits) >= accuracy(trained, digits) - DROP
    assert report.after.parameters < 0.6 * report.before.parameters
    for name, array in trained.params.items():
        np.testing.assert_array_equal(array, before[name])


def test_a_larger_drop_saves_more(trained: gc.Model, digits: Data) -> None:
    sizes = [
        compress(trained, digits[1], accuracy_drop=drop)[1].after.parameters
        for drop in (0.0, 0.05, 0.3)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_the_counts_are_those_of_the_ranks(trained: gc.Model) -> None:
    small, report = compress(trained, rank=8, layers=["1", "3"])
    assert [(c.weight, c.before, c.after) for c in report.layers] == [
        ("1.weight", 256 * 64, 8 * (256 + 64)), ("3.weight", 64 * 48, 8 * (64 + 48)),
    ]  # fmt: skip
    saved = 256 * 64 + 64 * 48 - 8 * (256 + 64 + 64 + 48)
    assert report.before.parameters - report.after.parameters == saved
    assert report.before.bytes - report.after.bytes == 4 * saved
    assert report.before.flops - report.after.flops == 2 * saved
    assert report.after.parameters == sum(array.size for array in small.params.values())
    assert report.before.accuracy is None and min(report.before.seconds, report.after.seconds) > 0


def test_the_accuracy_falls_with_the_rank_and_comes_back_by_training(
    trained: gc.Model, digits: Data
) -> None:
    reports = {
        rank: compress(
            trained, digits[1], rank=rank, layers=["1", "3"], optimizer=optim.SGD(0.02),
            fine_tune=None if rank > 4 else lambda small: small.fit(
                digits[0], epochs=3, progress=None),
        )[1]
        for rank in (24, 4)
    }  # fmt: skip
    high, low = reports[24], reports[4]
    assert high.after.accuracy is not None and low.after.accuracy is not None
    assert high.after.accuracy > low.after.accuracy + 0.05
    assert high.fine_tuned is None and low.fine_tuned is not None
    assert low.fine_tuned > low.after.accuracy + 0.05


CRITERIA: dict[str, dict[str, Any]] = {
    "rank": {"rank": 8},
    "energy": {"energy": 0.5},
    "error": {"error": 1.5},
    "budget": {"budget": 5000},
}


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_gives_the_network_of_compress_dense(
    trained: gc.Model, digits: Data, criterion: str
) -> None:
    options: dict[str, Any] = CRITERIA[criterion] | {"layers": ["1", "3"]}
    small, report = compress(trained, **options)
    graph, params, layers = gc.passes.compress.compress_dense(
        trained.graphs["forward"], trained.params, **options
    )
    assert small.graphs["forward"] is graph and report.layers == layers.layers
    assert params.keys() == small.params.keys()
    for name, value in params.items():
        np.testing.assert_array_equal(small.params[name], value)


def test_a_network_with_dropout_normalisation_and_frozen_layers_trains_on(digits: Data) -> None:
    net = nn.Sequential(
        nn.Conv(4, 3), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Dropout(0.3),
        nn.Dense(32), nn.ReLU(), nn.Dense(24), nn.ReLU(), nn.Dense(10),
    )  # fmt: skip
    model = gc.Model(
        net, "f32[N,1,16,16]", "cross_entropy", optim.SGD(0.05), frozen=("0.*", "6.weight"),
        backend="numpy",
    )  # fmt: skip
    small, _ = compress(model, rank=5, layers=["6", "8"])
    names = ["0.weight", "0.bias", "6.weight.v", "6.weight.u"]
    assert list(small.frozen) == names
    x, y = digits[0].x[:32], digits[0].y[:32]
    before = {name: array.copy() for name, array in small.params.items()}
    assert np.isfinite(small.step(x, y))
    changed = [n for n, a in small.params.items() if not np.array_equal(a, before[n])]
    assert set(changed) == set(small.params) - set(names)


def test_several_inputs_are_no_obstacle() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            self.first, self.second = nn.Dense(20), nn.Dense(12)

        def __call__(self, x: Any, y: Any) -> Any:
            return self.second(nn.relu(self.first(x) + y))

    model = gc.Model(Two(), ("f32[N,30]", "f32[N,20]"), backend="numpy")
    small, report = compress(model, rank=3, batch_size=5)
    inputs = (np.ones((4, 30), np.float32), np.ones((4, 20), np.float32))
    assert small.predict(inputs).shape == (4, 12)
    assert [layer.after for layer in report.layers] == [3 * 50, 3 * 32]


def test_a_weight_that_training_also_reads_otherwise_stays_whole() -> None:
    net = nn.Sequential(nn.L1(1e-3, nn.Dense(16)), nn.Dense(12))
    model = gc.Model(net, "f32[N,16]", "mse", optim.SGD(0.1), backend="numpy")
    small, _ = compress(model, rank=2)
    assert list(small.params) == ["0.weight", "0.bias", "1.weight.v", "1.weight.u", "1.bias"]
    assert np.isfinite(small.step(np.ones((2, 16)), np.zeros((2, 12))))


ERRORS: dict[str, tuple[Callable[[gc.Model, Any], Any], str]] = {
    "no criterion": (lambda model, data: compress(model, data), "give one of"),
    "two criteria": (
        lambda model, data: compress(model, data, accuracy_drop=0.1, rank=3), "beside rank"),
    "a drop without data": (
        lambda model, data: compress(model, accuracy_drop=0.1), "without validation data"),
    "a drop of one": (
        lambda model, data: compress(model, data, accuracy_drop=1.0), "accuracy_drop=1.0"),
    "a layer that is none": (
        lambda model, data: compress(model, data, rank=3, layers=["2"]), "no dense layer '2'"),
    "a batch of none": (
        lambda model, data: compress(model, rank=3, batch_size=0), "batch_size is 0"),
    "a rank that wins nothing": (
        lambda model, data: compress(model, rank=52, layers=["1"]), "break-even rank is 51.2"),
    "a network without dense layers": (
        lambda model, data: compress(gc.Model(nn.Conv(3, 3), "f32[N,1,8,8]"), rank=3),
        "has no dense layer"),
    "an optimizer for nothing": (
        lambda model, data: compress(
            gc.Model(nn.Dense(9), "f32[N,9]", "mse", backend="numpy"), rank=2,
            optimizer=optim.SGD(0.1)),
        "does not train"),
    "a loss that gives no accuracy": (
        lambda model, data: compress(
            gc.Model(nn.Dense(9), "f32[N,9]", "mse", backend="numpy"),
            (np.zeros((2, 9)), np.zeros((2, 9))), accuracy_drop=0.1),
        "gives no accuracy"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_done_is_said(trained: gc.Model, digits: Data, name: str) -> None:
    act, message = ERRORS[name]
    with pytest.raises(GraphcError) as caught:
        act(trained, digits[1])
    assert message in str(caught.value) and caught.value.remedy


def test_a_drop_that_no_rank_is_within_is_refused() -> None:
    """The identity on one-hot inputs: every rank below the whole confuses classes."""
    model = gc.Model(nn.Dense(6, bias=False), "f32[N,6]", "cross_entropy", backend="numpy")
    model.params["weight"][...] = np.eye(6)
    data = (np.eye(6, dtype=np.float32), np.arange(6))
    with pytest.raises(GraphcError, match="no rank that saves weights keeps the accuracy") as error:
        compress(model, data, accuracy_drop=0.1)
    assert error.value.remedy


def test_it_compiles_to_native_code_that_takes_less_time() -> None:
    """A wide layer: 2,097,152 weights become 67,584, and a batch of one takes a fraction."""
    net = nn.Sequential(nn.Dense(256), nn.ReLU(), nn.Dense(10))
    model = gc.Model(net, "f32[N,8192]", "cross_entropy", optim.SGD(0.01))
    small, report = compress(model, rank=8, layers=["0"], batch_size=1)
    assert report.after.seconds < 0.5 * report.before.seconds
    x = np.ones((1, 8192), np.float32)
    assert np.isfinite(small.step(x, [3]))


def test_the_report_renders_as_a_table_and_as_data(trained: gc.Model, digits: Data) -> None:
    _, report = compress(trained, digits[1], rank=8, layers=["1"], batch_size=16)
    text = as_text(report)
    assert "1.weight" in text and "batch of 16" in text and "16,384" in text
    data = json.loads(json.dumps(report.to_dict()))
    assert data["layers"][0]["rank"] == 8
    assert data["before"]["parameters"] == report.before.parameters


def test_fast_rcnn_s_dense_layers_are_cut_and_trained_on_with_a_score_of_ones_own() -> None:
    """Images are not a batch here, so neither `fit` nor a data set fits: a function scores."""
    generator = np.random.default_rng(0)
    images = generator.standard_normal((2, 1, 16, 16)).astype(np.float32)
    rois = np.array([[k % 2, 4 * (k % 3), 4 * (k % 4), 15, 15] for k in range(16)], np.float32)
    labels = np.arange(16) % 2
    moves = np.zeros((16, 4), np.float32)
    net = gc.zoo.fast_rcnn(classes=1, features=nn.Conv(2, 3, padding=1), stride=1, width=48)
    model = gc.Model(
        net, ("f32[2,1,16,16]", "f32[N,5]"), "multi_task", optim.Adam(3e-3), backend="numpy"
    )

    def train(some: gc.Model, steps: int = 40) -> None:
        for _ in range(steps):
            some.step((images, rois), (labels, moves))

    def score(some: gc.Model) -> float:
        return float((some.predict((images, rois))[0].argmax(1) == labels).mean())

    train(model)
    layers = ["trunk.1", "trunk.4"]
    small, report = compress(
        model, score, rank=1, layers=layers, fine_tune=train, optimizer=optim.Adam(3e-3)
    )
    assert [layer.weight for layer in report.layers] == ["trunk.1.weight", "trunk.4.weight"]
    assert [layer.after for layer in report.layers] == [98 + 48, 48 + 48]
    saved = sum(layer.before - layer.after for layer in report.layers)
    assert report.before.parameters - report.after.parameters == saved
    assert report.before.accuracy == score(model) and report.fine_tuned == score(small)
    assert report.before.flops > report.after.flops and report.before.bytes > report.after.bytes
    within, found = compress(model, score, accuracy_drop=0.2, layers=layers)
    assert score(within) == found.after.accuracy >= score(model) - 0.2


def test_alexnet_is_cut_and_trained_on_with_the_whole_report() -> None:
    """On images of 67x67, which four colours tell apart; its layer fc6 goes to rank 32."""
    generator = np.random.default_rng(0)
    y = np.arange(16) % 4
    colours = generator.standard_normal((4, 3, 1, 1))
    x = (3 * colours[y] + 0.1 * generator.standard_normal((16, 3, 67, 67))).astype(np.float32)
    model = gc.Model(
        gc.zoo.alexnet(classes=4), "f32[N,3,67,67]", "cross_entropy", optim.Adam(3e-4), seed=1
    )
    for _ in range(8):
        model.step(x, y)
    small, report = compress(
        model, (x, y), rank=32, layers=["16"], fine_tune=lambda lean: lean.step(x, y), batch_size=16
    )
    assert (report.layers[0].before, report.layers[0].after) == (4096 * 256, 32 * (4096 + 256))
    assert report.before.parameters - report.after.parameters == 4096 * 256 - 32 * 4352
    assert report.before.bytes == 4 * report.before.parameters
    assert min(report.before.seconds, report.after.seconds) > 0
    assert report.before.accuracy is not None and report.before.accuracy > 0.5
    assert report.fine_tuned == small.evaluate(x, y)["accuracy"] > 0.5

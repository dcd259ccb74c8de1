"""Freezing parameters, and putting a new head on a trained network."""

from __future__ import annotations

import re

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim, zoo

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 4)).astype(np.float32)
Y = (X @ RNG.standard_normal((4, 3))).argmax(1)


def layers(classes: int = 3) -> tuple:
    return nn.Dense(8), nn.Tanh(), nn.Dense(6), nn.Tanh(), nn.Dense(classes)


def small(backend: str = "numpy", **keywords) -> gc.Model:
    arguments = {"optimizer": optim.SGD(0.3, momentum=0.9)} | keywords
    net = nn.Sequential(*layers())
    return gc.Model(net, "f32[N,4]", "cross_entropy", backend=backend, **arguments)


def copies(model: gc.Model) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.params.items()}


def changed(model: gc.Model, before: dict[str, np.ndarray]) -> set[str]:
    return {name for name, array in model.params.items() if (array != before[name]).any()}


# -- freezing --------------------------------------------------------------------------------------


def test_the_gradient_nodes_of_frozen_layers_are_gone() -> None:
    def printed(*frozen: str) -> str:
        model = gc.Model(
            zoo.lenet5(), "f32[N,1,32,32]", "cross_entropy", optim.SGD(0.1, momentum=0.9),
            backend="numpy", frozen=frozen,
        )  # fmt: skip
        return str(model.graphs["train"])

    def count(text: str, op: str) -> int:
        return len(re.findall(rf" = {op}\(", text))

    whole, first, both = printed(), printed("0.*"), printed("0.*", "3.*")
    assert [count(t, "conv2d_weight_grad") for t in (whole, first, both)] == [2, 1, 0]
    assert [count(t, "conv2d_input_grad") for t in (whole, first, both)] == [1, 0, 0]
    assert [count(t, "conv2d") for t in (whole, first, both)] == [2, 2, 2]
    assert [count(t, "sgd_update") for t in (whole, first, both)] == [10, 8, 6]
    assert "0.weight.velocity" in whole and "0.weight.velocity" not in first
    assert 'into %"0.weight"' in whole and 'into %"0.weight"' not in first
    assert '%"0.weight": parameter' in first


def test_frozen_parameters_stay_and_the_others_train(backend: str) -> None:
    """The others as if the frozen ones had a rate of zero."""
    model = small(backend, frozen=("0.*", "*.bias"))
    groups = optim.Groups(
        ("0.*", optim.SGD(0.0)), ("*.bias", optim.SGD(0.0)), ("*", optim.SGD(0.3, momentum=0.9))
    )
    slow = small(backend, optimizer=groups)
    before = copies(model)
    assert model.frozen == ("0.weight", "0.bias", "2.bias", "4.bias")
    for _ in range(5):
        assert model.step(X, Y) == pytest.approx(slow.step(X, Y), rel=1e-6)
    assert changed(model, before) == {"2.weight", "4.weight"}
    for name, array in slow.params.items():
        np.testing.assert_allclose(model.params[name], array, rtol=1e-5, atol=1e-7)


def test_what_is_frozen_can_change_between_steps(backend: str) -> None:
    """What the optimiser kept is forgotten; the arrays stay the same objects."""
    model = small(backend)
    arrays = model.params
    model.step(X, Y)
    before = copies(model)
    model.freeze("0.*", "2.*")
    assert model.frozen == ("0.weight", "0.bias", "2.weight", "2.bias")
    model.step(X, Y)
    assert changed(model, before) == {"4.weight", "4.bias"}
    before = copies(model)
    model.unfreeze("2.*")
    model.step(X, Y)
    assert changed(model, before) == {"2.weight", "2.bias", "4.weight", "4.bias"}
    fresh = small(backend, frozen=("0.*",))
    fresh.load_params(before)
    fresh.step(X, Y)
    assert all((fresh.params[n] == a).all() for n, a in model.params.items())
    assert all(arrays[n] is a for n, a in model.params.items())
    np.testing.assert_array_equal(model.predict(X), fresh.predict(X))


def test_running_averages_of_frozen_layers_follow_the_data() -> None:
    net = nn.Sequential(nn.BatchNorm(), nn.Dense(3))
    model = gc.Model(
        net, "f32[N,4]", "cross_entropy", optim.SGD(0.1), "numpy", frozen=("0.*",)
    )  # fmt: skip
    before = copies(model)
    model.step(X, Y)
    assert changed(model, before) == {"0.running_mean", "0.running_var", "1.weight", "1.bias"}


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: small(frozen=("7.*",)), "frozen: no parameter is named '7.*'"),
        (lambda: small(frozen=("0.*", 3)), "frozen: no parameter is named 3"),
        (lambda: small(frozen="0.*"), "frozen '0.*'"),
        (lambda: small(frozen=("*",)), "every parameter of the network is frozen"),
        (lambda: small().freeze("*"), "every parameter of the network is frozen"),
        (lambda: small().freeze("weight"), "freeze: no parameter is named 'weight'"),
        (lambda: small().unfreeze("x"), "unfreeze: no parameter is named 'x'"),
        (lambda: small(optimizer=None).freeze("0.*"), "the model has no optimizer"),
        (lambda: small(optimizer=None, frozen=("0.*",)), "the model has no optimizer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_frozen(act, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        act()
    assert caught.value.what == message and caught.value.remedy


def test_freezing_everything_changes_nothing() -> None:
    model, untouched = small(), small()
    for each in (model, untouched):
        each.step(X, Y)
    with pytest.raises(gc.GraphcError, match="every parameter"):
        model.freeze("*")
    assert model.frozen == ()
    assert model.step(X, Y) == untouched.step(X, Y)


# -- a new head ------------------------------------------------------------------------------------


def test_a_slice_of_a_network_shares_its_layers() -> None:
    net = nn.Sequential(*layers())
    part = net[:3]
    assert isinstance(part, nn.Sequential) and len(part) == 3
    assert all(part[k] is net[k] for k in range(3))
    assert len(net[-1:]) == 1 and net[-1:][0] is net[-1]


def test_cut_replace_the_head_and_train_on(backend: str) -> None:
    base = small(backend)
    base.fit((X, Y), epochs=5, batch_size=10, progress=None)
    net = nn.Sequential(*nn.Sequential(*layers())[:4], nn.Dense(2))
    labels = Y % 2
    model = gc.Model(
        net, "f32[N,4]", "cross_entropy", optim.SGD(0.3), backend, frozen=("0.*", "2.*")
    )  # fmt: skip
    report = model.load_params(base.params, strict=False)
    assert report.loaded == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert report.different == ("4.weight", "4.bias")
    assert report.missing == report.unknown == ()
    assert str(report).splitlines() == ["loaded 4 arrays", "of another shape: 4.weight, 4.bias"]
    history = model.fit((X, labels), epochs=5, batch_size=10, progress=None)
    assert history.loss[-1] < history.loss[0]
    features = gc.Model(net[:4], "f32[N,4]", backend=backend)
    features.load_params(base.params, strict=False)
    hidden = features.predict(X)
    expected = hidden @ model.params["4.weight"].T + model.params["4.bias"]
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-4, atol=1e-5)


def test_the_report_names_what_is_missing_and_unknown() -> None:
    model = small()
    before = copies(model)
    given = {"0.weight": np.ones((8, 4)), "9.weight": np.ones(3), "9.num_batches_tracked": 5}
    report = model.load_params(given, strict=False)
    assert report.loaded == ("0.weight",) and report.unknown == ("9.weight",)
    assert report.missing == ("0.bias", "2.weight", "2.bias", "4.weight", "4.bias")
    assert changed(model, before) == {"0.weight"}
    assert "not in the model: 9.weight" in str(report)
    assert str(small().load_params(model.params)) == "loaded 6 arrays"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"9.weight": np.ones(3)}, "none of the arrays that were given fits the model"),
        ({"0.weight": np.ones((3, 3))}, "none of the arrays that were given fits the model"),
        ({"0.weight": np.full((8, 4), "a")}, "'0.weight' is <U1[8, 4]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_loaded_even_then(given, message: str) -> None:
    model = small()
    before = copies(model)
    with pytest.raises(gc.GraphcError) as caught:
        model.load_params(given, strict=False)
    assert message in caught.value.what and caught.value.remedy
    assert not changed(model, before)

"""Accumulated and clipped gradients, parameter groups: what a step does before it updates."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim

RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 48)
OPTIMIZERS = {
    "sgd": lambda: optim.SGD(0.5),
    "momentum": lambda: optim.SGD(0.2, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda: optim.Adam(0.05),
}


def small(backend: str = "numpy", **keywords) -> gc.Model:
    net = nn.Sequential(nn.Dense(8), nn.Tanh(), nn.Dense(3))
    arguments = {"optimizer": optim.SGD(0.5), "input_type": "f32[N,4]"} | keywords
    return gc.Model(net, loss="cross_entropy", backend=backend, **arguments)


def copies(model: gc.Model) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.params.items()}


def everything(model: gc.Model) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model._engine.arrays.items()}


def close(one: dict[str, np.ndarray], other: dict[str, np.ndarray], tolerance: float) -> bool:
    return all(np.allclose(one[n], other[n], rtol=tolerance, atol=tolerance) for n in one)


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all((one[n] == other[n]).all() for n in one)


# -- accumulation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("sizes", [(4, 4, 4, 4), (1, 9, 2, 4)], ids=str)
def test_small_batches_update_as_one_large_one(sizes, optimizer, backend: str) -> None:
    """In f64, to rounding; unequal batches count by their samples."""
    whole = small(backend, optimizer=optimizer(), input_type="f64[N,4]")
    parts = small(backend, optimizer=optimizer(), input_type="f64[N,4]", accumulate=len(sizes))
    for begin in (0, 16, 32):
        whole.step(X[begin : begin + 16].astype(np.float64), Y[begin : begin + 16])
        for size in sizes:
            before = copies(parts)
            parts.step(X[begin : begin + size].astype(np.float64), Y[begin : begin + size])
            begin += size
        assert not same(parts.params, before), "the last of them updates"
        assert close(whole.params, parts.params, 1e-12)


def test_parameters_wait_for_the_last_batch(backend: str) -> None:
    model = small(backend, accumulate=3)
    start = copies(model)
    changed = []
    for step in range(7):
        model.step(X[4 * step : 4 * step + 4], Y[4 * step : 4 * step + 4])
        changed.append(not same(model.params, start))
        start = copies(model)
    assert changed == [False, False, True, False, False, True, False]


def test_an_epoch_ends_with_an_update(backend: str) -> None:
    """48 samples in batches of 10 are 5 steps: an update after 3, and one after the last 2."""
    fitted, by_hand = small(backend, accumulate=3), small(backend)
    fitted.fit((X, Y), epochs=2, batch_size=10, progress=None)
    for epoch in (1, 2):
        batches = list(gc.data.Dataset(X, Y).batches(10, (0, epoch)))
        for group in (batches[:3], batches[3:]):
            by_hand.step(*(np.concatenate(part) for part in zip(*group, strict=True)))
    assert close(fitted.params, by_hand.params, 1e-5)


def test_a_schedule_counts_updates() -> None:
    seen = []

    def schedule(step: int) -> float:
        seen.append(step)
        return 0.1

    model = small(optimizer=optim.SGD(schedule), accumulate=2)
    model.fit((X, Y), epochs=1, batch_size=10, progress=None)
    assert seen[-6:-1] == [0, 0, 1, 1, 2] and seen[-1] == 2


def test_running_averages_and_dropout_do_not_wait(backend: str) -> None:
    net = nn.Sequential(nn.BatchNorm(), nn.Dropout(0.5), nn.Dense(3))
    model = gc.Model(net, "f32[N,4]", "cross_entropy", optim.SGD(0.1), backend, accumulate=4)
    key = int(model._engine.arrays["random_key"])
    for step in (1, 2):
        model.step(X[:8], Y[:8])
        assert int(model._engine.arrays["random_key"]) == key + step
    assert (model.params["0.running_mean"] != 0).all()


def test_nan_in_the_middle_changes_nothing(backend: str) -> None:
    model, untouched = small(backend, accumulate=3), small(backend, accumulate=3)
    poisoned = X[:4].copy()
    poisoned[2, 1] = np.nan
    for number, begin in enumerate((0, 8, 16, 24), 1):
        for each in (model, untouched):
            each.step(X[begin : begin + 8], Y[begin : begin + 8])
        before = everything(model)
        with pytest.raises(gc.GraphcError, match=f"the loss is nan at step {number + 1}"):
            model.step(poisoned, Y[:4])
        assert same(everything(model), before)
    assert same(everything(model), everything(untouched))


def test_counts_go_back_with_the_weights() -> None:
    """Weights that overflow are those before the epoch again, and so is what was counted."""
    model = small(optimizer=optim.Adam(1e38), accumulate=2)
    before = everything(model)
    with pytest.raises(gc.GraphcError, match="before the epoch"):
        model.fit((X, Y), epochs=2, batch_size=5, progress=None)
    assert same(everything(model), before)
    engine = model._engine
    assert (engine.steps, engine.updates, engine.pending) == (0, 0, 0)


# -- clipping --------------------------------------------------------------------------------------


def gradients(**keywords) -> dict[str, np.ndarray]:
    """What one step of gradient descent at rate 1 takes off the weights."""
    model = small(optimizer=optim.SGD(1.0), input_type="f64[N,4]", **keywords)
    before = copies(model)
    model.step(100 * X.astype(np.float64), Y)
    return {name: before[name] - array for name, array in model.params.items()}


def norm(arrays: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum((a**2).sum() for a in arrays.values())))


@pytest.mark.parametrize("limit", [1e-3, 0.5, 1e6])
def test_clipping_by_norm_is_pytorchs(limit: float, backend: str) -> None:
    """torch.nn.utils.clip_grad_norm_: times min(1, limit / (norm + 1e-6)), all together."""
    plain, clipped = gradients(backend=backend), gradients(backend=backend, clip_norm=limit)
    factor = min(1.0, limit / (norm(plain) + 1e-6))
    assert close(clipped, {n: factor * g for n, g in plain.items()}, 1e-12)
    assert norm(clipped) <= limit
    assert (limit < norm(plain)) == (norm(clipped) < norm(plain))


@pytest.mark.parametrize("limit", [1e-3, 0.5, 1e6])
def test_clipping_by_value_is_pytorchs(limit: float, backend: str) -> None:
    plain, clipped = gradients(backend=backend), gradients(backend=backend, clip_value=limit)
    assert close(clipped, {n: g.clip(-limit, limit) for n, g in plain.items()}, 1e-12)


def test_what_is_clipped_is_the_mean_gradient() -> None:
    whole = small(input_type="f64[N,4]", clip_norm=0.01)
    parts = small(input_type="f64[N,4]", clip_norm=0.01, accumulate=3)
    x = X.astype(np.float64)
    whole.step(x, Y)
    for begin in (0, 16, 32):
        parts.step(x[begin : begin + 16], Y[begin : begin + 16])
    assert close(whole.params, parts.params, 1e-12)


# -- parameter groups ------------------------------------------------------------------------------


def test_each_group_has_its_own_optimizer_and_rate(backend: str) -> None:
    """Groups that differ in the rate alone: the first layer's change is a tenth."""
    groups = optim.Groups(("0.*", optim.SGD(0.05)), ("*", optim.SGD(0.5)))
    plain, grouped = small(backend), small(backend, optimizer=groups)
    start = copies(plain)
    plain.step(X, Y)
    grouped.step(X, Y)
    for name, array in plain.params.items():
        share = 0.1 if name.startswith("0.") else 1.0
        expected = start[name] + share * (array - start[name])
        np.testing.assert_allclose(grouped.params[name], expected, rtol=1e-5, atol=1e-7)
    names = [i.attrs["name"] for i in grouped.graphs["train"].inputs]
    assert names[:4] == ["x", "y", "learning_rate0", "learning_rate1"]


def test_groups_of_one_kind_of_optimizer_are_as_if_alone(backend: str) -> None:
    """Two groups share Adam's step count; a schedule in one of them moves no other."""
    rates = [0.1, 0.01, 0.001]
    groups = optim.Groups(
        ("*.bias", optim.Adam(0.03)), ("*", optim.Adam(lambda step: rates[min(step, 2)]))
    )
    grouped = small(backend, optimizer=groups)
    reference = small(backend, optimizer=optim.Adam(lambda step: rates[min(step, 2)]))
    biases = small(backend, optimizer=optim.Adam(0.03))
    for _ in range(4):
        start = copies(grouped)
        for other in (reference, biases):
            for name, array in grouped._engine.arrays.items():
                other._engine.arrays[name][...] = array
            other.step(X, Y)
        grouped.step(X, Y)
        for name, array in grouped.params.items():
            other = biases if name.endswith("bias") else reference
            np.testing.assert_array_equal(array, other.params[name])
        assert not same(grouped.params, start)


def test_the_history_says_every_groups_rate() -> None:
    groups = optim.Groups(("0.*", optim.SGD(0.1)), ("*", optim.SGD(lambda step: 1 / (1 + step))))
    history = small(optimizer=groups).fit((X, Y), epochs=2, batch_size=12, progress=None)
    assert history.learning_rates == [(0.1, 1 / 4), (0.1, 1 / 8)]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"clip_norm": 0.0}, "clip_norm 0.0"),
        ({"clip_norm": float("nan")}, "clip_norm nan"),
        ({"clip_norm": "1"}, "clip_norm '1'"),
        ({"clip_value": -1}, "clip_value -1"),
        ({"clip_value": True}, "clip_value True"),
        ({"clip_norm": 1.0, "clip_value": 1.0}, "clip_norm 1.0 and clip_value 1.0"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"accumulate": 2.0}, "accumulate is 2.0"),
        ({"accumulate": 2, "optimizer": None}, "the model has no optimizer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_options(keywords, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        small(**keywords)
    assert caught.value.what == message and caught.value.remedy


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: optim.Groups(), "Groups: there is no group"),
        (lambda: optim.Groups(optim.SGD(0.1)), "is no group"),
        (lambda: optim.Groups(("*", 0.1)), "Groups: ('*', 0.1) is no group"),
        (lambda: optim.Groups((3, optim.SGD(0.1))), "is no group"),
        (
            lambda: small(optimizer=optim.Groups(("0.*", optim.SGD(0.1)))),
            "the parameter '2.weight'",
        ),
        (
            lambda: small(optimizer=optim.Groups(("7.*", optim.SGD(1)), ("*", optim.SGD(1)))),
            "Groups: no parameter is named '7.*'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_groups(build, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        build()
    assert message in caught.value.what and caught.value.remedy


def test_the_first_pattern_wins_and_frozen_groups_vanish() -> None:
    one, two = optim.SGD(0.1), optim.SGD(0.2)
    groups = optim.Groups(("*.bias", one), ("0.*", two), ("*", one))
    found = groups.groups(["0.weight", "0.bias", "2.weight"])
    assert [(g.names, g.optimizer) for g in found] == [
        (("0.bias",), one), (("0.weight",), two), (("2.weight",), one),
    ]  # fmt: skip
    model = small(optimizer=groups, frozen=("0.*",))
    names = [i.attrs["name"] for i in model.graphs["train"].inputs]
    assert names[2:5] == ["learning_rate0", "learning_rate1", "2.weight"]

"""`Model`: steps, predictions, evaluation, parameters, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim, zoo

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 12)


def small(**keywords) -> gc.Model:
    arguments = {"loss": "cross_entropy", "optimizer": optim.SGD(0.1), "backend": "numpy"}
    net = nn.Sequential(nn.Dense(8), nn.Tanh(), nn.Dense(3))
    return gc.Model(net, "f32[N,4]", **(arguments | keywords))


def copies(model: gc.Model) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.params.items()}


def unchanged(model: gc.Model, before: dict[str, np.ndarray]) -> bool:
    return all((model.params[name] == array).all() for name, array in before.items())


def test_steps_lower_the_loss_and_evaluate_reports_it(backend: str) -> None:
    model = small(backend=backend, optimizer=optim.SGD(0.5, momentum=0.9))
    before = model.evaluate(X, Y)
    first = model.step(X, Y)
    assert first == pytest.approx(before["loss"], rel=1e-5)
    losses = [model.step(X, Y) for _ in range(60)]
    after = model.evaluate(X, Y)
    assert losses[-1] < 0.5 * first
    assert after["accuracy"] == (model.predict(X).argmax(1) == Y).mean()
    assert after["accuracy"] > before["accuracy"]


def test_one_step_is_gradient_descent_by_finite_differences(backend: str) -> None:
    """The derivative of LeNet-5's loss by single weights, through the public API alone."""
    generator = np.random.default_rng(3)
    x, y = generator.standard_normal((4, 1, 32, 32)), generator.integers(0, 10, 4)
    model = gc.Model(
        zoo.lenet5(),
        "f64[N,1,32,32]",
        loss="cross_entropy",
        optimizer=optim.SGD(1.0),
        backend=backend,
    )
    start = copies(model)
    probes = [("0.weight", (3, 0, 2, 4)), ("3.weight", (7, 2, 1, 0)), ("11.bias", (6,))]
    slopes = []
    for name, at in probes:
        values = []
        for step in (1e-6, -1e-6):
            model.params[name][at] = start[name][at] + step
            values.append(model.evaluate(x, y)["loss"])
        model.params[name][at] = start[name][at]
        slopes.append((values[0] - values[1]) / 2e-6)
    model.step(x, y)
    for (name, at), slope in zip(probes, slopes, strict=True):
        assert start[name][at] - model.params[name][at] == pytest.approx(slope, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_any_batch_size(n: int, backend: str) -> None:
    model = small(backend=backend)
    assert math.isfinite(model.step(X[:n], Y[:n]))
    assert model.predict(X[:n]).shape == (n, 3)


def test_predictions_do_not_depend_on_how_the_batch_is_cut() -> None:
    model = small()
    many = np.tile(X, (200, 1))
    assert len(many) > 2 * 1024
    np.testing.assert_array_equal(model.predict(many)[:12], model.predict(X))
    labels = np.tile(Y, 200)
    assert model.evaluate(many, labels)["loss"] == pytest.approx(model.evaluate(X, Y)["loss"])


def test_samples_that_depend_on_each_other_are_not_cut_apart(backend: str) -> None:
    many = RNG.standard_normal((2500, 4)).astype(np.float32)
    centred = gc.Model(lambda x: x - x.mean((0,), keepdims=True), "f32[N,4]", backend=backend)
    np.testing.assert_allclose(centred.predict(many), many - many.mean(0), atol=1e-5)
    shares = gc.Model(lambda x: nn.softmax(x, axis=0), "f32[N,4]", backend=backend)
    np.testing.assert_allclose(shares.predict(many).sum(0), 1, rtol=1e-4)


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(np.float64),
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1][::-1],
        lambda x: x.tolist(),
    ],
    ids=["float64", "fortran", "strided", "negative stride", "list"],
)
def test_arrays_of_any_kind(convert) -> None:
    expected, model = small(), small()
    wanted = expected.step(X, Y)
    x = convert(X)
    if isinstance(x, np.ndarray):
        x.flags.writeable = False
    assert model.step(x, Y.astype(np.uint8)) == wanted
    np.testing.assert_array_equal(model.predict(x), expected.predict(X))


def test_soft_labels_equal_hard_ones_and_share_the_weights() -> None:
    hard, soft = small(), small()
    probabilities = np.eye(3)[Y]
    assert soft.step(X, probabilities) == pytest.approx(hard.step(X, Y), rel=1e-6)
    for name, array in hard.params.items():
        np.testing.assert_allclose(soft.params[name], array, rtol=1e-5, atol=1e-7)
    assert soft.evaluate(X, probabilities) == pytest.approx(hard.evaluate(X, Y), rel=1e-5)


def test_mean_squared_error_and_losses_of_ones_own_agree() -> None:
    def own(output, target):
        return ((output - target) * (output - target)).mean()

    target = RNG.standard_normal((12, 3)).astype(np.float32)
    named = small(loss="mse")
    written = small(loss=own, target_type="f32[N,3]")
    assert named.step(X, target) == pytest.approx(written.step(X, target), rel=1e-6)
    assert set(named.evaluate(X, target)) == {"loss"}


def test_a_loss_of_several_outputs() -> None:
    class Heads(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Dense(2), nn.Dense(1)

        def __call__(self, x):
            return self.a(x), self.b(x)

    model = gc.Model(
        Heads(),
        "f32[N,4]",
        loss=lambda a, b, target: nn.mean_squared_error(nn.concat(a, b, axis=1), target),
        optimizer=optim.SGD(0.1),
        target_type="f32[N,3]",
        backend="numpy",
    )
    target = np.zeros((12, 3), np.float32)
    assert model.step(X, target) > model.step(X, target)
    assert [o.shape for o in model.predict(X)] == [(12, 2), (12, 1)]


def test_same_seed_same_weights_and_dropout_replays() -> None:
    def trained(seed: int) -> list[float]:
        net = nn.Sequential(nn.Dense(8), nn.Dropout(0.5), nn.Dense(3))
        model = gc.Model(
            net, "f32[N,4]", "cross_entropy", optim.SGD(0.0), backend="numpy", seed=seed
        )
        return [model.step(X, Y) for _ in range(4)]

    first = trained(5)
    assert first == trained(5)
    assert first != trained(6)
    assert len(set(first)) == 4, "every step must draw anew"


def test_parameters_are_aligned_live_and_named_as_in_pytorch() -> None:
    model = gc.Model(zoo.lenet5(), "f32[N,1,32,32]", backend="numpy")
    assert list(model.params)[:4] == ["0.weight", "0.bias", "3.weight", "3.bias"]
    assert model.params["7.weight"].shape == (120, 400)
    assert all(a.ctypes.data % 64 == 0 and a.flags.c_contiguous for a in model.params.values())
    for array in model.params.values():
        array[...] = 0
    assert (model.predict(np.ones((1, 1, 32, 32), np.float32)) == 0).all()


def test_params_hold_no_state_of_the_optimiser() -> None:
    net = nn.Sequential(nn.Dense(3), nn.BatchNorm(), nn.Dropout(0.1))
    model = gc.Model(net, "f32[N,4]", "cross_entropy", optim.Adam(), backend="numpy")
    assert list(model.params) == [
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
    ]


def test_graphs_and_executables() -> None:
    model = small(optimizer=optim.SGD(0.1, momentum=0.9))
    assert list(model.graphs) == ["forward", "train"]
    train = model.graphs["train"]
    assert [i.attrs["name"] for i in train.inputs][:3] == ["x", "y", "learning_rate"]
    assert len(train.donations) == 2 * len(model.params)
    assert gc.parse(str(train)) is train
    assert model.executable("train").graph is train
    with pytest.raises(gc.GraphcError, match="a model has no graph 'backward'"):
        model.executable("backward")


def test_an_executable_writes_to_nothing_that_it_is_given(backend: str) -> None:
    """A step called by hand gives new parameters; `step` overwrites the model's own with them."""
    model = small(backend=backend)
    before = copies(model)
    run = model.executable("train")
    _, _, *updated = run(X, Y, np.float32(0.1), **model.params)
    assert unchanged(model, before)
    model.step(X, Y)
    for name, array in zip(before, updated, strict=True):
        np.testing.assert_array_equal(model.params[name], array)
        assert (array != before[name]).any()


def test_a_graph_predicts() -> None:
    model = small()
    other = gc.Model(model.graphs["forward"], backend="numpy")
    other.load_params(model.params)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


def test_load_params_takes_a_torch_state_dict() -> None:
    model = gc.Model(nn.Sequential(nn.BatchNorm()), "f32[N,2]", backend="numpy")
    given = {
        "0.weight": [1.0, 2.0],
        "0.bias": np.zeros(2),
        "0.running_mean": np.ones(2),
        "0.running_var": np.full(2, 4.0),
        "0.num_batches_tracked": np.int64(7),
    }
    model.load_params(given)
    found = model.predict(np.array([[3.0, 3.0]], np.float32))
    np.testing.assert_allclose(found, [[1.0, 2.0]], rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p | {"5.weight": np.ones(3)}, "has no parameters named 5.weight"),
        (lambda p: {k: v for k, v in p.items() if k != "2.bias"}, "not given: 2.bias"),
        (lambda p: p | {"2.bias": np.ones(4)}, r"'2.bias' is float64\[4\]"),
        (lambda p: p | {"2.bias": np.array(["a", "b", "c"])}, "'2.bias' is <U1"),
    ],
)
def test_load_params_names_what_does_not_fit_and_changes_nothing(change, message: str) -> None:
    model = small()
    before = copies(model)
    other = {name: array + 1 for name, array in before.items()}
    with pytest.raises(gc.GraphcError, match=message):
        model.load_params(change(other))
    assert unchanged(model, before)


BAD_FEEDS = [
    (X, np.where(np.arange(12) == 4, 12, Y), "label 12 at position 4 is not one of the 3 classes"),
    (X, np.where(np.arange(12) == 7, -1, Y), "label -1 at position 7"),
    (X, Y[:5], "'y' has batch 5 but 'x' has 12"),
    (X, Y.astype(np.float32), "labels of dtype float32"),
    (X, np.full((12, 4), 0.25), "input 'y' has the shape"),
    (X[:0], Y[:0], "empty batch"),
    (X[:, :3], Y, "'x' has the shape [12, 3], but f32[N,4] is expected"),
    (X[0], Y, "1 axes instead of 2"),
    (X.astype(np.int64), Y, "'x' is int64, but f32[N,4] is expected"),
    (X.astype(str), Y, "but f32[N,4] is expected"),
]


@pytest.mark.parametrize(("x", "y", "message"), BAD_FEEDS, ids=[m for *_, m in BAD_FEEDS])
def test_bad_feeds_say_what_is_wrong_and_change_nothing(x, y, message: str) -> None:
    model = small()
    before = copies(model)
    with pytest.raises(gc.GraphcError) as caught:
        model.step(x, y)
    assert message in caught.value.what
    assert caught.value.remedy
    assert unchanged(model, before)


def test_nan_in_a_step_is_an_error_and_changes_nothing(backend: str) -> None:
    model = small(backend=backend, optimizer=optim.Adam())
    model.step(X, Y)
    before = copies(model)
    graph_state = model.step  # the step count of Adam must not advance either
    poisoned = X.copy()
    poisoned[3, 1] = np.nan
    with pytest.raises(gc.GraphcError, match="the loss is nan at step 2"):
        model.step(poisoned, Y)
    assert unchanged(model, before)
    untouched = small(backend=backend, optimizer=optim.Adam())
    untouched.step(X, Y)
    assert graph_state(X, Y) == untouched.step(X, Y)
    assert unchanged(model, copies(untouched))


def test_nan_leaves_running_averages_and_the_random_key_alone(backend: str) -> None:
    net = nn.Sequential(nn.BatchNorm(), nn.Dropout(0.5), nn.Dense(3))
    model = gc.Model(net, "f32[N,4]", "cross_entropy", optim.SGD(0.1), backend)
    again = gc.Model(net, "f32[N,4]", "cross_entropy", optim.SGD(0.1), backend)
    poisoned = X.copy()
    poisoned[0, 0] = np.nan
    with pytest.raises(gc.GraphcError, match="the loss is nan at step 1"):
        model.step(poisoned, Y)
    assert model.step(X, Y) == again.step(X, Y), "the same units are dropped"
    assert unchanged(model, copies(again))


BAD_MODELS = [
    (lambda: small(backend="tpu"), "there is no backend named 'tpu'"),
    (lambda: small(loss="guess"), "there is no loss 'guess'"),
    (lambda: small(loss=lambda o, t: o), "type of the targets is not known"),
    (lambda: small(loss=lambda o, t: o, target_type="f32[N,3]"), "not a scalar"),
    (lambda: small(loss=lambda o, t: 1.0, target_type="f32[N,3]"), "the loss returned float"),
    (lambda: small(optimizer="sgd"), "'sgd' is not an optimizer"),
    (lambda: small(loss=None), "an optimizer without a loss"),
    (lambda: small(seed=-1), "seed is -1"),
    (lambda: small(threads=0).predict(X), "threads=0"),
    (lambda: small(optimizer=None).step(X, Y), "the model has no optimizer"),
    (lambda: small(optimizer=None, loss=None).step(X, Y), "the model has no loss"),
    (lambda: small(optimizer=None, loss=None).evaluate(X, Y), "the model has no loss"),
    (lambda: gc.Model(nn.Dense, "f32[N,4]"), "the class Dense is not a network"),
    (lambda: gc.Model(7, "f32[N,4]"), "7 is not a network"),
    (lambda: gc.Model(nn.Dense(3)), "the type of the input is None"),
    (lambda: gc.Model(nn.Dense(3), "f32[N,4", backend="numpy"), "is not a tensor type"),
    (
        lambda: gc.Model(
            nn.Flatten(), "f32[N,4]", "cross_entropy", optim.SGD(0.1), backend="numpy"
        ),
        "the network has no parameters",
    ),
    (
        lambda: gc.Model(nn.Conv(3, 1), "f32[N,1,2,2]", "cross_entropy", backend="numpy"),
        "not logits [N,classes]",
    ),
]


@pytest.mark.parametrize(("construct", "message"), BAD_MODELS, ids=[m for _, m in BAD_MODELS])
def test_bad_models(construct, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        construct()
    assert message in caught.value.what
    assert caught.value.remedy

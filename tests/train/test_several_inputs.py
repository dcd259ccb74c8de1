"""Networks of several inputs, losses of several targets, outputs that only training has."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import data, nn, optim
from graphc.tracing.trace import current_trace

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((2, 30, 5)).astype(np.float32)
LABELS = RNG.integers(0, 3, 30)
SLOPES = RNG.standard_normal((30, 2)).astype(np.float32)


class Difference(nn.Module):
    """Both inputs go through the same layers; the scores are of the difference."""

    def __init__(self, bias: bool = False) -> None:
        self.shared, self.head = nn.Dense(4, bias=bias), nn.Dense(3)

    def __call__(self, a, b):
        return self.head(self.shared(a) - self.shared(b))


class Heads(nn.Module):
    """Class scores and a regression from one body."""

    def __init__(self) -> None:
        self.body, self.scores, self.slopes = nn.Dense(6), nn.Dense(3), nn.Dense(2)

    def __call__(self, x):
        hidden = nn.tanh(self.body(x))
        return self.scores(hidden), self.slopes(hidden)


def two_losses(scores, slopes, labels, target):
    return nn.softmax_cross_entropy(scores, labels) + nn.mean_squared_error(slopes, target)


def siamese(backend: str = "numpy", **keywords) -> gc.Model:
    return gc.Model(
        Difference(), ("f32[N,5]", "f32[N,5]"), "cross_entropy", optim.SGD(0.3), backend, **keywords
    )


def two_headed(backend: str = "numpy") -> gc.Model:
    return gc.Model(
        Heads(), "f32[N,5]", two_losses, optim.SGD(0.1, momentum=0.9), backend,
        target_type=("i32[N]", "f32[N,2]"),
    )  # fmt: skip


def test_a_pair_trains_as_its_difference_does(backend: str) -> None:
    """Without bias W a - W b = W (a - b): one input has the same gradients."""
    pair = siamese(backend)
    net = nn.Sequential(nn.Dense(4, bias=False), nn.Dense(3))
    single = gc.Model(net, "f32[N,5]", "cross_entropy", optim.SGD(0.3), backend)
    pair.load_params(
        dict(zip(pair.params, [a.copy() for a in single.params.values()], strict=True))
    )
    for begin in (0, 10, 25):
        part = slice(begin, begin + 10)
        loss = pair.step((A[part], B[part]), LABELS[part])
        assert loss == pytest.approx(single.step((A - B)[part], LABELS[part]), rel=1e-5)
    for one, other in zip(pair.params.values(), single.params.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pair.predict((A, B)), single.predict(A - B), rtol=1e-4, atol=1e-5)
    found, expected = pair.evaluate((A, B), LABELS), single.evaluate(A - B, LABELS)
    assert found == pytest.approx(expected, rel=1e-4)


def test_fit_takes_pairs(backend: str) -> None:
    model, by_hand = siamese(backend), siamese(backend)
    train = data.Dataset((A, B), LABELS)
    history = model.fit(train, epochs=3, batch_size=8, validation=((A, B), LABELS), progress=None)
    assert history.loss[-1] < history.loss[0]
    assert history.validation_loss[-1] == model.evaluate((A, B), LABELS)["loss"]
    for epoch in (1, 2, 3):
        for x, y in train.batches(8, (0, epoch)):
            by_hand.step(x, y)
    assert all((model.params[n] == a).all() for n, a in by_hand.params.items())


def test_several_targets(backend: str) -> None:
    model = two_headed(backend)
    before = model.evaluate(A, (LABELS, SLOPES))
    history = model.fit((A, (LABELS, SLOPES)), epochs=20, batch_size=10, progress=None)
    after = model.evaluate(A, (LABELS, SLOPES))
    scores, slopes = model.predict(A)
    expected = ((slopes - SLOPES) ** 2).mean() - np.mean(
        (scores - np.log(np.exp(scores).sum(1, keepdims=True)))[np.arange(30), LABELS]
    )
    assert after["loss"] == pytest.approx(expected, rel=1e-5)
    assert after["loss"] < 0.7 * before["loss"] and history.loss[0] > history.loss[-1]
    names = [i.attrs["name"] for i in model.graphs["train"].inputs]
    assert names[:4] == ["x", "y0", "y1", "learning_rate"]


def test_many_samples_are_cut_into_batches_that_do_not_show() -> None:
    model = siamese()
    a, b, labels = np.tile(A, (80, 1)), np.tile(B, (80, 1)), np.tile(LABELS, 80)
    assert len(a) > 2 * 1024
    np.testing.assert_array_equal(model.predict((a, b))[:30], model.predict((A, B)))
    assert model.evaluate((a, b), labels) == pytest.approx(model.evaluate((A, B), LABELS))


class Lookup(nn.Module):
    """Every sample of x sees the whole table, as every region sees all images."""

    def __init__(self) -> None:
        self.dense = nn.Dense(3)

    def __call__(self, table, x):
        return self.dense(nn.matmul(x, table))


def test_an_input_without_a_batch_is_fed_whole(backend: str) -> None:
    table = RNG.standard_normal((5, 4)).astype(np.float32)
    types = ("f32[5,4]", "f32[N,5]")
    model = gc.Model(Lookup(), types, "cross_entropy", optim.SGD(0.5), backend)
    losses = [model.step((table, A), LABELS) for _ in range(30)]
    assert losses[-1] < losses[0]
    many, labels = np.tile(A, (80, 1)), np.tile(LABELS, 80)
    np.testing.assert_array_equal(model.predict((table, many))[:30], model.predict((table, A)))
    found = model.evaluate((table, many), labels)
    assert found == pytest.approx(model.evaluate((table, A), LABELS), rel=1e-4)


class Auxiliary(nn.Module):
    """A head on the way, which only training has."""

    def __init__(self) -> None:
        self.body, self.head, self.early = nn.Dense(6), nn.Dense(3), nn.Dense(3)

    def __call__(self, x):
        hidden = nn.tanh(self.body(x))
        main = self.head(hidden)
        return (main, self.early(hidden)) if current_trace().training else main


def test_outputs_that_only_training_has(backend: str, tmp_path) -> None:
    loss = gc.losses.Auxiliary(weights=(1.0, 0.3))
    model = gc.Model(Auxiliary(), "f32[N,5]", loss, optim.SGD(0.3), backend)
    assert "early.weight" in model.params
    step = model.graphs["train"]
    assert len(step.outputs) - len(step.donations) == 2, "the loss and the main scores"
    start = model.params["early.weight"].copy()
    history = model.fit((A, LABELS), epochs=10, batch_size=10, progress=None)
    assert history.loss[-1] < history.loss[0] and history.accuracy[-1] > history.accuracy[0]
    assert (model.params["early.weight"] != start).any(), "the early head trains as well"
    assert model.predict(A).shape == (30, 3)
    assert model.evaluate(A, LABELS)["loss"] < history.loss[-1], "evaluation has the main loss only"
    model.save(tmp_path / "m")
    loaded = gc.load(tmp_path / "m", backend=backend)
    assert "early.weight" not in loaded.params
    np.testing.assert_array_equal(loaded.predict(A), model.predict(A))


def test_a_loss_of_ones_own_says_which_outputs_it_did_not_get() -> None:
    def both(main, early, labels):
        return nn.softmax_cross_entropy(main, labels) + nn.softmax_cross_entropy(early, labels)

    model = gc.Model(
        Auxiliary(), "f32[N,5]", both, optim.SGD(0.3), "numpy", target_type="i32[N]"
    )  # fmt: skip
    assert np.isfinite(model.step(A, LABELS))
    with pytest.raises(gc.GraphcError, match=r"early, labels\), but there are 1 outputs"):
        model.evaluate(A, LABELS)


def test_a_model_of_several_inputs_is_saved_and_loaded(tmp_path) -> None:
    model = siamese()
    model.save(tmp_path / "m")
    loaded = gc.load(tmp_path / "m", backend="numpy")
    np.testing.assert_array_equal(loaded.predict((A, B)), model.predict((A, B)))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (A, LABELS, "1 arrays for a network of 2 inputs"),
        ((A, B, A), LABELS, "3 arrays for a network of 2 inputs"),
        ((A, B[:9]), LABELS, "has batch 9 but"),
        ((A, B[:, :2]), LABELS, "'x1' has the shape [30, 2]"),
        ((A, B), (LABELS, LABELS), "2 targets for a loss of 1"),
        ((A, B), LABELS[:4], "'y' has batch 4"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_named(x, y, message: str) -> None:
    model = siamese()
    for use in (model.step, model.evaluate):
        with pytest.raises(gc.GraphcError) as caught:
            use(x, y)
        assert message in caught.value.what and caught.value.remedy


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ((A, LABELS), "1 arrays for a network of 2 inputs"),
        (((A, B[:9]), LABELS), "a data set of 30 and 9 samples and 30 targets"),
        (((), LABELS), "a data set of no samples and 30 targets"),
        (((A, B), (LABELS, LABELS[:3])), "30 samples and 30 and 3 targets"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_data_that_does_not_fit_is_named(train, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        siamese().fit(train, progress=None)
    assert message in caught.value.what


def test_a_data_set_keeps_the_form_it_was_given_in() -> None:
    one, two = data.Dataset((A, B), LABELS), data.Dataset(A, (LABELS, SLOPES))
    assert [type(v) for v in (one.x, one.y, two.x, two.y)] == [tuple, np.ndarray, np.ndarray, tuple]
    (x, y), *_ = one.batches(7, seed=1)
    assert [a.shape for a in x] == [(7, 5), (7, 5)] and y.shape == (7,)
    first, second = two.split(0.5, seed=2)
    assert len(first) == len(second) == 15
    assert isinstance(first.y, tuple) and first.y[1].shape == (15, 2)
    assert repr(one) == "<Dataset of 30: x float32[5], float32[5]>"

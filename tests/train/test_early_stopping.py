"""What watches the validation figures: early stopping, plateau schedules; and augmentation."""

from __future__ import annotations

import math

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim
from graphc.train.history import History
from graphc.train.progress import Silent

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 30)


def scripted(losses, accuracies=None, optimizer=None) -> gc.Model:
    """A model whose validation figures are those given, one an epoch."""
    net = nn.Sequential(nn.BatchNorm(), nn.Dense(3))
    model = gc.Model(net, "f32[N,4]", "cross_entropy", optimizer or optim.SGD(0.1), "numpy")
    rest = iter(zip(losses, accuracies or losses, strict=True))
    model.evaluate = lambda x, y: dict(zip(("loss", "accuracy"), next(rest), strict=True))
    return model


class Weights(Silent):
    """The weights after each epoch."""

    def __init__(self, model: gc.Model) -> None:
        self.model = model
        self.after: list[dict[str, np.ndarray]] = []

    def epoch_end(self, record) -> None:
        self.after.append({name: array.copy() for name, array in self.model.params.items()})


def fit(model: gc.Model, epochs: int = 10, **keywords) -> tuple[History, Weights]:
    weights = Weights(model)
    history = model.fit(
        (X, Y), epochs, batch_size=10, validation=(X, Y), progress=weights, **keywords
    )
    return history, weights


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all((one[name] == other[name]).all() for name in one)


CASES = {
    "patience runs out": ([3, 2, 2.5, 2.5, 2.5, 1], {"patience": 3}, 5, 2, True),
    "an epoch in between starts it anew": (
        [3, 2, 2.5, 2.5, 1.9, 2, 2, 2, 1], {"patience": 3}, 8, 5, True,
    ),
    "the last epoch comes first": ([3, 2, 2.5, 1, 1.5, 1.5], {"patience": 3}, 6, 4, False),
    "too small a gain is none": (
        [3, 2.5, 2.41, 2.39, 2.3], {"patience": 2, "minimum_delta": 0.1}, 5, 4, False,
    ),
    "as good is not better": ([2, 2, 2], {"patience": 1}, 2, 1, True),
    "nan is not better": ([2, math.nan, math.nan, 1], {"patience": 2}, 3, 1, True),
    "never finite": ([math.nan, math.inf, 1], {"patience": 2}, 2, None, True),
}  # fmt: skip


@pytest.mark.parametrize(
    ("losses", "options", "epochs", "best", "early"), CASES.values(), ids=CASES
)
def test_when_it_stops_and_which_epoch_is_best(losses, options, epochs, best, early) -> None:
    model = scripted(losses)
    history, weights = fit(model, len(losses), early_stopping=gc.EarlyStopping(**options))
    assert len(history.epochs) == epochs
    assert (history.best_epoch, history.stopped_early) == (best, early)
    assert same(model.params, weights.after[(best or epochs) - 1]), "running averages included"


def test_the_last_weights_stay_if_asked() -> None:
    model = scripted([3, 2, 4, 4, 4])
    rule = gc.EarlyStopping(patience=2, restore_best=False)
    history, weights = fit(model, early_stopping=rule)
    assert history.best_epoch == 2 and len(history.epochs) == 4
    assert same(model.params, weights.after[3]) and not same(model.params, weights.after[1])


def test_accuracy_is_better_the_higher_it_is() -> None:
    model = scripted([1, 1, 1, 1, 1], [0.5, 0.7, 0.6, 0.7, 0.9])
    history, _ = fit(model, early_stopping=gc.EarlyStopping(patience=2, monitor="accuracy"))
    assert history.best_epoch == 2 and len(history.epochs) == 4


def test_ctrl_c_keeps_the_weights_of_the_last_step() -> None:
    class Interrupting(Weights):
        def epoch_end(self, record) -> None:
            super().epoch_end(record)
            if record.number == 2:
                raise KeyboardInterrupt

    model = scripted([1, 2])
    weights = Interrupting(model)
    history = model.fit((X, Y), validation=(X, Y), early_stopping=gc.EarlyStopping(),
                        progress=weights)  # fmt: skip
    assert history.interrupted and history.best_epoch == 1
    assert same(model.params, weights.after[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 0}, "patience is 0"),
        ({"patience": 1.5}, "patience is 1.5"),
        ({"minimum_delta": -1.0}, "minimum_delta is -1.0"),
        ({"minimum_delta": math.nan}, "minimum_delta is nan"),
        ({"monitor": "f1"}, "monitor is 'f1'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_options(options, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        gc.EarlyStopping(**options)
    assert caught.value.what == message and caught.value.remedy


def plain(**keywords) -> gc.Model:
    arguments = {"loss": "cross_entropy", "optimizer": optim.SGD(0.1)} | keywords
    return gc.Model(nn.Dense(3), "f32[N,4]", backend="numpy", **arguments)


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (plain(), {"early_stopping": 5}, "early_stopping 5"),
        (plain(), {"early_stopping": gc.EarlyStopping()}, "watches the validation loss, and there"),
        (
            plain(loss="mse"),
            {
                "train": (X, X[:, :3]), "validation": (X, X[:, :3]),
                "early_stopping": gc.EarlyStopping(monitor="accuracy"),
            },
            "watches the validation accuracy, and there is none",
        ),
        (plain(optimizer=optim.SGD(optim.Plateau(0.1))), {}, "there is no validation data"),
        (plain(), {"augment": 3}, "augment 3"),
        (plain(), {"resume": True}, "resume=True without a checkpoint"),
        (plain(), {"checkpoint_every": 3}, "checkpoint_every=3 without a checkpoint"),
        (plain(), {"checkpoint_every": 0, "checkpoint": "x"}, "checkpoint_every is 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_fit_refuses(model, arguments, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        model.fit(**({"train": (X, Y), "progress": None} | arguments))
    assert message in caught.value.what and caught.value.remedy


# -- plateau ---------------------------------------------------------------------------------------


def test_a_plateau_schedule_hears_the_validation_loss_of_every_epoch() -> None:
    rate = optim.Plateau(0.8, factor=0.5, patience=1)
    model = scripted([3, 2, 2, 2, 2, 2, 1], optimizer=optim.SGD(rate))
    history, _ = fit(model, 7)
    assert history.learning_rates == [(0.8,)] * 4 + [(0.4,)] * 2 + [(0.2,)]


def test_one_schedule_object_serves_several_models() -> None:
    """What a schedule has seen belongs to a training, not to the object that was given."""
    optimizer = optim.SGD(optim.Plateau(0.8, patience=0))
    for _ in range(2):
        history, _ = fit(scripted([1, 1, 1], optimizer=optimizer), 3)
        assert history.learning_rates == [(0.8,), (0.8,), (0.4,)]


def test_a_plateau_stays_where_it_is_when_layers_are_frozen() -> None:
    model = scripted([1, 1, 1, 1], optimizer=optim.SGD(optim.Plateau(0.8, patience=0)))
    fit(model, 2)
    model.freeze("1.weight")
    history, _ = fit(model, 1)
    assert history.learning_rates == [(0.4,)]


# -- augmentation ----------------------------------------------------------------------------------


def test_augmentation_sees_every_batch_with_a_generator_of_its_own() -> None:
    seen: list[tuple[np.ndarray, float]] = []

    def shifting(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        seen.append((x.copy(), generator.random()))
        return x + np.float32(1)

    model, by_hand = plain(), plain()
    model.fit((X, Y), epochs=2, batch_size=10, augment=shifting, progress=None)
    for epoch in (1, 2):
        for x, y in gc.data.Dataset(X, Y).batches(10, (0, epoch)):
            np.testing.assert_array_equal(seen.pop(0)[0], x)
            by_hand.step(x + 1, y)
    assert same(model.params, by_hand.params)


def test_augmentation_is_drawn_from_seed_epoch_and_step() -> None:
    def draws(seed: int) -> list[float]:
        found: list[float] = []

        def noting(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
            found.append(generator.random())
            return x

        plain().fit((X, Y), 2, 10, seed=seed, augment=noting, progress=None)
        return found

    first = draws(1)
    assert len(first) == len(set(first)) == 6
    assert first == draws(1)
    assert not set(first) & set(draws(2))


def test_augmentation_may_crop_and_convert() -> None:
    """The data is larger than the network's input, and of bytes."""
    images = RNG.integers(0, 256, (30, 6), dtype=np.uint8)
    model = plain()
    model.fit((images, Y), 1, 10, progress=None,
              augment=lambda x, generator: x[:, 1:5].astype(np.float32) / 255)  # fmt: skip
    with pytest.raises(gc.GraphcError, match=r"'x' has the shape \[10, 6\]"):
        model.fit((images, Y), 1, 10, progress=None, augment=lambda x, generator: x / 255)


def test_pairs_are_augmented_together() -> None:
    def swapped(x, generator):
        return x[::-1]

    class Minus(nn.Module):
        def __init__(self) -> None:
            self.dense = nn.Dense(3)

        def __call__(self, a, b):
            return self.dense(a - b)

    def trained(x, augment=None) -> gc.Model:
        types = ("f32[N,4]", "f32[N,4]")
        model = gc.Model(Minus(), types, "cross_entropy", optim.SGD(0.1), "numpy")
        model.fit((x, Y), 1, 10, progress=None, augment=augment)
        return model

    assert same(trained((X, X + 1), swapped).params, trained((X + 1, X)).params)

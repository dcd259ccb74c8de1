"""`fit`: history, shuffling, progress, nan, and Ctrl-C."""

from __future__ import annotations

import io
import os
import signal
import threading
import time

import numpy as np
import pytest
from rich.console import Console

import graphc as gc
from graphc import data, nn, optim
from graphc.train.history import Epoch
from graphc.train.progress import Lines, Progress
from graphc.train.progress_bar import Bar

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 4)).astype(np.float32)
Y = (X @ RNG.standard_normal((4, 3))).argmax(1)


def small(optimizer: optim.Optimizer | None = None, loss: str = "cross_entropy") -> gc.Model:
    net = nn.Sequential(nn.Dense(16), nn.Tanh(), nn.Dense(3))
    return gc.Model(
        net, "f32[N,4]", loss, optimizer or optim.SGD(0.3, momentum=0.9), backend="numpy"
    )


def copies(model: gc.Model) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.params.items()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all((one[name] == other[name]).all() for name in one)


class Recorder(Progress):
    """Keeps what it is told, and calls `at_step` after each step."""

    def __init__(self, at_step=lambda step: None):
        self.steps: list[tuple[int, float, float | None, int]] = []
        self.begun: list[tuple[int, int, int]] = []
        self.ended: list[Epoch] = []
        self.interruption: tuple[int, int] | None = None
        self.closed = False
        self.at_step = at_step

    def epoch_begin(self, epoch, epochs, steps):
        self.begun.append((epoch, epochs, steps))

    def step(self, step, loss, accuracy, samples):
        self.steps.append((step, loss, accuracy, samples))
        self.at_step(len(self.steps))

    def epoch_end(self, record):
        self.ended.append(record)

    def interrupted(self, epoch, step):
        self.interruption = (epoch, step)

    def close(self):
        self.closed = True


def test_it_learns_and_reports_every_epoch() -> None:
    model = small()
    train, test = data.Dataset(X, Y).split(0.8)
    recorder = Recorder()
    history = model.fit(train, epochs=15, batch_size=16, validation=test, progress=recorder)
    assert len(history.epochs) == 15 and not history.interrupted
    assert history.loss[-1] < 0.5 * history.loss[0]
    assert history.accuracy[-1] > 0.9
    assert history.validation_accuracy[-1] == model.evaluate(test.x, test.y)["accuracy"]
    assert history.validation_loss[-1] == model.evaluate(test.x, test.y)["loss"]
    assert all(s > 0 for s in history.seconds) and history.samples_per_second > 0
    assert recorder.begun == [(k, 15, 3) for k in range(1, 16)]
    assert [s[3] for s in recorder.steps[:3]] == [16, 32, 40], "the last batch is ragged"
    assert recorder.ended == history.epochs and recorder.closed
    assert history.as_dict()["epochs"][0]["number"] == 1


def test_the_figures_are_means_over_samples() -> None:
    model = small(optim.SGD(0.0))
    recorder = Recorder()
    history = model.fit((X, Y), epochs=1, batch_size=16, progress=recorder)
    exact = model.evaluate(X, Y)
    assert history.loss[0] == pytest.approx(exact["loss"], rel=1e-5)
    assert history.accuracy[0] == pytest.approx(exact["accuracy"])
    assert recorder.steps[-1][1:] == (history.loss[0], history.accuracy[0], 50)


def test_without_classes_there_is_no_accuracy() -> None:
    history = small(loss="mse").fit(
        (X, X[:, :3]), epochs=1, validation=(X, X[:, :3]), progress=None
    )
    assert history.accuracy == [None] and history.validation_accuracy == [None]
    assert history.validation_loss[0] > 0


def test_the_same_seed_trains_the_same_and_epochs_differ() -> None:
    one, again, other = small(), small(), small()
    for model, seed in ((one, None), (again, 0), (other, 1)):
        model.fit((X, Y), epochs=2, batch_size=7, seed=seed, progress=None)
    assert same(one.params, again.params)
    assert not same(one.params, other.params)
    batches = data.Dataset(X, Y).batches
    first, second = (next(iter(batches(7, (0, epoch))))[0] for epoch in (1, 2))
    assert (first != second).any()


def test_float64_and_soft_labels_train_as_well() -> None:
    hard, soft = small(), small()
    hard.fit((X, Y), epochs=1, progress=None)
    soft.fit((X.astype(np.float64), np.eye(3)[Y]), epochs=1, progress=None)
    for name, array in hard.params.items():
        np.testing.assert_allclose(soft.params[name], array, rtol=1e-4, atol=1e-6)


def test_zero_epochs_change_nothing() -> None:
    model = small()
    before = copies(model)
    assert model.fit((X, Y), epochs=0, progress=None).loss == []
    assert same(model.params, before)


def test_nan_stops_training_names_the_step_and_keeps_the_last_good_weights() -> None:
    poisoned = X.copy()
    poisoned[17] = np.nan
    model = small()
    kept: list[dict[str, np.ndarray]] = [copies(model)]
    recorder = Recorder(lambda step: kept.append(copies(model)))
    with pytest.raises(gc.GraphcError, match=r"the loss is nan in epoch 1, step \d+") as caught:
        model.fit((poisoned, Y), epochs=3, batch_size=10, progress=recorder)
    assert f"step {len(kept)}:" in caught.value.what
    assert same(model.params, kept[-1])
    assert recorder.closed


def test_weights_that_overflow_go_back_to_the_start_of_the_epoch() -> None:
    model = small(optim.SGD(1e38), loss="mse")
    before = copies(model)
    with pytest.raises(gc.GraphcError, match=r"epoch 1, step 2.*before the epoch"):
        model.fit((X, X[:, :3] * 100), epochs=3, batch_size=10, progress=None)
    assert same(model.params, before)


def test_ctrl_c_from_outside_ends_within_a_second_with_the_last_step_kept() -> None:
    model = small()
    kept: list[dict[str, np.ndarray]] = []
    started = threading.Event()

    def at_step(step: int) -> None:
        kept.append(copies(model))
        started.set()

    pressed: list[float] = []

    def press() -> None:
        started.wait()
        time.sleep(0.05)
        pressed.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    recorder = Recorder(at_step)
    history = model.fit((X, Y), epochs=10**6, batch_size=10, progress=recorder)
    thread.join()
    assert time.perf_counter() - pressed[0] < 1.0
    assert history.interrupted
    assert recorder.interruption is not None and recorder.closed
    steps = 5 * (recorder.interruption[0] - 1) + recorder.interruption[1]
    assert steps in (len(kept), len(kept) + 1), "at most the last step was not reported"
    replay = small()
    replay.fit((X, Y), epochs=recorder.interruption[0] - 1, batch_size=10, progress=None)
    for number, (x, y) in enumerate(
        data.Dataset(X, Y).batches(10, (0, recorder.interruption[0])), 1
    ):
        if number <= recorder.interruption[1]:
            replay.step(x, y)
    assert same(model.params, replay.params)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_during_a_step_waits_for_its_end() -> None:
    def schedule(step: int) -> float:
        if step == 6:
            signal.raise_signal(signal.SIGINT)
        return 0.1

    model, plain = small(optim.SGD(schedule)), small(optim.SGD(0.1))
    recorder = Recorder()
    history = model.fit((X, Y), epochs=3, batch_size=10, progress=recorder)
    assert history.interrupted and len(history.epochs) == 1
    assert recorder.interruption == (2, 2)
    for epoch, steps in ((1, 5), (2, 2)):
        for x, y in list(data.Dataset(X, Y).batches(10, (0, epoch)))[:steps]:
            plain.step(x, y)
    assert same(model.params, plain.params)


def test_a_loss_that_is_not_finite_is_said_even_if_ctrl_c_came_meanwhile() -> None:
    def schedule(step: int) -> float:
        signal.raise_signal(signal.SIGINT)
        return 0.1

    model = small(optim.SGD(schedule))
    with pytest.raises(gc.GraphcError, match="the loss is nan in epoch 1, step 1"):
        model.fit((X * np.float32(np.nan), Y), epochs=1, progress=None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_says_a_line(capsys) -> None:
    class Interrupting(Lines):
        def step(self, step, loss, accuracy, samples):
            if step == 3:
                raise KeyboardInterrupt

    history = small().fit((X, Y), epochs=1, batch_size=10, progress=Interrupting())
    assert history.interrupted
    assert "interrupted in epoch 1 after 3 steps" in capsys.readouterr().err


def test_lines_print_one_line_an_epoch(capsys) -> None:
    small().fit((X, Y), epochs=2, validation=(X, Y))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2  loss ")
    assert all(word in lines[1] for word in ("accuracy", "validation loss", "images/s"))


def test_the_bar_shows_loss_accuracy_speed_and_leaves_a_line_an_epoch() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, color_system=None)
    small().fit((X, Y), epochs=3, batch_size=10, progress=Bar(console))
    text = stream.getvalue()
    assert "epoch 3/3  loss" in text
    assert all(f"epoch {k}/3" in text for k in (1, 2, 3))
    assert "images/s" in text and "accuracy" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": -1}, "epochs is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"seed": -3}, "seed is -3"),
        ({"progress": "loud"}, "progress 'loud'"),
        ({"train": X}, "ndarray is not a data set"),
        ({"train": (X, Y[:9])}, "50 samples and 9 targets"),
        ({"train": (X, Y + 1)}, "is not one of the 3 classes"),
        ({"train": (X[:, :2], Y)}, "'x' has the shape"),
        ({"validation": (X[:, :2], Y)}, "'x' has the shape"),
        ({"validation": (X, Y + 1)}, "is not one of the 3 classes"),
        ({"checkpoint": "no/such/folder"}, "no checkpoint can be written to 'no/such/folder'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_arguments(arguments, message: str) -> None:
    model = small()
    before = copies(model)
    with pytest.raises(gc.GraphcError) as caught:
        model.fit(**({"train": (X, Y), "progress": None} | arguments))
    assert message in caught.value.what
    assert same(model.params, before)


def test_a_model_without_optimizer_does_not_fit() -> None:
    model = gc.Model(nn.Dense(3), "f32[N,4]", "cross_entropy", backend="numpy")
    with pytest.raises(gc.GraphcError, match="no optimizer"):
        model.fit((X, Y))

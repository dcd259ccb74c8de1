"""Schedules: PyTorch's figures where it has them, what is remembered, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim
from tests.fixtures.torch_optimizers import LOSSES, SCHEDULED

PATH = Path(__file__).parents[1] / "fixtures" / "torch_optimizers.npz"
SCHEDULES = {
    "step": optim.Step(0.2, 7, 0.3),
    "multi_step": optim.MultiStep(0.2, (3, 10, 11), 0.5),
    "exponential": optim.Exponential(0.2, 0.9),
    "cosine": optim.Cosine(0.2, SCHEDULED - 1, 0.01),
    "one_cycle": optim.OneCycle(0.2, SCHEDULED),
    "one_cycle_late": optim.OneCycle(
        0.2, SCHEDULED, rise=0.61, initial_divisor=10, final_divisor=50
    ),
    "one_cycle_down": optim.OneCycle(0.2, SCHEDULED, rise=0.0),
    "warmup": optim.Warmup(optim.Step(0.2, 5, 0.5), 8),
}
PLATEAUS = {
    "halving": optim.Plateau(0.2, factor=0.5, patience=1),
    "cooling": optim.Plateau(0.2, factor=0.1, patience=0, threshold=0.1, cooldown=2, least=0.001),
}


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(PATH) as stored:
        return dict(stored)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rates_are_pytorchs(name: str, expected) -> None:
    rates = [SCHEDULES[name].rate(step) for step in range(SCHEDULED)]
    np.testing.assert_allclose(rates, expected[f"schedule/{name}"], rtol=1e-12)


@pytest.mark.parametrize("name", PLATEAUS)
def test_a_plateau_cuts_when_pytorchs_does(name: str, expected) -> None:
    schedule, rates = PLATEAUS[name], []
    for loss in LOSSES:
        schedule.observe(loss)
        rates.append(schedule.rate(0))
    assert len(set(rates)) >= 3
    np.testing.assert_allclose(rates, expected[f"plateau/{name}"], rtol=1e-12)


def test_after_the_last_step_the_rate_stays() -> None:
    assert optim.Cosine(0.2, 10, 0.05).rate(10) == optim.Cosine(0.2, 10, 0.05).rate(99) == 0.05
    cycle = optim.OneCycle(1.0, 10, initial_divisor=10, final_divisor=100)
    assert cycle.rate(9) == cycle.rate(50) == 0.001


def test_a_rate_that_grows_without_end_is_refused_by_the_training() -> None:
    grows = optim.Exponential(1e-6, 2.0)
    assert grows.rate(10) == 1e-6 * 1024 and grows.rate(10_000) == math.inf
    with pytest.raises(gc.GraphcError, match="the learning rate at step 10000 is inf"):
        optim.SGD(grows).rate(10_000)


def test_warming_up_to_a_number() -> None:
    warm = optim.Warmup(0.4, 4)
    np.testing.assert_allclose([warm.rate(k) for k in range(6)], [0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_epochs_become_steps() -> None:
    assert optim.steps(10_000, batch_size=4, epochs=40) == 100_000
    assert optim.steps(1437, 64) == 23


def test_a_plateau_resumes_where_it_stood() -> None:
    first = optim.Plateau(0.2, patience=1)
    for loss in LOSSES[:6]:
        first.observe(loss)
    second = optim.Plateau(0.2, patience=1)
    second.restore(first.state())
    for loss in LOSSES[6:]:
        first.observe(loss)
        second.observe(loss)
        assert first.rate(0) == second.rate(0)
        assert first.state() == second.state()
    assert first.rate(0) < 0.2


def test_a_state_is_a_copy() -> None:
    schedule = optim.Plateau(0.2, patience=0)
    before = schedule.state()
    schedule.observe(1.0)
    assert before["best"] == math.inf and schedule.state()["best"] == 1.0


def test_warming_up_hands_the_loss_on() -> None:
    schedule = optim.Warmup(optim.Plateau(0.2, patience=0), 2)
    for loss in (1.0, 1.0):
        schedule.observe(loss)
    assert schedule.rate(0) == pytest.approx(0.05) and schedule.rate(5) == 0.1
    other = optim.Warmup(optim.Plateau(0.2, patience=0), 2)
    other.restore(schedule.state())
    assert other.rate(5) == 0.1


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_no_improvement(loss: float) -> None:
    schedule = optim.Plateau(0.2, patience=0)
    schedule.observe(loss)
    assert schedule.rate(0) == 0.1 and schedule.state()["best"] == math.inf
    schedule.observe(3.0)
    assert schedule.rate(0) == 0.1 and schedule.state()["best"] == 3.0


def test_a_state_of_another_schedule_is_refused() -> None:
    with pytest.raises(gc.GraphcError, match="Cosine remembers nothing, not rate"):
        optim.Cosine(0.1, 10).restore(optim.Plateau(0.1).state())
    with pytest.raises(gc.GraphcError, match="Plateau remembers rate, best"):
        optim.Plateau(0.1).restore({})


def test_a_schedule_is_a_learning_rate(backend: str) -> None:
    found = []
    for lr in (optim.Step(0.1, 1, 0.5), lambda step: 0.1 / 2**step):
        model = gc.Model(nn.Dense(1), "f32[N,2]", "mse", optim.SGD(lr), backend)
        x, y = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)
        found.append([model.step(x, y) for _ in range(4)])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (lambda: optim.Step(-0.1, 3), "Step: lr is -0.1"),
        (lambda: optim.Step(0.1, 0), "Step: every is 0"),
        (lambda: optim.Step(0.1, 3, math.nan), "Step: factor is nan"),
        (lambda: optim.MultiStep(0.1, (3, 2)), "MultiStep: at (3, 2)"),
        (lambda: optim.MultiStep(0.1, 3), "MultiStep: at 3"),
        (lambda: optim.MultiStep(0.1, (1.5, 2)), "MultiStep: at is 1.5"),
        (lambda: optim.Exponential("fast", 0.9), "Exponential: lr is 'fast'"),
        (lambda: optim.Exponential(0.1, -1), "Exponential: factor is -1"),
        (lambda: optim.Cosine(0.1, 1.5), "Cosine: steps is 1.5"),
        (lambda: optim.Cosine(0.1, 10, -1), "Cosine: final is -1"),
        (lambda: optim.OneCycle(0.1, 10, rise=1.0), "OneCycle: rise is 1.0"),
        (lambda: optim.OneCycle(0.1, 10, initial_divisor=0.5), "OneCycle: initial_divisor is 0.5"),
        (lambda: optim.Warmup(-1.0, 10), "Warmup: schedule is -1.0"),
        (lambda: optim.Warmup(0.1, 0), "Warmup: steps is 0"),
        (lambda: optim.Plateau(0.1, factor=1.0), "Plateau: factor is 1.0"),
        (lambda: optim.Plateau(0.1, patience=-1), "Plateau: patience is -1"),
        (lambda: optim.Plateau(0.1, cooldown=True), "Plateau: cooldown is True"),
        (lambda: optim.steps(0, 64), "steps: samples is 0"),
        (lambda: optim.steps(100, 64, 0.5), "steps: epochs is 0.5"),
    ],
)  # fmt: skip
def test_bad_arguments(construct, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        construct()
    assert message in caught.value.what
    assert caught.value.location is not None and caught.value.location.file == __file__
    assert caught.value.remedy

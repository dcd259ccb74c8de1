"""Mixed precision from the outside: training goes as in f32, and who cannot have it is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc_llvm
from graphc import nn
from graphc.loops.schedule import Machine

WIDE = (
    nn.Conv(32, 3, padding=1), nn.BatchNorm(), nn.ReLU(), nn.Conv(64, 3, stride=2, padding=1),
    nn.ReLU(), nn.Conv(64, 1), nn.ReLU(), nn.AvgPool(4), nn.Flatten(), nn.Dense(10),
)  # fmt: skip


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets processors without instructions for it have bf16 all the same, with shifts."""
    monkeypatch.setattr(graphc_llvm, "machine_of", lambda: Machine(64, 32, pairs=True))


def _model(precision: str, **options: Any) -> gc.Model:
    rate = gc.optim.SGD(0.05, momentum=0.9)
    net = nn.Sequential(*WIDE)
    return gc.Model(net, "f32[N,1,32,32]", "cross_entropy", rate, precision=precision, **options)


def _losses(model: gc.Model, steps: int = 12) -> list[float]:
    train, _ = gc.data.digits()
    return [
        model.step(train.x[8 * k : 8 * k + 8], train.y[8 * k : 8 * k + 8]) for k in range(steps)
    ]


@pytest.mark.usefixtures("anywhere")
def test_training_goes_as_in_f32() -> None:
    single, mixed = _model("f32"), _model("bf16")
    expected, losses = _losses(single), _losses(mixed)
    assert losses != expected, "nothing was rounded"
    np.testing.assert_allclose(losses, expected, rtol=0.01)


@pytest.mark.usefixtures("anywhere")
def test_parameters_stay_f32() -> None:
    model = _model("bf16")
    _losses(model, 1)
    weights = model.params["0.weight"]
    assert weights.dtype == np.float32
    assert (weights.view(np.uint32) & 0xFFFF).any(), "parameters were rounded"


@pytest.mark.usefixtures("anywhere")
def test_the_oracle_rounds_the_same_numbers() -> None:
    x = np.random.default_rng(0).standard_normal((2, 1, 32, 32)).astype(np.float32)
    found = _model("bf16").predict(x)
    expected = _model("bf16", backend="numpy").predict(x)
    np.testing.assert_allclose(found, expected, atol=1.6e-2 * np.abs(expected).max())


@pytest.mark.usefixtures("anywhere")
def test_a_network_of_a_model_keeps_its_precision() -> None:
    model = _model("bf16")
    x = np.random.default_rng(0).standard_normal((2, 1, 32, 32)).astype(np.float32)
    same = model.with_network(nn.Sequential(*WIDE))
    np.testing.assert_array_equal(same.predict(x), model.predict(x))
    assert not np.array_equal(_model("f32").predict(x), model.predict(x))


def test_parameters_that_are_bf16_are_refused() -> None:
    line = "%y = cast(%w) {dtype=f32} : f32[3,4]"
    graph = gc.parse(f"graph g(%x: f32[N,4], %w: parameter bf16[3,4]) {{ {line} return %y, %x }}")
    with pytest.raises(gc.GraphcError, match="arrays have no bf16"):
        gc.Model(graph)


def test_a_processor_without_instructions_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphc_llvm, "machine_of", lambda: Machine(32, 16))
    with pytest.raises(gc.GraphcError, match="AVX512-BF16"):
        _model("bf16")

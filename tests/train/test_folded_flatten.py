"""Networks whose dense layers read flattened images as they lie: they learn, predict, save and
resume as every network does, and whoever looks at their weights sees them row-major.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim

Array = np.ndarray[Any, Any]
TYPE = "f32[N,3,12,12]"


def _alexnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv(32, 5, padding=2), nn.ReLU(), nn.LocalResponseNorm(), nn.MaxPool(2),
        nn.Conv(32, 3, padding=1, groups=2), nn.ReLU(), nn.Flatten(),
        nn.Dense(24), nn.ReLU(), nn.Dropout(0.5), nn.Dense(5),
    )  # fmt: skip


def _vgg() -> nn.Module:
    return nn.Sequential(
        nn.Conv(16, 3, padding=1), nn.ReLU(), nn.Conv(16, 3, padding=1), nn.ReLU(), nn.MaxPool(2),
        nn.Conv(32, 3, padding=1), nn.ReLU(), nn.MaxPool(2), nn.Flatten(),
        nn.Dropout(0.25), nn.Dense(24), nn.ReLU(), nn.Dense(5),
    )  # fmt: skip


def _wide() -> nn.Module:
    """In blocks of channels for large batches too."""
    return nn.Sequential(
        nn.Conv(64, 3, padding=1), nn.ReLU(), nn.Conv(64, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Tanh(), nn.Dense(5),
    )  # fmt: skip


def _model(network: Callable[[], nn.Module], **options: Any) -> gc.Model:
    optimizer = options.pop("optimizer", optim.SGD(0.01, momentum=0.9, weight_decay=0.01))
    return gc.Model(network(), TYPE, loss="cross_entropy", optimizer=optimizer, **options)


def _batches(n: int, count: int = 3) -> list[tuple[Array, Array]]:
    rng = np.random.default_rng(n)
    return [
        (rng.standard_normal((n, 3, 12, 12)).astype(np.float32), rng.integers(0, 5, n))
        for _ in range(count)
    ]


def _folded(model: gc.Model) -> list[str]:
    layouts = model._engine._kept.layouts
    return [name for name, layout in layouts.items() if layout.startswith("features")]


def _close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("network", "n"), [(_alexnet, 3), (_vgg, 5), (_wide, 4), (_wide, 17)], ids=str
)
def test_steps_and_predictions_are_those_of_the_oracle(
    network: Callable[[], nn.Module], n: int
) -> None:
    model, oracle = _model(network), _model(network, backend="numpy")
    for x, y in _batches(n):
        _close(model.step(x, y), oracle.step(x, y))
        _close(model.predict(x), oracle.predict(x))
        assert _folded(model)
    for name, array in oracle.params.items():
        _close(model.params[name], array)


@pytest.mark.parametrize(
    "options",
    [{"optimizer": optim.Adam(0.003)}, {"clip_norm": 0.5, "accumulate": 2}, {"precision": "bf16"}],
    ids=",".join,
)
def test_a_model_that_is_looked_at_learns_the_same(options: dict[str, Any]) -> None:
    model, looked_at = _model(_alexnet, **options), _model(_alexnet, **options)
    assert looked_at.params
    for x, y in _batches(4):
        np.testing.assert_allclose(model.step(x, y), looked_at.step(x, y), rtol=1e-3)
        assert _folded(model) and not _folded(looked_at)
    for name, array in looked_at.params.items():
        np.testing.assert_allclose(model.params[name], array, rtol=1e-2, atol=1e-3)


def test_a_prediction_takes_the_weights_as_the_step_left_them() -> None:
    model = _model(_wide)
    (x, y), *_ = _batches(17)
    model.step(x, y)
    assert _folded(model) == ["6.weight", "6.weight.velocity"]
    before = model._engine._kept.arrays["6.weight"].copy()
    model.predict(x)
    assert np.array_equal(model._engine._kept.arrays["6.weight"], before)
    assert _folded(model) == ["6.weight", "6.weight.velocity"]


def test_the_threads_do_not_matter() -> None:
    one, two = _model(_alexnet, threads=1), _model(_alexnet, threads=2)
    for x, y in _batches(4):
        assert one.step(x, y) == two.step(x, y)
    assert all(np.array_equal(a, two.params[name]) for name, a in one.params.items())


def test_saved_and_resumed_it_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    ((x, y),) = _batches(12, 1)
    arguments: dict[str, Any] = {"batch_size": 4, "progress": None}
    whole, first, second = (_model(_alexnet) for _ in range(3))
    whole.fit((x, y), epochs=2, **arguments)
    for model, epochs, resume in ((first, 1, False), (second, 2, True)):
        model.fit((x, y), epochs=epochs, checkpoint=tmp_path / "half", resume=resume, **arguments)
    assert _folded(whole)
    whole.save(tmp_path / "whole")
    loaded = gc.load(tmp_path / "whole")
    assert np.array_equal(loaded.predict(x[:4]), second.predict(x[:4]))
    assert all(np.array_equal(a, second.params[name]) for name, a in whole.params.items())


def test_weights_from_outside_are_row_major() -> None:
    source, model = _model(_wide, seed=3), _model(_wide)
    (x, y), *_ = _batches(3)
    model.step(x, y)
    assert _folded(model)
    model.load_params(source.params)
    _close(model.predict(x), source.predict(x))
    _close(model.step(x, y), source.step(x, y))

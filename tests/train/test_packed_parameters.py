"""A model keeps parameters as its training step reads them; nobody who looks can tell. (Of dense
layers behind a flatten, whose sums change their order, see `test_folded_flatten.py`.)
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def _batch(n: int) -> tuple[Array, Array]:
    x = RNG.standard_normal((n, 16, 4, 4)).astype(np.float32)
    return x, RNG.integers(0, 5, n).astype(np.int32)


BATCHES = [_batch(n) for n in (4, 3, 5, 2)]
SMALL = BATCHES[0]


class Net(nn.Module):
    """Wide enough for small batches; large ones run in lanes of samples. Uses weights twice."""

    def __init__(self) -> None:
        self.first, self.norm = nn.Conv(16, 3, padding=1, bias=False), nn.BatchNorm()
        self.second, self.shared = nn.Conv(32, 1), nn.Conv(32, 3, padding=1)
        self.head = nn.Sequential(nn.AvgPool(4), nn.Flatten(), nn.Dense(5))

    def __call__(self, x: nn.Tensor) -> nn.Tensor:
        y = self.second(nn.relu(self.norm(self.first(x)) + x))
        return self.head(self.shared(nn.relu(self.shared(y) + y)))


def _model(**options: Any) -> gc.Model:
    optimizer = options.pop("optimizer", optim.SGD(0.05, momentum=0.9, weight_decay=0.01))
    return gc.Model(Net(), "f32[N,16,4,4]", loss="cross_entropy", optimizer=optimizer, **options)


def _row_major(**options: Any) -> gc.Model:
    """The same model with parameters that somebody may look at at any time."""
    model = _model(**options)
    assert model.params
    return model


def _packed(model: gc.Model) -> set[str]:
    return set(model._engine._kept.layouts)


def _same(one: gc.Model, other: gc.Model) -> bool:
    held = other._engine.arrays
    return all(np.array_equal(a, held[n]) for n, a in one._engine.arrays.items())


GROUPS = optim.Groups(("second.*", optim.Adam(0.01)), ("*", optim.SGD(0.05, momentum=0.5)))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": GROUPS, "threads": 1},
        {"clip_norm": 0.5, "accumulate": 2},
        {"frozen": ("first.weight",), "optimizer": optim.Adam(0.01)},
    ],
    ids=",".join,
)
def test_steps_and_predictions_give_the_same_bits(options: dict[str, Any]) -> None:
    model, plain = _model(**options), _row_major(**options)
    for x, y in BATCHES[:4]:
        assert model.step(x, y) == plain.step(x, y)
        assert _packed(model) and not _packed(plain)
        if len(x) != 3:
            assert np.array_equal(model.predict(x), plain.predict(x))
    assert _same(model, plain)


def test_batches_of_any_size_in_between_give_the_same_bits() -> None:
    model, plain = _model(), _row_major()
    for n in (4, 20, 2, 33, 33, 4):  # large ones want no blocks
        x, y = _batch(n)
        assert model.step(x, y) == plain.step(x, y)
        assert bool(_packed(model)) == (n < 16)
        assert model.evaluate(x, y) == plain.evaluate(x, y)
    assert _same(model, plain)


def test_only_what_a_prediction_reads_is_brought_back() -> None:
    model = _model()
    model.step(*SMALL)
    assert any(name.endswith("weight") for name in _packed(model))
    model.predict(SMALL[0])
    assert _packed(model) and all(name.endswith("velocity") for name in _packed(model))


def test_nothing_is_moved_from_step_to_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model()
    model.step(*SMALL)
    monkeypatch.setattr(model._engine._kept, "_move", None)
    model.step(*SMALL)
    model.step(*BATCHES[1])


def test_written_and_read_between_steps() -> None:
    model, plain = _model(), _row_major()
    values = {name: RNG.standard_normal(a.shape) * 0.1 for name, a in plain.params.items()}
    for each in (model, plain):
        each.step(*SMALL)
        each.load_params({n: v.astype(np.float32) for n, v in values.items()})
        each.step(*SMALL)
    held = model.params  # from here on they may be written into at any time
    for each in (model, plain):
        each.step(*SMALL)
        each.params["second.weight"][...] *= 0.5
        each.step(*SMALL)
    assert _same(model, plain) and not _packed(model)
    assert all(np.array_equal(held[n], a) for n, a in plain.params.items())


def test_what_is_frozen_in_between_is_kept() -> None:
    model, plain = _model(), _row_major()
    for each in (model, plain):
        each.step(*SMALL)
        each.freeze("shared.*")
        each.step(*SMALL)
        each.unfreeze("shared.*")
        each.step(*SMALL)
    assert _same(model, plain)


def test_saved_and_restored_row_major(tmp_path: Path) -> None:
    model, plain = _model(), _row_major()
    for each in (model, plain):
        each.step(*SMALL)
    before = model._engine.snapshot()
    model.step(*SMALL)
    model._engine.restore(before)
    assert _same(model, plain)
    model.step(*SMALL)
    plain.step(*SMALL)
    model.save(tmp_path / "saved")
    saved = gc.load(tmp_path / "saved").params
    assert all(np.array_equal(saved[name], array) for name, array in plain.params.items())


def test_an_executable_takes_row_major_arrays() -> None:
    model = _model()
    model.step(*SMALL)
    x, y = SMALL
    own = {n: a.copy() for n, a in model._engine.arrays.items()}
    run = model.executable("train")
    new = run(x, y, np.float32(0.05), **own)
    kept = {n: a.copy() for n, a in own.items()}
    run.bind(kept)(x, y, np.float32(0.05))
    model.step(x, y)
    written = [i.attrs["name"] for i in run.graph.inputs if i.attrs["kind"] != "data"]
    results = dict(zip(written, new[-len(written) :], strict=False))
    for name, array in model._engine.arrays.items():
        assert np.array_equal(kept[name], array)
        assert np.array_equal(results[name], array)


def test_a_step_and_a_prediction_at_once_do_not_meet() -> None:
    model, plain = _model(), _row_major()
    x, y = SMALL
    for each in (model, plain):
        each.step(x, y)
    wrong: list[BaseException] = []
    over = threading.Event()

    def predict() -> None:
        try:
            while not over.is_set():
                assert np.isfinite(model.predict(x)).all()
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=predict)
    thread.start()
    losses = [model.step(x, y) for _ in range(20)]
    over.set()
    thread.join()
    assert not wrong
    assert losses == [plain.step(x, y) for _ in range(20)]
    assert _same(model, plain)


def test_no_weight_is_held_twice() -> None:
    model, plain = _model(), _row_major()
    places = {n: a.ctypes.data for n, a in model._engine.arrays.items()}
    for each in (model, plain):
        each.step(*SMALL)
    arena, plain_arena = (m.report()["planned_bytes"] for m in (model, plain))
    assert arena < plain_arena  # no copy in the arena
    assert {n: a.ctypes.data for n, a in model._engine.arrays.items()} == places

"""Resuming: a training taken up from a checkpoint gives the bits of one never interrupted."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim
from graphc.train import tensor_file
from graphc.train.history import History
from graphc.train.progress import Silent

RNG = np.random.default_rng(0)
X = RNG.standard_normal((46, 1, 6, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 46)
VALIDATION = (X[:9] + 0.25, Y[:9])
EPOCHS, BATCH_SIZE = 12, 10  # of 5 steps each, the last of 6 samples: 60 steps


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether saves survive a crash is another file's question."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def shifted(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    noise = generator.normal(0, 0.1, x.shape)
    return np.roll(x + noise, generator.integers(-1, 2), axis=3)


def everything(backend: str, **keywords) -> gc.Model:
    """Dropout, batch normalisation, Adam, a schedule that remembers, clipping."""
    net = nn.Sequential(
        nn.Conv(4, 3), nn.BatchNorm(), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Dense(3)
    )
    rate = optim.Warmup(optim.Plateau(0.01, patience=0, threshold=0.1), steps=8)
    arguments = {"optimizer": optim.Adam(rate), "clip_norm": 1.0, "seed": 3} | keywords
    return gc.Model(net, "f32[N,1,6,6]", "cross_entropy", backend=backend, **arguments)


def trained(model: gc.Model, path: Path | None, **keywords) -> History:
    arguments = {
        "epochs": EPOCHS, "batch_size": BATCH_SIZE, "validation": VALIDATION, "augment": shifted,
        "early_stopping": gc.EarlyStopping(patience=20), "checkpoint": path, "progress": None,
    }  # fmt: skip
    return model.fit((X, Y), **(arguments | keywords))


def fingerprint(model: gc.Model, history: History) -> str:
    """The SHA-256 of all that a training leaves: weights, optimiser, random key, figures."""
    found = hashlib.sha256()
    for name, array in sorted(model._engine.arrays.items()):
        found.update(name.encode() + array.tobytes())
    for epoch in history.epochs:
        found.update(repr(asdict(epoch) | {"seconds": None}).encode())
    found.update(repr((history.best_epoch, model._engine.steps, model._engine.updates)).encode())
    return found.hexdigest()


class Keeper(Silent):
    """Keeps a copy of the checkpoint as it is after every step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.copies: list[Path] = []

    def step(self, step, loss, accuracy, samples) -> None:
        self.copies.append(self.path.with_name(f"step{len(self.copies) + 1}"))
        shutil.copy(self.path, self.copies[-1])


PLATEAU = optim.Plateau(0.05, patience=0, threshold=0.1)
GROUPS = optim.Groups(
    ("*.bias", optim.SGD(PLATEAU, momentum=0.9)),
    ("5.*", optim.AdamW(0.01)),
    ("*", optim.Adam(optim.Warmup(PLATEAU, steps=8))),
)
AT_ONCE = {"optimizer": GROUPS, "frozen": ("1.bias", "5.bias"), "accumulate": 3}


@pytest.mark.parametrize(
    "keywords", [{}, {"accumulate": 3}, AT_ONCE], ids=["", "accumulating", "groups, frozen"]
)
def test_from_every_step_of_sixty(tmp_path, backend: str, keywords) -> None:
    model = everything(backend, **keywords)
    untouched = fingerprint(model, trained(model, None))
    keeper = Keeper(tmp_path / "run")
    model = everything(backend, **keywords)
    history = trained(model, tmp_path / "run", checkpoint_every=1, progress=keeper)
    assert fingerprint(model, history) == untouched, "saving changes nothing"
    assert len(keeper.copies) == 60
    assert len(set(history.learning_rates)) > 2
    again = everything(backend, **keywords)  # it holds leftovers of other trainings from the second
    for copy in keeper.copies[:: 1 if backend == "llvm" else 13]:
        history = trained(again, copy, resume=True, checkpoint_every=1000)  # few saves: faster
        assert fingerprint(again, history) == untouched, copy.name


def test_from_the_end_of_an_epoch_and_from_the_end_of_training(tmp_path) -> None:
    model = everything("numpy")
    whole = trained(model, tmp_path / "whole")
    for epochs in (1, 7):
        first, second = everything("numpy"), everything("numpy")
        path = tmp_path / f"part{epochs}"
        trained(first, path, epochs=epochs)
        history = trained(second, path, resume=True)
        assert fingerprint(second, history) == fingerprint(model, whole)
    again = everything("numpy")
    assert fingerprint(again, trained(again, tmp_path / "whole", resume=True)) == fingerprint(
        model, whole
    ), "nothing is left to do"


def test_resuming_without_a_file_begins_anew(tmp_path) -> None:
    one, other = everything("numpy"), everything("numpy")
    histories = trained(one, tmp_path / "a", resume=True), trained(other, tmp_path / "b")
    assert fingerprint(one, histories[0]) == fingerprint(other, histories[1])


def test_after_ctrl_c_in_the_middle_of_an_epoch(tmp_path) -> None:
    class Interrupting(Silent):
        def step(self, step, loss, accuracy, samples) -> None:
            self.count = getattr(self, "count", 0) + 1
            if self.count == 23:
                signal.raise_signal(signal.SIGINT)

    model, whole = everything("numpy"), everything("numpy")
    path = tmp_path / "run"
    history = trained(model, path, progress=Interrupting())
    assert history.interrupted and len(history.epochs) == 4
    resumed = everything("numpy")
    history = trained(resumed, path, resume=True)
    assert fingerprint(resumed, history) == fingerprint(whole, trained(whole, None))


def test_saves_come_as_often_as_asked_and_when_training_ends(tmp_path) -> None:
    keeper = Keeper(tmp_path / "run")
    trained(everything("numpy"), keeper.path, epochs=2, checkpoint_every=4, resume=True,
            progress=Silent())  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "run.previous"]
    steps = []
    for name in ("run.previous", "run"):
        model = everything("numpy")
        shutil.copy(tmp_path / name, tmp_path / "copy")
        trained(model, tmp_path / "copy", epochs=0, resume=True)
        steps.append(model._engine.steps)
        (tmp_path / "copy").unlink()
    assert steps == [8, 10]


def test_a_checkpoint_predicts_like_the_model_that_wrote_it(tmp_path) -> None:
    model = everything("numpy")
    trained(model, tmp_path / "run", epochs=2, early_stopping=None)
    loaded = gc.load(tmp_path / "run", backend="numpy")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": (X + 1, Y)}, "other training data"),
        ({"train": (X, (Y + 1) % 3)}, "other training data"),
        ({"validation": (X[:8], Y[:8])}, "other validation data"),
        ({"batch_size": 11}, "another batch size: 10, not 11"),
        ({"seed": 4}, "another seed: 3, not 4"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_training_is_refused(tmp_path, change, message: str) -> None:
    path = tmp_path / "run"
    trained(everything("numpy"), path, epochs=1)
    model = everything("numpy")
    before = {name: array.copy() for name, array in model._engine.arrays.items()}
    train = change.pop("train", (X, Y))
    arguments = {"validation": VALIDATION, "batch_size": BATCH_SIZE, "progress": None} | change
    with pytest.raises(gc.GraphcError) as caught:
        model.fit(train, checkpoint=path, resume=True, **arguments)
    assert message in caught.value.what and str(path) in caught.value.what
    assert all((model._engine.arrays[n] == a).all() for n, a in before.items())


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"optimizer": optim.SGD(0.1)}, "another loss, optimizer"),
        ({"clip_norm": 2.0}, "another loss, optimizer"),
        ({"frozen": ("0.*",)}, "another loss, optimizer"),
        ({"optimizer": optim.Adam(0.01)}, "other learning rates: Warmup(schedule=Plateau(lr=0.01,"),
        ({"optimizer": optim.Adam(lambda step: 0.01)}, "steps=8), not a function"),
        ({"accumulate": 3}, "another loss, optimizer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_optimizer_is_refused(tmp_path, keywords, message: str) -> None:
    path = tmp_path / "run"
    trained(everything("numpy"), path, epochs=1)
    with pytest.raises(gc.GraphcError) as caught:
        trained(everything("numpy", **keywords), path, resume=True)
    assert message in caught.value.what


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"optimizer": optim.SGD(0.1)}, {"optimizer": optim.SGD(0.2)}, "rates: 0.1, not 0.2"),
        (
            {"optimizer": optim.SGD(optim.Cosine(0.1, 60))},
            {"optimizer": optim.SGD(optim.Cosine(0.1, 70))},
            "Cosine(lr=0.1, steps=60, final=0.0), not Cosine(lr=0.1, steps=70, final=0.0)",
        ),
        ({"accumulate": 2}, {"accumulate": 3}, "another accumulate: 2, not 3"),
    ],
    ids=["rate", "schedule", "accumulate"],
)
def test_what_the_graph_does_not_say_is_compared_as_well(tmp_path, first, second, message) -> None:
    path = tmp_path / "run"
    trained(everything("numpy", **first), path, epochs=1)
    with pytest.raises(gc.GraphcError) as caught:
        trained(everything("numpy", **second), path, resume=True)
    assert message in caught.value.what


@pytest.mark.parametrize("rule", [None, gc.EarlyStopping(patience=20, monitor="accuracy")], ids=str)
def test_another_early_stopping_is_refused(tmp_path, rule) -> None:
    path = tmp_path / "run"
    trained(everything("numpy"), path, epochs=1)
    with pytest.raises(gc.GraphcError, match="another early stopping: EarlyStopping"):
        trained(everything("numpy"), path, resume=True, early_stopping=rule)


def test_another_network_is_refused(tmp_path) -> None:
    path = tmp_path / "run"
    trained(everything("numpy"), path, epochs=1)
    net = nn.Sequential(nn.Flatten(), nn.Dense(3))
    model = gc.Model(net, "f32[N,1,6,6]", "cross_entropy", optim.Adam(0.01), "numpy", seed=3)
    with pytest.raises(gc.GraphcError, match="another network"):
        trained(model, path, resume=True)


def test_on_another_number_of_threads(tmp_path) -> None:
    path = tmp_path / "run"
    trained(everything("llvm", threads=1), path, epochs=5)
    resumed, whole = everything("llvm", threads=2), everything("llvm", threads=1)
    history = trained(resumed, path, resume=True)
    assert fingerprint(resumed, history) == fingerprint(whole, trained(whole, None))


def test_in_another_process(tmp_path) -> None:
    """With other hashes of texts, so that nothing depends on the order of a set."""
    path = tmp_path / "run"
    code = "import sys, test_resume as t; t.trained(t.everything('numpy'), sys.argv[1], epochs=5)"
    subprocess.run(
        [sys.executable, "-c", code, path],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
        | {"PYTHONHASHSEED": "1234"},
        check=True,
    )
    resumed, whole = everything("numpy"), everything("numpy")
    history = trained(resumed, path, resume=True)
    assert fingerprint(resumed, history) == fingerprint(whole, trained(whole, None))


FORGED = {
    "no JSON": "{",
    "a list": "[]",
    "no settings": json.dumps({"run": {}}),
    "a text for a number": {"counts": ["a", 1, 1]},
    "too few counts": {"counts": [1]},
    "a negative count": {"counts": [5, -5, 0]},
    "an infinite count": {"counts": [math.inf, 1, 1]},
    "a schedule that is a number": {"schedules": [3]},
    "a position of nothing": {"run": {}},
    "steps without samples": {"run": {"position": [1, 3, 0, 0], "sums": [0, 0]}},
    "an epoch before the first": {"run": {"position": [0, 0, 0, 0], "sums": [0, 0]}},
    "an epoch of something else": {
        "run": {"position": [2, 0, 0, 0], "sums": [0, 0], "history": [{"a": 1}], "best": [0, None]}
    },
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_forged_state_is_refused(tmp_path, forged) -> None:
    path = tmp_path / "run"
    trained(everything("numpy"), path, epochs=1)
    metadata, tensors = tensor_file.read(path)
    state = json.loads(metadata["training"])
    if isinstance(forged, dict):
        forged = json.dumps(state | forged)
    tensor_file.write(path, tensors, metadata | {"training": forged})
    with pytest.raises(gc.GraphcError, match="holds no training to resume"):
        trained(everything("numpy"), path, resume=True)


@pytest.mark.parametrize("change", ["missing", "more", "shape", "best"])
def test_other_arrays_are_refused(tmp_path, change: str) -> None:
    path = tmp_path / "run"
    trained(everything("numpy"), path, epochs=1)
    metadata, tensors = tensor_file.read(path)
    name = {"more": "9.weight", "best": "best/9.weight"}.get(change, "0.weight")
    tensors[name] = np.zeros(3, np.float32)
    if change == "missing":
        del tensors[name]
    tensor_file.write(path, tensors, metadata)
    model = everything("numpy")
    before = {name: array.copy() for name, array in model._engine.arrays.items()}
    with pytest.raises(gc.GraphcError, match="does not hold what this training keeps"):
        trained(model, path, resume=True)
    assert all((model._engine.arrays[n] == a).all() for n, a in before.items())


def test_a_run_is_never_overwritten_by_another(tmp_path) -> None:
    path = tmp_path / "run"
    trained(everything("numpy"), path, epochs=1)
    before = path.read_bytes()
    with pytest.raises(gc.GraphcError, match="there is a checkpoint already") as caught:
        trained(everything("numpy"), path, epochs=1)
    assert "resume=True" in caught.value.remedy
    assert path.read_bytes() == before


def test_a_model_file_is_no_checkpoint(tmp_path) -> None:
    model = everything("numpy")
    model.save(tmp_path / "run")
    with pytest.raises(gc.GraphcError, match="holds no training to resume"):
        trained(model, tmp_path / "run", resume=True)

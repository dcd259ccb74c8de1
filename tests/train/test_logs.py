"""Logs of a training: a JSON object a line, and TensorBoard's event files read back."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

import graphc as gc
from graphc.cli import main
from graphc.train.history import Epoch, History
from graphc.train.logs import JsonLines
from graphc.train.progress import Silent

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((50, 4), np.float32)
Y = GENERATOR.integers(0, 3, 50).astype(np.int32)


def model() -> gc.Model:
    return gc.Model(gc.nn.Dense(3), "f32[N,4]", "cross_entropy", gc.optim.SGD(0.1), "numpy")


def fit(log: Any, **options: Any) -> History:
    settings = {"epochs": 3, "batch_size": 10, "progress": None} | options
    return model().fit((X, Y), validation=(X, Y), log=log, **settings)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value), from the records of every event file: length, checksum, event,
    checksum.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += length + 16
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_each_epoch_is_a_line_with_the_figures_of_the_history(tmp_path: Path) -> None:
    history = fit(tmp_path / "run.jsonl")
    expected = [{"event": "epoch", **asdict(e)} for e in history.epochs]
    assert lines(tmp_path / "run.jsonl") == json.loads(json.dumps(expected))


def test_a_later_training_goes_on_in_the_same_file(tmp_path: Path) -> None:
    log, checkpoint = tmp_path / "run.jsonl", tmp_path / "run.ckpt"
    fit(log, epochs=2, checkpoint=checkpoint)
    fit(log, epochs=3, checkpoint=checkpoint, resume=True)
    assert [line["number"] for line in lines(log)] == [1, 2, 3]


def test_steps_are_lines_too_if_they_are_asked_for(tmp_path: Path) -> None:
    history = fit(JsonLines(tmp_path / "run.jsonl", every=2), epochs=1)
    first, second, epoch = lines(tmp_path / "run.jsonl")
    assert [first["step"], second["step"]] == [2, 4]
    assert (first["event"], first["epoch"], first["samples"]) == ("step", 1, 20)
    assert epoch["loss"] == history.loss[0]


def test_a_training_that_is_interrupted_says_where(tmp_path: Path) -> None:
    class Impatient(Silent):
        def step(self, step: int, loss: float, accuracy: float | None, samples: int) -> None:
            if step == 3:
                raise KeyboardInterrupt

    assert fit((Impatient(), tmp_path / "run.jsonl")).interrupted
    assert lines(tmp_path / "run.jsonl") == [{"event": "interrupted", "epoch": 1, "step": 3}]


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "run.jsonl")
    log.epoch_begin(1, 1, 1)
    log.epoch_end(Epoch(1, float("nan"), None, float("inf"), None, 1.0, 5))
    log.close()
    (line,) = lines(tmp_path / "run.jsonl")
    assert line["loss"] is None and line["validation_loss"] is None


def test_event_files_hold_the_figures_of_the_history(tmp_path: Path) -> None:
    history = fit(tmp_path / "runs")
    found = scalars(tmp_path / "runs")
    expected = {
        "loss/training": history.loss,
        "loss/validation": history.validation_loss,
        "accuracy/training": history.accuracy,
        "accuracy/validation": history.validation_accuracy,
        "learning_rate/0": [rates[0] for rates in history.learning_rates],
    }
    assert found.keys() == expected.keys() | {"images_per_second"}
    for tag, values in expected.items():
        assert [step for step, _ in found[tag]] == [1, 2, 3]
        assert [value for _, value in found[tag]] == pytest.approx(values, rel=1e-6)


def test_several_logs_at_once(tmp_path: Path) -> None:
    fit([tmp_path / "a.jsonl", tmp_path / "runs", JsonLines(tmp_path / "b.jsonl")])
    assert lines(tmp_path / "a.jsonl") == lines(tmp_path / "b.jsonl")
    assert scalars(tmp_path / "runs")


def test_the_command_line_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "run.jsonl"
    words = ["train", "lenet5", "--epochs", "1", "--batch-size", "512", "--backend", "llvm"]
    assert main([*words, "--json", "--log", str(log)]) == 0
    printed = json.loads(capsys.readouterr().out)
    (line,) = lines(log)
    assert {key: line[key] for key in printed["history"][0]} == printed["history"][0]

"""A save that was reported is never lost: killed processes, full disks, damaged files."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim

X = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
Y = np.arange(40) % 3
ROOT = Path(__file__).parents[2]


def trained(path: Path, epochs: int, **keywords) -> gc.Model:
    """A model after `epochs` of 4 steps each, saved after every one."""
    net = nn.Sequential(nn.Dense(16), nn.Tanh(), nn.Dense(3))
    model = gc.Model(net, "f32[N,8]", "cross_entropy", optim.Adam(0.01), "numpy")
    arguments = {"batch_size": 10, "checkpoint": path, "resume": True, "progress": None}
    model.fit((X, Y), epochs, **(arguments | keywords))
    return model


def steps_in(path: Path) -> int:
    """How many steps the training at `path` had done; nothing is trained or written."""
    return trained(path, 0)._engine.steps


def same(one: gc.Model, other: gc.Model) -> bool:
    return all((a == other._engine.arrays[n]).all() for n, a in one._engine.arrays.items())


def test_kill_9_at_a_hundred_random_moments(tmp_path) -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "tests/train/killed_training.py", tmp_path / "run", "100"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert re.match(r"100 kills, [1-9]\d* in the middle of a file", run.stdout)


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a disk with little room: what is written beyond `size` bytes of a file fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 5, 3000, 6000])
def test_a_full_disk_stops_training_and_keeps_the_save_before(tmp_path, room: int) -> None:
    path = tmp_path / "run"
    trained(path, 2)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert len(before["run"]) > 6000
    with files_of_at_most(room), pytest.raises(gc.GraphcError, match="cannot write") as caught:
        trained(path, 4)
    assert caught.value.remedy is not None
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert same(trained(path, 4), trained(tmp_path / "other", 4)), "with room again it goes on"


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_no_space_left_at_any_moment_of_a_save(tmp_path, monkeypatch, failing: int) -> None:
    """The disk may turn out to be full when the file, or its folder, is flushed."""
    path, calls = tmp_path / "run", []
    trained(path, 2)
    flush = os.fsync

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(gc.GraphcError, match="No space left on device"):
        trained(path, 4)
    monkeypatch.undo()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run", "run.previous"]
    assert steps_in(path) == (8 if failing == 1 else 12)


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_ctrl_c_during_a_save_waits_until_it_is_whole(
    tmp_path, monkeypatch, call: str, number: int
) -> None:
    path, calls, real = tmp_path / "run", [], getattr(os, call)

    def interrupted(*arguments) -> None:
        calls.append(arguments)
        if len(calls) == number:
            signal.raise_signal(signal.SIGINT)
        real(*arguments)

    monkeypatch.setattr(os, call, interrupted)
    model = trained(path, 6)
    monkeypatch.undo()
    assert 0 < model._engine.steps < 24, "it ended after that save"
    # Two flushes a save; two renamings, but for the first, which has none before it.
    assert len(calls) % 2 == (call == "replace"), "no save was broken off"
    assert not list(tmp_path.glob(".*.part"))
    assert steps_in(path) == model._engine.steps
    assert same(trained(path, 6), trained(tmp_path / "other", 6))


def flipped(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


DAMAGE = {
    "first byte": lambda data: flipped(data, 0),
    "header length": lambda data: flipped(data, 6),
    "header": lambda data: flipped(data, 60),
    "metadata": lambda data: flipped(data, data.index(b"loss") + 1),
    "history": lambda data: flipped(data, data.index(b"samples")),
    "a shape": lambda data: data.replace(b"[16,8]", b"[8,16]"),
    "a tensor": lambda data: flipped(data, -1),
    "all tensors": lambda data: data[:-2000] + bytes(2000),
    "cut short": lambda data: data[:-1],
    "cut in the header": lambda data: data[:1000],
    "empty": lambda data: b"",
    "longer": lambda data: data + b"x",
    "no safetensors at all": lambda data: b"hello, world" * 100,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_gives_way_to_the_save_before_and_it_says_so(tmp_path, damage) -> None:
    path = tmp_path / "run"
    trained(path, 3)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    with pytest.warns(UserWarning, match=r"from the save before, run\.previous: .*'.*run' \(") as w:
        assert steps_in(path) == 8
    assert w[0].filename == __file__, "the warning points at the user's line"
    with pytest.warns(UserWarning):
        resumed = trained(path, 3)
    assert same(resumed, trained(tmp_path / "other", 3))


def test_a_kill_between_the_two_files_leaves_the_save_before(tmp_path) -> None:
    path = tmp_path / "run"
    trained(path, 3)
    path.unlink()
    with pytest.warns(UserWarning, match="there is no file"):
        assert steps_in(path) == 8


def test_a_damaged_file_never_replaces_the_good_one_before_it(tmp_path, monkeypatch) -> None:
    path = tmp_path / "run"
    trained(path, 3)
    path.write_bytes(b"damaged")
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        if target == path:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.warns(UserWarning), pytest.raises(gc.GraphcError, match="cannot write"):
        trained(path, 4)
    monkeypatch.undo()
    with pytest.warns(UserWarning):
        assert steps_in(path) == 8


def test_if_both_are_damaged_it_says_why(tmp_path) -> None:
    path = tmp_path / "run"
    trained(path, 3)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(gc.GraphcError, match="no checkpoint can be read") as caught:
        trained(path, 4)
    assert caught.value.what.count("cannot be read as safetensors") == 2


def test_what_killed_writers_left_is_swept_away(tmp_path) -> None:
    path, other = tmp_path / "run", tmp_path / ".runner.0123.part"
    for part in (tmp_path / ".run.0123.part", tmp_path / ".run.4567.part", other):
        part.write_bytes(b"half")
    trained(path, 1)
    assert sorted(tmp_path.iterdir()) == sorted([path, other])

"""Trains with a save after every step, is killed again and again, and is resumed from what is left.

``python killed_training.py FILE KILLS``: each training is a fork that reports every save that is
done; after a random time it gets SIGKILL. What then loads must be the last reported save or a newer
one, and after all of it the weights must be those of a training that nobody killed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import graphc as gc
from graphc import nn, optim
from graphc.train.progress import Silent

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 128)).astype(np.float32)
Y = RNG.integers(0, 3, 64)
LONGEST = 0.04  # seconds until the kill, after the first save


class Reporter(Silent):
    """Writes the number of each step, which is on the disk by then, to a pipe."""

    def __init__(self, model: gc.Model, pipe: int) -> None:
        self.model, self.pipe = model, pipe

    def step(self, step, loss, accuracy, samples) -> None:
        os.write(self.pipe, self.model._engine.steps.to_bytes(8, "little"))


def fresh() -> gc.Model:
    net = nn.Sequential(nn.Dense(256), nn.Tanh(), nn.Dropout(0.2), nn.Dense(3))
    return gc.Model(net, "f32[N,128]", "cross_entropy", optim.Adam(1e-3), backend="numpy")


def killed(model: gc.Model, path: Path, seconds: float) -> int:
    """The number of the last step that a training reported before it was killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        model.fit((X, Y), epochs=10**6, batch_size=16, checkpoint=path, checkpoint_every=1,
                  resume=True, progress=Reporter(model, write))  # fmt: skip
        os._exit(1)
    os.close(write)
    reports = os.read(read, 8)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the training ended by itself"
    while more := os.read(read, 1 << 16):
        reports += more
    os.close(read)
    return int.from_bytes(reports[-8:], "little")


def main(path: Path, kills: int) -> None:
    warnings.simplefilter("ignore")  # that the save before is taken is what is tested here
    chance = random.Random(0)
    model, torn, fallbacks = fresh(), 0, 0
    for _ in range(kills):
        reported = killed(model, path, chance.uniform(0, LONGEST))
        torn += any(p.name.endswith(".part") for p in path.parent.iterdir())
        fallbacks += not path.exists()
        model.fit((X, Y), epochs=0, batch_size=16, checkpoint=path, resume=True, progress=None)
        loaded = model._engine.steps
        assert loaded >= reported, f"step {reported} was reported, step {loaded} was loaded"
    steps = model._engine.steps
    alone = fresh()
    for epoch in range(1, steps // 4 + 2):
        batches = gc.data.Dataset(X, Y).batches(16, (0, epoch))
        for x, y in list(batches)[: steps - 4 * (epoch - 1)]:
            alone.step(x, y)
    same = all((a == model._engine.arrays[n]).all() for n, a in alone._engine.arrays.items())
    assert same, "the weights are not those of a training that nobody killed"
    print(
        f"{kills} kills, {torn} in the middle of a file, {fallbacks} between files, {steps} steps"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

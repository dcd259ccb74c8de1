"""A training that Ctrl-C ends and that goes on later has the same bits as one that nobody stopped.

The checkpoint holds weights, Adam's averages, the key of dropout and the place in the data: all in
one file that is whole at every moment. Shuffling, augmentation and dropout follow from the seed and
the step.
"""

import hashlib
import signal
import tempfile
from pathlib import Path

import graphc as gc
from graphc import data, nn, optim
from graphc.train.progress import Silent

train, _ = data.digits(upsample=2)


class CtrlC(Silent):
    """Presses Ctrl-C after so many steps, as somebody at the keyboard would."""

    def __init__(self, after):
        self.left = after

    def step(self, step, loss, accuracy, samples):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


def training(**options):
    """A model, and the history of its training for five epochs of 23 steps."""
    net = nn.Sequential(
        nn.Conv(8, 3), nn.BatchNorm(), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Dense(10)
    )
    rate = optim.OneCycle(0.01, optim.steps(len(train), 64, epochs=5))
    model = gc.Model(net, "f32[N,1,16,16]", "cross_entropy", optim.Adam(rate), seed=1)
    history = model.fit(train, 5, batch_size=64, augment=data.Shift(1), **options)
    return model, history


def digest(model):
    """The SHA-256 of all weights and running averages."""
    return hashlib.sha256(b"".join(a.tobytes() for a in model.params.values())).hexdigest()


whole, _ = training(progress=None)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "run.checkpoint"
    stopped, history = training(checkpoint=path, progress=CtrlC(after=60))
    print(f"stopped after 60 steps: {len(history.epochs)} epochs done, {history.interrupted=}")
    resumed, history = training(checkpoint=path, progress=None, resume=True)
    print(f"resumed: {len(history.epochs)} epochs, loss {history.loss[-1]:.4f}")

print(f"never stopped      {digest(whole)}")
print(f"stopped            {digest(stopped)}")
print(f"stopped, resumed   {digest(resumed)}")

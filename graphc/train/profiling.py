"""Where the time of a model's step or prediction goes, measured on data and leaving no trace.

It runs once, so that everything is compiled and bound; then a twin with a clock in it is timed. It
knows the engine, and no code that is generated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.runtime.profile import Profile
from graphc.train.engine import Engine


def profile(engine: Engine, x: tuple[Any, ...], y: Any = None) -> Profile:
    """A training step on (x, y), or a prediction for x if y is left out, kernel by kernel.

    Parameters, states and counts are afterwards what they were. Raises GraphcError for arrays that
    do not fit, and for a backend that cannot look inside.
    """
    data = [i for i in engine.graphs["forward"].inputs if i.attrs["kind"] == "data"]
    if y is None:
        name = "forward"
        engine.session(name)(*x)
    else:
        kind, targets = engine.checked(y)
        name = f"train{kind}"
        before = engine.snapshot()
        try:
            engine.advance(kind, x, targets, last=True)
        finally:
            engine.restore(before)
    axes = ((np.shape(array), node.tensor.batch_axis) for array, node in zip(x, data, strict=True))
    batch = next((shape[axis] for shape, axis in axes if axis is not None), 1)
    return engine.executable(name).profile(batch)

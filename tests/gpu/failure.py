"""What a kernel that goes astray leaves behind: an error, and a model that still works."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from graphc.base.errors import GraphcError
from tests.gpu.numerics import lenet5
from tests.gpu.rows import Item, Row

SECTION = "failure"
NOWHERE = 256  # an address that nothing has


def items(backend: str) -> dict[str, Item]:
    """One: what follows it has a device that is as new."""
    return {"a kernel that goes astray": partial(_astray, backend)}


def _astray(backend: str) -> Iterator[Row]:
    """Launches a kernel of the model on addresses that are none, then goes on."""
    rng = np.random.default_rng()
    x, y = rng.standard_normal((8, 1, 32, 32), np.float32), rng.integers(0, 10, 8)
    model = lenet5(backend, "f32")
    model.step(x, y)
    variant = model.executable("train").runner.found  # type: ignore[attr-defined]
    weights = {name: array.copy() for name, array in model.params.items()}
    with variant.device.entered():
        variant.launch(variant.prepare(8), 0, [NOWHERE] * len(variant.program.slots))
    try:
        model.step(x, y)
        note = "no error was raised"
    except GraphcError as error:
        note = "" if "device failed" in error.what else str(error)
    same = all(np.array_equal(array, weights[name]) for name, array in model.params.items())
    note += "" if same else "; weights have changed"
    good = not note and bool(np.isfinite(model.step(x, y)))
    yield Row(SECTION, "a kernel that goes astray: the model lives", None, good=good, note=note)

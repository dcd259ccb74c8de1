"""What failures leave behind: an error, and a model that still works."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.runtime.backend import load_backend
from graphc_cuda import CUDABackend
from graphc_cuda.device_memory import Memory
from tests.gpu.numerics import lenet5
from tests.gpu.rows import Item, Row

SECTION = "failure"
NOWHERE = 256  # an address that nothing has
FEW, MANY = 8, 4096  # samples


def items(backend: str, emulated: bool = False) -> dict[str, Item]:
    """What fails, by name. An emulated device cannot be led astray."""
    found: dict[str, Item] = {"out of memory": partial(_out_of_memory, backend)}
    if not emulated:
        found["a kernel that goes astray"] = partial(astray, backend)
    return found


def _out_of_memory(backend: str) -> Iterator[Row]:
    """A step for which there is no memory raises an error, and leaves the model as it was."""
    x, y = _batch(MANY)
    model, other = (lenet5(backend, "f32") for _ in range(2))
    expected = [other.step(x[:FEW], y[:FEW]) for _ in range(2)]
    losses = [model.step(x[:FEW], y[:FEW])]
    taken = _all_memory(backend)
    try:
        model.step(x, y)
        note = "no error was raised"
    except GraphcError as error:
        note = "" if "bytes left" in error.what else str(error)
    del taken
    losses.append(model.step(x[:FEW], y[:FEW]))
    good = not note and losses == expected
    yield Row(SECTION, "out of memory: the next step is as ever", None, good=good, note=note)


def astray(backend: str) -> Iterator[Row]:
    """Launches a kernel of a model on addresses that are none, then goes on."""
    x, y = _batch(FEW)
    model = lenet5(backend, "f32")
    model.step(x, y)
    variant = model.executable("train").runner.found  # type: ignore[attr-defined]
    weights = {name: array.copy() for name, array in model.params.items()}
    with variant.device.entered():
        variant.launch(variant.prepare(FEW), 0, [NOWHERE] * len(variant.program.slots))
    try:
        model.step(x, y)
        note = "no error was raised"
    except GraphcError as error:
        note = "" if "device failed" in error.what else str(error)
    same = all(np.array_equal(array, weights[name]) for name, array in model.params.items())
    note += "" if same else "; weights have changed"
    good = not note and bool(np.isfinite(model.step(x, y)))
    yield Row(SECTION, "a kernel that goes astray: the model lives", None, good=good, note=note)


def _batch(n: int) -> tuple[Any, Any]:
    rng = np.random.default_rng()
    return rng.standard_normal((n, 1, 32, 32), np.float32), rng.integers(0, 10, n)


def _all_memory(backend: str) -> list[Memory]:
    """What the device has left, but for less than a MiB."""
    opened = load_backend(backend)
    assert isinstance(opened, CUDABackend)
    device = opened.device()
    found, size = [], 1 << 40
    with device.entered():
        while size >= 1 << 20:
            try:
                found.append(Memory(device, size))
            except GraphcError:
                size //= 2
    return found

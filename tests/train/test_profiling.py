"""`Model.profile`: from a slow kernel to the line of one's own file, with nothing changed by it."""

from __future__ import annotations

import inspect
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import graphc as gc
from graphc import nn, optim
from graphc.runtime.profile import KernelProfile, Profile
from graphc_llvm import variant
from graphc_llvm.engine import machine_code

N = 20
CLOCK = "readcyclecounter"


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv(8, 3),  # first
        nn.Tanh(),  # its activation
        nn.Conv(8, 3, padding=1),  # second
        nn.Tanh(),
        nn.Conv(8, 3, padding=1),  # third, of the same shapes
        nn.Tanh(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Dense(10),  # last
    )


def small() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Dense(16), nn.Tanh(), nn.Dropout(0.5), nn.Dense(10))


def model(net: nn.Module, **options: Any) -> gc.Model:
    optimizer = optim.SGD(0.05, momentum=0.9)
    return gc.Model(net, "f32[N,1,13,11]", "cross_entropy", optimizer, **options)


def batch(count: int = N) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 1, 13, 11), np.float32), np.arange(count) % 10


@pytest.fixture(scope="module")
def step() -> Profile:
    return model(network(), threads=2).profile(*batch())


def line_of(comment: str) -> int:
    """The line of this file that ends in that comment."""
    lines, first = inspect.getsourcelines(network)
    return first + next(k for k, text in enumerate(lines) if text.endswith(f"# {comment}\n"))


def kernels_of(profile: Profile, op: str) -> list[KernelProfile]:
    return [kernel for kernel in profile.kernels if op in kernel.ops]


# -- the user's lines ------------------------------------------------------------------------------


def test_a_fused_kernel_names_the_line_of_each_of_its_layers(step: Profile) -> None:
    first = kernels_of(step, "conv2d")[0]
    assert "tanh" in first.ops
    assert [line.line for line in first.lines] == [line_of("first"), line_of("its activation")]
    assert {line.file for line in first.lines} == {__file__}
    assert first.layer == "0"


def test_equal_kernels_of_two_layers_keep_the_line_of_their_own(step: Profile) -> None:
    """Layers of the same shapes share one kernel's code, which says nothing of where they are."""
    _, second, third = kernels_of(step, "conv2d")
    assert second.ops == third.ops and second.schedule == third.schedule
    assert second.lines[0].line == line_of("second")
    assert third.lines[0].line == line_of("third, of the same shapes")
    assert (second.layer, third.layer) == ("2", "4")


@pytest.mark.parametrize("op", ["conv2d_weight_grad", "conv2d_input_grad"])
def test_a_gradient_leads_to_the_layer_that_it_is_of(step: Profile, op: str) -> None:
    layers = {line_of(name) for name in ("first", "second", "third, of the same shapes")}
    if op == "conv2d_input_grad":
        layers.remove(line_of("first"))  # nobody asks for the gradient of the data
    found = kernels_of(step, op)
    assert {kernel.lines[0].line for kernel in found} == layers
    assert all("gradient of conv2d" in kernel.origins for kernel in found)


def test_loss_and_update_lead_to_where_the_model_is_made(step: Profile) -> None:
    made, first = inspect.getsourcelines(model)
    call = first + next(k for k, text in enumerate(made) if "gc.Model(" in text)
    (loss,) = (kernel for kernel in step.kernels if "log" in kernel.ops)
    assert call in {line.line for line in loss.lines}
    updates = [kernel for kernel in step.kernels if "optimizer" in kernel.origins]
    assert updates and all(call in {line.line for line in k.lines} for k in updates)


def test_every_kernel_that_computes_anything_leads_to_a_line_of_this_file(step: Profile) -> None:
    assert all(kernel.lines for kernel in step.kernels)
    for kernel in (k for k in step.kernels if k.flops):
        assert kernel.lines[0].file == __file__
        assert kernel.lines[0].line < inspect.getsourcelines(batch)[1], kernel.ops


def test_lines_are_printed(step: Profile) -> None:
    file = Path(__file__).name
    expected = f"{file}:{line_of('first')},{line_of('its activation')}"
    rich = Console(width=400, file=StringIO())
    rich.print(step)
    for text in (str(step), rich.file.getvalue()):  # type: ignore[attr-defined]
        (row,) = (r for r in text.splitlines() if expected in r and "conv2d_add_tanh" in r)
        assert "[block " in row
    assert repr(step).startswith("<Profile of large batches, batch 20, threads ")


# -- what is measured ------------------------------------------------------------------------------


def test_a_timeline_holds_every_thread_and_kernel_in_order(step: Profile) -> None:
    assert step.threads == 2
    for thread in range(step.threads):
        reached = 0.0
        for kernel in step.kernels:
            span = kernel.spans[thread]
            assert reached <= span.begin <= span.end
            reached = span.end


def test_no_thread_begins_a_phase_before_all_have_ended_the_last(step: Profile) -> None:
    for phase in range(1, step.phases):
        ends = [s.end for k in step.kernels if k.phase == phase - 1 for s in k.spans]
        begins = [s.begin for k in step.kernels if k.phase == phase for s in k.spans]
        assert min(begins) >= max(ends) - 1e-6  # counters of two cores may differ a little


def test_a_prediction_if_there_are_no_targets() -> None:
    made = model(network())
    few, many = made.profile(batch(3)[0]), made.profile(batch(40)[0])
    assert [(p.variant, p.batch) for p in (few, many)] == [("small", 3), ("large", 40)]
    assert len(kernels_of(few, "conv2d")) == 3
    assert not any(kernel.origins for kernel in few.kernels)
    made.predict(batch(50)[0])
    assert made.profile(batch(40)[0]).batch == 40  # whatever else was made ready since


# -- what is not changed ---------------------------------------------------------------------------


def test_a_profile_leaves_no_trace_in_training() -> None:
    plain, profiled = model(small(), seed=3), model(small(), seed=3)
    x, y = batch()
    losses = [plain.step(x, y) for _ in range(2)]
    profiled.profile(x, y)
    first = profiled.step(x, y)
    before = {name: array.copy() for name, array in profiled.params.items()}
    profiled.profile(x, y)
    assert all(np.array_equal(before[name], a) for name, a in profiled.params.items())
    assert [first, profiled.step(x, y)] == losses  # the same bits: momentum and dropout go on too
    assert all(np.array_equal(plain.params[n], a) for n, a in profiled.params.items())


def test_the_ordinary_step_has_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is off costs nothing: the clock is in a twin that only a profile compiles."""
    texts: list[str] = []

    def noted(text: str) -> bytes:
        texts.append(text)
        return machine_code(text)

    monkeypatch.setattr(variant, "machine_code", noted)
    monkeypatch.setattr(variant, "object_cache", lambda: None)
    made = model(small())
    made.step(*batch())
    (ordinary,) = texts
    made.profile(*batch())
    _, twin = texts
    assert "define void @step(" in ordinary and "define void @step(" in twin
    assert CLOCK not in ordinary and CLOCK in twin


def test_a_backend_that_times_nothing_says_so() -> None:
    with pytest.raises(gc.GraphcError, match="no kernels to time") as caught:
        model(small(), backend="numpy").profile(*batch())
    assert "llvm" in str(caught.value)

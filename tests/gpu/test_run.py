"""The script for machines with a device, run without one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from ctypes.util import find_library
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.backends.cuda.emulated import EmulatedDevice
from tests.backends.cuda.fake_driver import FakeDriver
from tests.gpu import failure, kernels, run, timing
from tests.gpu.devices import PoisonedDevice, checked_backend
from tests.gpu.numerics import Numerics, off
from tests.gpu.rows import Row


def test_all_numbers_are_right_on_the_emulated_device(tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    words = [sys.executable, run.__file__, "--dry", "--seed", "1", "--json", str(found)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(found.read_text())["rows"]
    assert all(row["good"] for row in rows)
    names = {row["what"].partition(":")[0].partition(",")[0] for row in rows}
    assert names >= {
        "conv2d", "conv2d_input_grad", "conv2d_weight_grad", "matmul", "ops", "layer", "optimizer",
        "network", "training", "out of memory",
    }  # fmt: skip
    rounded = [row["reached"] for row in rows if row["what"].startswith("conv2d, plain, bf16")]
    assert len(rounded) == 1 and rounded[0] > 1e-3, "operands are rounded to bf16"


def test_without_a_device_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if find_library("cuda"):
        pytest.skip("this machine has a driver")
    assert run.main([]) == 2
    assert "no NVIDIA driver" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_is_wrong(wrong: float) -> None:
    assert off(np.array([1.0, wrong]), np.array([1.0, 2.0])) == np.inf
    assert off(np.array([1.0, 2.0]), np.array([1.0, wrong])) == np.inf


def test_numbers_are_off_by_norms_and_parameters_by_what_they_change() -> None:
    got, right, before = (np.array(a) for a in ([3.0, 4.0], [3.0, 5.0], [3.0, 5.5]))
    assert off(got, right) == pytest.approx(1 / np.hypot(3, 5))
    assert off(got, right, before) == pytest.approx(1 / 0.5, rel=1e-5)
    rounded = np.float32([0.1, 0.2])
    assert off(rounded, np.array([0.1, 0.2]), np.array([0.1, 0.2 + 1e-12])) == 0.0


def test_items_have_names_of_their_own_for_every_section() -> None:
    names = [*Numerics("poisoned", False, 0).items(), *timing.items(1)]
    assert len(set(names)) == len(names) > 100
    assert set(timing.items(1)) == set(timing.ASKED)


class Scripted:
    """A process that says what it is told to."""

    scripts: ClassVar[list[list[dict[str, Any]]]] = []
    started: ClassVar[list[list[str]]] = []

    def __init__(self, section: str, names: Sequence[str], arguments: object) -> None:
        self.started.append(list(names))
        self.script = self.scripts.pop(0)

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def message(self, seconds: float) -> dict[str, Any]:
        return self.script.pop(0) if self.script else {"wait": seconds}


@pytest.mark.parametrize(
    ("last", "said"),
    [({"wait": 1}, "no end in 120 s"), ({"error": "it ended, status -11"}, "it ended, status -11")],
)
def test_an_item_that_breaks_its_process_is_wrong_and_the_rest_goes_on(
    last: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    row = {"row": {"section": "numerics", "what": "x", "reached": 0.0, "asked": 1.0, "good": True}}
    Scripted.scripts[:] = [[row, {"done": ""}, last], [row, {"done": ""}]]
    Scripted.started.clear()
    monkeypatch.setattr(run, "_Child", Scripted)
    monkeypatch.setattr(run, "_items", _three)
    assert run.main(["--dry"]) == 1
    assert Scripted.started == [["a", "b", "c"], ["c"]]
    printed = capsys.readouterr()
    assert printed.err.count("ok ") == 2 and f"b {said}" in printed.err
    assert "3 checks, 1 wrong" in printed.out


def _three(section: str, arguments: object) -> list[str]:
    return ["a", "b", "c"] if section == "numerics" else []


def test_times_stand_beside_the_fastest_other() -> None:
    what, fused = str(timing.WORKS[0]), timing.FUSED
    times = {"graphc": 0.001, "PyTorch": 0.006, "compiled": 0.004}
    rows = [Row("times", what, seconds, system=system) for system, seconds in times.items()]
    rows += [Row("times", fused, 0.005), Row("times", fused, 0.004, system="copy")]
    rows += [Row("peers", fused, 0.001, system="PyTorch")]
    sheet = run._times(rows, {"device": "any"})
    ratio, asked = (list(sheet.columns).index(name) for name in ("times as fast", "asked"))
    assert [(row[ratio], row[asked]) for row in sheet.rows] == [("4.00", "5.00"), ("0.80", "0.85")]


def test_what_is_timed_runs() -> None:
    backend = checked_backend(emulated=True)
    rows = [
        *timing.dense(1, 32, backend),
        *timing.fused(1, 1 << 10, 1 << 12, backend),
        *timing.network(timing.Work("mlp", True, 4, "tf32", 1.0), 1, backend),
        *timing.network(timing.Work("x_or_o", False, 4, "bf16", 1.0), 1, backend),
    ]
    assert len(rows) == 5 and all(row.reached and row.reached > 0 for row in rows)


def test_a_kernel_that_goes_astray_leaves_a_model_that_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    launch = EmulatedDevice.launch

    def launch_or_fail(self: EmulatedDevice, function: Any, how: Any, addresses: Any, *rest: Any):
        if failure.NOWHERE in addresses:
            self.fails = "replay"  # as a device does: what comes next is told
        else:
            launch(self, function, how, addresses, *rest)

    monkeypatch.setattr(EmulatedDevice, "launch", launch_or_fail)
    (row,) = failure.astray(checked_backend(emulated=True))
    assert row.good, row.note


def test_memory_is_nan_before_anything_is_written() -> None:
    fake = FakeDriver()
    device = PoisonedDevice(fake)
    with device.entered():
        device.allocate(5 << 26)
        assert np.isnan(device.page_locked(8).view(np.float32)).all()
    copied = [given[2] for name, given in fake.calls if name.startswith("cuMemcpy")]
    assert copied == [1 << 26, 1 << 26, 2 << 26, 1 << 26]


def test_kernels_of_networks_are_compiled() -> None:
    pytest.importorskip("cuda.bindings")
    rows = list(kernels.compiled_kernels(["sigmoid_2_2_2"]))
    assert len(rows) == 2 and all(row.good for row in rows)

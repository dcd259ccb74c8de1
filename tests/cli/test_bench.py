"""``graphc bench``: what it says, for people and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphc.cli import main

PROMISED = {
    "net", "work", "inputs", "batch", "first_step_seconds", "phases", "step_seconds", "steps",
    "samples_per_second", "planned_bytes", "peak_bytes", "peak_growth_bytes", "profiles",
    "precision", "trace",
}  # fmt: skip
QUICK = ("--seconds", "0")
SMALL = "1x12x12-4C3-8C3-MP2-16N-10N"


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs ``graphc bench words...`` for as short as it goes; gives what it prints."""

    def call(*words: str) -> str:
        assert main(["bench", *words, *QUICK]) == 0
        return capsys.readouterr().out

    return call


@pytest.fixture
def measured(bench: Callable[..., str]) -> Callable[..., Any]:
    return lambda *words: json.loads(bench(*words, "--json"))


def test_a_training_step_in_numbers(measured: Callable[..., Any]) -> None:
    found = measured(SMALL, "--train", "--batch", "32", "--threads", "2")
    assert found.keys() == PROMISED
    assert (found["net"], found["work"], found["batch"]) == (SMALL, "training step", 32)
    assert found["inputs"] == ["f32[N,1,12,12]"]
    assert found["first_step_seconds"] > sum(found["phases"].values()) > 0
    assert found["samples_per_second"] == pytest.approx(32 / found["step_seconds"])
    assert found["peak_bytes"] > found["planned_bytes"] > 0
    (profile,) = found["profiles"]
    assert profile["batch"] == 32 and profile["threads"] in (1, 2)
    assert profile["arena_bytes"] == found["planned_bytes"]
    by_op = {part["op"] for part in profile["layers"]}
    assert by_op >= {"conv2d", "conv2d_input_grad", "conv2d_weight_grad", "matmul"}
    for kernel in profile["kernels"]:
        assert kernel["ops"] and kernel["schedule"] and kernel["bytes"] > 0
        assert kernel["seconds"] > 0 and kernel["share"] > 0 and kernel["spills"] >= 0


def test_a_prediction_for_people(bench: Callable[..., str]) -> None:
    out = bench("lenet5")
    assert out.startswith("lenet5: prediction in f32, batch 1, f32[N,1,32,32]\n")
    assert re.search(r"^first step +[\d.]+ s \(.*machine code \d+ ms", out, re.M)
    assert re.search(r"^later +[\d.e+]+ ms \(median of \d+\), [\d,.]+ samples/s$", out, re.M)
    assert re.search(r"^memory +[\d.]+ [kM]B planned .* [\d.]+ [MG]B resident", out, re.M)
    assert re.search(r"^roofline of this machine: \d+ GFLOP/s, \d+ GB/s from memory$", out, re.M)
    assert re.search(r"share +spills +layer +lines +kernel: ops +\[schedule\]$", out, re.M)
    assert re.search(r"% +1  0: conv2d$", out, re.M)


def test_the_longest_kernels_by_time_or_all_as_they_run(bench: Callable[..., str]) -> None:
    words = (SMALL, "--train")
    few, every = bench(*words), bench(*words, "--all")
    count = int(re.search(r"(\d+) kernels in", few)[1])  # type: ignore[index]
    row = re.compile(r"^ +\d+ +([\d.]+) .*\[.*\]$", re.M)
    times = [float(t) for t in row.findall(few)]
    assert len(times) == 12 and times == sorted(times, reverse=True)
    assert f"... and {count - 12} more, " in few
    assert len(row.findall(every)) == count and "more, " not in every


def test_a_timeline_in_a_file(measured: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    found = measured(SMALL, "--trace", str(path))
    assert found["trace"] == str(path)
    traced = [e["name"] for e in json.loads(path.read_text())["traceEvents"] if e["ph"] == "X"]
    assert {kernel["name"] for kernel in found["profiles"][0]["kernels"]} <= set(traced)


def test_images_of_another_size(measured: Callable[..., Any]) -> None:
    found = measured("simplenet", "--size", "48")
    assert found["inputs"] == ["f32[N,1,48,48]"]


def test_the_interpreter_times_the_call_and_has_no_kernels(
    bench: Callable[..., str], measured: Callable[..., Any]
) -> None:
    assert bench("mlp", "--backend", "numpy").endswith("\ninterpreted op by op in numpy\n")
    found = measured("mlp", "--backend", "numpy")
    assert found["profiles"] == [] and found["step_seconds"] > 0


@pytest.mark.parametrize(
    ("words", "what", "remedy"),
    [
        (["lenet"], "no network 'lenet'", "lenet5"),
        (["lenet5", "--batch", "0"], "--batch 0", "above 0"),
        (["lenet5", "--seconds", "nan"], "--seconds nan", "finite"),
        (["lenet5", "--threads", "0"], "threads=0", "above 0"),
        (["lenet5", "--size", "0"], "size 0", "above 0"),
        (["lenet5", "--size", "8"], "window 5 does not fit", "larger input"),
        (["deeptraffic", "--size", "8"], "size 8 for a network that takes", "network of images"),
    ],
)
def test_mistakes(
    capsys: pytest.CaptureFixture[str], words: list[str], what: str, remedy: str
) -> None:
    assert main(["bench", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and what in err.splitlines()[0]
    assert remedy in err.splitlines()[-1]

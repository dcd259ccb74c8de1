"""The command line: every command for people and as JSON, errors, near matches, and Ctrl-C."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import graphc as gc
from graphc.base import settings
from graphc.cli import COMMANDS, main
from graphc.ir.node import OPERATORS
from graphc.ops.elementwise import TANH, mul
from graphc.passes.base import PASSES
from graphc.train.model import Model
from graphc.train.recipes import RECIPES
from graphc_nn.zoo import NETWORKS

ROOT = Path(__file__).parents[1]
PROMISED = {
    "test_accuracy", "epochs", "seconds", "compile_seconds", "images_per_second", "planned_bytes",
}  # fmt: skip
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``graphc words...``; gives the exit code, standard output and standard error."""

    def call(*words: str) -> tuple[int, str, str]:
        code = main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def run_json(run: Run) -> Callable[..., Any]:
    """Runs ``graphc words... --json`` and gives the object it prints."""

    def call(*words: str, code: int = 0) -> Any:
        found, out, err = run(*words, "--json")
        assert found == code, err
        return json.loads(out)

    return call


# -- the frame -------------------------------------------------------------------------------------


def test_without_a_command_the_help_names_every_command(run: Run) -> None:
    code, out, err = run()
    assert (code, out) == (2, "")
    assert all(f"  {name}" in err for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"graphc {gc.__version__}\n"


@pytest.mark.parametrize(
    ("words", "what", "remedy"),
    [
        (["trian"], "no command 'trian'", "did you mean train?"),
        (["zzz"], "no command 'zzz'", "there are: train, nets"),
        (["--loud", "nets"], "--loud", "graphc --help"),
        (["train"], "NET", "graphc train --help"),
        (["train", "lenet"], "no network 'lenet'", "did you mean lenet5"),
        (["show", "mlpp"], "no network 'mlpp'", "did you mean mlp?"),
        (["check", "xyz"], "no network 'xyz'", "there are: lenet5"),
        (["show", "1x9x9-4X3"], "'4X3' at character 7 is no layer", "write 20C4"),
        (["train", "1x9x9-2N"], "no data for 1x9x9-2N", "gc.zoo.parse('1x9x9-2N')"),
        (["show", "mlp", "--after", "fuze"], "no pass 'fuze'", "did you mean fuse?"),
        (["show", "mlp", "--after", "svd{size=3}"], "no option 'size=3'", "rank"),
        (["show", "mlp", "--after", "svd{rank=9999}"], "break-even rank", "rank of at most"),
        (["train", "lenet5", "--epoch", "3"], "'--epoch'", "did you mean --epochs"),
        (["train", "lenet5", "--epochs", "x"], "invalid int value: 'x'", "--help"),
        (["train", "lenet5", "--epochs", "-1"], "epochs is -1", "at least 0"),
        (["train", "lenet5", "--batch-size", "0"], "batch_size is 0", "at least 1"),
        (["train", "lenet5", "--lr", "nan"], "lr is nan", "finite"),
        (["train", "lenet5", "--seed", "-1"], "seed is -1", "at least 0"),
        (["train", "lenet5", "--threads", "0"], "threads=0", "above 0"),
        (["train", "lenet5", "--backend", "nunpy"], "no backend named 'nunpy'", "numpy"),
        (["train", "lenet5", "--save", "no/such/folder/w"], "cannot save", "folder"),
        (["train", "lenet5", "--data", "no_such_folder"], "neither MNIST", "train-images"),
        (["train", "sigmoid_2_2_2"], "no data for sigmoid_2_2_2", "gc.zoo.sigmoid_2_2_2()"),
        (["check", "mlp", "--directions", "0"], "--directions 0", "above 0"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_parts_and_end_with_2(
    run: Run, words: list[str], what: str, remedy: str
) -> None:
    code, out, err = run(*words)
    assert code == 2
    assert "Traceback" not in err
    first, *rest = err.splitlines()
    assert first.startswith("error: ") and what in first
    assert any(line.startswith("  at:  ") for line in rest)
    assert remedy in rest[-1] and rest[-1].startswith("  do:  ")
    assert out == "" or words[0] == "train"


def test_a_mistake_with_json_is_one_object(run_json: Callable[..., Any]) -> None:
    found = run_json("train", "lenet", code=2)
    assert found["error"] == "there is no network 'lenet'"
    assert "lenet5" in found["do"]


def test_the_command_is_the_place_of_a_mistake() -> None:
    done = _graphc("train", "lenet")
    assert done.returncode == 2
    assert "  at:  graphc train lenet\n" in done.stderr


def test_a_reader_who_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m graphc.cli show lenet5 --loops | head -1"
    done = subprocess.run(
        ["bash", "-c", command], env=_environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("kernel ")
    assert done.stderr == ""


# -- looking ---------------------------------------------------------------------------------------


def test_nets(run: Run, run_json: Callable[..., Any]) -> None:
    code, out, _ = run("nets")
    assert code == 0
    found = {net["name"]: net for net in run_json("nets")["nets"]}
    assert found.keys() == NETWORKS.keys()
    assert all(name in out and f"{net['parameters']:,}" in out for name, net in found.items())
    counts = {name: (net["parameters"], net["layers"]) for name, net in found.items()}
    assert counts["lenet5"] == (61_706, 12)
    assert counts["mcdnn"] == (76_040, 10)
    assert counts["resnet18"] == (11_689_512, 53)  # inside of blocks too
    assert found["fast_rcnn"]["inputs"] == ["f32[2,3,600,800]", "f32[N,5]"]
    assert {name for name, net in found.items() if net["data"]} == RECIPES.keys()


def test_passes(run: Run, run_json: Callable[..., Any]) -> None:
    code, out, _ = run("passes")
    assert code == 0
    found = run_json("passes")
    assert {p["name"] for p in found["passes"]} == PASSES.keys()
    assert all(name in out for name in PASSES)
    assert "softmax(x)  ->  e = exp(x - max(x)); e / sum(e)" in out
    assert "simplify{fastmath=False}" in out
    assert found["pipelines"]["small"].startswith("decompose,simplify")


def test_show_prints_the_graph_and_a_row_for_each_layer(
    run: Run, run_json: Callable[..., Any]
) -> None:
    code, out, _ = run("show", "lenet5")
    assert code == 0
    assert '%conv2d = conv2d(%x, %"0.weight")' in out
    assert "61,706" in out and "f32[N,16,10,10]" in out
    found = run_json("show", "lenet5")
    assert found["parameters"] == 61_706
    assert [row["layer"] for row in found["layers"]] == [str(k) for k in range(12)]
    assert [row["parameters"] for row in found["layers"] if row["parameters"]] == [
        156, 2_416, 48_120, 10_164, 850,
    ]  # fmt: skip
    assert len(gc.parse(found["text"]).outputs) == 1


def test_show_plans_the_memory_of_a_training_step(run_json: Callable[..., Any]) -> None:
    one, many = (run_json("show", "lenet5", "--batch-size", n) for n in ("1", "64"))
    assert many["batch"] == 64 and many["flops"] == 64 * one["flops"]
    assert many["planned_bytes"] > 8 * one["planned_bytes"] > 0
    assert any(row["gradients"] for row in many["layers"])


def test_show_marks_the_layer_that_does_not_fit(run: Run, run_json: Callable[..., Any]) -> None:
    code, out, err = run("show", "lenet5", "--size", "12")
    assert code == 2
    rows = [line.split("│")[1].strip() for line in out.splitlines() if line.startswith("│")]
    assert rows == ["0", "1", "2", "✗ 3", "", "all"]
    assert "Conv(16, 5)" in out and "window 5 does not fit size 4" in out
    assert err.startswith("error: conv2d: window 5 does not fit size 4")
    assert "does not fit" in run_json("show", "lenet5", "--size", "12", code=2)["error"]


def test_show_has_colours_where_they_are_asked_for() -> None:
    coloured = _graphc("show", "mlp", FORCE_COLOR="1", NO_COLOR="", TERM="xterm-256color")
    assert "\x1b[36m%x" in coloured.stdout
    assert "\x1b[" not in _graphc("show", "mlp", FORCE_COLOR="").stdout


@pytest.mark.parametrize(
    ("net", "parameters", "outputs"),
    [
        ("resnet152", 60_192_808, 1),
        ("fast_rcnn", 134_690_729, 2),
        ("pyramid_cnn", 31_496, 2),
        ("1x29x29-20C4-MP2-40C5-MP3-150N-10N", 76_040, 1),
    ],
)
def test_show_takes_deep_networks_several_inputs_and_notation(
    run: Run, run_json: Callable[..., Any], net: str, parameters: int, outputs: int
) -> None:
    code, out, _ = run("show", net)
    assert code == 0 and f"{parameters:,}" in out
    found = run_json("show", net)
    assert found["parameters"] == parameters
    assert len(gc.parse(found["text"]).outputs) == outputs


@pytest.mark.parametrize("text", ["fuse", "decompose,simplify,fuse", "simplify{fastmath=True}"])
def test_show_after_passes(run_json: Callable[..., Any], text: str) -> None:
    plain = gc.trace(gc.zoo.mlp(), "f32[N,1,28,28]", name="mlp")
    expected = gc.passes.Pipeline.parse(text)(plain)
    found = run_json("show", "mlp", "--after", text)
    assert gc.parse(found["text"]) is expected
    assert found["nodes"] == len(expected)


def test_show_the_training_graph(run: Run, run_json: Callable[..., Any]) -> None:
    code, out, _ = run("show", "mlp", "--train")
    assert code == 0
    assert "sgd_update(" in out and 'into %"1.weight"' in out
    after = run_json("show", "mlp", "--train", "--after", "decompose,simplify,fuse")
    assert "fused(" in after["text"]


def test_show_loops(run: Run, run_json: Callable[..., Any]) -> None:
    code, out, _ = run("show", "lenet5", "--loops")
    assert code == 0
    assert re.search(r"^kernel conv2d_add_tanh: conv2d, add, tanh", out, re.MULTILINE)
    assert "vector l in 0.." in out
    found = run_json("show", "lenet5", "--loops", "--batch", "small")
    assert {"conv2d", "add", "tanh"} <= {op for k in found["kernels"] for op in k["ops"]}
    assert found["machine"]["vector_bytes"] in (16, 32, 64)


# -- checking --------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", ["lenet5", "cifar_small", "sigmoid_2_2_2"])
def test_check_says_the_error_of_every_parameter(run_json: Callable[..., Any], net: str) -> None:
    found = run_json("check", net, "--directions", "1")
    assert found["passed"] and found["worst"] == max(found["errors"].values())
    network = NETWORKS[net]
    assert found["errors"].keys() == Model(network.build(), network.input_type).params.keys()


def test_check_ends_with_1_if_a_gradient_is_wrong(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = TANH.vjp
    object.__setattr__(TANH, "vjp", lambda g, y, x: (mul(g, y),))
    try:
        code, out, _ = run("check", "lenet5", "--directions", "1")
    finally:
        object.__setattr__(TANH, "vjp", right)
    assert code == 1
    assert "a gradient is wrong" in out
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if line.count("│") == 4}
    assert "too large" in rows["0.weight"] and "too large" not in rows["11.weight"]
    assert run("check", "lenet5", "--directions", "1")[0] == 0
    assert OPERATORS["tanh"] is TANH


def test_doctor(run: Run, run_json: Callable[..., Any]) -> None:
    code, out, _ = run("doctor")
    assert code == 0 and "all is well" in out
    assert all(setting.variable in out for setting in settings.ALL)
    found = run_json("doctor")
    assert found["healthy"]
    backends = {backend["name"]: backend for backend in found["backends"]}
    assert {"llvm", "numpy"} <= backends.keys()
    assert backends["llvm"]["about"]["vector_bytes"] in (16, 32, 64)
    assert backends["llvm"]["about"]["threads"] >= 1
    assert {s["variable"] for s in found["settings"]} == {s.variable for s in settings.ALL}


# -- training --------------------------------------------------------------------------------------


def test_train_prints_what_it_does(run: Run, tmp_path: Path) -> None:
    file, drawn = tmp_path / "weights.safetensors", tmp_path / "drawn"
    words = "train", "lenet5", "--epochs", "2", "--save", str(file), "--pictures", str(drawn)
    code, out, _ = run(*words)
    assert code == 0
    listed = re.search(r"^pictures +(\S+): (.*)$", out, re.M)
    assert listed is not None and listed[1] == str(drawn)
    assert sorted(listed[2].split(", ")) == sorted(path.name for path in drawn.iterdir())
    assert "61,706 parameters, 1,437 samples to train on, 360 to test" in out
    assert re.search(r"^epoch 2/2  loss 0\.\d+  accuracy \d+\.\d %  \d+ images/s$", out, re.M)
    assert re.search(r"^compiled +in \d+\.\d\d s \(.*machine code \d+ ms\)$", out, re.M)
    assert re.search(r"^planned memory +[\d.]+ [kM]B", out, re.M)
    accuracy = re.search(r"^test accuracy +(\d+\.\d) % of 360 samples$", out, re.M)
    assert accuracy is not None
    images, labels = gc.data.digits()[1].x, gc.data.digits()[1].y
    saved = 100 * (gc.load(file).predict(images).argmax(1) == labels).mean()
    assert f"{saved:.1f}" == accuracy[1]
    cells = [line.split("│")[2:-1] for line in out.splitlines() if re.match(r"│ \d", line)]
    confusion = np.array([[int(cell.strip() or 0) for cell in row] for row in cells])
    assert confusion.shape == (10, 10) and confusion.sum() == 360
    assert f"{100 * confusion.trace() / 360:.1f}" == accuracy[1]


@pytest.mark.parametrize("net", RECIPES)
def test_every_network_with_a_recipe_trains(run_json: Callable[..., Any], net: str) -> None:
    found = run_json("train", net, "--epochs", "1", "--seed", "3")
    assert found.keys() >= PROMISED
    assert found["epochs"] == 1 and found["test_accuracy"] > 0.3
    assert found["planned_bytes"] > 0 and found["images_per_second"] > 0
    assert 0 < found["compile_seconds"] < found["seconds"]
    assert found["compile_seconds"] == pytest.approx(
        sum(s for phase, s in found["phases"].items() if phase != "data and graphs")
    )
    assert np.sum(found["confusion"]) == found["test_samples"] == 360


def test_lenet5_learns_the_digits_with_the_defaults(run_json: Callable[..., Any]) -> None:
    assert run_json("train", "lenet5")["test_accuracy"] >= 0.97


def test_progress_goes_to_standard_error_when_json_is_wanted(run: Run) -> None:
    _, out, err = run("train", "mlp", "--epochs", "1", "--json")
    assert json.loads(out)["net"] == "mlp"
    assert err.startswith("epoch 1/1  loss")


def test_options_reach_the_training(run_json: Callable[..., Any]) -> None:
    words = ["train", "mlp", "--backend", "numpy", "--epochs", "1", "--batch-size", "256"]
    found = [run_json(*words, *more) for more in ([], ["--lr", "0"], ["--seed", "1"])]
    losses = [f["history"][0]["loss"] for f in found]
    assert len(set(losses)) == 3
    assert found[1]["test_accuracy"] < 0.4
    assert found[0]["planned_bytes"] == 0  # the interpreter plans nothing


def test_zero_epochs_test_the_initial_weights(run_json: Callable[..., Any]) -> None:
    found = run_json("train", "mlp", "--epochs", "0")
    assert (found["epochs"], found["images_per_second"]) == (0, 0)
    assert found["test_accuracy"] < 0.4


def test_a_loss_that_is_not_finite_keeps_and_saves_the_last_good_weights(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "weights.safetensors"
    code, _, err = run("train", "mlp", "--lr", "1e15", "--epochs", "9", "--save", str(file))
    assert code == 2
    assert "the loss is nan" in err or "the loss is inf" in err
    assert f"the last good weights are in {file}" in err
    assert all(np.isfinite(a).all() for a in gc.load(file).params.values())


def test_a_training_that_never_began_overwrites_nothing(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_text("mine")
    code, _, _ = run("train", "mlp", "--batch-size", "0", "--save", str(file))
    assert code == 2 and file.read_text() == "mine"


def test_mnist_files_train_networks_of_larger_images(
    run_json: Callable[..., Any], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("train", 96), ("t10k", 32)):
        images = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = rng.integers(0, 10, count).astype(np.uint8)
        head = b"\0\0\x08\x03" + np.array(images.shape, ">u4").tobytes()
        packed = gzip.compress(head + images.tobytes())
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(packed)
        head = b"\0\0\x08\x01" + np.array(labels.shape, ">u4").tobytes()
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    for net in ("mlp", "lenet5"):
        found = run_json("train", net, "--data", str(tmp_path), "--epochs", "1")
        assert found["test_samples"] == 32
        assert sum(e["samples"] for e in found["history"]) == 96


def test_cifar_files_fit_only_networks_of_colour_images(
    run: Run, run_json: Callable[..., Any], tmp_path: Path
) -> None:
    records = np.random.default_rng(0).integers(0, 10, (20, 3073)).astype(np.uint8)
    for name in ("data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"):
        (tmp_path / name).write_bytes(records.tobytes())
    found = run_json("train", "cifar_small", "--data", str(tmp_path), "--epochs", "1")
    assert found["test_samples"] == 20
    assert sum(e["samples"] for e in found["history"]) == 40
    code, _, err = run("train", "lenet5", "--data", str(tmp_path))
    assert code == 2 and "are 3x32x32, the network takes f32[N,1,32,32]" in err


def test_folders_of_images_train_networks_that_have_no_recipe(
    run: Run, run_json: Callable[..., Any], tmp_path: Path
) -> None:
    for label in ("dark", "light"):
        (tmp_path / label).mkdir()
        for k in range(10):
            pixels = np.full((40 + k, 50, 3), 30 + 10 * k if label == "dark" else 220 - 5 * k)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / label / f"{k}.png")
    found = run_json("train", "simplenet", "--data", str(tmp_path), "--epochs", "2")
    assert found["test_samples"] == 4
    assert sum(e["samples"] for e in found["history"]) == 2 * 16
    code, _, err = run("train", "deeptraffic", "--data", str(tmp_path))
    assert code == 2 and "the network takes f32[N,19], which are no images" in err


# -- Ctrl-C ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_ends_within_a_second_and_saves(tmp_path: Path, as_json: bool) -> None:
    file = tmp_path / "weights.safetensors"
    words = ["train", "lenet5", "--epochs", "100000", "--save", str(file)]
    process = subprocess.Popen(
        [sys.executable, "-m", "graphc.cli", *words, *(["--json"] if as_json else [])],
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        watched = process.stderr if as_json else process.stdout
        assert watched is not None
        while not watched.readline().startswith("epoch"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        out, err = process.communicate(timeout=30)
        waited = time.monotonic() - begin
    finally:
        process.kill()
    assert process.returncode == 130
    assert waited < 1.0
    assert "Traceback" not in err and "interrupted" in err + out
    first = gc.zoo.lenet5()
    untrained = gc.Model(first, "f32[N,1,32,32]", backend="numpy").params
    kept = gc.load(file, backend="numpy").params
    assert all(not np.array_equal(kept[name], untrained[name]) for name in untrained)
    if as_json:
        found = json.loads(out)
        assert found["interrupted"] and found["test_accuracy"] is None


def _environment() -> dict[str, str]:
    folders = [str(ROOT / folder) for folder in (".", "frontends", "backends")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(folders)}


def _graphc(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "graphc.cli", *words],
        env=_environment() | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )

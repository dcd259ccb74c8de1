"""``graphc opt``: passes on a graph from wherever it comes, printed in every form; every stage that
was dumped goes on from where it is.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

import graphc as gc
from graphc.cli import main
from graphc.passes.base import Pipeline
from graphc.passes.instruments import Dump
from graphc.passes.pipelines import BACKEND
from graphc.runtime.backend import load_backend

Capture = pytest.CaptureFixture[str]


def printed(capsys: Capture, *words: str, code: int = 0) -> str:
    assert main(["opt", *words]) == code
    return capsys.readouterr().out


def test_a_network_a_file_and_standard_input_are_one_graph(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = printed(capsys, "lenet5")
    file = tmp_path / "graph.txt"
    file.write_text(text)
    assert gc.parse(printed(capsys, str(file))) is gc.parse(text)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    fused = gc.parse(printed(capsys, "-", "-p", "decompose,simplify,fuse"))
    assert fused is Pipeline.parse("decompose,simplify,fuse")(gc.parse(text))
    assert printed(capsys, "lenet5", "--train") != text


def test_the_pipelines_of_backends_have_names(capsys: Capture) -> None:
    for name, pipeline in BACKEND.items():
        graph = pipeline(gc.parse(printed(capsys, "mlp")))
        assert gc.parse(printed(capsys, "mlp", "-p", name)) is graph


@pytest.mark.parametrize("form", ["loops", "llvm", "asm"])
def test_code_of_every_kernel_is_printed(capsys: Capture, form: str) -> None:
    out = printed(capsys, "lenet5", "-p", "large", "--emit", form)
    begins = {"loops": "kernel ", "llvm": "define internal void @", "asm": ""}[form]
    assert f"{begins}conv2d_add_tanh" in out and f"{begins}matmul_add_tanh" in out
    words = ["lenet5", "-p", "large", "--emit", form, "--json"]
    found = json.loads(printed(capsys, *words))
    fused = [n for n in BACKEND["large"](gc.parse(printed(capsys, "lenet5"))).nodes if n.inputs]
    assert 5 < len(found["kernels"]) <= len(fused)
    assert all(kernel["text"] for kernel in found["kernels"])


def test_primitives_have_code_without_fusion(capsys: Capture) -> None:
    out = printed(capsys, "lenet5", "--train", "-p", "decompose", "--emit", "loops")
    assert "kernel conv2d" in out and "kernel tanh" in out


WRONG = {
    ("lenet5", "--emit", "asm"): "decompose the graph first",
    ("mlp", "--emit", "cuda", "--backend", "tpu"): "there is no backend named 'tpu'",
    ("mlp", "-p", "fuse", "--emit", "llvm", "--backend", "numpy"): "generates no llvm code",
    ("lenet", "-p", "fuse"): "did you mean lenet5",
    ("mlp", "-p", "fus"): "did you mean fuse",
}


@pytest.mark.parametrize("words", WRONG, ids=WRONG.values())
def test_what_cannot_be_done_is_said(capsys: Capture, words: tuple[str, ...]) -> None:
    assert main(["opt", *words]) == 2
    assert WRONG[words] in capsys.readouterr().err


@pytest.mark.parametrize("batch", BACKEND)
def test_every_stage_that_was_dumped_is_replayed(
    capsys: Capture, tmp_path: Path, batch: str
) -> None:
    pipeline = BACKEND[batch]
    model = gc.Model(
        gc.zoo.lenet5(), "f32[N,1,32,32]", loss="cross_entropy", optimizer=gc.optim.SGD(0.1)
    )
    whole = pipeline(model.graphs["train"], [Dump(str(tmp_path))])
    stages = sorted(tmp_path.glob("*.txt"))
    assert len(stages) == len(pipeline.passes) + 1
    for k, stage in enumerate(stages):
        rest = Pipeline(pipeline.passes[k:])
        assert gc.parse(printed(capsys, str(stage), "-p", str(rest))) is whole, stage.name


def test_a_backend_that_interprets_has_no_code() -> None:
    with pytest.raises(gc.GraphcError, match="'numpy' generates no code"):
        load_backend("numpy").sources(gc.trace(lambda x: x + 1.0, "f32[N]"))

"""Every example runs on its own, without a warning, and prints and draws what it promises.

What takes longer has a small form, ``--small``; the pictures are those that the docstring names.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SECONDS = 120
PROMISED = {
    "autoencoders": (
        r"repaired by 32 units 0\.01\d\d\n +repaired by 32 principal components 0\.02\d\d\n"
        r"(?s:.*)25 units of mean activation 0\.0[56]\d\n +given back from the sparse code 0\.0\d+"
    ),
    "checkpoint_resume": (
        r"stopped after 60 steps: 2 epochs done, history\.interrupted=True\nresumed: 5 epochs.*\n"
        r"never stopped +([0-9a-f]{64})\nstopped +(?!\1)[0-9a-f]{64}\nstopped, resumed +\1\n"
    ),
    "compress": (
        r"rank 8: ranks 8 and 8, 235,146 -> 13,066 parameters, 9\d\.\d %, fine-tuned 9\d\.\d %"
        r"(?s:.*)half a point on other data: ranks .* parameters, 9\d\.\d %\ncompress\.png"
    ),
    "fast_rcnn": (
        r"new scenes +mAP (?:[89]\d|100)\.\d % at IoU 0\.5, .* 475,380 parameters"
        r"(?s:.*)ranks \d+ and \d+ mAP [89]\d\.\d % .*\nfast_rcnn\.png"
    ),
    "gradients": r"f\(3\), f'\(3\), f''\(3\): 9\.000000 9\.000000 6\.000000",
    "initialisation": (
        r"tanh, sigma 0\.01 +0\.2\d+ .* 0\.0000\ntanh, sigma 1 +0\.98\d\d .* 0\.98\d\d\n"
        r"(?s:.*)ReLU, Xavier .* 0\.0[12]\d\d\nReLU, He .* 0\.[67]\d\d\d\n"
    ),
    "lenet5_original": (
        r"C1 156, S2 12, C3 1,516, S4 32, C5 48,120, F6 10,164, codes 840 parameters\n"
        r"60,000 are trained, (?s:.*)of 360 test digits are wrong: accuracy [89]\d\.\d %\n"
    ),
    "look_inside": r"kernel conv2d_add_tanh: conv2d, add, tanh(?s:.*)vector l in 0\.\.16:",
    "mcdnn_committee": (
        r"column of width 14: [89]\d\.\d % of the test digits\n"
        r"best column [89]\d\.\d %, committee 9\d\.\d %\n"
    ),
    "own_module": r"blocks\.2\.conv\.weight +\(16, 16, 3, 3\)(?s:.*)test accuracy 9\d\.\d %",
    "saliency": (
        r"centre prior KLD 1\.\d{3}  SIM 0\.2.*\n"
        r"network      KLD 0\.\d{3}  SIM 0\.[789]\d\d  CC 0\.[89]\d\d .*\ntruth(?s:.*)saliency\.png"
    ),
    "siamese": (
        r"pixels +80\.\d % of 2000 pairs right(?s:.*)stage by stage +[89]\d\.\d %"
        r"(?s:.*)then together +9\d\.\d %.*\nsiamese\.png"
    ),
    "stacked_autoencoder": (
        r"mean from random weights: [89]\d\.\d %\nmean pretrained: [89]\d\.\d %\n"
    ),
    "train_digits": r"test accuracy 9\d\.\d %\nloaded from its file, it differs by 0\.0",
    "transfer": (
        r"cut before layer 7, frozen, softmax: 9\d\.\d %\n"
        r"cut before layer 7, frozen, SVM: 9\d\.\d %\n.*\n"
        r".* fine-tuned: \d+ nodes, gradients of .*conv2d.*\n"
        r".* frozen: \d+ nodes, gradients of (?!.*conv2d).*\n"
    ),
    "worked_sigmoid_net": (
        r"outputs +0\.751365070 0\.772928465\n"
        r"error +0\.298371109\n"
        r"dE/dw1 +0\.000438568\n"
        r"dE/dw5 +0\.082167041\n"
        r"after a step +0\.149780716 0\.199561432 0\.249751144 0\.299502287 "
        r"0\.358916480 0\.408666186 0\.511301270 0\.561370121"
    ),
    "x_or_o": (
        r" +0\.77 -0\.11  0\.11  0\.33  0\.55 -0\.11  0\.33\n(?s:.*)rising stroke, ReLU.*\n"
        r" +0\.33  0\.55  1\.00  0\.77\n +0\.55  0\.55  1\.00  0\.33\n"
        r" +1\.00  1\.00  0\.11  0\.55\n +0\.77  0\.33  0\.55  0\.33\n"
        r"1000 shifted and noisy images: [45]\d\.\d % right, trained 9\d\.\d %"
    ),
}


def test_every_example_promises_something() -> None:
    assert {path.stem for path in EXAMPLES} == PROMISED.keys()


def test_the_index_names_every_example_its_small_form_and_its_pictures() -> None:
    index = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    row = r"^\| \[(\w+)\]\(\1\.py\)( \*)? \|[^|]+\|([^|]*)\|"
    found = {
        name: (bool(star), re.findall(r"\w+\.png", files))
        for name, star, files in re.findall(row, index, re.MULTILINE)
    }
    assert found == {path.stem: (has_small_form(path), pictures_of(path)) for path in EXAMPLES}


def has_small_form(path: Path) -> bool:
    return '"--small"' in path.read_text(encoding="utf-8")


def pictures_of(path: Path) -> list[str]:
    """The pictures that an example's docstring promises."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.findall(r"\w+\.png", text)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_does_what_it_promises(path: Path, tmp_path: Path) -> None:
    pictures = pictures_of(path)
    small = ["--small"] if has_small_form(path) else []
    folders = [str(ROOT / folder) for folder in (".", "frontends", "backends")]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path), *small],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders), "GRAPHC_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(PROMISED[path.stem], done.stdout), done.stdout
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(pictures)
    for name in pictures:
        assert re.search(rf"^{re.escape(name)}$", done.stdout, re.MULTILINE)
        with Image.open(tmp_path / name) as picture:
            darkest, brightest = picture.convert("L").getextrema()
            assert picture.format == "PNG" and darkest < brightest

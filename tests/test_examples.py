"""Every example runs on its own, without a warning, and prints what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SECONDS = 120
PROMISED = {
    "compress": r"energy 0\.8: ranks \d+ and \d+, 233,472 -> [\d,]+ weights, 9\d\.\d %",
    "gradients": r"f\(3\), f'\(3\), f''\(3\): 9\.000000 9\.000000 6\.000000",
    "look_inside": r"kernel conv2d_add_tanh: conv2d, add, tanh(?s:.*)vector l in 0\.\.16:",
    "own_module": r"blocks\.2\.conv\.weight +\(16, 16, 3, 3\)(?s:.*)test accuracy 9\d\.\d %",
    "train_digits": r"test accuracy 9\d\.\d %\nloaded from its file, it differs by 0\.0",
    "worked_sigmoid_net": (
        r"outputs +0\.751365070 0\.772928465\n"
        r"error +0\.298371109\n"
        r"dE/dw1 +0\.000438568\n"
        r"dE/dw5 +0\.082167041\n"
        r"after a step +0\.149780716 0\.199561432 0\.249751144 0\.299502287 "
        r"0\.358916480 0\.408666186 0\.511301270 0\.561370121"
    ),
}


def test_every_example_promises_something() -> None:
    assert {path.stem for path in EXAMPLES} == PROMISED.keys()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_prints_what_it_promises(path: Path, tmp_path: Path) -> None:
    folders = [str(ROOT / folder) for folder in (".", "frontends", "backends")]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(PROMISED[path.stem], done.stdout), done.stdout
    assert list(tmp_path.iterdir()) == []

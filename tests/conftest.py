"""What all tests share: which backends run, and the options of the runner.

BACKENDS comes from GRAPHC_TEST_BACKENDS (names with commas between); a backend is added here, and
every generated test runs on it. "emulated" is the CUDA backend on a device that is none.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from graphc.runtime.backend import BUILT_IN
from graphc_cuda import CUDABackend

BACKENDS = tuple(os.environ.get("GRAPHC_TEST_BACKENDS", "numpy,llvm").split(","))
GRAPHS = 2000

CUDABackend.precisions = ("f32", "tf32", "bf16")  # what the oracle compares with
if "emulated" in BACKENDS:
    BUILT_IN["emulated"] = "tests.backends.cuda.emulated:EmulatedBackend"

# Nothing is kept from one run of the tests to the next, nor in the user's own cache.
os.environ["GRAPHC_CACHE"] = "off"
# A shell that runs the tests in the background has them ignore Ctrl-C, and all they start as well.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--graphs",
        type=int,
        default=int(os.environ.get("GRAPHC_TEST_GRAPHS", GRAPHS)),
        help="how many random graphs the differential test draws",
    )
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what the golden tests print into their files, to be reviewed in the diff",
    )
    parser.addoption(
        "--all-kernels",
        action="store_true",
        help="compile every kernel of the zoo for graphics processors, not one of each structure",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", BACKENDS)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Compares ``str(value)`` with the file golden/NAME.txt beside the test.

    The user's lines, which the text of a graph says in comments, are taken out first.
    """

    def compare(name: str, value: object) -> None:
        file = Path(request.path).parent / "golden" / f"{name}.txt"
        text = re.sub(r" *#[^\n]*", "", str(value)).rstrip() + "\n"
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert file.exists(), f"{file.name} is missing: run pytest --update-golden"
        assert text == file.read_text(encoding="utf-8")

    return compare

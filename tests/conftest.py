"""What all tests share: which backends run, and the options of the runner.

BACKENDS comes from GRAPHC_TEST_BACKENDS (names with commas between); a backend is added here, and
every generated test runs on it.
"""

from __future__ import annotations

import os

import pytest

BACKENDS = tuple(os.environ.get("GRAPHC_TEST_BACKENDS", "numpy").split(","))
GRAPHS = 2000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--graphs",
        type=int,
        default=int(os.environ.get("GRAPHC_TEST_GRAPHS", GRAPHS)),
        help="how many random graphs the differential test draws",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", BACKENDS)

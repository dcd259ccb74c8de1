"""The examples in docstrings run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = (ROOT, ROOT / "frontends", ROOT / "backends")
EXAMPLE = re.compile(r"^ +>>> ", re.MULTILINE)


def modules() -> list[str]:
    """Every module of the packages with an example in it, by its dotted name."""
    found = []
    for room in ROOMS:
        for path in sorted(room.glob("graphc*/**/*.py")):
            if EXAMPLE.search(path.read_text(encoding="utf-8")):
                found.append(".".join(path.relative_to(room).with_suffix("").parts))
    return found


@pytest.mark.parametrize("name", modules())
def test_examples_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")))
    assert found.attempted > 0 and found.failed == 0


def test_there_are_examples_to_run() -> None:
    assert len(modules()) >= 6

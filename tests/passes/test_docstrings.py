"""The examples in the docstrings of passes and rewriting run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import graphc.inspect
import graphc.passes

MODULES = [
    "graphc.ir.rewrite",
    "graphc.train.replay",
    *(f"graphc.passes.{m.name}" for m in pkgutil.iter_modules(graphc.passes.__path__)),
    *(f"graphc.inspect.{m.name}" for m in pkgutil.iter_modules(graphc.inspect.__path__)),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0


def test_there_are_examples_to_run() -> None:
    attempted = [doctest.testmod(importlib.import_module(name)).attempted for name in MODULES]
    assert sum(attempted) >= 6

"""docs/layers.md sets layers, losses and initialisers beside PyTorch's and Keras's: none is left
out, and every default is the one in the code.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from graphc import losses, nn

PAGE = (Path(__file__).parents[2] / "docs" / "layers.md").read_text(encoding="utf-8")
COMPARISON = PAGE.partition("## Defaults beside PyTorch's and Keras's")[2]
INITIALISERS = PAGE.partition("## Initialisers")[2].partition("\n## ")[0]


def classes(module: Any, base: type) -> dict[str, type]:
    """The public ones that can be constructed."""
    found = {name: getattr(module, name) for name in module.__all__}
    return {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type) and issubclass(kind, base) and not inspect.isabstract(kind)
    }


LAYERS = {n: k for n, k in classes(nn, nn.Module).items() if k not in (nn.Module, nn.Layer)}
LOSSES = {n: k for n, k in classes(losses, losses.Loss).items() if n != "CustomLoss"}
ACTIVATIONS = {n: k for n, k in LAYERS.items() if k.__module__ == "graphc_nn.activations"}
ALL = LAYERS | LOSSES
DRAWING = [
    name
    for name, found in vars(nn.initializers).items()
    if inspect.isfunction(found) and found.__module__ == nn.initializers.__name__
]


def defaults(kind: Callable[..., Any]) -> dict[str, Any]:
    """What may be left out when it is called, and what it is then; initialisers aside."""
    options = inspect.signature(kind).parameters
    return {
        name: option.default
        for name, option in options.items()
        if option.default is not option.empty and not name.endswith("_initializer")
    }


def rows(name: str) -> list[str]:
    """The rows of tables in which `name(...)` is what is described."""
    first_cells = rf"^\| (?:`[^|]*` )?(?:\| )?[^|]*`{name}\("
    return [line for line in PAGE.splitlines() if re.match(first_cells, line)]


def stated(row: str) -> Iterator[tuple[str, Any]]:
    """The keywords in a row's code, each with its value; those of another layer if it is named."""
    for span in re.findall(r"`([^`]+)`", row):
        try:
            calls = list(ast.walk(ast.parse(f"f({span})")))
        except SyntaxError:
            continue
        for node in calls:
            if isinstance(node, ast.keyword) and not isinstance(node.value, ast.Name):
                yield str(node.arg), ast.literal_eval(node.value)
    for other in re.findall(r"\| as `(\w+)`", row):
        for its in rows(other):
            yield from stated(its)


@pytest.mark.parametrize("name", ALL)
def test_every_default_is_the_one_that_is_stated(name: str) -> None:
    found = [pair for row in rows(name) for pair in stated(row)]
    assert rows(name), f"no row describes {name}"
    unsaid = {k: v for k, v in defaults(ALL[name]).items() if (k, v) not in found}
    assert not unsaid or unsaid == {"module": None}  # L1 with a module has a row of its own


@pytest.mark.parametrize("name", LAYERS.keys() - ACTIVATIONS.keys())
def test_every_layer_is_compared_with_pytorch_and_keras(name: str) -> None:
    compared = [line.split(" | ")[0] for line in COMPARISON.splitlines() if line.startswith("| ")]
    assert any(re.search(rf"`{name}\b", cell) for cell in compared)


@pytest.mark.parametrize("name", (ACTIVATIONS | LOSSES).keys())
def test_every_activation_and_loss_is_compared_with_pytorch_and_keras(name: str) -> None:
    table = next(part for part in PAGE.split("\n\n") if rows(name)[0] in part)
    assert re.search("PyTorch.*Keras", table.splitlines()[0])
    assert all(line.count(" |") == table.splitlines()[0].count(" |") for line in rows(name))


@pytest.mark.parametrize("name", [n for n in DRAWING if n != "fans" and not n.startswith("_")])
def test_every_initialiser_is_compared_with_pytorch_and_keras(name: str) -> None:
    functions = re.findall(r"`(\w+)(?:\([^`]*\))?`", INITIALISERS.partition("| defaults |")[0])
    assert name in functions

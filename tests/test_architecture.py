"""The floors of the design: imports go to the same or a lower floor, never in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parents[1]
SOURCES = {"graphc": ROOT, "graphc_nn": ROOT / "frontends"} | {
    f"graphc_{name}": ROOT / "backends" for name in ("numpy", "llvm", "cuda")
}
FLOORS = {
    "graphc.base": 0,
    "graphc.ir": 1,
    "graphc.ops": 2,
    "graphc.tracing": 3,
    "graphc.passes": 3,
    "graphc.loops": 4,
    "graphc.runtime": 5,
    "graphc_numpy": 5,
    "graphc_llvm": 5,
    "graphc_cuda": 5,
    "graphc.compiler": 6,
    "graphc.train": 6,
    "graphc.inspect": 6,
    "graphc.testing": 6,
    "graphc_nn": 7,
    "graphc": 8,
    "graphc.cli": 8,
}
NEVER = (
    ("graphc.train", "graphc_nn"),
    ("graphc_nn", "graphc_numpy"),
    ("graphc_nn", "graphc_llvm"),
    ("graphc_numpy", "graphc_llvm"),
    ("graphc_llvm", "graphc_numpy"),
    ("graphc_cuda", "graphc_numpy"),
    ("graphc_cuda", "graphc_llvm"),
    ("graphc_llvm", "graphc_cuda"),
    ("graphc_numpy", "graphc_cuda"),
)
LONGEST = 600


def _modules() -> dict[str, Path]:
    found = {}
    for package, folder in SOURCES.items():
        for path in sorted((folder / package).rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _imports(module: str, *, deferred: bool) -> set[str]:
    """What `module` imports of ours; with `deferred` inside functions too, never for types."""
    found: set[str] = set()
    stack: list[ast.AST] = [ast.parse(MODULES[module].read_text())]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{module} has a relative import"
            inner = {f"{node.module}.{a.name}" for a in node.names}
            found |= {i if i in MODULES else node.module for i in inner}
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not deferred:
            continue
        stack.extend(child for child in ast.iter_child_nodes(node) if not _for_types_only(child))
    return {name for name in found if name in MODULES and name != module}


def _floor(module: str) -> int:
    parts = module.split(".")
    rooms = [".".join(parts[:k]) for k in range(len(parts), 0, -1)]
    return next(FLOORS[room] for room in rooms if room in FLOORS)


def _within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def test_every_module_has_a_floor() -> None:
    facade = {m for m in MODULES if _floor(m) == 8 and not _within(m, "graphc.cli")}
    assert facade == {"graphc"}


@pytest.mark.parametrize("module", MODULES)
def test_imports_never_go_up(module: str) -> None:
    above = [i for i in _imports(module, deferred=True) if _floor(i) > _floor(module)]
    assert above == [], f"{module} (floor {_floor(module)}) imports {above}"


@pytest.mark.parametrize(("room", "other"), NEVER)
def test_rooms_that_never_know_each_other(room: str, other: str) -> None:
    seen = {
        (module, i)
        for module in MODULES
        if _within(module, room)
        for i in _imports(module, deferred=True)
        if _within(i, other)
    }
    assert seen == set()


def test_no_circle_of_imports() -> None:
    graph = networkx.DiGraph(
        (module, i) for module in MODULES for i in _imports(module, deferred=False)
    )
    assert list(networkx.simple_cycles(graph)) == []


@pytest.mark.parametrize("module", MODULES)
def test_files_stay_short(module: str) -> None:
    lines = MODULES[module].read_text().count("\n")
    assert lines <= LONGEST, f"{MODULES[module].name} has {lines} lines: split it along the rooms"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_knows(module: str) -> None:
    assert ast.get_docstring(ast.parse(MODULES[module].read_text()))

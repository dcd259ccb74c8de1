"""Every place that raises a user's error, tried: each message has its four parts.

`cases/AREA.py` holds, for each part of the project, calls that must fail. The test runs them all,
notes which line of graphc made each error, and compares with every line that can make one, found by
reading the source. A new error without a case fails the test, and so does a case that no longer
raises.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from graphc.base.errors import GraphcError
from graphc.cli import WRONG, main

ROOT = Path(__file__).parents[2]
ROOMS = (
    "graphc",
    "frontends/graphc_nn",
    *(f"backends/graphc_{name}" for name in ("numpy", "llvm", "cuda")),
)
CASES = Path(__file__).parent / "cases"
AREAS = sorted(path.stem for path in CASES.glob("[a-z]*.py"))

Place = tuple[str, int]
"""A file, from the root on, and the line on which an error is made in it."""


# -- the places in the source ----------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """What a file says about errors.

    makers: the lines of functions that return a new error for others to raise; each of their calls
    is a place, they themselves are none.
    """

    places: frozenset[int]
    makers: tuple[range, ...]

    @staticmethod
    def of(path: Path) -> Source:
        """Reads the file."""
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        made = [n for n in nodes if isinstance(n, ast.FunctionDef) and _returns_error(n)]
        makers = tuple(range(n.lineno, (n.end_lineno or n.lineno) + 1) for n in made)
        names = {"GraphcError", *(n.name for n in made)}
        calls = {n.lineno for n in nodes if isinstance(n, ast.Call) and _called(n) in names}
        return Source(frozenset(n for n in calls if not any(n in m for m in makers)), makers)


def _returns_error(function: ast.FunctionDef) -> bool:
    """Whether it makes an error: one that only adds to an error is given it, as `within` is."""
    found = isinstance(function.returns, ast.Name) and function.returns.id == "GraphcError"
    return found and any(
        isinstance(n, ast.Call) and _called(n) == "GraphcError" for n in ast.walk(function)
    )


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


@cache
def sources() -> dict[str, Source]:
    """Every file of graphc by its path from the root on."""
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): Source.of(path) for path in files}


def place_of(frame: FrameType | None) -> Place | None:
    """Where the error that `frame` makes is raised; None outside of graphc."""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
        source = sources().get(name)
        if source is None:
            return None
        if not any(frame.f_lineno in maker for maker in source.makers):
            return name, frame.f_lineno
        frame = frame.f_back
    return None


# -- the cases -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What came of a case: the errors that were made, the last of which is what the user reads."""

    name: str
    places: frozenset[Place]
    complaints: tuple[str, ...]


Case = Callable[[Path], object]


def _lines(code: CodeType) -> Iterator[int]:
    """The lines of a function and of those inside it."""
    yield from (line for _, _, line in code.co_lines() if line)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _lines(constant)


@contextlib.contextmanager
def _noted(places: set[Place]) -> Iterator[None]:
    """Adds to `places` where errors are made.

    `__new__` has returned when `__init__` looks at the call stack, so that it sees what it always
    sees.
    """

    def new(cls: type[GraphcError], *_: object, **__: object) -> GraphcError:
        place = place_of(sys._getframe(1))
        if place is not None:
            places.add(place)
        return Exception.__new__(cls)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GraphcError, "__new__", new, raising=False)
        yield


def _outcome(area: str, case: Case, folder: Path) -> Outcome:
    code: CodeType = case.__code__  # type: ignore[attr-defined]
    places: set[Place] = set()
    with _noted(places), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        try:
            complaints = tuple(_command_complaints(case(folder)))
        except GraphcError as error:
            lines = range(code.co_firstlineno, max(_lines(code)) + 1)
            complaints = tuple(_complaints(error, lines))
    return Outcome(f"{area}.py:{code.co_firstlineno}", frozenset(places), complaints)


def _complaints(error: GraphcError, lines: range) -> Iterator[str]:
    """What the message lacks; the lines are those of the case, and one of them is to blame."""
    if not error.what.strip():
        yield "does not say what is wrong"
    if not (error.node or error.called):
        yield "shows neither the node nor what was called"
    if not error.remedy:
        yield "does not say what to do"
    if error.location is None:
        yield "does not say where"
    elif Path(error.location.file).parent != CASES or error.location.line not in lines:
        yield f"blames {error.location}, not the case"


def _command_complaints(words: Any) -> Iterator[str]:
    """For a case that returned the words of a command: runs it, and looks at what it prints."""
    if not isinstance(words, tuple):
        yield f"raises nothing: {words!r}"
        return
    printed = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(printed):
        code = main(words)
    said = printed.getvalue().splitlines()
    if code != WRONG:
        yield f"ends with {code}"
    for part, wanted in (("error: ", ""), ("  at: ", Path(__file__).name), ("  do: ", "")):
        text = next((line[len(part) :].strip() for line in said if line.startswith(part)), "")
        if not text or wanted not in text:
            yield f"prints {part.strip()} {text!r}"


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Outcome]]:
    """What came of the cases of an area, each run once."""

    @cache
    def run(area: str) -> list[Outcome]:
        cases = importlib.import_module(f"tests.errors.cases.{area}").CASES
        return [_outcome(area, case, tmp_path_factory.mktemp(area)) for case in cases]

    return run


# -- what holds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("area", AREAS)
def test_every_case_raises_an_error_of_four_parts(
    area: str, outcomes: Callable[[str], list[Outcome]]
) -> None:
    found = outcomes(area)
    assert not [f"{o.name} {complaint}" for o in found for complaint in o.complaints]
    assert not [o.name for o in found if not o.places]


def test_every_place_that_raises_has_a_case(outcomes: Callable[[str], list[Outcome]]) -> None:
    written = {(name, line) for name, s in sources().items() for line in s.places}
    reached = {place for area in AREAS for o in outcomes(area) for place in o.places}
    assert not reached - written, "errors made at lines that are no known places"
    missing = sorted(f"{name}:{line}" for name, line in written - reached)
    assert not missing, "each of these lines needs a case in tests/errors/cases"

"""Where in the user's code something was written: the first stack frame outside graphc's packages.

`written_at` overrides it while a layer that the user wrote elsewhere is applied, and says what
nodes are made for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

OWN_PACKAGES = frozenset({"graphc", "graphc_nn", "graphc_numpy", "graphc_llvm", "graphc_cuda"})
NETWORKS = "graphc_nn.zoo"


@dataclass(frozen=True, slots=True)
class Location:
    """One line of a source file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}"


_override: ContextVar[tuple[Location | None, str | None]] = ContextVar(
    "written_at", default=(None, None)
)


@contextmanager
def written_at(location: Location | None, origin: str | None = None) -> Iterator[None]:
    """Nodes made inside are said to be written at `location`.

    origin: what they are for, "gradient of conv2d", say.
    """
    token = _override.set((location, origin))
    try:
        yield
    finally:
        _override.reset(token)


def origin() -> str | None:
    """What nodes are being made for, if anything said so."""
    return _override.get()[1]


def user_location() -> Location | None:
    """The overriding location, else the innermost line of the call stack that is not graphc's.

    None if there is none.
    """
    override = _override.get()[0]
    if override is not None:
        return override
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not _is_own(module) and not frame.f_code.co_filename.startswith("<"):
            return Location(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _is_own(module: str) -> bool:
    if module == NETWORKS:
        return False
    return module.partition(".")[0] in OWN_PACKAGES or module in (
        "contextlib",
        "runpy",
        "importlib",
    )

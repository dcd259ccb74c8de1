"""Where in the user's code something was written: the first stack frame outside graphc's packages.

`written_at` overrides it while a layer that the user wrote elsewhere is applied, and says what
nodes are made for.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NamedTuple

OWN_PACKAGES = frozenset({"graphc", "graphc_nn", "graphc_numpy", "graphc_llvm", "graphc_cuda"})
NETWORKS = "graphc_nn.zoo"
ZOO = f"/{NETWORKS.replace('.', '/')}/"
UNSPOKEN = re.compile(r"\.__(new|init|post_init|call)__$")
PRIVATE = re.compile(r"<|(^|\.)_[^_]")
LOADED = time.time()  # sources that are younger are not what runs
Origin = object  # what a node is for: a text, or something that prints as one


@dataclass(frozen=True, slots=True)
class Location:
    """One line of a source file.

    layer: the path of the layer that was written there ("features.3"), if it was one.
    """

    file: str
    line: int
    layer: str = ""

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}"


class Source(NamedTuple):
    """The line at which something was written, and what it is for if it is not what is written
    there: "gradient of conv2d", say.
    """

    location: Location | None
    origin: Origin | None


_override: ContextVar[tuple[Location | None, Origin | None]] = ContextVar(
    "written_at", default=(None, None)
)


@contextmanager
def written_at(location: Location | None, origin: Origin | None = None) -> Iterator[None]:
    """Nodes made inside are said to be written at `location`.

    origin: what they are for, "optimizer", say.
    """
    token = _override.set((location, origin))
    try:
        yield
    finally:
        _override.reset(token)


def origin() -> Origin | None:
    """What nodes are being made for, if anything said so."""
    return _override.get()[1]


def user_location(*, networks: bool = True) -> Location | None:
    """The overriding location, else the innermost line of the call stack that is not graphc's.

    networks: whether the networks of the zoo count as the user's: where their layers are written is
    worth knowing, but no line for a user to correct. None if there is none.
    """
    override = _override.get()[0]
    if override is not None and (networks or ZOO not in Path(override.file).as_posix()):
        return override
    frame, _ = _border(sys._getframe(1), networks)
    return None if frame is None else Location(frame.f_code.co_filename, frame.f_lineno)


def entry_point() -> str | None:
    """What the user called of graphc: ``Model.fit``, or ``Conv`` for a constructor.

    It is asked for by what the caller of this function was called by. None if the call did not
    come from outside.
    """
    frame, inside = _border(sys._getframe(2), networks=False)
    if frame is None:
        return None
    names = (UNSPOKEN.sub("", i.f_code.co_qualname) for i in inside)
    return next((n for n in names if not PRIVATE.search(n)), None)


def _border(frame: FrameType | None, networks: bool) -> tuple[FrameType | None, list[FrameType]]:
    """(the innermost frame that is not graphc's, the frames inside it, outermost first)."""
    inside: list[FrameType] = []
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not _is_own(module, networks) and not frame.f_code.co_filename.startswith("<"):
            return frame, inside[::-1]
        inside.append(frame)
        frame = frame.f_back
    return None, []


def _is_own(module: str, networks: bool) -> bool:
    """Whether a module is graphc's, or Python's own on the way between graphc and its user."""
    if networks and (module == NETWORKS or module.startswith(f"{NETWORKS}.")):
        return False
    package = module.partition(".")[0]
    return package in OWN_PACKAGES or package in sys.stdlib_module_names

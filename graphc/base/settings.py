"""Every setting of graphc: one ``GRAPHC_*`` environment variable each, declared here only.

A setting is read when it is asked for, so that a test or a notebook can change the environment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from graphc.base.errors import GraphcError


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable: its name, what it does, and its text when unset."""

    variable: str
    meaning: str
    default: str = ""

    def text(self) -> str:
        """The current text of the setting."""
        return os.environ.get(self.variable, self.default)

    def on(self) -> bool:
        """Whether the setting is switched on (anything but empty and 0)."""
        return self.text() not in ("", "0")

    def integer(self, least: int = 1) -> int | None:
        """The setting as a whole number of at least `least`; None when unset.

        Raises GraphcError if the text is something else.
        """
        text = self.text()
        if not text:
            return None
        if not text.isdigit() or int(text) < least:
            raise GraphcError(
                f"{self.variable}={text!r} is not a whole number of at least {least}",
                remedy=f"unset {self.variable} or set it to a number such as 2",
            )
        return int(text)


NUM_THREADS = Setting(
    "GRAPHC_NUM_THREADS", "threads of a compiled step; unset: every core the process may use"
)
CACHE = Setting(
    "GRAPHC_CACHE",
    "a folder for compiled code, or off; unset: graphc in the user's cache directory",
)
WINOGRAD = Setting(
    "GRAPHC_WINOGRAD",
    "0: convolve directly, with the rounding of a plain sum; 1: by Winograd's way where it pays",
    "1",
)
PRINT = Setting("GRAPHC_PRINT", "1: print the graph after every pass")
DUMP = Setting(
    "GRAPHC_DUMP", "a folder: write the graph after every pass, numbered, with diffs, and as a page"
)
TIME = Setting("GRAPHC_TIME", "1: print the time of every pass")
VERIFY = Setting("GRAPHC_VERIFY", "1: re-run the shape rules on every graph that a pass returns")
CHECK = Setting(
    "GRAPHC_CHECK",
    "1: run the numpy oracle before and after every pass and name the pass that changed an answer",
)
BISECT = Setting(
    "GRAPHC_BISECT",
    "a number: apply only so many steps of the passes, each change by a pass or a rule being one",
)

ALL = (NUM_THREADS, CACHE, WINOGRAD, PRINT, DUMP, TIME, VERIFY, CHECK, BISECT)

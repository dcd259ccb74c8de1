"""A line on a terminal while compiling takes long, and only there."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from graphc.runtime import announcement
from graphc.runtime.announcement import Announcement


class Terminal(io.StringIO):
    """Text that is shown to someone; `shown` is set when there is some."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        count = super().write(text)
        self.shown.set()
        return count


def terminal(monkeypatch: pytest.MonkeyPatch, patience: float = 0.0) -> Terminal:
    """Standard error, made a terminal."""
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    monkeypatch.setattr(sys, "__stderr__", found)
    monkeypatch.setattr(announcement, "PATIENCE", patience)
    return found


def test_what_takes_long_is_announced_with_its_stage_and_the_line_goes_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = terminal(monkeypatch)
    with Announcement("compiling train") as line:
        line.stage = "machine code"
        assert screen.shown.wait(60)
    text = screen.getvalue()
    assert "graphc: compiling train: " in text
    assert text.startswith("\r\x1b[K") and text.endswith("\r\x1b[K") and "\n" not in text


def test_what_is_over_soon_is_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, patience=3600.0)
    with Announcement("compiling train"):
        pass
    assert screen.getvalue() == ""


def test_beside_a_progress_bar_it_is_one_line_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setattr(sys, "__stderr__", None)
    with Announcement("compiling train"):
        assert screen.shown.wait(60)
    assert screen.getvalue() == "graphc: compiling train ...\n"


def test_a_file_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(announcement, "PATIENCE", 0.0)
    monkeypatch.setattr(sys, "stderr", file)
    with Announcement("compiling train") as line:
        assert line.thread is None
    assert file.getvalue() == ""

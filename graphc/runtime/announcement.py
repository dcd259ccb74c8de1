"""A line on the terminal while something takes long."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

PATIENCE = 1.0
REFRESH_SECONDS = 0.2


class Announcement:
    """Says on a terminal's standard error what is going on, from a second on, and for how long.

    with Announcement("compiling train") as line: line.stage = "loops"; ...

    The line is taken away at the end. Where something else draws on the terminal (a progress bar,
    which puts itself in the place of standard error), it is written once and stays.
    """

    def __init__(self, what: str) -> None:
        self.what, self.stage = what, ""
        self.over = threading.Event()
        self.thread: threading.Thread | None = None

    def __enter__(self) -> Announcement:
        self.begin = time.perf_counter()
        if sys.stderr is not None and sys.stderr.isatty():
            self.thread = threading.Thread(target=self._show, name="graphc-line", daemon=True)
            self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        if self.thread is not None:
            self.thread.join()

    def _text(self) -> str:
        return f"graphc: {self.what}: {self.stage}, {time.perf_counter() - self.begin:.0f} s"

    def _show(self) -> None:
        stream = sys.stderr
        if self.over.wait(PATIENCE):
            return
        if stream is not sys.__stderr__:
            print(f"graphc: {self.what} ...", file=stream, flush=True)
            return
        while True:
            print(f"\r\x1b[K{self._text()}", end="", file=stream, flush=True)
            if self.over.wait(REFRESH_SECONDS):
                break
        print("\r\x1b[K", end="", file=stream, flush=True)

"""Ctrl-C while training: put off until what must not be torn apart is done. Knows no training."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Shield:
    """Puts Ctrl-C off while a step runs or a file is written.

    The outer ``with`` (in `fit`) installs the handler, inner ones shield a step. Outside the main
    thread, or where the program has its own handler, it leaves everything as it is.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.pending = False
        self.installed = False

    def __enter__(self) -> Shield:
        self.depth += 1
        if self.depth == 1:
            self.installed = (
                threading.current_thread() is threading.main_thread()
                and signal.getsignal(signal.SIGINT) is signal.default_int_handler
            )
            if self.installed:
                signal.signal(signal.SIGINT, self._arrived)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self.depth == 1 and self.installed:  # before it is left: nothing may come in between
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.depth -= 1
        if self.pending and self.depth < 2:
            self.pending = False
            if kind is None:  # an error that ends training anyway is what there is to say
                raise KeyboardInterrupt

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if self.depth < 2:
            raise KeyboardInterrupt
        self.pending = True

"""What commands print with: JSON, tables for people, near matches. rich is loaded when it is used.

It knows no command.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any

from graphc.inspect.render import show


def print_json(value: Any) -> None:
    """One JSON object on standard output; a number that is not finite becomes null."""
    print(json.dumps(_finite(value), indent=2, allow_nan=False))


def print_rich(*renderables: Any) -> None:
    """Graphs, tables and text, with colours on a terminal and in plain lines elsewhere."""
    show(*renderables)


def nearest(word: str, known: Iterable[str]) -> str:
    """What to say to someone who wrote `word` where one of `known` belongs."""
    listed = list(known)
    close = difflib.get_close_matches(word, listed, n=3, cutoff=0.5)
    everything = "there are: " + ", ".join(listed)
    return f"did you mean {' or '.join(close)}? {everything}" if close else everything


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value

"""Files that a user asks for, written whole; what goes wrong is told as a user's error."""

from __future__ import annotations

import os
from pathlib import Path

from graphc.base.arguments import as_file
from graphc.base.errors import GraphcError


def write_file(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Writes text (as UTF-8) or bytes; the path written. Raises GraphcError if that fails."""
    target = as_file(path)
    try:
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise GraphcError(
            f"cannot write {str(path)!r}: {error.strerror}",
            remedy="give a file in a folder that exists and may be written to",
        ) from error
    return target

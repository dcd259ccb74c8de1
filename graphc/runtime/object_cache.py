"""Machine code kept on disk, so that a program is compiled once on a machine and not once a run.

An entry is found by all that its code was made from (its origin) and believed only if it says that
very origin and its own digest is right; anything else is a miss with a warning. The directory is
the user's alone: owner and mode are checked each time it is opened, links are not followed. Entries
hold machine code and nothing that is unpickled or parsed. They come into being by renaming a
finished file, so threads, processes and forks share the directory without locks. Knows no LLVM.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from graphc.base.settings import CACHE

MAGIC = b"graphc machine code 1\n"
DIGEST_BYTES = hashlib.sha256().digest_size
LIMIT = 512 << 20
SUFFIX = ".code"
NAMES = re.compile(rf"[0-9a-f]{{64}}{re.escape(SUFFIX)}(\.[0-9a-f]+)?")


class Unusable(Exception):
    """Why a directory or an entry is not believed."""


@dataclass(frozen=True)
class ObjectCache:
    """Entries in `directory`, at most `limit` bytes of them: those not used for longest go first.

    Nothing here raises for what is wrong on disk: it warns, once for each thing that is wrong, and
    code is compiled as if there were no cache.
    """

    directory: Path
    limit: int = LIMIT

    def get(self, origin: bytes) -> bytes | None:
        """The code that was made from `origin`; None if it is not here."""
        name = _name(origin)
        try:
            with self._opened() as folder:
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
                try:
                    code = _checked(_content(file, self.limit), origin)
                    os.utime(file)
                finally:
                    os.close(file)
        except FileNotFoundError:
            return None
        except (Unusable, OSError) as error:
            _warn(f"{self.directory / name}: {error}; it is made anew")
            return None
        return code

    def put(self, origin: bytes, code: bytes) -> None:
        """Keeps the code that was made from `origin`."""
        head = MAGIC + len(origin).to_bytes(8, "little") + origin
        content = head + hashlib.sha256(head + code).digest() + code
        if len(content) > self.limit:
            return
        name = _name(origin)
        unfinished = f"{name}.{secrets.token_hex(8)}"
        try:
            with self._opened() as folder:
                try:
                    _write(unfinished, content, folder)
                    with suppress(FileNotFoundError):  # another process has made room with it
                        os.rename(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
                except OSError:
                    _remove(unfinished, folder)
                    raise
                self._evict(folder)
        except (Unusable, OSError) as error:
            _warn(f"{self.directory}: {error}; compiled code is not kept")

    def __str__(self) -> str:
        """``folder (3 entries, 1.2 MB)``, or why the folder cannot be used."""
        try:
            with self._opened() as folder:
                sizes = [size for _, size, _ in _files(folder)]
        except (Unusable, OSError) as error:
            return f"{self.directory} ({error})"
        return f"{self.directory} ({len(sizes)} entries, {sum(sizes) / 1e6:.1f} MB)"

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The directory, made if it is missing, as a descriptor: what was checked is what is used.

        Raises Unusable for a directory that others could have written to.
        """
        self.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):  # made by an earlier run, or by another process just now
            self.directory.mkdir(mode=0o700)
        try:
            folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise Unusable("it is a link or not a directory") from error
        try:
            found = os.fstat(folder)
            _check_owner(found)
            if found.st_mode & 0o077:
                raise Unusable(f"others may use it (mode {found.st_mode & 0o777:o}, not 700)")
            yield folder
        finally:
            os.close(folder)

    def _evict(self, folder: int) -> None:
        """Removes what was not used for longest, until the rest is within the limit."""
        found = sorted(_files(folder))
        total = sum(size for _, size, _ in found)
        for _, size, name in found:
            if total <= self.limit:
                return
            _remove(name, folder)
            total -= size


def object_cache() -> ObjectCache | None:
    """The cache that GRAPHC_CACHE asks for; None if it is off or the user has no directory."""
    text = CACHE.text()
    if text in ("off", "0") or os.open not in os.supports_dir_fd:
        return None
    directory = Path(text).expanduser() if text else _user_directory() / "graphc"
    if not directory.is_absolute() and not text:
        _warn("there is no home directory, so compiled code is not kept; set GRAPHC_CACHE")
        return None
    return ObjectCache(directory.absolute())


def _user_directory() -> Path:
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else Path(os.path.expanduser("~"), ".cache")


def _name(origin: bytes) -> str:
    return hashlib.sha256(origin).hexdigest() + SUFFIX


def _check_owner(found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise Unusable(f"it belongs to user {found.st_uid}, not to {os.geteuid()}")


def _content(file: int, limit: int) -> bytes:
    """All of an open entry, if it is a plain file that only the user can have written."""
    found = os.fstat(file)
    _check_owner(found)
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o022 or found.st_size > limit:
        raise Unusable(f"it is no entry (mode {found.st_mode:o}, {found.st_size} bytes)")
    with open(file, "rb", closefd=False) as stream:
        return stream.read()


def _checked(content: bytes, origin: bytes) -> bytes:
    """The code in an entry. Raises Unusable unless the entry is whole and of this very origin."""
    head = MAGIC + len(origin).to_bytes(8, "little") + origin
    begin = len(head) + DIGEST_BYTES
    if not content.startswith(head):
        raise Unusable("it is not what its name says")
    code = content[begin:]
    if hashlib.sha256(head + code).digest() != content[len(head) : begin]:
        raise Unusable("it is damaged")
    return code


def _write(name: str, content: bytes, folder: int) -> None:
    """A new file. Not flushed to the disk: an entry torn by a power failure fails its check."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(name, flags, 0o600, dir_fd=folder), "wb") as stream:
        stream.write(content)


def _remove(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):  # another process was faster
        os.unlink(name, dir_fd=folder)


def _files(folder: int) -> list[tuple[int, int, str]]:
    """(when last used, bytes, name) of the entries and of what was left unfinished."""
    found = []
    with os.scandir(folder) as listed:
        for entry in listed:
            if not NAMES.fullmatch(entry.name):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # another process removed it
            found.append((status.st_mtime_ns, status.st_size, entry.name))
    return found


@cache
def _warn(text: str) -> None:
    """Says it once in the life of the process."""
    warnings.warn(f"cache of compiled code: {text}", stacklevel=4)

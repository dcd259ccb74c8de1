"""Which shared arrays threads have touched since all of them last waited for each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphc.loops.language import Accumulate, CopyAsync, Statement, Store, reads, within


@dataclass
class Touched:
    """Shared arrays touched since the last barrier."""

    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)

    def copy(self) -> Touched:
        return Touched(set(self.read), set(self.written))


def shared_touched(body: tuple[Statement, ...]) -> tuple[set[str], set[str], set[str]]:
    """Names of the shared arrays that statements read, write, and copy to."""
    read: set[str] = set()
    written: set[str] = set()
    copied: set[str] = set()
    for s in within(body):
        if isinstance(s, Store | Accumulate):
            read |= {r.buffer.name for r in reads(s.value) if r.buffer.shared}
            if s.buffer.shared:
                written.add(s.buffer.name)
        elif isinstance(s, CopyAsync):
            copied.add(s.target.name)
    return read, written, copied

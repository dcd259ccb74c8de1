"""What the schedules need to know of a graphics processor."""

from __future__ import annotations

from dataclasses import dataclass

WARP = 32
# Bytes that one access of a thread moves at most; whole warps then move whole lines.
ACCESS = 16


@dataclass(frozen=True)
class GPU:
    """A kind of graphics processor.

    architecture: what code is compiled for, such as "sm_90a". multiprocessors: how many blocks run
    at once at least. shared_bytes: what a block may have of shared memory.
    """

    architecture: str
    multiprocessors: int
    shared_bytes: int

    @property
    def generation(self) -> int:
        """The number in `architecture`: 80, 90, 100."""
        return int("".join(c for c in self.architecture if c.isdigit()))


A100 = GPU("sm_80", 108, 163 << 10)
H100 = GPU("sm_90a", 132, 227 << 10)
B200 = GPU("sm_100", 148, 227 << 10)
KNOWN = {each.architecture: each for each in (A100, H100, B200)}

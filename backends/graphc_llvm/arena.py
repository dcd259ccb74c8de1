"""The memory in which the steps of one graph compute: a single block, whatever the batch size.

Steps run one at a time and nothing in the block outlives one, so the small last batch of an epoch
lies where the large ones did. The block grows when a larger batch comes, and never shrinks.
"""

from __future__ import annotations

import numpy as np

PAGE = 4096


class Arena:
    """A block of at least `bytes` bytes, which begins on a page, at `address`."""

    def __init__(self) -> None:
        self.bytes = self.address = 0
        self._block = np.empty(0, np.uint8)

    def reach(self, size: int) -> None:
        """Makes it at least `size` bytes long; what was in it is lost if it was shorter. The caller
        holds the pool's lock.
        """
        if size <= self.bytes:
            return
        self.bytes = self.address = 0
        self._block = np.empty(0, np.uint8)  # given back before more is asked for
        self._block = np.empty(size + PAGE, np.uint8)
        self.address = -(-self._block.ctypes.data // PAGE) * PAGE
        self.bytes = size

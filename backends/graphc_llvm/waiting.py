"""How a thread waits in native code: it spins for a while, then gives the processor up each
time round.
"""

from __future__ import annotations

from graphc_llvm.text import Module


class Waiting:
    """What waiting is made of on one platform; declares what it calls in `module`."""

    def __init__(self, module: Module, triple: str) -> None:
        self.pause = "fence seq_cst"
        if triple.startswith("x86_64"):
            self.pause = f"call void {module.declare('llvm.x86.sse2.pause', 'void', ())}()"
        elif triple.startswith(("aarch64", "arm64")):
            self.pause = f"call void {module.declare('llvm.aarch64.hint', 'void', ('i32',))}(i32 1)"
        give_up = "SwitchToThread" if "windows" in triple else "sched_yield"
        self.give_up = f"call i32 {module.declare(give_up, 'i32', ())}()"

    def patiently(self, spins: int) -> str:
        """Blocks `stay` to `again` of a loop `wait` with a counter ``%spins = phi [..,
        %again]``.
        """
        return f"""stay:
  %more = add i64 %spins, 1
  %long = icmp ugt i64 %spins, {spins}
  br i1 %long, label %yield, label %spin
yield:
  %ignored_result = {self.give_up}
  br label %again
spin:
  {self.pause}
  br label %again
again:
  br label %wait"""

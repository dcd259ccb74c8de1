"""A whole step as one LLVM module: every kernel, and the function that runs them phase by phase
on every thread.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.loops.language import Kernel
from graphc.runtime.program import Call
from graphc_llvm.kernel import ARGUMENTS, KernelEmitter
from graphc_llvm.text import Module
from graphc_llvm.waiting import Waiting

STEP = "step"
STEP_ARGUMENTS = f"ptr %table, {ARGUMENTS}, ptr %meeting"
SPINS_BEFORE_YIELD = 4000
# A step of thousands of calls is cut into functions: LLVM's time grows faster than their length.
CALLS_IN_A_PART = 64


def step_module(calls: tuple[Call, ...], triple: str, clock: int | None = None) -> str:
    """The text of a module with the function ``step(table, N, P, thread, threads, meeting)``.

    table: an array of addresses. meeting: two words, 64 bytes apart, at which threads meet between
    phases. clock: the place in the table of an array into which each thread writes the processor's
    cycle counter: before the first kernel, then when each kernel, and the wait before it, is over
    (two a kernel).
    """
    module = Module(any(call.kernel.pairs for call in calls))
    waiting = Waiting(module, triple)
    if clock is not None:
        module.declare("llvm.readcyclecounter", "i64", ())
    symbols = _emitted(module, calls)
    notes = None if clock is None else _Notes(clock, notes_of(len(calls)))
    parts = []
    for begin in range(0, len(calls), CALLS_IN_A_PART):
        end = min(begin + CALLS_IN_A_PART, len(calls))
        lines = [f"define internal void @part{begin}({STEP_ARGUMENTS}) noinline {{", "entry:"]
        lines += notes.begin() if notes else []
        for k in range(begin, end):
            lines += _called(k, calls, symbols, notes)
        module.functions.append("\n".join([*lines, "  ret void", "}"]))
        parts.append(f"  call void @part{begin}({STEP_ARGUMENTS})")
    step = [f"define void @{STEP}({STEP_ARGUMENTS}) {{", "entry:", *parts, "  ret void", "}"]
    module.functions += ["\n".join(step), _meet(waiting)]
    return f'target triple = "{triple}"\n{module}'


def kernel_module(kernel: Kernel, triple: str) -> str:
    """The text of a module with one kernel alone: what a reader wants to see of it."""
    module = Module(kernel.pairs)
    symbol = "".join(c if c.isalnum() else "_" for c in kernel.name)
    KernelEmitter(module, kernel, symbol).emit()
    return f'target triple = "{triple}"\n{module}'


def notes_of(calls: int) -> int:
    """How many times one thread notes in a step of that many kernels."""
    return 2 * calls + 1


@dataclass(frozen=True)
class _Notes:
    """Code by which a thread notes the time, `count` times a step, behind the thread before it.

    slot: the place in the table of the array that is written to.
    """

    slot: int
    count: int

    def begin(self) -> list[str]:
        """Finds the thread's own part of the array."""
        return [
            f"  %clockslot = getelementptr ptr, ptr %table, i64 {self.slot}",
            "  %clock = load ptr, ptr %clockslot",
            f"  %own = mul i64 %thread, {self.count}",
            "  %notes = getelementptr i64, ptr %clock, i64 %own",
        ]

    def note(self, k: int) -> list[str]:
        """Writes the time as number `k`."""
        return [
            f"  %cycles{k} = call i64 @llvm.readcyclecounter()",
            f"  %note{k} = getelementptr i64, ptr %notes, i64 {k}",
            f"  store i64 %cycles{k}, ptr %note{k}",
        ]


def _called(
    k: int, calls: tuple[Call, ...], symbols: dict[int, str], notes: _Notes | None
) -> list[str]:
    """Code that runs kernel number `k`, behind a meeting if its phase is a new one."""
    call = calls[k]
    lines = notes.note(0) if notes and k == 0 else []
    if k and call.phase != calls[k - 1].phase:
        lines.append("  call void @meet(ptr %meeting, i64 %threads)")
    lines += notes.note(2 * k + 1) if notes else []
    for j, slot in enumerate(call.slots):
        # Read where it is used: addresses held over a long step would have to be spilled.
        lines.append(f"  %slot{k}.{j} = getelementptr ptr, ptr %table, i64 {slot}")
        lines.append(f"  %p{k}.{j} = load ptr, ptr %slot{k}.{j}, align 8")
    pointers = "".join(f"ptr %p{k}.{j}, " for j in range(len(call.slots)))
    # Kernels that one thread runs alone take turns: their number says whose it is.
    given = f"{pointers}{ARGUMENTS}, i64 {k}"
    lines.append(f"  call void @{symbols[id(call.kernel)]}({given})")
    return lines + (notes.note(2 * k + 2) if notes else [])


def _emitted(module: Module, calls: tuple[Call, ...]) -> dict[int, str]:
    """The symbol of each kernel, by its identity. A kernel that is called often is emitted once."""
    kernels: dict[int, Kernel] = {id(call.kernel): call.kernel for call in calls}
    symbols = {}
    for k, (key, kernel) in enumerate(kernels.items()):
        symbols[key] = f"k{k}_" + "".join(c if c.isalnum() else "_" for c in kernel.name)
        KernelEmitter(module, kernel, symbols[key]).emit()
    return symbols


def _meet(waiting: Waiting) -> str:
    """Waits until every thread is here: the last to arrive turns the sense over; waiters spin,
    then yield.
    """
    return f"""define internal void @meet(ptr %meeting, i64 %threads) {{
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %out, label %arrive
arrive:
  %sense = getelementptr i8, ptr %meeting, i64 64
  %before = load atomic i64, ptr %sense monotonic, align 8
  %arrived = atomicrmw add ptr %meeting, i64 1 acq_rel
  %count = add i64 %arrived, 1
  %last = icmp eq i64 %count, %threads
  br i1 %last, label %open, label %wait
open:
  store atomic i64 0, ptr %meeting monotonic, align 8
  %turned = add i64 %before, 1
  store atomic i64 %turned, ptr %sense release, align 8
  br label %out
wait:
  %spins = phi i64 [0, %arrive], [%more, %again]
  %now = load atomic i64, ptr %sense acquire, align 8
  %same = icmp eq i64 %now, %before
  br i1 %same, label %stay, label %out
{waiting.patiently(SPINS_BEFORE_YIELD)}
out:
  ret void
}}"""

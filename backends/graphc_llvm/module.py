"""A whole step as one LLVM module: every kernel, and the function that runs them phase by phase
on every thread.
"""

from __future__ import annotations

from graphc.runtime.program import Call
from graphc_llvm.kernel import ARGUMENTS, KernelEmitter
from graphc_llvm.text import Module
from graphc_llvm.waiting import Waiting

STEP = "step"
SPINS_BEFORE_YIELD = 4000
CLOCK_SPACING = 4096


def step_module(calls: tuple[Call, ...], triple: str, clock: int | None = None) -> str:
    """The text of a module with the function ``step(table, N, P, thread, threads, meeting)``.

    table: an array of addresses. meeting: two words, 64 bytes apart, at which threads meet between
    phases. clock: the place in the table of an array into which thread 0 writes the processor's
    cycle counter: before the first kernel, then when each kernel, and the wait before it, is over
    (two a kernel).
    """
    module = Module()
    waiting = Waiting(module, triple)
    arguments = f"ptr %table, {ARGUMENTS}, ptr %meeting"
    lines = [f"define void @{STEP}({arguments}) {{", "entry:"]
    for number in sorted({p for c in calls for p in c.slots}):
        lines.append(f"  %slot{number} = getelementptr ptr, ptr %table, i64 {number}")
        lines.append(f"  %p{number} = load ptr, ptr %slot{number}, align 8")
    if clock is not None:
        module.declare("llvm.readcyclecounter", "i64", ())
        lines += [
            f"  %clockslot = getelementptr ptr, ptr %table, i64 {clock}",
            "  %clock = load ptr, ptr %clockslot",
        ]
        lines += _timestamp(0)
    phase = 0
    for k, call in enumerate(calls):
        symbol = f"k{k}_" + "".join(c if c.isalnum() else "_" for c in call.kernel.name)
        KernelEmitter(module, call.kernel, symbol, k).emit()
        if call.phase != phase:
            lines.append("  call void @meet(ptr %meeting, i64 %threads)")
            phase = call.phase
        if clock is not None:
            lines += _timestamp(2 * k + 1)
        pointers = "".join(f"ptr %p{p}, " for p in call.slots)
        lines.append(f"  call void @{symbol}({pointers}i64 %N, i64 %P, i64 %thread, i64 %threads)")
        if clock is not None:
            lines += _timestamp(2 * k + 2)
    lines += ["  ret void", "}"]
    module.functions += ["\n".join(lines), _meet(waiting)]
    return f'target triple = "{triple}"\n{module}'


def _timestamp(k: int) -> list[str]:
    """Thread 0 notes the time; the others write behind the end of what is read."""
    return [
        f"  %cycles{k} = call i64 @llvm.readcyclecounter()",
        f"  %place{k} = mul i64 %thread, {CLOCK_SPACING}",
        f"  %slotnumber{k} = add i64 %place{k}, {k}",
        f"  %note{k} = getelementptr i64, ptr %clock, i64 %slotnumber{k}",
        f"  store i64 %cycles{k}, ptr %note{k}",
    ]


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

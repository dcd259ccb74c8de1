"""The threads of a step: Python threads parked in native code, no operating system interface but
Python's own.

A worker spins in native code for a short while after a step (so that a training loop never pays
for waking it), then waits in Python, using no processor time. A step is announced by a counter;
the caller is thread 0. One lock serialises steps; a worker may go to sleep only when it gets that
lock, so no step can begin unseen. A forked child starts anew.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from graphc_llvm.engine import Code, machine_code
from graphc_llvm.text import Module
from graphc_llvm.waiting import Waiting

SPINS = 12_000
WORDS = 64
# Words of the shared state, each on a cache line of its own; job words are written before the
# counter moves.
COUNTER, DONE, MEETING, FUNCTION = 0, 8, 16, 32


def _text(triple: str) -> str:
    module = Module()
    waiting = Waiting(module, triple)
    run = f"""
  %fp = getelementptr i64, ptr %state, i64 {FUNCTION}
  %function = load ptr, ptr %fp, align 8
  %tp = getelementptr i64, ptr %state, i64 {FUNCTION + 1}
  %table = load ptr, ptr %tp, align 8
  %np = getelementptr i64, ptr %state, i64 {FUNCTION + 2}
  %N = load i64, ptr %np, align 8
  %pp = getelementptr i64, ptr %state, i64 {FUNCTION + 3}
  %P = load i64, ptr %pp, align 8
  %cp = getelementptr i64, ptr %state, i64 {FUNCTION + 4}
  %threads = load i64, ptr %cp, align 8
  %meeting = getelementptr i64, ptr %state, i64 {MEETING}
  %done = getelementptr i64, ptr %state, i64 {DONE}
"""
    call = (
        "call void %function(ptr %table, i64 %N, i64 %P, i64 %thread, i64 %threads, ptr %meeting)"
    )
    module.functions.append(f"""define i64 @work(ptr %state, i64 %thread, i64 %seen) {{
entry:
  br label %wait
wait:
  %spins = phi i64 [0, %entry], [%more, %again], [0, %finish]
  %last = phi i64 [%seen, %entry], [%last, %again], [%now, %finish]
  %now = load atomic i64, ptr %state acquire, align 8
  %same = icmp eq i64 %now, %last
  br i1 %same, label %stay, label %run
stay:
  %more = add i64 %spins, 1
  %long = icmp ugt i64 %spins, {SPINS}
  br i1 %long, label %out, label %again
again:
  {waiting.pause}
  br label %wait
run:{run}
  %takes_part = icmp ult i64 %thread, %threads
  br i1 %takes_part, label %go, label %finish
go:
  {call}
  br label %finish
finish:
  %ignored = atomicrmw add ptr %done, i64 1 release
  br label %wait
out:
  ret i64 %now
}}
define void @launch(ptr %state, i64 %awake) {{
entry:
  %thread = add i64 0, 0{run}
  store atomic i64 0, ptr %done monotonic, align 8
  %ignored = atomicrmw add ptr %state, i64 1 release
  {call}
  br label %wait
wait:
  %spins = phi i64 [0, %entry], [%more, %again]
  %finished = load atomic i64, ptr %done acquire, align 8
  %all = icmp eq i64 %finished, %awake
  br i1 %all, label %out, label %stay
{waiting.patiently(SPINS)}
out:
  ret void
}}""")
    return f'target triple = "{triple}"\n{module}'


@cache
def _native() -> tuple[Any, Any]:
    code = Code(machine_code(_text(llvm.get_process_triple())))
    work = code.function("work", ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    launch = code.function("launch", None, ctypes.c_void_p, ctypes.c_int64)
    return work, launch


class Pool:
    """Workers for steps of up to `size` threads; made at the first step that needs more than
    one.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._reset()
        os.register_at_fork(after_in_child=self._reset_after_fork)
        weakref.finalize(self, _stop, self.flags)

    def _reset(self) -> None:
        self.memory = ctypes.create_string_buffer(WORDS * 8 + 64)
        self.address = (ctypes.addressof(self.memory) + 63) // 64 * 64
        self.state = (ctypes.c_int64 * WORDS).from_address(self.address)
        self.events: list[threading.Event] = []
        self.sleeping: set[int] = set()
        self.resume: dict[int, int] = {}
        self.flags = {"stop": False}

    def _reset_after_fork(self) -> None:
        self.lock = threading.Lock()
        self._reset()

    def run(self, function: int, table: int, n: int, padded: int, threads: int) -> None:
        """One step on `threads` threads; returns when all are done. The caller holds `lock`."""
        while len(self.events) < threads - 1:
            self._add_worker()
        state = self.state
        state[FUNCTION], state[FUNCTION + 1] = function, table
        state[FUNCTION + 2], state[FUNCTION + 3], state[FUNCTION + 4] = n, padded, threads
        if self.sleeping:
            for thread in [t for t in self.sleeping if t < threads]:
                self.sleeping.discard(thread)
                self.resume[thread] = int(state[COUNTER])  # jobs it slept through are not its own
                self.events[thread - 1].set()
        # Who is awake reads the job even if it has no part in it, so the next job waits for that.
        _native()[1](self.address, len(self.events) - len(self.sleeping))

    def _add_worker(self) -> None:
        number = len(self.events) + 1
        event = threading.Event()
        self.events.append(event)
        seen = int(self.state[COUNTER])
        thread = threading.Thread(
            target=_worker,
            args=(weakref.ref(self), self.address, self.memory, event, number, seen, self.flags),
            name=f"graphc-{number}",
            daemon=True,
        )
        thread.start()


def _worker(
    pool: weakref.ref[Pool],
    address: int,
    memory: Any,
    event: threading.Event,
    number: int,
    seen: int,
    flags: dict[str, bool],
) -> None:
    """Works natively; when there was nothing to do for a while, sleeps unless a step is on."""
    work = _native()[0]
    while not flags["stop"]:
        seen = work(address, number, seen)
        owner = pool()
        if owner is None or owner.flags is not flags:
            return
        if owner.lock.acquire(blocking=False):
            owner.sleeping.add(number)
            owner.lock.release()
            resume = owner.resume
            del owner
            event.wait()
            event.clear()
            seen = resume[number]


def _stop(flags: dict[str, bool]) -> None:
    flags["stop"] = True


_POOL = Pool()


def pool() -> Pool:
    """The process's pool."""
    return _POOL

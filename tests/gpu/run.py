"""Checks and times the CUDA backend on a machine with a device; in CI on one that is emulated.

    python tests/gpu/run.py                      everything, in 8 minutes at most
    python tests/gpu/run.py --only numerics      a section, or whatever has that in its name
    python tests/gpu/run.py --json results.json  everything that was found, as one object
    python tests/gpu/run.py --dry                numerics, few and small, on an emulated device

Needs graphc with its extra "cuda", installed or in this checkout; PyTorch is timed beside it where
it can be imported. What is checked runs in processes of its own: a kernel that hangs, or takes the
device with it, is reported and the rest goes on. The exit status says whether all is right.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / room) for room in ("", "frontends", "backends")]

from graphc.inspect.render import Sheet, show  # noqa: E402
from graphc.runtime.backend import load_backend  # noqa: E402
from tests.gpu import peers, timing  # noqa: E402
from tests.gpu.rows import Item, Row  # noqa: E402

SECTIONS = ("numerics", "times", "peers", "failure", "kernels")
LONGEST = 120.0  # seconds that an item may take, compilation included
KERNELS_LONGEST = 240.0
TOTAL = 480.0
ROUNDS, QUICK_ROUNDS = 5, 2
LANES = max(1, min(6, (os.cpu_count() or 1) // 2))  # processes at a time that check numbers
SLOW = ("network:", "vgg16", "kernels")  # what --quick leaves out


def main(words: Sequence[str] | None = None) -> int:
    """Runs what the arguments say; 0 if nothing is wrong, 2 if there is no device."""
    arguments = _arguments(words)
    if arguments.child:
        return _child(arguments)
    device = _device(arguments.dry)
    if device is None:
        return 2
    rows = []
    for row in _all_rows(arguments):
        rows.append(row)
        state = {True: "ok", False: "WRONG", None: "-"}[row.good]
        print(f"{state:5} {row.system}: {row.what} {row.note}", file=sys.stderr, flush=True)
    _show(rows, device)
    if arguments.json:
        found = {"device": device, "rows": [asdict(row) for row in rows]}
        Path(arguments.json).write_text(json.dumps(found, indent=2), encoding="utf-8")
    return int(any(row.good is False for row in rows))


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="what has this in its name, or is of this section")
    parser.add_argument("--rounds", type=int, help=f"of each time (default: {ROUNDS})")
    parser.add_argument("--json", metavar="FILE", help="writes everything that was found")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no large networks")
    parser.add_argument("--dry", action="store_true", help="on an emulated device, small")
    parser.add_argument("--seed", type=int, help="of the random numbers (default: the time)")
    parser.add_argument("--child", metavar="FILE", help=argparse.SUPPRESS)
    found = parser.parse_args(words)
    found.rounds = found.rounds or (QUICK_ROUNDS if found.quick else ROUNDS)
    found.seed = time.time_ns() % (1 << 32) if found.seed is None else found.seed
    return found


def _items(section: str, arguments: argparse.Namespace) -> dict[str, Item]:
    """What a section is made of, as far as it was asked for."""
    found = _section(section, arguments)
    if arguments.quick:
        found = {k: v for k, v in found.items() if not any(slow in k for slow in SLOW)}
    if arguments.only and arguments.only != section:
        found = {k: v for k, v in found.items() if arguments.only in k}
    return found


def _section(section: str, arguments: argparse.Namespace) -> dict[str, Item]:
    from tests.gpu import failure, kernels
    from tests.gpu.numerics import Numerics

    backend = "emulated" if arguments.dry else "poisoned"
    if section == "numerics":
        return Numerics(backend, arguments.dry, arguments.seed).items()
    if section == "failure":
        return failure.items(backend, arguments.dry)
    if arguments.dry:
        return {}
    if section == "peers":
        return peers.items(arguments.rounds) if importlib.util.find_spec("torch") else {}
    if section == "times":
        return timing.items(arguments.rounds)
    return kernels.items()


# -- items, in processes of their own --------------------------------------------------------------


def _all_rows(arguments: argparse.Namespace) -> Iterator[Row]:
    """Rows of all sections, as they are found. What is not timed runs several at a time."""
    end = time.monotonic() + TOTAL
    for section in SECTIONS:
        names = list(_items(section, arguments))
        lanes = LANES if section == "numerics" and not arguments.dry else 1
        found: queue.Queue[Row | None] = queue.Queue()
        for lane in range(lanes):
            words = section, names[lane::lanes], arguments, end, found
            threading.Thread(target=_lane, args=words, daemon=True).start()
        while lanes:
            row = found.get()
            if row is None:
                lanes -= 1
            else:
                yield row


def _lane(
    section: str,
    names: list[str],
    arguments: argparse.Namespace,
    end: float,
    found: queue.Queue[Row | None],
) -> None:
    """Runs items one after the other; None stands behind their rows."""
    try:
        while names:
            names = _rows(section, names, arguments, end, found.put)
    finally:
        found.put(None)


def _rows(
    section: str,
    names: list[str],
    arguments: argparse.Namespace,
    end: float,
    say: Callable[[Row], object],
) -> list[str]:
    """Runs items in one process until all are done or one breaks it; returns those left."""
    longest = KERNELS_LONGEST if section == "kernels" else LONGEST
    with _Child(section, names, arguments) as child:
        while names:
            wait = min(longest, end - time.monotonic())
            message = child.message(wait) if wait > 0 else {"wait": 0}
            if "row" in message:
                say(Row(**message["row"]))
            elif "done" in message:
                names = names[1:]
            elif wait < longest and "wait" in message:
                say(Row(section, f"{len(names)} more", None, note="not run: the time is over"))
                return []
            else:
                note = message.get("error", f"no end in {longest:.0f} s")
                # A time that could not be taken is no wrong number, unless it is our own.
                good = None if section == "peers" else False
                say(Row(section, names[0], None, good=good, note=note))
                return names[1:]
    return []


class _Child:
    """A process that runs items, and what it says; it is killed when the block ends."""

    def __init__(self, section: str, names: Sequence[str], arguments: argparse.Namespace) -> None:
        words = ["--child", section, "--seed", str(arguments.seed)]
        words += ["--rounds", str(arguments.rounds)] + ["--dry"] * arguments.dry
        self.process = subprocess.Popen(
            [sys.executable, __file__, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(list(names)))
        self.process.stdin.close()
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith('{"'):
                self.messages.put(json.loads(line))
        self.messages.put({"error": f"the process ended, status {self.process.wait()}"})

    def message(self, seconds: float) -> dict[str, Any]:
        """What it says next; {"wait": seconds} if nothing in that time."""
        try:
            return self.messages.get(timeout=seconds)
        except queue.Empty:
            return {"wait": seconds}

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def _child(arguments: argparse.Namespace) -> int:
    """Runs the items whose names it is given; ends after one that fails, as the device may have."""
    from tests.gpu.devices import checked_backend

    checked_backend(arguments.dry)
    names = json.load(sys.stdin)
    items = _section(arguments.child, arguments)
    for name in names:
        try:
            for row in items[name]():
                _say({"row": asdict(row)})
        except Exception as error:
            traceback.print_exc()
            _say({"error": f"{type(error).__name__}: {error}"})
            return 1
        _say({"done": name})
    return 0


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


# -- what it prints --------------------------------------------------------------------------------


def _device(dry: bool) -> dict[str, Any] | None:
    """What the numbers are of; None, once it is said why, if there is nothing to run on."""
    if dry:
        return {"device": "emulated"}
    backend = load_backend("cuda")
    problem = backend.missing()
    if problem is not None:
        print(f"{problem}; --dry runs a part of this without a device", file=sys.stderr)
        return None
    return dict(backend.describe())


def _show(rows: Sequence[Row], device: dict[str, Any]) -> None:
    checks = [row for row in rows if row.good is not None or row.reached is None]
    wrong = sum(row.good is False for row in checks)
    table = [
        [
            {True: "ok", False: "WRONG", None: "-"}[row.good],
            row.what,
            "" if row.reached is None else f"{row.reached:.1e}",
            "" if row.asked is None else f"{row.asked:.0e}",
            row.note,
        ]
        for row in checks
    ]
    title = f"{device.get('device')}: {len(checks)} checks, {wrong} wrong"
    show(Sheet(title, ("", "what", "off", "at most", "note"), table, ("off", "at most")).rich())
    times = [row for row in rows if row.reached is not None and row.good is None]
    if times:
        show(_times(times, device).rich())


def _times(rows: Sequence[Row], device: dict[str, Any]) -> Sheet:
    """Milliseconds of all systems, and how much faster graphc is than the fastest other."""
    systems = [
        s for s in ("graphc", "PyTorch", "compiled", "copy") if any(r.system == s for r in rows)
    ]
    table = []
    for what in dict.fromkeys(row.what for row in rows):
        seconds = {r.system: r.reached for r in rows if r.what == what and r.reached is not None}
        others = [s for name, s in seconds.items() if name != "graphc"]
        anchor = [seconds["copy"]] if "copy" in seconds else others
        ratio = min(anchor) / seconds["graphc"] if anchor and "graphc" in seconds else None
        cells = [f"{1e3 * seconds[s]:.3f}" if s in seconds else "" for s in systems]
        reached = "" if ratio is None else f"{ratio:.2f}"
        notes = "; ".join(row.note for row in rows if row.what == what and row.note)
        table.append([what, *cells, reached, f"{timing.ASKED[what]:.2f}", notes])
    columns = ("what", *(f"{s}, ms" for s in systems), "times as fast", "asked", "note")
    return Sheet(f"Times on {device.get('device')}", columns, table, columns[1:-1])


if __name__ == "__main__":
    sys.exit(main())

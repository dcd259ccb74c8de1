"""Networks side by side with other systems: training steps and predictions.

    python tests/benchmarks/networks.py [--peers PYTHON] [--rounds 3] [--only lenet5] [--write]

Each system runs in a process of its own with as many threads as there are cores, in turn, so many
rounds; a figure is the median of a process's calls, the best of the rounds. PyTorch's compiler,
which takes minutes for a large network, and JAX take part in the first round. Prints a table in
Markdown, milliseconds; --write puts it into README.md and docs/benchmarks.md. --json keeps what was
measured, --read shows that again. PYTHON is one that has torch, onnx, onnxruntime and jax installed
(`pip install torch onnx onnxruntime jax`); what it lacks is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the folder of tests, when run by its path

from tests.benchmarks.systems import SYSTEMS, WORKS, Work  # noqa: E402

ONCE = ("PyTorch, compiled", "JAX")  # systems that take part in the first round only
PLACES = ("README.md", "docs/benchmarks.md")
BEGIN, END = "<!-- measured: networks -->\n", "<!-- end -->"

Figures = dict[str, dict[str, float]]  # work -> system -> milliseconds


def process(python: str, system: str, work: Work, seconds: float) -> float | None:
    """Milliseconds of a call, in a process of its own; None if the system does not do such work."""
    threads = str(len(os.sched_getaffinity(0)))
    environment = os.environ | {"OMP_NUM_THREADS": threads, "GRAPHC_NUM_THREADS": threads}
    command = [python, "-m", "tests.benchmarks.systems", system, str(work), str(seconds)]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if ended.returncode:
        reason = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        print(f"{work}: {system} failed: {reason}", file=sys.stderr)
        return None
    found: float | None = json.loads(ended.stdout.splitlines()[-1])
    return found


def measured(work: Work, peers: str, rounds: int, seconds: float) -> dict[str, float]:
    """The best round of each system."""
    best: dict[str, float] = {}
    for turn in range(rounds):
        for system in SYSTEMS:
            if turn and (system in ONCE or system not in best):
                continue
            python = sys.executable if system == "graphc" else peers
            found = process(python, system, work, seconds)
            if found is not None:
                best[system] = min(found, best.get(system, found))
    return best


def ratio(row: dict[str, float]) -> float | None:
    """How many times faster graphc is than the fastest of the others."""
    others = [value for system, value in row.items() if system != "graphc"]
    return min(others) / row["graphc"] if others and "graphc" in row else None


def table(figures: Figures) -> str:
    """In Markdown."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"

    heads = ["work", *SYSTEMS, "times faster than the fastest"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for work, row in figures.items():
        found = ratio(row)
        cells = [work, *(number(row.get(s)) for s in SYSTEMS), f"{found:.1f}" if found else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(text: str) -> None:
    """Puts the table where it is shown."""
    for place in PLACES:
        file = ROOT / place
        shown = re.compile(f"(?<={re.escape(BEGIN)}).*?(?=\n{re.escape(END)})", re.DOTALL)
        file.write_text(shown.sub(lambda _: text, file.read_text(), count=1))


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", default=sys.executable, help="python of the other systems")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each process's calls")
    parser.add_argument("--only", default="", help="networks, separated by commas")
    parser.add_argument("--json", type=Path, help="keeps what was measured in this file")
    parser.add_argument("--read", type=Path, help="shows such a file instead of measuring")
    parser.add_argument("--write", action="store_true", help="puts the table into the docs")
    options = parser.parse_args()
    figures: Figures = {}
    if options.read:
        figures = json.loads(options.read.read_text())
    else:
        for work in WORKS:
            if options.only and work.network not in options.only.split(","):
                continue
            row = measured(work, options.peers, options.rounds, options.seconds)
            figures[str(work)] = row
            print(f"{work}: {ratio(row) or float('nan'):.2f}  {row}", file=sys.stderr, flush=True)
            if options.json:
                options.json.write_text(json.dumps(figures, indent=1))
    print(table(figures))
    ratios = [found for found in map(ratio, figures.values()) if found]
    if ratios:
        print(f"\ngeometric mean of {len(ratios)} ratios: {statistics.geometric_mean(ratios):.2f}")
    if options.write:
        write(table(figures))


if __name__ == "__main__":
    main()

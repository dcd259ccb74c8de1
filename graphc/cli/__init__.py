"""The command line ``graphc``: finds the command, runs it, and says what went wrong.

Each command is a module of this package with `add_arguments` and `run`, imported when it is asked
for. A user's error is printed in its four parts and ends with exit code 2; a check that fails with
1; Ctrl-C with 130. This file knows the commands' names and nothing of what they do.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

import graphc
from graphc.base.errors import GraphcError
from graphc.cli.output import nearest, print_json

COMMANDS = {
    "train": "train a network of the zoo and test it",
    "nets": "list the networks of the zoo",
    "show": "print a network: its layers, its graph, the graph after passes, its loops",
    "passes": "list the passes, their options, and what they do",
    "opt": "run passes on a graph; print it, its loops, or the code that is generated",
    "bisect": "find the pass or the rule that changes what a graph computes",
    "reduce": "shrink a graph that fails, and write it as a test",
    "bench": "time a network: steps, memory, kernels and layers against the machine's limit",
    "check": "compare the gradients of a network with finite differences",
    "doctor": "versions, processor, backends, settings, and a self-test",
}
FAILED, WRONG, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command in `argv` (by default the process's arguments); returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except GraphcError as error:
        _complain(error, words)
        return WRONG
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone (as `head` does): nothing more can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise GraphcError(message, remedy=f"see {self.prog} --help")


def _run(words: list[str]) -> int:
    position = next((k for k, word in enumerate(words) if not word.startswith("-")), None)
    top = _top_parser()
    top.parse_args(words[:position])
    if position is None:
        top.print_help(sys.stderr)
        return WRONG
    name = words[position]
    if name not in COMMANDS:
        raise GraphcError(f"there is no command {name!r}", remedy=nearest(name, COMMANDS))
    command = importlib.import_module(f"graphc.cli.{name}")
    parser = _Parser(prog=f"graphc {name}", description=command.__doc__, allow_abbrev=False)
    command.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object and no more")
    arguments, unknown = parser.parse_known_args(words[position + 1 :])
    if unknown:
        options = sorted(set(re.findall(r"--[a-z][\w-]*", parser.format_help())))
        raise GraphcError(
            f"graphc {name} does not take {unknown[0]!r}", remedy=nearest(unknown[0], options)
        )
    code: int = command.run(arguments)
    return code


def _top_parser() -> _Parser:
    listed = "\n".join(f"  {name:8s}{summary}" for name, summary in COMMANDS.items())
    parser = _Parser(
        prog="graphc",
        usage="graphc COMMAND ...",
        description="A readable compiler and runtime for neural networks.",
        epilog=f"commands:\n{listed}\n\n`graphc COMMAND --help` explains one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"graphc {graphc.__version__}")
    return parser


def _complain(error: GraphcError, words: list[str]) -> None:
    """The four parts on standard error; for --json also as the one object on standard output."""
    place = str(error.location) if error.location else ""
    launcher = getattr(sys.modules.get("__main__"), "__file__", None)
    if error.location is None or error.location.file == launcher:
        # What the user wrote is the command, not a line of the program that runs it.
        place = shlex.join(["graphc", *words])
    parts = {"error": error.what, "node": error.node, "at": place, "do": error.remedy}
    for name, text in parts.items():
        if text:
            print(f"{name + ':':7s}{text}" if name == "error" else f"  {name + ':':5s}{text}",
                  file=sys.stderr)  # fmt: skip
    if "--json" in words:
        print_json(parts)

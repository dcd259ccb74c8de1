"""The pages say what is true: every op and pass is there, tables are fresh, code blocks run, links
lead somewhere, and the README's two commands are what a fresh machine needs.
"""

from __future__ import annotations

import difflib
import inspect
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import graphc as gc
from graphc.base import settings
from graphc.cli import COMMANDS, main
from graphc.ir.graph import Graph
from graphc.ir.node import OPERATORS
from graphc.loops.gpu.device import H100
from graphc.loops.gpu.lower import lower as lower_for_gpu
from graphc.loops.lower import lower
from graphc.loops.schedule import Machine
from graphc.ops.op import Op
from graphc.passes.base import PASSES, Pipeline
from graphc.passes.catalog import describe_passes
from graphc.passes.pipelines import LARGE, SMALL
from graphc_cuda.source import kernel_source
from graphc_llvm.vector_math import ULP
from graphc_nn.functional import relu
from tests.fixtures.graphs import EXAMPLES

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
AVX512 = Machine(vector_bytes=64, registers=32)
WATCHING = ("BISECT", "PRINT", "DUMP", "TIME", "VERIFY", "CHECK")
TRAIN = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/graphc train lenet5"
TEST = 'python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/python -m pytest'


def op_table() -> str:
    """A row for each op that is declared."""
    lines = ["| op | family | what it computes | attributes |", "|---|---|---|---|"]
    for name, op in sorted(OPERATORS.items()):
        if not isinstance(op, Op):
            continue
        doc = " ".join(op.doc.split()).replace("|", "\\|") or "used by the gradients of pooling"
        attributes = ", ".join(f"`{a}`" for a in sorted(op.attributes or ()))
        lines.append(f"| `{name}` | {op.family} | {doc} | {attributes} |")
    return "\n".join(lines)


def pass_list() -> str:
    """A section for each pass, from its docstring."""
    sections = []
    for found in describe_passes():
        if not PASSES[found.name].__module__.startswith("graphc.passes."):
            continue  # declared by a test
        options = "".join(
            f"- `{name}` ({kind}): {default!r}\n" for name, kind, default in found.options
        )
        listed = f"Options and their defaults:\n\n{options}\n" if options else ""
        parts = [f"### {found.name}", found.summary, f"{listed}```\n{found.example}\n```"]
        sections += [*parts, *_at_work(found.name)]
    return "\n\n".join(sections)


def _without_comments(graph: Graph) -> list[str]:
    """The lines of a graph. Where a node was first written depends on what else has run here."""
    return [line.partition("  # ")[0] for line in str(graph).splitlines()]


def _at_work(name: str) -> list[str]:
    """What the pass of that name does to a small graph, by running it."""
    if name not in EXAMPLES:
        return []
    text, earlier, step = EXAMPLES[name]
    before = Pipeline.parse(earlier)(gc.parse(text))
    after = Pipeline.parse(step)(before)
    assert after is not before, name
    behind = f", behind `{earlier}`" if earlier else ""
    texts = (_without_comments(graph) for graph in (before, after))
    lines = difflib.unified_diff(*texts, before.name, after.name, lineterm="")
    shown = "\n".join(["```diff", *lines, "```"])
    return [f"`{step}` on a graph of `tests/fixtures/graphs.py`{behind}:", shown]


def first_loops() -> str:
    """The first loops of LeNet-5's first convolution, for AVX-512."""
    net = gc.trace(gc.zoo.lenet5(), "f32[N,1,32,32]")
    kernels = [lower(node, AVX512) for node in LARGE(net).nodes if node.op.name == "fused"]
    lines = str(kernels[0]).splitlines()
    nests = [k for k, line in enumerate(lines) if line.startswith("  parallel")]
    shown = [*lines[: nests[1]], "  ..."] if len(nests) > 1 else lines
    return "\n".join(["```", "$ graphc show lenet5 --loops", *shown, "```"])


def cuda_kernel() -> str:
    """A kernel for a graphics processor, as loops and as CUDA C++."""
    net = gc.trace(lambda x, y: relu(x * y) + 1.5, "f32[N,3,8]", "f32[N,3,8]", name="fused")
    kernel = lower_for_gpu(SMALL(net).outputs[0], H100)
    return f"```\n{kernel}\n```\n\n```cpp\n{kernel_source(kernel).rstrip()}\n```"


def reference() -> str:
    """A section for each public module, a row for each name: its signature and what it is."""
    own = sorted(name for name in gc.__all__ if name not in gc._MODULES and name != "__version__")
    sections = [("gc", gc, own)]
    for name in sorted(gc._MODULES):
        module = getattr(gc, name)
        sections.append((f"gc.{name}", module, sorted(module.__all__)))
    return "\n\n".join(_section(*section) for section in sections)


def _section(title: str, module: Any, names: list[str]) -> str:
    lines = [f"## {title}", "", _first_paragraph(module), "", "| name | what it is |", "|---|---|"]
    for name in names:
        value = getattr(module, name)
        if callable(value):
            lines.append(f"| `{name}{_signature(value)}` | {_first_paragraph(value)} |")
    return "\n".join(lines)


def _signature(value: Any) -> str:
    """The names of the parameters, with those defaults that are plain values."""
    try:
        found = inspect.signature(value).parameters.values()
    except ValueError:
        return "(...)"
    shown = []
    for p in found:
        star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        plain = isinstance(p.default, int | float | str | None) and p.default is not p.empty
        shown.append(f"{star}{p.name}" + (f"={p.default!r}" if plain else ""))
    return f"({', '.join(shown)})"


def _first_paragraph(value: Any) -> str:
    first = (inspect.getdoc(value) or "").split("\n\n")[0]
    return " ".join(first.split()).replace("|", "\\|")


def error_catalogue() -> str:
    """A section for each program that must fail: the program, and what it prints."""
    folder = ROOT / "tests" / "errors"
    sections = []
    for program in sorted((folder / "programs").glob("*.py")):
        code = program.read_text(encoding="utf-8").strip()
        message = (folder / "expected" / f"{program.stem}.txt").read_text(encoding="utf-8").strip()
        title = program.stem.replace("_", " ").capitalize()
        sections.append(f"### {title}\n\n```py\n{code}\n```\n\n```\n{message}\n```")
    return "\n\n".join(sections)


GENERATED: dict[str, tuple[str, Callable[[], str]]] = {
    "ops": ("docs/ir.md", op_table),
    "passes": ("docs/passes.md", pass_list),
    "loops": ("README.md", first_loops),
    "cuda": ("docs/cuda.md", cuda_kernel),
    "reference": ("docs/reference.md", reference),
    "errors": ("docs/errors.md", error_catalogue),
}


@pytest.mark.parametrize("name", GENERATED)
def test_generated_parts_are_fresh(name: str, request: pytest.FixtureRequest) -> None:
    page, generate = GENERATED[name]
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    begin, end = f"<!-- generated: {name} -->\n", "\n<!-- end -->"
    head, rest = text.split(begin)
    _, tail = rest.split("<!-- end -->", 1)
    fresh = f"{head}{begin}{generate()}{end}{tail}"
    if request.config.getoption("--update-golden"):
        path.write_text(fresh, encoding="utf-8")
        text = fresh
    assert text == fresh, "run pytest tests/test_docs.py --update-golden"


def test_the_contributor_page_shows_the_file_as_it_is() -> None:
    page = (ROOT / "docs" / "adding_an_op.md").read_text(encoding="utf-8")
    file = (ROOT / "graphc" / "ops" / "softplus.py").read_text(encoding="utf-8")
    assert blocks(page, "python")[0] == file


def test_no_other_file_of_the_compiler_knows_the_op_of_the_contributor_page() -> None:
    sources = [p for room in ("graphc", "backends") for p in (ROOT / room).rglob("*.py")]
    naming = {p for p in sources if "softplus" in p.read_text(encoding="utf-8")}
    building_on_it = set((ROOT / "graphc" / "ops" / "losses").iterdir())
    assert {p.name for p in naming - building_on_it} == {"softplus.py"}


def test_the_kernels_page_states_the_errors_of_the_elementary_functions() -> None:
    page = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8")
    for function, ulp in ULP.items():
        assert re.search(rf"^\| {function} \|.*\| {ulp} \|$", page, re.MULTILINE), function


def test_every_pass_is_shown_at_work() -> None:
    own = {d.name for d in describe_passes() if PASSES[d.name].__module__.startswith("graphc.")}
    elsewhere = {"compress_dense", "infer_shapes"}  # svd is the former; the latter changes nothing
    assert EXAMPLES.keys() == own - elsewhere


def test_every_setting_that_watches_passes_is_explained() -> None:
    page = (ROOT / "docs" / "passes.md").read_text(encoding="utf-8")
    watching = {s.variable for s in settings.ALL} & set(re.findall(r"GRAPHC_[A-Z_]+", page))
    assert watching == {f"GRAPHC_{name}" for name in WATCHING}


def test_the_readme_begins_with_two_commands_of_a_line_each() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert blocks(readme, "sh")[:2] == [f"{TRAIN}\n", f"{TEST}\n"]


def test_every_command_of_the_readme_exists(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line.split("#")[0] for line in blocks(readme, "sh")[2].splitlines()]
    words = [shlex.split(line)[1:] for line in lines]
    assert {w[0] for w in words} == COMMANDS.keys() - {"train"}
    for command in words:
        assert main(command) == 0
        assert capsys.readouterr().out


def test_the_graph_in_the_readme_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = next(b for b in blocks(readme, "") if b.startswith("$ graphc show mlp")).splitlines()
    main(["show", "mlp"])
    printed = capsys.readouterr().out
    assert len(shown) > 6 and all(line in printed for line in shown[2:-1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = blocks(page.read_text(encoding="utf-8"), "python")
    if page.stem == "adding_an_op":
        code = code[1:]  # the op's own file: it has run already, and an op is declared once
    module = ModuleType(page.stem)  # dataclasses look their module up by name
    monkeypatch.setitem(sys.modules, page.stem, module)
    for block in code:
        exec(compile(block, page.name, "exec", dont_inherit=True), module.__dict__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:graphc|backends|frontends|tests|docs|examples)/[\w/.]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def blocks(text: str, language: str) -> list[str]:
    """The contents of the code blocks of that language."""
    found: list[str] = []
    inside: list[str] | None = None
    given = ""
    for line in text.splitlines(keepends=True):
        if not line.startswith("```"):
            if inside is not None:
                inside.append(line)
        elif inside is None:
            inside, given = [], line[3:].strip()
        else:
            if given == language:
                found.append("".join(inside))
            inside = None
    return found

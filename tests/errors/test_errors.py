"""Programs that must fail, each with the message a user reads, in expected/NAME.txt.

Every message has its four parts: what is wrong with the actual values, the node, the user's line,
and what to do. ``pytest tests/errors --update-golden`` writes the messages anew, to be read in the
diff.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from graphc.base.errors import GraphcError

HERE = Path(__file__).parent
PROGRAMS = sorted((HERE / "programs").glob("*.py"))
LISTS = re.compile(r"(known ops|passes|its options): .*")  # they grow without being wrong


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_fails_as_it_should(program: Path, request: pytest.FixtureRequest) -> None:
    with pytest.raises(GraphcError) as caught:
        runpy.run_path(str(program))
    error = caught.value
    assert error.location is not None, "the message does not say where"
    assert Path(error.location.file) == program, f"the message blames {error.location}"
    assert error.remedy, "the message does not say what to do"
    assert error.node or error.called, "the message shows neither the node nor what was called"
    message = LISTS.sub(r"\1: ...", f"{error}\n")
    expected = HERE / "expected" / f"{program.stem}.txt"
    if request.config.getoption("--update-golden"):
        expected.parent.mkdir(exist_ok=True)
        expected.write_text(message, encoding="utf-8")
    assert message == expected.read_text(encoding="utf-8")


def test_every_message_belongs_to_a_program() -> None:
    messages = {path.stem for path in (HERE / "expected").glob("*.txt")}
    assert messages == {path.stem for path in PROGRAMS}

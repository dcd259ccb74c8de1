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
WITHOUT_A_NODE = {
    # what is wrong is said before there is any node: types, names, options, fed arrays
    "batch_twice", "not_a_type", "wrong_number_of_types", "returns_no_tensor",
    "unknown_backend", "no_threads", "unknown_pass", "unknown_option_of_a_pass",
    "missing_input", "unknown_input", "batches_that_differ", "empty_batch", "wrong_dtype_fed",
    "text_fed", "wrong_shape_fed", "wrong_rank_fed", "gradient_for_no_input", "graph_is_immutable",
    "gradient_of_no_scalar",
    # the layer is named in the message itself
    "layer_outside_of_tracing", "layer_that_is_no_attribute", "layer_shared_between_sizes",
    "dropout_rate", "groups_that_do_not_divide", "negative_stride",
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_fails_as_it_should(program: Path, request: pytest.FixtureRequest) -> None:
    with pytest.raises(GraphcError) as caught:
        runpy.run_path(str(program))
    error = caught.value
    assert error.location is not None, "the message does not say where"
    assert Path(error.location.file) == program, f"the message blames {error.location}"
    assert error.remedy, "the message does not say what to do"
    assert error.node or program.stem in WITHOUT_A_NODE, "the message does not show the node"
    message = LISTS.sub(r"\1: ...", f"{error}\n")
    expected = HERE / "expected" / f"{program.stem}.txt"
    if request.config.getoption("--update-golden"):
        expected.parent.mkdir(exist_ok=True)
        expected.write_text(message, encoding="utf-8")
    assert message == expected.read_text(encoding="utf-8")


def test_every_message_belongs_to_a_program() -> None:
    messages = {path.stem for path in (HERE / "expected").glob("*.txt")}
    assert messages == {path.stem for path in PROGRAMS}

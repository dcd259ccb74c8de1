"""Parameters by name: those that patterns mean, and copying arrays from elsewhere into them.

Knows names and arrays, no graphs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers
from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]
IGNORED_SUFFIX = ".num_batches_tracked"  # PyTorch counts batches; nothing here reads that


def matching(patterns: Sequence[str], names: Sequence[str], what: str) -> frozenset[str]:
    """The names that at least one pattern means: "3.weight", "features.*", "*.bias".

    Raises GraphcError, beginning with `what`, for a pattern that is no text or means no name.
    """
    found: set[str] = set()
    for pattern in patterns:
        meant = [n for n in names if isinstance(pattern, str) and fnmatchcase(n, pattern)]
        if not meant:
            raise GraphcError(
                f"{what}: no parameter is named {pattern!r}",
                remedy="parameters: " + (", ".join(names) or "none"),
            )
        found.update(meant)
    return frozenset(found)


@dataclass(frozen=True)
class LoadReport:
    """What became of the arrays given to `Model.load_params`, by name.

    loaded: copied. missing: the model's own that were not given. unknown: given, but none of the
    model's. different: of another shape than the model's. All but the loaded ones are as before.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    different: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"loaded {len(self.loaded)} arrays"]
        for title, names in (
            ("not given", self.missing),
            ("not in the model", self.unknown),
            ("of another shape", self.different),
        ):
            if names:
                lines.append(f"{title}: {', '.join(names)}")
        return "\n".join(lines)


def load_into(own: Mapping[str, Array], mapping: Mapping[str, Any], *, strict: bool) -> LoadReport:
    """Copies the arrays of `mapping` into those of the same names in `own`.

    strict: every name must be in both, with the same shape; otherwise what does not fit stays as it
    is and is reported. Raises GraphcError for what is not strict, for arrays that hold no numbers,
    and if nothing fits; then nothing has changed.
    """
    if not isinstance(mapping, Mapping):
        raise GraphcError(
            f"parameters are given as a {type(mapping).__name__}",
            remedy="give a mapping from their names to arrays, such as a PyTorch state_dict",
        )
    given = {
        name: as_numbers(name, value)
        for name, value in mapping.items()
        if not name.endswith(IGNORED_SUFFIX)
    }
    missing = tuple(name for name in own if name not in given)
    unknown = tuple(sorted(given.keys() - own.keys()))
    common = [name for name in own if name in given]
    for name in common:
        fits = given[name].shape == own[name].shape or not strict
        if given[name].dtype.kind not in "fiu" or (not fits and not (missing or unknown)):
            _refuse_array(name, given[name], own[name])
    different = tuple(n for n in common if given[n].shape != own[n].shape)
    loaded = tuple(n for n in common if given[n].shape == own[n].shape)
    if strict and (missing or unknown):
        _refuse_names(own, missing, unknown)
    report = LoadReport(loaded, missing, unknown, different)
    if not loaded and own:
        raise GraphcError(
            "none of the arrays that were given fits the model",
            node=str(report).replace("\n", "; "),
            remedy="the model's parameters: " + ", ".join(own),
        )
    for name in loaded:
        own[name][...] = given[name]
    return report


def _refuse_names(own: Iterable[str], missing: Sequence[str], unknown: Sequence[str]) -> None:
    if unknown:
        complaint = f"has no parameters named {', '.join(unknown)}"
    else:
        complaint = f"needs parameters that were not given: {', '.join(sorted(missing))}"
    raise GraphcError(
        f"the model {complaint}",
        remedy="give strict=False to load what fits; its parameters: " + ", ".join(own),
    )


def _refuse_array(name: str, given: Array, own: Array) -> None:
    raise GraphcError(
        f"{name!r} is {given.dtype}{list(given.shape)}, "
        f"the model needs {own.dtype}{list(own.shape)}",
        remedy="give numbers of that shape",
    )

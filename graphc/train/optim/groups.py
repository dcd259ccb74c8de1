"""Parameter groups: several optimisers, each for the parameters whose names match its pattern."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from graphc.base.errors import GraphcError
from graphc.train.optim.optimizer import Group, Optimizer


class Groups:
    """``Groups(("features.*", SGD(1e-4)), ("*", SGD(1e-2)))``: the first pattern that matches a
    parameter's name says which optimiser updates it.

    Each group has its own options, learning rate and schedule. Patterns are those of file names:
    "*" is any text, "?" any character. Raises GraphcError for what is no such pair.
    """

    def __init__(self, *rules: tuple[str, Optimizer]) -> None:
        for rule in rules:
            pair = rule if isinstance(rule, tuple | list) and len(rule) == 2 else (None, None)
            if not isinstance(pair[0], str) or not isinstance(pair[1], Optimizer):
                raise GraphcError(
                    f"Groups: {rule!r} is no group",
                    remedy='give pairs of a pattern and an optimiser, as ("0.*", optim.SGD(0.01))',
                )
        if not rules:
            raise GraphcError("Groups: there is no group", remedy="give at least one")
        self.rules = tuple((pattern, optimizer) for pattern, optimizer in rules)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns, in order."""
        return tuple(pattern for pattern, _ in self.rules)

    def groups(self, names: Sequence[str]) -> tuple[Group, ...]:
        """Who updates which of the named parameters; groups without one are left out.

        Raises GraphcError for a name that no pattern matches.
        """
        found: list[list[str]] = [[] for _ in self.rules]
        for name in names:
            place = next((k for k, p in enumerate(self.patterns) if fnmatchcase(name, p)), None)
            if place is None:
                raise GraphcError(
                    f"Groups: no pattern matches the parameter {name!r}",
                    remedy='end with ("*", optimizer) for all others; patterns: '
                    + ", ".join(self.patterns),
                )
            found[place].append(name)
        pairs = zip(found, self.rules, strict=True)
        return tuple(Group(tuple(chosen), optimizer) for chosen, (_, optimizer) in pairs if chosen)

    def __repr__(self) -> str:
        return f"Groups({', '.join(map(repr, self.rules))})"

"""Errors as part of the product.

`GraphcError` is anything a user can cause; it always carries what is wrong with the actual values,
the node as printed, the user's ``file:line`` and what to do. `InternalError` is a defect of graphc
itself.
"""

from __future__ import annotations

from graphc.base.source import Location, entry_point, user_location


class GraphcError(Exception):
    """A mistake in what the user gave, in four parts.

    what: what is wrong, with the actual values.
    node: the node or layer it concerns, as printed. called: what the user called of graphc, found
    from the call stack; it stands where there is no node.
    location: the user's line; found from the call stack when left out.
    remedy: what to do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        node: str | None = None,
        location: Location | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.node = node
        self.called = entry_point()
        self.location = location if location is not None else user_location(networks=False)
        self.remedy = remedy
        super().__init__(what)

    def within(self, node: str) -> GraphcError:
        """The same error, told to be inside `node` (a layer's path, say); keeps an earlier node."""
        self.node = f"{self.node}  in {node}" if self.node else node
        return self

    def __str__(self) -> str:
        lines = [self.what]
        if self.node:
            lines.append(f"  node: {self.node}")
        elif self.called:
            lines.append(f"  in:   {self.called}")
        if self.location:
            lines.append(f"  at:   {self.location}")
        if self.remedy:
            lines.append(f"  do:   {self.remedy}")
        return "\n".join(lines)


class InternalError(Exception):
    """A defect of graphc.

    Run again with ``GRAPHC_DUMP=folder`` and attach the folder to a report.
    """

    def __str__(self) -> str:
        return (
            f"{super().__str__()}\n  This is a defect of graphc, not of your program. "
            "Run again with GRAPHC_DUMP=folder and attach that folder to a report."
        )

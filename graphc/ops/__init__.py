"""Floor 2: every op in one place: shape rule, meaning in numpy, scalar body, gradient, samples.

Importing this package imports every module in it: a new op is one new file and nothing else.
`OWN` are the ops declared here; others are users'.
"""

from __future__ import annotations

import importlib
import pkgutil

from graphc.ir.node import OPERATORS

for _module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")

OWN = frozenset(OPERATORS.values())

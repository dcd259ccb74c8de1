"""Floor 2: every op in one place: shape rule, meaning in numpy, scalar body, gradient, samples.

Importing this package imports every module in it: a new op is one new file and nothing else.
"""

from __future__ import annotations

import importlib
import pkgutil

for _module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")

"""Every pass there is: importing the modules of this package registers them by name."""

from __future__ import annotations

import importlib
import pkgutil

import graphc.passes


def load() -> None:
    """Imports every module of this package."""
    for module in pkgutil.iter_modules(graphc.passes.__path__):
        importlib.import_module(f"graphc.passes.{module.name}")

"""graphc: a readable compiler and runtime for neural networks.

A network is a small typed graph; everything else is a function from graph to graph, until a backend
turns it into loops. This facade resolves public names lazily, so that ``import graphc`` loads next
to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from graphc.base import display

__version__ = "0.1.0"

_NAMES = {
    "EarlyStopping": "graphc.train.early_stopping",
    "Ensemble": "graphc.train.ensemble",
    "Graph": "graphc.ir.graph",
    "GraphcError": "graphc.base.errors",
    "InternalError": "graphc.base.errors",
    "LinearSVM": "graphc.train.svm",
    "Model": "graphc.train.model",
    "TensorType": "graphc.ir.types",
    "compile": "graphc.compiler",
    "compress": "graphc.train.compression",
    "explain_recompiles": "graphc.runtime.compilations",
    "grad": "graphc.passes.autodiff",
    "load": "graphc.train.model",
    "parse": "graphc.ir.text",
    "trace": "graphc.tracing.trace",
    "verify": "graphc.ir.text",
}
_MODULES = {
    "data": "graphc.train.data",
    "detection": "graphc.train.detection",
    "inspect": "graphc.inspect",
    "losses": "graphc.train.losses",
    "metrics": "graphc.train.metrics",
    "nn": "graphc_nn",
    "optim": "graphc.train.optim",
    "passes": "graphc.passes",
    "search": "graphc.train.search",
    "testing": "graphc.testing",
    "zoo": "graphc_nn.zoo",
}
__all__ = [*_NAMES, *_MODULES, "__version__"]
display.provide("graphc.inspect.display")

if TYPE_CHECKING:
    import graphc_nn as nn  # noqa: F401
    from graphc import passes as passes
    from graphc.base.errors import GraphcError as GraphcError
    from graphc.base.errors import InternalError as InternalError
    from graphc.compiler import compile as compile
    from graphc.ir.graph import Graph as Graph
    from graphc.ir.text import parse as parse
    from graphc.ir.text import verify as verify
    from graphc.ir.types import TensorType as TensorType
    from graphc.passes.autodiff import grad as grad
    from graphc.runtime.compilations import explain_recompiles as explain_recompiles
    from graphc.tracing.trace import trace as trace
    from graphc.train import data as data
    from graphc.train import detection as detection
    from graphc.train import losses as losses
    from graphc.train import metrics as metrics
    from graphc.train import optim as optim
    from graphc.train import search as search
    from graphc.train.compression import compress as compress
    from graphc.train.early_stopping import EarlyStopping as EarlyStopping
    from graphc.train.ensemble import Ensemble as Ensemble
    from graphc.train.model import Model as Model
    from graphc.train.model import load as load
    from graphc.train.svm import LinearSVM as LinearSVM
    from graphc_nn import zoo as zoo


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        importlib.import_module("graphc.ops")
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name in _MODULES:
        importlib.import_module("graphc.ops")
        return importlib.import_module(_MODULES[name])
    raise AttributeError(f"module 'graphc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

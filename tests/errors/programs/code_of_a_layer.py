import graphc as gc
from graphc import nn
from graphc.runtime.backend import load_backend

graph = gc.trace(nn.LocalResponseNorm(), "f32[N,8,6,6]")
load_backend("llvm").sources(graph, ["asm"])

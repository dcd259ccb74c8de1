import graphc as gc
from graphc import nn

gc.trace(nn.Conv(4, 3), "f32[N,784]")

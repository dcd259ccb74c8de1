import graphc as gc
from graphc import nn

gc.trace(nn.Conv(4, 5), "f32[N,1,3,3]")

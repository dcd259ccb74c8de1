import graphc as gc
from graphc import nn

gc.trace(nn.Conv(4, 3, stride=-1), "f32[N,1,8,8]")

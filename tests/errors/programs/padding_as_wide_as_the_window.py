import graphc as gc
from graphc import nn

gc.trace(lambda x: nn.avg_pool2d(x, window=2, padding=2), "f32[N,1,8,8]")

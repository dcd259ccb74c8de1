import graphc as gc
from graphc import nn

gc.trace(lambda x: nn.max_pool2d(x, window=2, stride=0), "f32[N,1,8,8]")

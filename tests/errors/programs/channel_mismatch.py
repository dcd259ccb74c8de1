import graphc as gc
from graphc import nn

gc.trace(lambda x, w: nn.conv2d(x, w), "f32[N,3,8,8]", "f32[4,2,3,3]")

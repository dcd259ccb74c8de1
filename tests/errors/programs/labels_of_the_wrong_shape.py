import graphc as gc
from graphc import nn

gc.trace(lambda x, y: nn.softmax_cross_entropy(x, y), "f32[N,10]", "i32[N,1]")

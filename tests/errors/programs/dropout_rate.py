import graphc as gc
from graphc import nn

gc.trace(nn.Dropout(1.0), "f32[N,3]", training=True)

import graphc as gc
from graphc import nn

pool = nn.RoIMaxPool(7, scale=1 / 16)
gc.trace(pool, "f32[N,8,14,14]", "f32[64,5]")

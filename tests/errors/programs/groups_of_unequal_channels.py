import graphc as gc
from graphc import nn

net = nn.Sequential(
    nn.Conv(6, 3),
    nn.GroupNorm(4),
)
gc.trace(net, "f32[N,1,8,8]")

import graphc as gc
from graphc import nn

net = nn.Sequential(
    nn.Conv(6, 5),
    nn.MaxPool(4),
)
gc.trace(net, "f32[N,1,6,6]")

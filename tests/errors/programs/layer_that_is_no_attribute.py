import graphc as gc
from graphc import nn


class Net(nn.Module):
    def __call__(self, x):
        return nn.Dense(3)(x)


gc.trace(Net(), "f32[N,4]")

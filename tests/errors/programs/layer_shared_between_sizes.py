import graphc as gc
from graphc import nn


class Net(nn.Module):
    def __init__(self):
        self.dense = nn.Dense(3)

    def __call__(self, x):
        return self.dense(self.dense(x))


gc.trace(Net(), "f32[N,4]")

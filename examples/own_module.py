"""Blocks of your own are plain Python on traced tensors: a small residual network."""

import graphc as gc
from graphc import data, nn, optim


class Block(nn.Module):
    """x + a normalised convolution of x, then relu."""

    def __init__(self, width):
        self.conv = nn.Conv(width, 3, padding=1)
        self.norm = nn.BatchNorm()

    def __call__(self, x):
        return nn.relu(self.norm(self.conv(x)) + x)


class Net(nn.Module):
    """A stem, residual blocks, the mean over all pixels, and ten scores."""

    def __init__(self, width, blocks):
        self.stem = nn.Conv(width, 3, padding=1)
        self.blocks = [Block(width) for _ in range(blocks)]
        self.head = nn.Dense(10)

    def __call__(self, x):
        x = self.stem(x)
        for block in self.blocks:  # runs once, when the network is traced
            x = block(x)
        return self.head(x.mean((2, 3)))


train, test = data.digits(upsample=1)
model = gc.Model(
    Net(16, blocks=3),
    "f32[N,1,8,8]",
    loss="cross_entropy",
    optimizer=optim.SGD(0.1, momentum=0.9),
)
for name, array in model.params.items():
    print(f"{name:28s} {array.shape}")
model.fit(train, epochs=8, batch_size=64)
print(f"test accuracy {100 * model.evaluate(test.x, test.y)['accuracy']:.1f} %")

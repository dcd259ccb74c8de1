"""How the first weights decide what a deep network can learn: the scale of its signals, by layer.

Ten layers of 500 units see N(0,1) input. With weights that are too small every signal dies, with
weights that are too large every tanh saturates; variance 1/n keeps the scale of tanh, 2/n that of
ReLU (Glorot and Bengio, 2010; He et al., 2015). Writes initialisation.png.
"""

import numpy as np

import graphc as gc
from graphc import nn
from graphc.inspect.pictures import save_histograms

UNITS, LAYERS = 500, 10


class Layers(nn.Module):
    """Dense layers of one width, each followed by an activation; every activation is an output."""

    def __init__(self, activation, initializer):
        self.activation = activation
        self.dense = [nn.Dense(UNITS, False, weight_initializer=initializer) for _ in range(LAYERS)]

    def __call__(self, x):
        outputs = []
        for layer in self.dense:
            x = self.activation(layer(x))
            outputs.append(x)
        return outputs


CASES = {
    "tanh, sigma 0.01": (nn.tanh, nn.initializers.normal(0.01)),
    "tanh, sigma 1": (nn.tanh, nn.initializers.normal(1.0)),
    "tanh, Xavier": (nn.tanh, nn.initializers.xavier_normal("in")),
    "ReLU, Xavier": (nn.relu, nn.initializers.xavier_normal("in")),
    "ReLU, He": (nn.relu, nn.initializers.he_normal()),
}

x = np.random.default_rng(1).standard_normal((200, UNITS), np.float32)
pictures = {}
print("deviation of the activations, layer by layer")
for name, (activation, initializer) in CASES.items():
    outputs = gc.Model(Layers(activation, initializer), f"f32[N,{UNITS}]").predict(x)
    print(f"{name:18}" + " ".join(f"{float(o.std()):7.4f}" for o in outputs))
    pictures[name] = {f"layer {k + 1}": o for k, o in enumerate(outputs)}
print(save_histograms("initialisation.png", pictures, title="activations of ten layers"))

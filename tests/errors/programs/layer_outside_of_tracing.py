import numpy as np

from graphc import nn

layer = nn.Dense(3)
layer(np.ones((2, 4)))

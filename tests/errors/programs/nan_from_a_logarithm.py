import numpy as np

import graphc as gc
from graphc import nn

model = gc.Model(
    lambda x: nn.log(x) + 1.0,
    "f32[N,3]",
    backend="numpy",
    check_nans=True,
)
model.predict(np.array([[1.0, 0.5, -2.0]]))

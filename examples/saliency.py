"""Where people would look: a small fully convolutional network that predicts a map of fixations.

Built like the large one of Pan and Jiang (2017, `zoo.saliency_fcn`): convolutions with pooling lead
down to 8x8, a 7x7 and two 1x1 convolutions mix what is there, transposed convolutions lead back to
the size of the image. It learns from drawn scenes, in which every shape draws the eye to its
middle, by the Kullback-Leibler divergence of the densities. What it has to beat is the mean of the
training maps, which says that people look at the middle whatever they see. Writes saliency.png.
"""

import sys

import numpy as np

import graphc as gc
from graphc import data, metrics, nn, optim
from graphc.inspect.pictures import save_images

small = "--small" in sys.argv
SIZE, BATCH, SHOWN = 64, 16, 6
COUNT, EPOCHS, TESTED = (300, 8, 100) if small else (2000, 10, 500)

layers = []
for width in (8, 16, 16):
    layers += [nn.Conv(width, 3, padding=1), nn.ReLU(), nn.MaxPool(2)]
for width, kernel in ((32, 7), (32, 1), (16, 1)):
    layers += [nn.Conv(width, kernel, padding="same"), nn.ReLU()]
for width in (16, 8):
    layers += [nn.ConvTranspose(width, 4, stride=2, padding=1), nn.ReLU()]
layers += [nn.ConvTranspose(1, 4, stride=2, padding=1), nn.Flatten(), nn.LogSoftmax()]

train, test = data.scenes(COUNT, SIZE), data.scenes(TESTED, SIZE, seed=1)
model = gc.Model(
    nn.Sequential(*layers),
    f"f32[N,1,{SIZE},{SIZE}]",
    loss="kl_divergence",
    optimizer=optim.Adam(optim.OneCycle(5e-3, optim.steps(COUNT, BATCH, EPOCHS))),
)
model.fit((train.images, train.density.reshape(COUNT, -1)), epochs=EPOCHS, batch_size=BATCH)

predicted = np.exp(model.predict(test.images)).reshape(test.density.shape)
prior = np.broadcast_to(train.density.mean(axis=0), test.density.shape)
print(f"on {TESTED} new scenes")
for name, maps in (("centre prior", prior), ("network", predicted), ("truth", test.density)):
    kld, sim, cc = (metric(maps, test.density) for metric in (metrics.kld, metrics.sim, metrics.cc))
    nss, auc = metrics.nss(maps, test.fixations), metrics.auc_judd(maps, test.fixations)
    print(f"{name:12} KLD {kld:z.3f}  SIM {sim:.3f}  CC {cc:.3f}  NSS {nss:.2f}  AUC {auc:.3f}")

rows = {"scene": test.images[:, 0], "truth": test.density, "prediction": predicted}
tiles = np.concatenate([images[:SHOWN] for images in rows.values()])
captions = [name for name in rows for _ in range(SHOWN)]
print(save_images("saliency.png", tiles, columns=SHOWN, captions=captions))

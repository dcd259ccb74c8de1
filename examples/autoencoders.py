"""Autoencoders on digits of 8x8 pixels: one repairs damaged images, one learns a sparse code.

The denoising one sees images with a tenth of the pixels masked and has to give back whole ones; the
sparse one may use each unit for a twentieth of the images. Both are compared with principal
components, the best that a linear autoencoder with as many units can do for whole images. Writes
autoencoders_denoising.png, autoencoders_sparse.png and autoencoders_repaired.png.
"""

import sys

import numpy as np

import graphc as gc
from graphc import data, optim, zoo
from graphc.inspect.pictures import save_images

PIXELS = "f32[N,64]"
BATCH = 64
small = "--small" in sys.argv
epochs = 60 if small else 200

train, test = data.digits(upsample=1)
low, high = train.x.min(), train.x.max()
x, unseen = ((part.x.reshape(-1, 64) - low) / (high - low) for part in (train, test))
noise = data.MaskingNoise(0.1)
damaged = noise(unseen, 1)


def trained(net, augment=None):
    """A model that learnt to give back the training images from what `augment` makes of them."""
    rate = optim.OneCycle(0.01, optim.steps(len(x), BATCH, epochs))
    model = gc.Model(net, PIXELS, loss="squared_error", optimizer=optim.Adam(rate))
    model.fit((x, x), epochs=epochs, batch_size=BATCH, augment=augment, progress=None)
    return model


def components(images, count):
    """Images as the principal components of the training images describe them."""
    mean = x.mean(axis=0)
    axes = np.linalg.svd(x - mean, full_matrices=False)[2][:count]
    return (images - mean) @ axes.T @ axes + mean


def error(images):
    """The mean squared error of a pixel."""
    return np.mean((images - unseen) ** 2)


def tiles(vectors):
    return vectors.reshape(-1, 8, 8)


units = 32
denoising = trained(zoo.denoising_autoencoder(units), noise)
repaired, projected = denoising.predict(damaged), components(damaged, units)
print(f"damaged test digits: error {error(damaged):.4f} of a pixel, squared")
print(f"  repaired by {units} units {error(repaired):.4f}")
print(f"  repaired by {units} principal components {error(projected):.4f}")
weights = denoising.params["0.weight"]
print(save_images("autoencoders_denoising.png", tiles(weights), columns=8))

units = 25
net = zoo.sparse_autoencoder(inputs=64, hidden=units)
sparse = trained(net)
encoder = gc.Model(net[:2], PIXELS)
encoder.load_params({name: sparse.params[name] for name in encoder.params})
code = encoder.predict(unseen)
print(f"whole test digits: {units} units of mean activation {code.mean():.3f}")
print(f"  given back from the sparse code {error(sparse.predict(unseen)):.4f}")
print(f"  given back from {units} principal components {error(components(unseen, units)):.4f}")
weights = sparse.params["0.weight"]
print(save_images("autoencoders_sparse.png", tiles(weights)))

rows = {"whole": unseen, "damaged": damaged, "repaired": repaired, "by components": projected}
shown = np.concatenate([images[:10] for images in rows.values()])
names = [name for name in rows for _ in range(10)]
print(save_images("autoencoders_repaired.png", tiles(shown), columns=10, captions=names))

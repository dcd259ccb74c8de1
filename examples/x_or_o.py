"""X or O: what three filters see in an X, worked by hand in many lectures, and a net that uses it.

An image is 9x9, 1 where it is drawn and -1 elsewhere. The filters are a falling stroke, a crossing
and a rising stroke; a map says how well each fits at each place, 1 where it fits exactly. They stay
as they are; the layer behind them learns from shifted and noisy images. Writes x_or_o.png.
"""

import sys

import numpy as np

import graphc as gc
from graphc import data, optim, zoo
from graphc.inspect.pictures import save_images

IMAGE = "f32[N,1,9,9]"
O_ROWS = ["", "...###", "..#...#", ".#.....#", ".#.....#", ".#.....#", "..#...#", "...###", ""]
small = "--small" in sys.argv

clean = np.full((2, 1, 9, 9), -1.0, np.float32)  # an X, an O
for k in range(1, 8):
    clean[0, 0, k, [k, 8 - k]] = 1.0
    clean[1, 0, k, [column for column, dot in enumerate(O_ROWS[k]) if dot == "#"]] = 1.0


def show(rows):
    """Prints numbers with two digits, cut and not rounded, as the worked example has them."""
    for row in rows:
        print(" ", " ".join(f"{np.trunc(100 * v + np.sign(v) / 100) / 100:5.2f}" for v in row))


net = zoo.x_or_o()
maps = gc.Model(net[:1], IMAGE).predict(clean)  # a part of a network is a network
pooled = gc.Model(net[:3], IMAGE).predict(clean)
print("the X through the falling stroke:")
show(maps[0, 0])
for k, stroke in enumerate(("falling stroke", "crossing", "rising stroke")):
    print(f"{stroke}, ReLU, the maximum of each 2x2:")
    show(pooled[0, k])

change = data.Augment(data.Shift(1, fill=-1.0), data.Noise(1.0))


def draw(count, seed):
    """Xs and Os, each moved by up to one pixel, and noisy: images and labels."""
    labels = np.random.default_rng(seed).integers(0, 2, count)
    return change(clean[labels], seed), labels


model = gc.Model(net, IMAGE, "cross_entropy", optim.Adam(0.02), frozen=("0.*",))
test = draw(1000, seed=1)
before = model.evaluate(*test)["accuracy"]
model.fit(draw(200 if small else 2000, seed=0), epochs=10, batch_size=50, progress=None)
after = model.evaluate(*test)["accuracy"]
print(f"1000 shifted and noisy images: {100 * before:.1f} % right, trained {100 * after:.1f} %")

tiles, captions = [], []
for k, letter in enumerate("XO"):
    for kind, images in (("", clean[k]), ("map", maps[k]), ("pooled", pooled[k])):
        tiles += [np.kron(i, np.ones([252 // len(i)] * 2)) for i in images]  # all of one size
        captions += [f"{kind} {n + 1}" if kind else letter for n in range(len(images))]
print(save_images("x_or_o.png", np.array(tiles), columns=7, captions=captions))

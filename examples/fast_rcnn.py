"""Fast R-CNN: squares, discs and triangles in noisy scenes, what each is and where exactly.

A small convolutional part and the paper's head (Girshick, 2015): batches of 2 images with 64
regions each, a quarter of them objects, one loss for class and box. The regions of all images are
the same 149 windows on a grid, which know nothing of what is in an image. Then the two dense layers
that hold most of the parameters are cut by singular value decomposition; what time is left goes
into the pooling of regions. Writes fast_rcnn.png.
"""

import sys
import time

import numpy as np

import graphc as gc
from graphc import data, detection, metrics, nn, optim, zoo
from graphc.inspect.pictures import save_boxes

small = "--small" in sys.argv
SIZE, IMAGES, SHOWN = 64, 2, 8
COUNT, EPOCHS, TESTED = (150, 6, 50) if small else (400, 10, 200)
BUDGETS = (40_000,) if small else (80_000, 40_000, 20_000, 10_000)  # weights of fc6 and fc7
DEVIATIONS = (0.1, 0.1, 0.2, 0.2)  # of the boxes' targets, which are about 1 when divided by them

train, test = data.scenes(COUNT, SIZE), data.scenes(TESTED, SIZE, seed=1)
windows = detection.sliding_windows(SIZE, SIZE, sizes=(16, 22), step=1 / 3)
rois = detection.rois_of([windows] * IMAGES)

features = [nn.Conv(8, 3, padding=1), nn.ReLU(), nn.MaxPool(2)]
features += [nn.Conv(8, 3, padding=1), nn.ReLU(), nn.Conv(8, 3, padding=1), nn.ReLU()]
model = gc.Model(
    zoo.fast_rcnn(classes=3, features=nn.Sequential(*features), stride=2, width=512),
    (f"f32[{IMAGES},1,{SIZE},{SIZE}]", "f32[N,5]"),
    loss="multi_task",
    optimizer=optim.Adam(optim.OneCycle(5e-3, optim.steps(COUNT, IMAGES, EPOCHS))),
)

sampler = detection.RegionSampler(IMAGES, background_iou=(0.0, 0.5), deviations=DEVIATIONS)
generator = np.random.default_rng(0)
for epoch in range(1, EPOCHS + 1):
    begin, losses = time.perf_counter(), []
    for batch in sampler.epoch([windows] * COUNT, train.objects, generator):
        images = train.images[batch.images]
        losses.append(model.step((images, batch.rois), (batch.labels, batch.targets)))
    each = 1000 * (time.perf_counter() - begin) / len(losses)
    print(f"epoch {epoch:2}: loss {np.mean(losses):.3f}, {each:.1f} ms a step")


def detect(network):
    """What the network finds in each test scene."""
    found = []
    for k in range(0, TESTED, IMAGES):
        scores, moves = network.predict((test.images[k : k + IMAGES], rois))
        found += detection.detect_images(
            rois, scores, moves, images=IMAGES, height=SIZE, width=SIZE, deviations=DEVIATIONS
        )
    return found


def report(name, found, cost):
    """Prints how good detections are, and what they cost."""
    half, strict = (
        metrics.mean_average_precision(found, test.objects, iou_threshold=overlap).mean
        for overlap in (0.5, 0.75)
    )
    print(
        f"{name:14} mAP {100 * half:.1f} % at IoU 0.5, {100 * strict:.1f} % at 0.75; "
        f"{cost.parameters:,} parameters, {1000 * cost.seconds:.1f} ms for {len(rois)} regions"
    )


found = detect(model)
for budget in BUDGETS:
    lean, costs = gc.compress(
        model, budget=budget, layers=["trunk.1", "trunk.4"], batch_size=len(rois)
    )
    if budget == BUDGETS[0]:
        report(f"{TESTED} new scenes", found, costs.before)
    ranks = " and ".join(str(layer.rank) for layer in costs.layers)
    report(f"ranks {ranks}", detect(lean), costs.after)

boxes, names = [], []
for shown in found[:SHOWN]:
    sure = shown.scores >= 0.5
    boxes.append(shown.boxes[sure])
    names.append([test.names[label] for label in shown.labels[sure]])
print(save_boxes("fast_rcnn.png", test.images[:SHOWN], boxes, names, title="what Fast R-CNN finds"))

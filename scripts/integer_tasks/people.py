"""The four networks of ../shared/models on pictures: pose, mask of a person, expression, faces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from integer_tasks.packages import unpack
from integer_tasks.route import Array, Result, StepFailed, make_integer, run_graph, run_integer

tf1 = tf.compat.v1

# Where the pictures are in wheels; the astronaut is the only person.
PICTURES = {
    "astronaut": ("scikit-image==0.25.2", "skimage/data/astronaut.png"),
    "china": ("scikit-learn==1.7.2", "sklearn/datasets/images/china.jpg"),
    "flower": ("scikit-learn==1.7.2", "sklearn/datasets/images/flower.jpg"),
}
POSENET_STRIDE = 16
# BlazeFace: cells along a side of the picture, and boxes in each cell, of its two outputs.
CELLS = ((16, 2), (8, 6))
FACE = (160, 50, 140)
"""Left, top and side of the square around the astronaut's face."""


class View(NamedTuple):
    """A square of a picture: its corner and side in pixels, mirrored or not, and a factor on its brightness."""

    picture: str
    left: int
    top: int
    side: int
    mirrored: bool = False
    brightness: float = 1.0


class Net(NamedTuple):
    """How one network is tried.

    Attributes:
        file: its name in the folder of models.
        placeholder, size: what it takes, a square picture of that many pixels.
        outputs: the tensors that `compare` gets.
        prepare: its input from pictures float32[N, size, size, 3] in [0, 1].
        faces: whether it looks at faces alone.
        task: what `compare` says.
        compare: (float figure, integer figure) of the outputs, float and integer.
    """

    file: str
    placeholder: str
    size: int
    outputs: tuple[str, ...]
    prepare: Callable[[Array], Array]
    faces: bool
    task: str
    compare: Callable[[list[Array], list[Array]], tuple[str, str]]


def results(folder: Path, models: Path) -> Iterator[Result]:
    """A row for each network.

    Args:
        folder: to work in.
        models: holds posenet.pb etc.
    """
    pictures = {name: decode(unpack(wheel, folder) / path) for name, (wheel, path) in PICTURES.items()}
    for net in NETS:
        graph = models / net.file
        if not graph.is_file():
            raise StepFailed(f"{graph} not found. Name the folder of the models with --models, or leave the task out")
        print(f"\n{net.file}", flush=True)
        practice, test = (face_views(), face_views(shift=9)) if net.faces else (views(), views(shift=24))
        feeds = {net.placeholder: net.prepare(render(test, pictures, net.size))}
        calibration = {net.placeholder: net.prepare(render(practice, pictures, net.size))}
        options = ("--outputs", ",".join(net.outputs))
        model = make_integer(graph, graph.stem, calibration, folder, options=options, batch=1, method="mse")
        wanted = run_graph(graph, feeds, net.outputs)
        figures = net.compare(wanted, run_integer(model, feeds))
        yield model.result(net.file.removesuffix(".pb"), f"{net.task} ({len(test)} pictures)", *figures)


def views(shift: int = 0) -> list[View]:
    """Squares of all pictures, the astronaut's with the head in it."""
    person = [
        View("astronaut", left, 0, side, mirrored, brightness)
        for left, side in ((0, 480), (40, 360), (90, 300))
        for mirrored, brightness in ((False, 1.0), (True, 0.7))
    ]
    things = [View(name, left, 40, 360) for name in ("china", "flower") for left in (0, 200)]
    return [view._replace(left=view.left + shift) for view in person + things]


def face_views(shift: int = 0) -> list[View]:
    """Squares around the astronaut's face, nearer and farther."""
    left, top, side = FACE
    return [
        View("astronaut", left - margin + shift, top - margin, side + 2 * margin, mirrored, brightness)
        for margin in (0, 10, 20)
        for mirrored in (False, True)
        for brightness in (1.0, 0.8, 0.6)
    ]


def decode(path: Path) -> Array:
    """float32[H, W, 3] in [0, 1]."""
    with tf.Graph().as_default(), tf1.Session() as session:
        pixels: Array = session.run(tf.io.decode_image(path.read_bytes(), channels=3))
    return pixels.astype(np.float32) / 255


def render(squares: list[View], pictures: dict[str, Array], size: int) -> Array:
    """float32[N, size, size, 3] in [0, 1]."""
    rendered = []
    with tf.Graph().as_default(), tf1.Session() as session:
        source = tf1.placeholder(tf.float32, [None, None, 3])
        resized = tf.image.resize(source, [size, size], antialias=True)
        for view in squares:
            cut = pictures[view.picture][view.top : view.top + view.side, view.left : view.left + view.side]
            pixels = session.run(resized, {source: cut[:, ::-1] if view.mirrored else cut})
            rendered.append(np.clip(view.brightness * pixels, 0, 1))
    return np.array(rendered)


def signed(pictures: Array) -> Array:
    """[0, 1] to [-1, 1]."""
    return 2 * pictures - 1


def grey(pictures: Array) -> Array:
    return signed((pictures @ np.array([0.299, 0.587, 0.114], np.float32))[..., np.newaxis])


def compare_poses(wanted: list[Array], found: list[Array]) -> tuple[str, str]:
    """Keypoints that the float net is sure of: how far away the integer net sees them, in pixels of 385."""
    points, scores = keypoints(*wanted)
    others, other_scores = keypoints(*found)
    sure = scores > 0.5
    distance = np.linalg.norm(points - others, axis=-1)[sure]
    near = np.mean(distance < POSENET_STRIDE)
    figure = f"{np.median(distance):.1f} px; {100 * near:.0f} %; {np.abs(scores - other_scores)[sure].mean():.3f}"
    return f"{sure.sum()} keypoints", figure


def keypoints(heatmap: Array, offsets: Array) -> tuple[Array, Array]:
    """Of heatmap float32[N, H, W, K] and offsets [N, H, W, 2 K]: points [N, K, 2] (y, x), scores [N, K]."""
    count, height, width, kinds = heatmap.shape
    places = heatmap.reshape(count, height * width, kinds).argmax(axis=1)
    rows, columns = places // width, places % width
    sample, kind = np.indices(places.shape)
    scores = 1 / (1 + np.exp(-heatmap[sample, rows, columns, kind]))
    moved = [offsets[sample, rows, columns, kind + axis * kinds] for axis in (0, 1)]
    return np.stack([POSENET_STRIDE * rows + moved[0], POSENET_STRIDE * columns + moved[1]], axis=-1), scores


def compare_masks(wanted: list[Array], found: list[Array]) -> tuple[str, str]:
    masks, others = wanted[0] > 0.5, found[0] > 0.5
    both, either = np.sum(masks & others), np.sum(masks | others)
    error = np.abs(wanted[0] - found[0]).mean()
    return f"{100 * masks.mean():.0f} % person", f"IoU {both / either:.3f}; {error:.4f}"


def compare_classes(wanted: list[Array], found: list[Array]) -> tuple[str, str]:
    agreement = np.mean(wanted[0].argmax(axis=-1) == found[0].argmax(axis=-1))
    sure = wanted[0].max(axis=-1).mean()
    return f"probability {sure:.2f}", f"{100 * agreement:.0f} % the same; {np.abs(wanted[0] - found[0]).mean():.4f}"


def compare_boxes(wanted: list[Array], found: list[Array]) -> tuple[str, str]:
    """The likeliest face of each picture in which the float net sees one."""
    boxes, scores = faces(wanted)
    others, other_scores = faces(found)
    seen = scores > 0.5
    overlap = np.array([union(a, b) for a, b in zip(boxes[seen], others[seen], strict=True)])
    also = np.sum(other_scores[seen] > 0.5)
    invented = np.sum(other_scores[~seen] > 0.5)
    return f"{seen.sum()} faces", f"{also} and {invented} others; IoU {overlap.mean():.3f}"


def faces(outputs: list[Array]) -> tuple[Array, Array]:
    """Boxes float32[N, 4] (left, top, right, bottom in pixels of 128) and probabilities [N] of the likeliest faces."""
    logits = np.concatenate([outputs[0], outputs[1]], axis=1)[..., 0]
    shapes = np.concatenate([outputs[2], outputs[3]], axis=1)
    centres = []
    for cells, each in CELLS:
        rows, columns = np.indices((cells, cells)).reshape(2, -1).repeat(each, axis=1)
        centres.append((np.stack([columns, rows], axis=1) + 0.5) * (128 / cells))
    best = logits.argmax(axis=1)
    sample = np.arange(len(best))
    chosen = shapes[sample, best]
    middle, half = np.concatenate(centres)[best] + chosen[:, :2], chosen[:, 2:4] / 2
    return np.concatenate([middle - half, middle + half], axis=1), 1 / (1 + np.exp(-logits[sample, best]))


def union(a: Array, b: Array) -> float:
    """Intersection over union of two boxes."""
    sides = np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]))
    areas = [float(np.prod(box[2:] - box[:2])) for box in (a, b)]
    shared = float(np.prod(sides))
    return shared / (sum(areas) - shared)


NETS = (
    Net(
        file="posenet.pb",
        placeholder="image",
        size=385,
        outputs=("MobilenetV1/heatmap_2/BiasAdd:0", "MobilenetV1/offset_2/BiasAdd:0"),
        prepare=signed,
        faces=False,
        task="median shift of keypoints; nearer than 16 px; mean error of their scores",
        compare=compare_poses,
    ),
    Net(
        file="selfie.pb",
        placeholder="input_1",
        size=256,
        outputs=("activation_10:0",),
        prepare=lambda pictures: pictures,
        faces=False,
        task="the person's mask; mean error of the probability",
        compare=compare_masks,
    ),
    Net(
        file="emotion.pb",
        placeholder="input_1",
        size=64,
        outputs=("Identity:0",),
        prepare=grey,
        faces=True,
        task="first class of 7; mean error of the probabilities",
        compare=compare_classes,
    ),
    Net(
        file="blazeface-front.pb",
        placeholder="input",
        size=128,
        outputs=("Identity:0", "Identity_1:0", "Identity_2:0", "Identity_3:0"),
        prepare=signed,
        faces=False,
        task="faces found; overlap of their boxes",
        compare=compare_boxes,
    ),
)

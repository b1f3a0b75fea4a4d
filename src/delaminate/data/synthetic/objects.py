"""One object on a background: figures of a game in new colours, on drawn textures or on photos."""

import functools

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from delaminate.data.synthetic.drawing import Drawing, Map, Painter, Raster, Stamp, packaged
from delaminate.data.synthetic.textures import Background, photo_crops, texture

FIGURES = (
    "bat-0",
    "bat-1",
    "block",
    "coin-0",
    "crate",
    "green-0",
    "green-1",
    "heart",
    "key",
    "pink",
    "rover-0",
    "rover-1",
)
SHARES = (0.08, 0.35)  # of the canvas, before the border cuts anything off
CUT_OFTEN, CUT_MOST = 0.2, 0.25  # how many objects the border may cut, and what part of a side
LONGEST = 0.95  # of the canvas, for the longer side
SIZES = ((16, 16), (32, 32), (64, 64), (128, 128))


def recoloured(rgb: UInt8[np.ndarray, "3 h w"], rng: np.random.Generator) -> UInt8[np.ndarray, "3 h w"]:
    """Turn all hues by one random angle about the grey axis; light and dark stay what they are, but for a gain."""
    angle, gain = rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1.15)
    cosine, sine = np.cos(angle), np.sin(angle) / np.sqrt(3)
    matrix = np.full((3, 3), (1 - cosine) / 3) + np.diag([cosine] * 3)
    matrix += sine * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    turned = np.einsum("ij,jhw->ihw", gain * matrix, rgb.astype(np.float32))
    return np.rint(turned.clip(0, 255)).astype(np.uint8)


@functools.cache
def _cut_out(name: str) -> Stamp:
    """A figure without the empty rows and columns around it."""
    stamp = packaged(name)
    rows, columns = np.flatnonzero(stamp.alpha.any(axis=1)), np.flatnonzero(stamp.alpha.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return Stamp(stamp.rgb[:, *window], stamp.alpha[window], stamp.mask[window], stamp.soft)


def _figure(rng: np.random.Generator, kind: int, side: int) -> Stamp:
    """A figure of random colour, facing either way, scaled to a random share of the canvas."""
    stamp = _cut_out(FIGURES[kind])
    height, width = stamp.size
    scale = np.sqrt(rng.uniform(*SHARES) * side**2 / stamp.mask.sum())
    scale = min(scale, LONGEST * side / max(height, width))
    rgba = np.concatenate([recoloured(stamp.rgb, rng), stamp.alpha[None]]).transpose(1, 2, 0)  # h w 4
    if rng.random() < 0.5:
        rgba = rgba[:, ::-1]
    # Colour is premultiplied while it is resampled, or the black of empty pixels would show at the edges.
    picture = Image.fromarray(np.ascontiguousarray(rgba), "RGBA").convert("RGBa")
    wanted = max(2, round(width * scale)), max(2, round(height * scale))
    return Stamp.of(np.array(picture.resize(wanted, Image.Resampling.BICUBIC).convert("RGBA")))


def _place(rng: np.random.Generator, length: int, side: int) -> int:
    """Where the object begins: inside, or now and then cut by the border."""
    cut = int(CUT_MOST * length) if rng.random() < CUT_OFTEN / 2 else 0
    return int(rng.integers(-cut, side - length + cut + 1))


def object_painter(background: Background) -> Painter:
    """The painter of one figure on a background; it is region 1, and its kind counts from 1.

    The share of the canvas is uniform from 8 to 35 %, less where that would not fit or where the border cuts. All
    splits share the twelve figures; what they show them in, where and on what is new.
    """

    def paint(rng: np.random.Generator, pixels: Raster, instances: Map, classes: Map) -> None:
        side = instances.shape[0]
        pixels[:] = background(rng, side)
        kind = int(rng.integers(len(FIGURES)))
        stamp = _figure(rng, kind, side)
        height, width = stamp.size
        stamp.onto(pixels, instances, classes, _place(rng, height, side), _place(rng, width, side), 1, kind + 1)

    return paint


OBJECTS = {
    "objects-on-texture": Drawing(
        (32, 32),
        "a game figure on texture, each split newly composed, 32 x 32 (16 to 128)",
        paint=object_painter(texture),
        replica=False,
        sizes=SIZES,
        regions=2,
    ),
    "objects-on-photos": Drawing(
        (32, 32),
        "the same on crops of photos, each split with its own, 32 x 32 (16 to 128)",
        paint_split=lambda split: object_painter(photo_crops(split, "objects-on-photos")),
        folder="ecssd",
        replica=False,
        sizes=SIZES,
        regions=2,
    ),
}

"""Small collections of every kind, drawn and real: does `delaminate.recognise` say what they are?

    python benchmarks/recognise.py                            # all; writes benchmarks/results/recognise.json
    python benchmarks/recognise.py --only page                # those whose name holds this; writes nothing
    python benchmarks/recognise.py --seeds 3 4                # other drawings, other parts of the real sets

Drawn collections come from the drawn sets of the package, real ones from the folder that DELAMINATE_DATA names: parts of
them, shuffled or in their order, as they are or changed as people's files are: JPEG, enlarged, grey, smaller, few. Which kind
is right follows from where the images come from. One line a collection; the record has the rates of every kind.
"""

import argparse
import datetime
import functools
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from delaminate.bench.run import machine
from delaminate.data import ImageSet, draw_images, load_benchmark
from delaminate.data.real.root import data_folder
from delaminate.data.synthetic.captures import BACKGROUNDS, draw_capture
from delaminate.pipelines.images import open_images
from delaminate.pipelines.recognise import KINDS, Kind, recognise

RESULTS = Path(__file__).parent / "results"
Change = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Collection:
    """Images whose kind is known.

    Attributes:
        kind: What they are.
        images: Makes them, given a seed.
        zoom: By how much pixel art was enlarged; 1: it was not.
    """

    kind: Kind
    images: Callable[[int], ImageSet]
    zoom: int = 1


# ---- Changes, as people's files have them -----------------------------------------------------------------------------


def changed(images: ImageSet, change: Change) -> ImageSet:
    """The same images after a change of each."""
    pictures = [change(Image.fromarray(each.permute(1, 2, 0).numpy())) for each in images.pixels]
    made = ImageSet.from_arrays(np.stack([np.asarray(each.convert("RGB")) for each in pictures]))
    return replace(made, rate=images.rate, names=images.names)


def jpeg(quality: int) -> Change:
    """Compress."""

    def change(picture: Image.Image) -> Image.Image:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        return Image.open(io.BytesIO(file.getvalue())).convert("RGB")

    return change


def enlarged(factor: int) -> Change:
    """Repeat every pixel."""
    return lambda picture: picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def grey(picture: Image.Image) -> Image.Image:
    """Take the colours away."""
    return picture.convert("L").convert("RGB")


def smaller(picture: Image.Image) -> Image.Image:
    """Halve the size."""
    return picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)


def larger(picture: Image.Image) -> Image.Image:
    """Double the size, smoothly."""
    return picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.BICUBIC)


def brighter(picture: Image.Image) -> Image.Image:
    """Stretch the contrast of a dark picture."""
    return picture.point(lambda value: min(255, 3 * value))


def yellowed(picture: Image.Image) -> Image.Image:
    """Ink on old paper, scanned: warm paper, a shadow at the fold, a little blur and noise."""
    ink = np.asarray(picture.convert("L").filter(ImageFilter.GaussianBlur(0.7)), np.float32)[..., None] / 255
    shadow = np.linspace(0.8, 1, ink.shape[1])[None, :, None]
    paper = np.array([235, 222, 190]) * shadow
    noise = np.random.default_rng(0).normal(0, 4, (*ink.shape[:2], 1))
    return Image.fromarray((paper * ink + np.array([50, 40, 35]) * (1 - ink) + noise).clip(0, 255).astype(np.uint8))


# ---- Where images come from -------------------------------------------------------------------------------------------


def drawn(name: str, count: int, *changes: Change) -> Callable[[int], ImageSet]:
    """Scenes of a drawn set."""

    def images(seed: int) -> ImageSet:
        return functools.reduce(changed, changes, draw_images(name, count, seed, "dev"))

    return images


def real(name: str, count: int, *changes: Change, start: int = 0) -> Callable[[int], ImageSet]:
    """Some images of a real set, drawn by chance; each seed has others."""

    def images(seed: int) -> ImageSet:
        found = load_benchmark(name, labels=False)
        whole = found if isinstance(found, ImageSet) else found.images
        chosen = np.random.default_rng([seed, start]).permutation(len(whole))[:count]
        return functools.reduce(changed, changes, whole.subset(chosen))

    return images


def run_of(name: str, count: int, *changes: Change, every: int = 1) -> Callable[[int], ImageSet]:
    """Frames of a recording in their order."""

    def images(seed: int) -> ImageSet:
        found = load_benchmark(name, labels=False)
        whole = found if isinstance(found, ImageSet) else found.images
        start = int(np.random.default_rng([seed, 7]).integers(max(len(whole) - count * every, 1)))
        return functools.reduce(changed, changes, whole.subset(range(start, len(whole), every)[:count]))

    return images


def mixed(*parts: Callable[[int], ImageSet]) -> Callable[[int], ImageSet]:
    """Images of several sets, shuffled."""

    def images(seed: int) -> ImageSet:
        pixels = torch.cat([part(seed).pixels for part in parts])
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(pixels)))
        return ImageSet.from_arrays(pixels[order])

    return images


def case(name: str) -> Callable[[int], ImageSet]:
    """A small capture of `cases_games`, as `train` would open it, but for its enlargement."""
    return lambda seed: open_images(data_folder("cases_games", name) / name, zoom=(1.0, 1.0))


def capture(background: str, codec: str, factor: int = 1) -> Callable[[int], ImageSet]:
    """A drawn capture as its codec makes it; of clips that players know as such only the order is left."""

    def images(seed: int) -> ImageSet:
        found = draw_capture(BACKGROUNDS.index(background), seed, "dev", background, codec, (float(factor),) * 2)  # type: ignore[arg-type]
        frames = found.frames[..., :3] * (found.frames[..., 3:] > 127)
        whole = ImageSet.from_arrays(np.ascontiguousarray(frames))
        return changed(whole, jpeg(85)) if codec == "jpeg" else whole

    return images


def pages(count: int, *changes: Change, crop: int = 900) -> Callable[[int], ImageSet]:
    """Pages of a book of 1809, the middle of each."""

    def images(seed: int) -> ImageSet:
        folder = data_folder("text_goethe1809", "text-goethe1809")
        found = sorted(folder.rglob("*.png"))
        chosen = np.random.default_rng([seed, 3]).permutation(len(found))[:count]
        pictures = [Image.open(found[n]).convert("RGB") for n in chosen]
        middles = [each.crop(_middle(each.size, crop)) for each in pictures]
        return functools.reduce(changed, changes, ImageSet.from_arrays(np.stack([np.asarray(m) for m in middles])))

    return images


def _middle(size: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    left, top = max((size[0] - side) // 2, 0), max((size[1] - side) // 2, 0)
    return left, top, left + side, top + side


WORDS = [
    "of",
    "the",
    "and",
    "to",
    "in",
    "a",
    "layer",
    "image",
    "that",
    "is",
    "was",
    "he",
    "for",
    "it",
    "with",
    "as",
    "his",
    "on",
    "be",
    "at",
    "by",
    "had",
    "not",
    "are",
    "but",
    "from",
    "or",
    "have",
    "an",
    "they",
    "which",
    "sprite",
    "shape",
    "colour",
    "paper",
    "ink",
    "letter",
    "page",
    "book",
    "one",
    "you",
    "were",
    "all",
    "her",
    "she",
    "there",
    "would",
    "their",
    "we",
    "him",
    "been",
    "has",
    "when",
    "who",
]


def typed(
    count: int, size: int, *changes: Change, pages_size: tuple[int, int] = (520, 700)
) -> Callable[[int], ImageSet]:
    """Pages that Pillow's own font types."""

    def images(seed: int) -> ImageSet:
        rng, font = np.random.default_rng([seed, 11]), ImageFont.load_default(size)
        made = []
        for _ in range(count):
            picture = Image.new("RGB", pages_size, "white")
            pen = ImageDraw.Draw(picture)
            for top in range(40, pages_size[1] - 40, int(size * 1.6)):
                line = " ".join(rng.choice(WORDS, 12))
                while font.getlength(line) > pages_size[0] - 70:
                    line = line.rsplit(" ", 1)[0]
                pen.text((35, top), line, "black", font)
            made.append(np.asarray(picture))
        return functools.reduce(changed, changes, ImageSet.from_arrays(np.stack(made)))

    return images


def shapes(count: int, turned: bool, coloured_ground: bool = False, side: int = 96) -> Callable[[int], ImageSet]:
    """Flat polygons of three forms, drawn otherwise than the drawn sets."""

    def images(seed: int) -> ImageSet:
        rng = np.random.default_rng([seed, 13])
        forms = [
            np.array([(0, -1), (0.9, 0.8), (-0.9, 0.8)]),
            np.array([(-1, -0.6), (1, -0.6), (1, 0.6), (-1, 0.6)]),
            np.array([(np.sin(a) * r, -np.cos(a) * r) for a, r in zip(np.arange(10) * np.pi / 5, [1, 0.45] * 5, strict=True)]),
        ]  # fmt: skip
        made = []
        for _ in range(count):
            ground = tuple(rng.integers(0, 256, 3).tolist()) if coloured_ground else (0, 0, 0)
            picture = Image.new("RGB", (side, side), ground)
            pen = ImageDraw.Draw(picture)
            for _ in range(int(rng.integers(2, 5))):
                form = forms[int(rng.integers(3))] * side * (rng.uniform(0.1, 0.2) if turned else 0.14)
                angle = rng.uniform(0, 2 * np.pi) if turned else 0.0
                cos, sin = np.cos(angle), np.sin(angle)
                centre = rng.uniform(0.15 * side, 0.85 * side, 2)
                points = form @ np.array([[cos, sin], [-sin, cos]]) + centre
                pen.polygon([tuple(point) for point in points], fill=tuple(rng.integers(40, 256, 3).tolist()))
            made.append(np.asarray(picture))
        return ImageSet.from_arrays(np.stack(made))

    return images


def blobs(
    count: int, colour: tuple[float, float, float], side: int = 160, noise: float = 3.0
) -> Callable[[int], ImageSet]:
    """Soft bright spots on dark, as a microscope shows cells."""

    def images(seed: int) -> ImageSet:
        rng = np.random.default_rng([seed, 17])
        y, x = np.mgrid[:side, :side]
        made = []
        for _ in range(count):
            field = np.full((side, side), rng.uniform(4, 14))
            for _ in range(int(rng.integers(4, 30))):
                cy, cx, a, b, t = *rng.uniform(0, side, 2), *rng.uniform(4, 9, 2), rng.uniform(0, np.pi)
                u, v = (x - cx) * np.cos(t) + (y - cy) * np.sin(t), (y - cy) * np.cos(t) - (x - cx) * np.sin(t)
                field += rng.uniform(50, 160) / (1 + np.exp(4 * (np.sqrt((u / a) ** 2 + (v / b) ** 2) - 1)))
            field += rng.normal(0, noise, field.shape)
            made.append((field[..., None] * np.array(colour)).clip(0, 255).astype(np.uint8))
        return ImageSet.from_arrays(np.stack(made))

    return images


def tile_maps(count: int) -> Callable[[int], ImageSet]:
    """Maps of 12 x 12 tiles of random pixel art."""

    def images(seed: int) -> ImageSet:
        rng = np.random.default_rng([seed, 19])
        palette = rng.integers(0, 256, (8, 3), dtype=np.uint8)
        tiles = palette[rng.integers(0, 8, (14, 16, 16))]
        tiles[0] = palette[0]
        made = []
        for _ in range(count):
            cells = tiles[np.minimum(rng.geometric(0.25, (12, 12)) - 1, 13)]  # 12 12 16 16 3
            made.append(cells.transpose(0, 2, 1, 3, 4).reshape(192, 192, 3))
        return ImageSet.from_arrays(np.stack(made))

    return images


def with_neighbours(first: Callable[[int], ImageSet], order: bool) -> Callable[[int], ImageSet]:
    """The same images in another order: what a folder of shuffled frames is."""

    def images(seed: int) -> ImageSet:
        found = first(seed)
        return found if order else replace(found.subset(np.random.default_rng(seed).permutation(len(found))), rate=None)

    return images


GREEN, BLUE, WHITE = (0.1, 1.0, 0.2), (0.15, 0.2, 1.0), (1.0, 1.0, 1.0)

COLLECTIONS: dict[str, Collection] = {
    # Frames in their order.
    **{
        f"capture-{background}-{codec}-x{factor}": Collection("clip", capture(background, codec, factor), factor)
        for background, codec, factor in (
            ("solid", "png", 1), ("solid", "jpeg", 1), ("static", "png", 1), ("static", "jpeg", 1), ("static", "png", 3),
            ("rooms", "png", 1), ("panorama", "png", 1), ("panorama", "jpeg", 1), ("panorama", "png", 2),
            ("parallax", "png", 1), ("parallax", "jpeg", 1), ("tiles", "png", 1), ("tiles", "png", 4),
        )
    },
    "side-scroller": Collection("clip", drawn("side-scroller", 90)),
    "side-scroller-jpeg": Collection("clip", drawn("side-scroller", 60, jpeg(80))),
    "side-scroller-x3": Collection("clip", drawn("side-scroller", 30, enlarged(3)), 3),
    # Of these three, things jump from frame to frame: nothing tells that there is an order.
    "case-m1-control": Collection("pixel-art", case("m1_control")),
    "case-m1-alpha": Collection("pixel-art", case("m1_alpha")),
    "case-m10-durations": Collection("clip", case("m10_dur.gif")),
    "case-m14-water": Collection("clip", case("m14_water.gif")),
    "case-m16-bullets": Collection("clip", case("m16_bullets.gif")),
    "case-poses": Collection("clip", case("poses.gif")),
    "case-m3-zoom3-off1": Collection("pixel-art", case("m3_zoom3_off1"), 3),
    "atari-invaders": Collection("clip", run_of("space-invaders-sample", 60)),
    "atari-invaders-x2": Collection("clip", run_of("space-invaders-sample", 30, enlarged(2)), 2),
    "dubey-game": Collection("clip", run_of("dubey-game-sample", 60)),
    # Exactly recurring pixels, in no order.
    "floating-sprites": Collection("pixel-art", drawn("floating-sprites", 100)),
    "floating-sprites-few": Collection("pixel-art", drawn("floating-sprites", 12)),
    "floating-sprites-x2": Collection("pixel-art", drawn("floating-sprites", 40, enlarged(2)), 2),
    "floating-sprites-x4": Collection("pixel-art", drawn("floating-sprites", 20, enlarged(4)), 4),
    "floating-sprites-grey": Collection("pixel-art", drawn("floating-sprites", 60, grey)),
    "platform-game": Collection("pixel-art", drawn("platform-game", 40)),
    "platform-game-few": Collection("pixel-art", drawn("platform-game", 6)),
    "platform-game-x2": Collection("pixel-art", drawn("platform-game", 12, enlarged(2)), 2),
    "platform-game-dubey": Collection("pixel-art", drawn("platform-game-dubey", 40)),
    "tile-maps": Collection("pixel-art", tile_maps(8)),
    "tile-map-x3": Collection("pixel-art", lambda seed: changed(tile_maps(2)(seed), enlarged(3)), 3),
    "one-tile-map": Collection("pixel-art", tile_maps(1)),
    # Pages.
    "goethe": Collection("pages", pages(6)),
    "goethe-one": Collection("pages", pages(1)),
    "goethe-jpeg": Collection("pages", pages(4, jpeg(75))),
    "goethe-yellowed": Collection("pages", pages(4, yellowed)),
    "goethe-half": Collection("pages", pages(6, smaller)),
    "goethe-tall": Collection("pages", pages(3, crop=1150)),
    "typed": Collection("pages", typed(5, 16)),
    "typed-large": Collection("pages", typed(4, 28)),
    "typed-jpeg": Collection("pages", typed(5, 18, jpeg(80))),
    "typed-yellowed": Collection("pages", typed(4, 20, yellowed)),
    # Flat-coloured shapes.
    "tetrominoes": Collection("shapes", drawn("tetrominoes", 300)),
    "tetrominoes-few": Collection("shapes", drawn("tetrominoes", 40)),
    "tetrominoes-x3": Collection("shapes", drawn("tetrominoes", 100, enlarged(3)), 3),
    "multi-dsprites": Collection("shapes", drawn("multi-dsprites", 200)),
    "multi-dsprites-few": Collection("shapes", drawn("multi-dsprites", 30)),
    "multi-dsprites-colour": Collection("shapes", drawn("multi-dsprites-colour", 100)),
    "multi-dsprites-jpeg": Collection("shapes", drawn("multi-dsprites", 100, jpeg(92))),
    "polygons-turned": Collection("shapes", shapes(80, True)),
    "polygons-upright": Collection("shapes", shapes(80, False)),
    "polygons-on-colour": Collection("shapes", shapes(60, True, True)),
    "polygons-large": Collection("shapes", shapes(30, True, True, 240)),
    # Bright spots on dark.
    "nuclei": Collection("blobs", real("nuclei", 60)),
    "nuclei-few": Collection("blobs", real("nuclei", 12, start=1)),
    "nuclei-half": Collection("blobs", real("nuclei", 40, smaller, start=2)),
    "nuclei-stretched": Collection("blobs", real("nuclei", 40, brighter, start=3)),
    "nuclei-jpeg": Collection("blobs", real("nuclei", 40, jpeg(85), start=4)),
    "nuclei-larger": Collection("blobs", real("nuclei", 20, larger, start=5)),
    "blobs-green": Collection("blobs", blobs(30, GREEN)),
    "blobs-blue": Collection("blobs", blobs(30, BLUE)),
    "blobs-noisy": Collection("blobs", blobs(20, WHITE, 256, 8.0)),
    # One kind of thing in every photo.
    **{
        f"{name}{suffix}": Collection("photos-alike", real(name, count, *changes, start=start))
        for name in ("flowers17", "weizmann-horse", "clothing-ccp", "car-sideview", "butterflies", "pennfudan")
        for suffix, count, changes, start in (
            ("", 100, (), 0), ("-few", 40, (), 1), ("-grey", 80, (grey,), 2), ("-jpeg", 80, (jpeg(60),), 3),
        )
    },
    "gtsrb8": Collection("photos-alike", real("gtsrb8", 300)),
    # Nothing in common.
    "ecssd": Collection("photos-unlike", real("ecssd", 100)),
    "ecssd-few": Collection("photos-unlike", real("ecssd", 40, start=1)),
    "ecssd-many": Collection("photos-unlike", real("ecssd", 300, start=2)),
    "ecssd-grey": Collection("photos-unlike", real("ecssd", 100, grey, start=3)),
    "ecssd-jpeg": Collection("photos-unlike", real("ecssd", 100, jpeg(50), start=4)),
    "ecssd-half": Collection("photos-unlike", real("ecssd", 100, smaller, start=5)),
    "ecssd-larger": Collection("photos-unlike", real("ecssd", 60, larger, start=6)),
    "mixture": Collection(
        "photos-unlike",
        mixed(*(real(name, 16) for name in ("ecssd", "flowers17", "weizmann-horse", "butterflies", "pennfudan"))),
    ),
}  # fmt: skip


def measure(seed: int, only: str) -> list[dict[str, object]]:
    """Recognise every collection whose name holds a text."""
    rows = []
    for name, collection in COLLECTIONS.items():
        if only not in name:
            continue
        images = collection.images(seed)
        began = time.perf_counter()
        found = recognise(images)
        rows.append({
            "name": name, "seed": seed, "kind": collection.kind, "found": found.kind, "right": found.kind == collection.kind,
            "zoom": collection.zoom, "zoom_found": found.enlargement or "1", "images": len(images), "size": list(images.size),
            "seconds": round(time.perf_counter() - began, 2), "evidence": list(found.evidence),
        })  # fmt: skip
        if not rows[-1]["right"] or only:
            print(json.dumps(rows[-1]), flush=True)
    return rows


def rates(rows: Sequence[dict[str, object]]) -> dict[str, object]:
    """How often each kind is recognised, and enlargements of drawn ones."""
    kinds = {kind: [row["right"] for row in rows if row["kind"] == kind] for kind in KINDS}
    drawn = [row for row in rows if row["kind"] in ("clip", "pixel-art", "shapes")]
    return {
        "collections": len(rows),
        "right": float(np.mean([bool(row["right"]) for row in rows])),
        "by_kind": {kind: {"right": float(np.mean(each)), "of": len(each)} for kind, each in kinds.items() if each},
        "enlargement": {
            "right": float(np.mean([row["zoom_found"] == str(row["zoom"]) for row in drawn])),
            "of": len(drawn),
        },
        "seconds_most": max(float(str(row["seconds"])) for row in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    rows = [row for seed in options.seeds for row in measure(seed, options.only)]
    figures = rates(rows)
    print(json.dumps(figures, indent=2))
    if not options.only:
        record = {
            "script": "benchmarks/recognise.py", "seeds": options.seeds, "date": datetime.date.today().isoformat(),
            "machine": machine("cpu"), **figures, "rows": rows,
        }  # fmt: skip
        (RESULTS / "recognise.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

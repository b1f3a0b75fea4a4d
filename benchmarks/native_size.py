"""How often the pixels' own size of enlarged pixel art is found, over ten ways in which captures are distorted.

    python benchmarks/native_size.py [--scenes 50]

Scenes are drawn here: tiles, figures, letters and flat ground in random palettes. Each is enlarged (by whole factors of 2
to 8 unless the distortion says otherwise), distorted and given to `estimate_enlargement` alone, one picture at a time. Right
is a native size that is off by less than half a pixel an axis. Native art that
was not enlarged, and photographs (smooth noise, drawn), must be left alone. Beside each share stands what the exact rule
(`detect_enlargement`) finds.
"""

import argparse
import io
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from delaminate.data.enlargement import detect_enlargement, estimate_enlargement

RESULT = Path(__file__).parent / "results" / "native-size.json"


# ---- Scenes -----------------------------------------------------------------------------------------------------


def palette(rng, count):
    """Colours that differ in lightness, as an artist takes them."""
    colours = rng.integers(0, 256, (count, 3))
    light = np.linspace(20, 235, count)[:, None]
    return np.clip(0.5 * colours + 0.5 * light, 0, 255).astype(np.uint8)


def tile(rng, side, count):
    """Bricks, dither, specks, stripes or a flat tile, as numbers of colours."""
    kind = rng.integers(6)
    y, x = np.mgrid[:side, :side]
    if kind == 0:
        return np.where((y % 4 == 0) | ((x + 4 * (y // 4 % 2)) % 8 == 0), rng.integers(count), rng.integers(count))
    if kind == 1:
        return np.where((x + y) % 2 == 0, rng.integers(count), rng.integers(count))
    if kind == 2:
        return np.where(rng.random((side, side)) < 0.1, rng.integers(count), rng.integers(count))
    if kind == 3:
        return np.where(y < rng.integers(1, side), rng.integers(count), rng.integers(count))
    if kind == 4:
        return rng.integers(0, 3, (side, side))
    return np.full((side, side), rng.integers(count))


def figure(rng, count):
    """A mirrored figure with an outline; -1 is nothing."""
    height, half = rng.integers(6, 20), rng.integers(3, 9)
    left = rng.random((height, half)) < np.linspace(0.35, 0.95, half)
    body = np.concatenate([left, left[:, ::-1]], 1)
    numbers = np.where(body, rng.integers(0, count, body.shape[0])[:, None], -1)
    edge = body & ~(np.roll(body, 1, 0) & np.roll(body, -1, 0) & np.roll(body, 1, 1) & np.roll(body, -1, 1))
    return np.where(edge, 0, numbers)


def draw_scene(rng, size):
    """One picture of pixel art, (H, W, 3) uint8: tiled, or flat ground; then figures and lines of letters."""
    count = int(rng.integers(4, 14))
    colours, (height, width) = palette(rng, count), size
    side = int(rng.choice([8, 16]))
    rows, columns = height // side + 1, width // side + 1
    numbers = np.full((rows * side, columns * side), rng.integers(count))
    tiles = [tile(rng, side, count) for _ in range(6)]
    tiled = rng.random()
    for row in range(rows):
        for column in range(columns):
            if tiled > 0.3 and rng.random() < tiled:
                window = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
                numbers[window] = tiles[rng.integers(len(tiles))]
    numbers = numbers[:height, :width]
    for _ in range(int(rng.integers(4, 16))):
        shape = figure(rng, count)
        top, left = rng.integers(0, max(height - shape.shape[0], 1)), rng.integers(0, max(width - shape.shape[1], 1))
        window = numbers[top : top + shape.shape[0], left : left + shape.shape[1]]
        shape = shape[: window.shape[0], : window.shape[1]]
        window[shape >= 0] = shape[shape >= 0]
    if rng.random() < 0.5:
        line = rng.random((7, min(60, width))) < 0.4
        numbers[2:9, : line.shape[1]][line] = count - 1
    return colours[numbers]


def draw_photo(rng, size=(480, 640)):
    """Smooth noise at many scales, grain on top: what a camera gives."""
    picture = np.zeros((*size, 3))
    for scale in (4, 8, 16, 32, 64, 128):
        small = rng.random((size[0] // scale + 2, size[1] // scale + 2, 3)) * 255
        layer = Image.fromarray(small.astype(np.uint8)).resize((size[1], size[0]), Image.Resampling.BICUBIC)
        picture += np.asarray(layer) * scale**0.5
    picture = (picture - picture.min()) / np.ptp(picture) * 255 + rng.normal(0, 3, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


# ---- Distortions ------------------------------------------------------------------------------------------------


def nearest(pixels, factor):
    """Enlarge by any two factors, as nearest-neighbour scalers do."""
    height, width = round(pixels.shape[0] * factor[0]), round(pixels.shape[1] * factor[1])
    rows = np.minimum(((np.arange(height) + 0.5) * pixels.shape[0] / height).astype(int), pixels.shape[0] - 1)
    columns = np.minimum(((np.arange(width) + 0.5) * pixels.shape[1] / width).astype(int), pixels.shape[1] - 1)
    return pixels[rows][:, columns]


def with_cursor(rng, pixels):
    """An arrow of 12 x 19 pixels of the screen."""
    out = pixels.copy()
    top, left = rng.integers(0, out.shape[0] - 20), rng.integers(0, out.shape[1] - 13)
    for row in range(19):
        width = min(row, 11) + 1 if row < 13 else 5
        start = 0 if row < 13 else row - 12
        out[top + row, left + start : left + start + width] = 255
        out[top + row, [left + start, left + start + width - 1]] = 0
    return out


def with_window(rng, pixels):
    """A title bar with letters and a frame, or black bars."""
    if rng.random() < 0.5:
        pad = rng.integers(3, 60, 2)
        vertical = rng.random() < 0.5
        return np.pad(
            pixels, ((pad[0], pad[1]) if vertical else (0, 0), (0, 0) if vertical else (pad[0], pad[1]), (0, 0))
        )
    bar = int(rng.integers(18, 34))
    edge = int(rng.integers(1, 8))
    out = np.full((pixels.shape[0] + bar + edge, pixels.shape[1] + 2 * edge, 3), rng.integers(0, 256, 3), np.uint8)
    out[bar:-edge, edge:-edge] = pixels
    letters = rng.random((8, 90)) < 0.45
    out[5:13, 10:100][letters[:, : out.shape[1] - 10]] = 255 - out[0, 0]
    return out


def jpeg(rng, pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=int(rng.integers(85, 96)))
    return np.array(Image.open(buffer))


def h264(pixels, crf="20"):
    import av

    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": crf, "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)][-1]


def resized(pixels, factor):
    height, width = round(pixels.shape[0] * factor[0]), round(pixels.shape[1] * factor[1])
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def few_colours(pixels):
    small = Image.fromarray(pixels).quantize(32, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return np.array(small.convert("RGB"))


def cropped(rng, pixels, factor):
    top, left = (int(rng.integers(0, int(np.ceil(each)))) for each in factor)
    bottom, right = (int(rng.integers(0, int(np.ceil(each)))) for each in factor)
    return pixels[top : pixels.shape[0] - bottom, left : pixels.shape[1] - right]


def sample(kind, rng):
    """One distorted picture, its factors (rows, columns), and whether all its pixels can come back."""
    whole = int(rng.integers(2, 9))
    factor = (float(whole),) * 2
    if kind == "two factors":
        factor = tuple(float(each) for each in rng.choice(np.arange(2, 9), 2, replace=False))
    if kind == "fractional":
        factor = (float(rng.uniform(1.5, 8)),) * 2 if rng.random() < 0.5 else tuple(rng.uniform(1.5, 8, 2).tolist())
    largest = rng.integers(240, 801), rng.integers(320, 801)
    native = tuple(max(int(side / each), 40) for side, each in zip(largest, factor, strict=True))
    scene = draw_scene(rng, native)
    pixels = nearest(scene, factor)
    factor = tuple(now / before for now, before in zip(pixels.shape[:2], native, strict=True))
    if kind == "cropped":
        pixels = cropped(rng, pixels, factor)
    if kind == "cursor":
        pixels = with_cursor(rng, cropped(rng, pixels, factor))
    if kind == "window or bars":
        pixels = with_window(rng, pixels)
    if kind == "JPEG q85-95":
        pixels = jpeg(rng, pixels if rng.random() < 0.5 else cropped(rng, pixels, factor))
    if kind == "H.264 crf 20":
        pixels = h264(pixels if rng.random() < 0.5 else cropped(rng, pixels, factor))
    if kind == "bilinear":
        # Half of them straight from the native size, half a sharp enlargement that a player brings to its window.
        if rng.random() < 0.5:
            pixels = resized(scene, factor)
        else:
            more = float(rng.uniform(1.05, 1.6)) if rng.random() < 0.7 else float(rng.uniform(0.8, 0.95))
            pixels = resized(pixels, (more, more))
            factor = tuple(now / before for now, before in zip(pixels.shape[:2], native, strict=True))
    if kind == "palette of 32":
        pixels = few_colours(pixels)
    return pixels, factor, scene


DISTORTIONS = (
    "none", "cropped", "two factors", "fractional", "cursor", "window or bars", "JPEG q85-95", "bilinear", "H.264 crf 20",
    "palette of 32",
)  # fmt: skip


def tensor(pixels):
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].contiguous()


def is_right(found, factor, native):
    """Whether a factor gives the native size to within half a pixel an axis."""
    return all(abs(side * want / have - side) < 0.5 for have, want, side in zip(found, factor, native, strict=True))


UNTOUCHED = {
    "native art, not enlarged": lambda rng: draw_scene(rng, (int(rng.integers(120, 480)), int(rng.integers(160, 640)))),
    "native art as JPEG": lambda rng: jpeg(rng, draw_scene(rng, (240, 320))),
    "photographs": draw_photo,
    "photographs as JPEG": lambda rng: jpeg(rng, draw_photo(rng)),
}


def timed(images):
    """An estimate, and the milliseconds it took."""
    start = time.perf_counter()
    found = estimate_enlargement(images)
    return found, 1000 * (time.perf_counter() - start)


def measure_distorted(kind, count, seed):
    """One row: shares that are right, by majority and by the exact rule, and what was missed."""
    right, exact, milliseconds, misses = 0, 0, [], []
    for index in range(count):
        pixels, factor, scene = sample(kind, np.random.default_rng([seed, DISTORTIONS.index(kind), index]))
        found, took = timed(tensor(pixels))
        milliseconds.append(took)
        if found is not None and is_right(found.factor, factor, scene.shape[:2]):
            right += 1
        else:
            misses.append((index, factor, None if found is None else found.factor))
        whole = detect_enlargement(tensor(pixels))
        exact += is_right((whole, whole), factor, scene.shape[:2])
    return {"right": right / count, "exact_rule": exact / count, "ms": float(np.median(milliseconds)), "misses": misses}


def measure_untouched(kind, count, seed):
    """One row for pictures that were not enlarged."""
    exact, milliseconds, misses = 0, [], []
    for index in range(count):
        images = tensor(UNTOUCHED[kind](np.random.default_rng([seed, 100, index])))
        found, took = timed(images)
        milliseconds.append(took)
        if found is not None:
            misses.append((index, found.factor))
        exact += detect_enlargement(images) == 1
    right = 1 - len(misses) / count
    return {"right": right, "exact_rule": exact / count, "ms": float(np.median(milliseconds)), "misses": misses}


def measure(count, seed=0):
    """All rows, by their names."""
    rows = {kind: measure_distorted(kind, count, seed) for kind in DISTORTIONS}
    return rows | {kind: measure_untouched(kind, count, seed) for kind in UNTOUCHED}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--misses", action="store_true", help="Print what was not found.")
    parser.add_argument("--dry", action="store_true", help="Write no result file.")
    words = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(words.scenes, words.seed)
    print(f"{'':28s} found  exact rule  ms an image")
    for kind, row in rows.items():
        print(f"{kind:28s} {row['right']:5.2f}  {row['exact_rule']:10.2f}  {row['ms']:11.1f}")
        misses = row.pop("misses")
        if words.misses:
            for miss in misses:
                print("      ", miss)
    if not words.dry:
        machine = {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "machine": platform.machine(),
            "threads": 1,
        }
        result = {"scenes": words.scenes, "seed": words.seed, "machine": machine, "distortions": rows}
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

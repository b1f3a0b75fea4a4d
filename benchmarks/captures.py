"""Drawn captures, taken apart with default settings: are the right sprites found, and is anything wrong kept silent?

    python benchmarks/captures.py --count 200 --seed 0            # the development range
    python benchmarks/captures.py --count 20 --kind panorama --codec png
    python benchmarks/captures.py --lossy --count 100 --out benchmarks/results/captures-lossy.json
    python benchmarks/captures.py --kinds --count 200 --out benchmarks/results/captures-kinds.json
    python benchmarks/captures.py --kinds --lossy --count 36 --out benchmarks/results/captures-kinds-lossy.json

Each capture is stored as its codec says, trained on and decomposed by the public functions without one setting. Measured:
the share of true sprites found (alpha IoU of 0.95 at the best shift, mirrored or not), PSNR of the scenes against the frames
before compression, and whether the kind of background is right. One line a capture; the record has the means.
"""

import argparse
import io
import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from delaminate import decompose, train
from delaminate.bench.run import machine
from delaminate.data.synthetic.captures import BACKGROUNDS, PANEL, Capture, draw_capture
from delaminate.matching.exact.choice import choose_background
from delaminate.matching.exact.noise import LOSSLESS_TOLERANCE, estimate_noise

KEY = (255, 0, 255)
"""Stands for transparent pixels."""
WRONG = 40
"""Levels of 255 by which a background behind a lossy capture is off where it is wrong."""
RIGHT = {
    "solid": ("solid",), "transparent": ("solid",), "static": ("static",), "rooms": ("rooms",),
    "panorama": ("panorama",), "parallax": ("parallax",), "tiles": ("static", "panorama"),
}  # fmt: skip


def store(capture: Capture, folder: Path) -> Path:
    """Write a capture as its codec says."""
    images = [
        Image.fromarray(frame if capture.background == "transparent" else frame[..., :3]) for frame in capture.frames
    ]
    if capture.codec in ("png", "jpeg"):
        path = folder / "frames"
        path.mkdir()
        for index, image in enumerate(images):
            name = path / f"frame-{index:04d}.{'png' if capture.codec == 'png' else 'jpg'}"
            image.save(name, **({} if capture.codec == "png" else {"quality": 90}))
        return path
    if capture.codec == "gif":
        path = folder / "clip.gif"
        colours = {tuple(c) for frame in capture.frames[::4] for c in np.unique(frame[..., :3].reshape(-1, 3), axis=0)}
        if len(colours) > 255:
            images = [image.convert("P", palette=Image.Palette.ADAPTIVE, colors=255) for image in images]
        images[0].save(path, save_all=True, append_images=images[1:], duration=list(capture.durations), loop=0)
        return path
    return _video(capture, folder / "clip.mp4")


def _video(capture: Capture, path: Path) -> Path:
    import av

    height, width = capture.frames.shape[1] // 2 * 2, capture.frames.shape[2] // 2 * 2
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # With more threads the same frames give other files from run to run.
        stream.options = {"crf": "20", "x264-params": "threads=1:lookahead-threads=1"}
        stream.codec_context.thread_count = 1
        for frame in capture.frames:
            pixels = np.ascontiguousarray(frame[:height, :width, :3])
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return path


def stored(capture: Capture) -> np.ndarray:
    """The frames of a capture as its codec leaves them, (N, H, W, 3)."""
    with tempfile.TemporaryDirectory() as scratch:
        path = store(capture, Path(scratch))
        if path.is_dir():
            return np.stack([np.asarray(Image.open(each).convert("RGB")) for each in sorted(path.iterdir())])
        import av

        with av.open(str(path)) as file:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def record_kinds(count: int, start: int, seed: int, lossy: bool = False) -> dict[str, object]:
    """Which kind of background the choice by bits gives each capture, and where that is wrong.

    Args:
        count, start, seed: Which captures.
        lossy: On frames stored as JPEG or H.264, where what is off by more than 40 levels is wrong; else as drawn.
    """
    rows = []
    for index in range(start, start + count):
        codec = ("jpeg", "h264")[index % 2] if lossy else "png"
        capture = draw_capture(index, seed, "dev", codec=codec, zoom=(1.0, 1.0))
        if lossy and capture.background == "transparent":
            continue
        frames, behind = (
            np.where(f[..., 3:] > 0, f[..., :3], KEY).astype(np.uint8) for f in (capture.clean, capture.behind)
        )
        if lossy:
            frames = stored(capture)
            behind = behind[:, : frames.shape[1], : frames.shape[2]]
        tolerance = estimate_noise(frames).tolerance if lossy else LOSSLESS_TOLERANCE
        started = time.process_time()
        choice = choose_background(frames, tolerance=tolerance)
        seconds = round(time.process_time() - started, 2)
        wrong = []
        for frame, true in zip(frames, behind, strict=True):
            found = np.rint(choice.background.behind(frame.shape[:2], *choice.background.locate(frame)) * 255)
            off = (np.abs(found - true) > (WRONG if lossy else 0)).any(2)
            wrong.append(off[PANEL if capture.panel else 0 :].mean())
        right = choice.kind in RIGHT[capture.background]
        rows.append(
            {
                "index": index, "background": capture.background, "kind": choice.kind, "right": right,
                "wrong": round(float(np.mean(wrong)), 5), "seconds": seconds,
            }
        )  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    wrong_pixels = {
        kind: round(float(np.mean([row["wrong"] for row in rows if row["background"] == kind])), 5)
        for kind in BACKGROUNDS
        if any(row["background"] == kind for row in rows)
    }
    return {
        "rows": rows,
        "right": sum(bool(row["right"]) for row in rows),
        "of": len(rows),
        "wrong_pixels": wrong_pixels,
    }


def sprites_found(truth: tuple[np.ndarray, ...], found: list[np.ndarray]) -> list[bool]:
    """Which true sprites (h, w, 4) have a found one of nearly the same alpha."""
    hits = []
    for sprite in truth:
        alpha = sprite[..., 3] > 0
        shapes = [f[..., 3] > 127 for f in found]
        hits.append(any(max(iou(alpha, s), iou(alpha, s[:, ::-1])) >= 0.95 for s in shapes))
    return hits


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union at the best shift of up to two pixels."""
    if max(abs(a - b) for a, b in zip(one.shape, other.shape, strict=True)) > 4:
        return 0.0
    size = [max(a, b) + 4 for a, b in zip(one.shape, other.shape, strict=True)]
    first = np.zeros(size, bool)
    first[2 : 2 + one.shape[0], 2 : 2 + one.shape[1]] = one
    best = 0.0
    for y in range(size[0] - other.shape[0] + 1):
        for x in range(size[1] - other.shape[1] + 1):
            second = np.zeros(size, bool)
            second[y : y + other.shape[0], x : x + other.shape[1]] = other
            best = max(best, (first & second).sum() / (first | second).sum())
    return best


def measure(capture: Capture, folder: Path) -> dict[str, object]:
    """Take a capture apart and compare with the truth."""
    started = time.monotonic()
    path = store(capture, folder)
    run = train(path, "marionette", settings={})
    model = run.model
    found = decompose(model, path)
    sprites = [s.permute(1, 2, 0).mul(255).round().numpy() for s in model.dictionary().sprites[:-1]]
    hits = sprites_found(capture.sprites, sprites)
    errors = []
    for frame, scene in zip(_kept(capture), found.scenes, strict=True):
        shown = scene.composite().permute(1, 2, 0).numpy()
        wanted = torch.from_numpy(frame).float().div(255).numpy()
        wanted = wanted[..., :3] * wanted[..., 3:]
        height, width = min(shown.shape[0], wanted.shape[0]), min(shown.shape[1], wanted.shape[1])
        error = np.square(shown[:height, :width] - wanted[:height, :width]).mean()
        errors.append(-10 * math.log10(max(error, 1e-10)))
    kind = model.background_kind
    return {
        "background": capture.background, "codec": capture.codec, "zoom": list(capture.zoom),
        "frames": len(capture.frames), "size": list(capture.clean.shape[1:3]), "half": capture.half_transparent,
        "panel": capture.panel, "true": len(hits), "found": sum(hits), "learned": len(sprites), "missed": [
            list(capture.sprites[n].shape[:2]) for n, hit in enumerate(hits) if not hit],
        "kind": kind, "right": kind in RIGHT[capture.background], "psnr": float(np.mean(errors)),
        "native": list(run.images.size), "seconds": round(time.monotonic() - started, 1), "said": getattr(found, "summary", ""),
    }  # fmt: skip


def _kept(capture: Capture) -> list[np.ndarray]:
    """The frames that the file has: in a GIF, frames like the one before only make that last longer."""
    frames = list(capture.frames)
    if capture.codec != "gif":
        return frames
    return [frame for n, frame in enumerate(frames) if n == 0 or not np.array_equal(frame, frames[n - 1])]


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.1f} (least {min(values):.1f})" if values else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=BACKGROUNDS)
    parser.add_argument("--codec")
    parser.add_argument("--zoom", type=float)
    parser.add_argument(
        "--lossy",
        action="store_true",
        help="only those of the range that are stored with loss; with --kinds, all of them as JPEG or H.264",
    )
    parser.add_argument("--kinds", action="store_true", help="only the kinds of background, without search")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--resume", action="store_true", help="go on with the record at --out")
    options = parser.parse_args()
    if options.kinds:
        write(options.out, options, record_kinds(options.count, options.start, options.seed, options.lossy))
        return
    zoom = None if options.zoom is None else (options.zoom, options.zoom)
    rows = json.loads(options.out.read_text())["rows"] if options.resume and options.out.exists() else []
    done = {row["index"] for row in rows}
    for index in sorted(set(range(options.start, options.start + options.count)) - done):
        capture = draw_capture(index, options.seed, "dev", options.kind, options.codec, zoom)
        if options.lossy and not capture.is_lossy:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                row = measure(capture, Path(folder))
            except Exception as error:
                row = {
                    "background": capture.background,
                    "codec": capture.codec,
                    "zoom": capture.zoom,
                    "failed": repr(error),
                }
        rows.append({"index": index, **row})
        print(json.dumps(rows[-1]), flush=True)
        write(options.out, options, {"rows": rows, "summary": summary(rows).splitlines()})  # a capture more each time
    print(summary(rows))


def write(out: Path | None, options: argparse.Namespace, figures: dict[str, object]) -> None:
    """Write a record: the command, the machine, the figures."""
    if out is None:
        return
    words = {key: value for key, value in vars(options).items() if value not in (None, False) and key != "out"}
    record = {
        "script": "benchmarks/captures.py",
        "options": words,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
    }
    out.write_text(json.dumps(record | figures, indent=1) + "\n")


def summary(rows: list[dict[str, object]]) -> str:
    """The means over captures, in a line each."""
    good = [row for row in rows if "failed" not in row]
    io_ = io.StringIO()
    for name, some in [("all", good), *((kind, [r for r in good if r["background"] == kind]) for kind in BACKGROUNDS)]:
        if not some:
            continue
        found, true = (sum(int(str(r[key])) for r in some) for key in ("found", "true"))
        lossy = [float(str(r["psnr"])) for r in some if r["codec"] in ("jpeg", "h264")]
        clean = [float(str(r["psnr"])) for r in some if r["codec"] not in ("jpeg", "h264")]
        right = np.mean([bool(r["right"]) for r in some])
        seconds = np.mean([float(str(r["seconds"])) for r in some])
        io_.write(
            f"{name}: sprites {found}/{true} = {found / max(true, 1):.3f}; kind right {right:.3f}; PSNR lossless "
            f"{_spread(clean)}, lossy {_spread(lossy)}; {seconds:.1f} s each; {len(some)} captures\n"
        )
    failed = len(rows) - len(good)
    return io_.getvalue() + (f"failed: {failed}\n" if failed else "")


if __name__ == "__main__":
    main()

"""Files as strangers may send them: small true files of every kind that the library reads, and ways to spoil them.

One case is a function of (kind, seed, number): a true file is drawn and spoiled a little, so that the damage gets past the
first checks. `tools/fuzz.py` tries many of them, and `tests/test_hostile_files.py` a few.
"""

import gzip
import io
import json
import random
import re
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from scipy.io import savemat

from delaminate.config import build, parse_settings, to_dict
from delaminate.data import draw, load_folder, open_data, write_folder
from delaminate.data.clips import read_clip
from delaminate.data.labelled import load_labelled_folder, written_files
from delaminate.data.reading import read_mask, read_with_alpha
from delaminate.data.real.games import load_dubey_sample, load_space_invaders_sample, load_text_pages
from delaminate.data.real.lsun import load_lsun
from delaminate.data.real.photos import load_cub, load_flowers102
from delaminate.data.real.published import load_hdf5, load_svhn
from delaminate.data.registry import load_archive
from delaminate.data.synthetic.digits import read_idx
from delaminate.data.synthetic.drawing import stamp_file
from delaminate.engine import Budget, train
from delaminate.engine.loop import Intervals
from delaminate.engine.record import read_log
from delaminate.exporters import FORMATS
from delaminate.exporters.residuals import read_residual
from delaminate.exporters.training_page import write_history
from delaminate.files import png_bytes
from delaminate.importers.aseprite import read_aseprite
from delaminate.importers.sheets import read_sheet
from delaminate.importers.tiled import read_tiled
from delaminate.methods import METHODS, load_model
from delaminate.pipelines.importing import DOCUMENTS
from delaminate.pipelines.training import new_model, resolve_config
from delaminate.scene.loading import load_scenes
from delaminate.scene.placements import Dictionary, Placement, Transform
from delaminate.scene.saving import save_scenes
from delaminate.scene.summary import load_rate

TINY = {
    "dti-sprites": ("tetrominoes-paper", {"image_size": (16, 16), "sprite_size": (8, 8), "num_sprites": 3, "num_layers": 2,
                                          "steps": 4, "batch": 2, "unlock_steps": (), "milestones": ()}),
    "marionette": ("video", {"image_size": (16, 16), "sprite_size": 8, "num_sprites": 5, "code_width": 16, "batch": 2,
                             "search_steps": 1, "search_batch": 8}),
    "redo": ("photos", {"image_size": (16, 16), "mask_width": 8, "generator_width": 2, "discriminator_width": 16,
                        "noise_width": 4, "batch": 2, "steps": 4, "warmup_steps": 0, "distil_steps": 0, "bf16": False}),
    "perturbgan": ("photos", {"image_size": (16, 16), "noise_width": 4, "mapping_depth": 1, "width": 2, "max_channels": 4,
                              "batch": 2, "steps": 4, "encoder_steps": 0, "segmenter_steps": 2, "segmenter_batch": 2,
                              "segmenter_width": 8, "self_training_steps": 0, "restarts": 0, "bf16": False}),
}  # fmt: skip
NUMBERS = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 4096, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
VALUES: tuple[Any, ...] = (
    *NUMBERS, -1, -(2**31), 2**53, 2**63, 2**64, 10**400, 0.5, 1e-320, 1e30, 1e300, -1e300, float("nan"), float("inf"),
    True, False, None, "", "x", "\ud800", "\x00", "../x", "/etc/passwd", "none", [], {}, [0], [0, 0], [[0] * 3] * 3, "9" * 5000,
    [1] * 1000, {"a": {"b": [1]}},
)  # fmt: skip
YAML = (
    "!!int ''", "!!int x", "!!float ''", "!!timestamp x", "!!bool x", "!!binary '@'", "2001-99-99", "2001-01-01 99:99:99",
    "0b", "0x", "0o9", "1:" + "59:" * 400 + "59", "9" * 5000, "=", "<<", "~", "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a]",
    "!!python/object/apply:os.system ['true']", "!!python/name:os.system", "&a [*a]", "*a", "{? [a] : b}", "[" * 3000, "'",
    "\ud800", "\x00", "\t", "|", ">", "%YAML 9.9", "---", "...", "<<: 1", "1e999", ".nan", "-.inf", "yes", "0777", "1_000",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        make: Writes true files below a folder; each of its entries, a file or a folder, is read by itself.
        read: Reads one of them, which may have been spoiled; what it is follows from its name.
        named: What a message must hold; empty: the path.
    """

    make: Callable[[Path], None]
    read: Callable[[Path], object]
    named: str = ""


# ---- spoiling ---------------------------------------------------------------------------------------------------


def spoil(name: str, data: bytes, rng: random.Random) -> bytes:
    """Change a file a little: its bytes, or what they mean where that is known by its name."""
    suffix = Path(name).suffix
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if suffix in (".json", ".jsonl") and rng.random() < 0.7:
            data = _spoil_json(data, rng)
        elif suffix in (".yaml", ".txt", ".csv") and rng.random() < 0.7:
            data = _spoil_words(data, rng)
        elif suffix == ".safetensors" and rng.random() < 0.7:
            data = _spoil_safetensors(data, rng)
        elif suffix in (".npz", ".pt") and rng.random() < 0.7:
            data = _spoil_zip(data, rng)
        elif suffix == ".gz" and rng.random() < 0.7:
            data = gzip.compress(_spoil_bytes(_unzipped(data), rng), 1)
        else:
            data = _spoil_bytes(data, rng)
    return with_checksums(data) if suffix in (".png", ".apng") and rng.random() < 0.8 else data


def _spoil_bytes(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return rng.randbytes(rng.randrange(20))
    # Half of the time near the start, where heads are.
    place = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(len(data), 200))
    length = min(rng.choice((1, 2, 4, 8, 30, 300)), len(data) - place)
    before, after = data[:place], data[place + length :]
    match rng.randrange(9):
        case 0:
            return before + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
        case 1:
            return before + rng.randbytes(length) + after
        case 2 | 3:
            size, order = rng.choice((1, 2, 4, 8)), rng.choice(("<", ">"))
            number = rng.choice(NUMBERS) % 2 ** (8 * size)
            return before + struct.pack(f"{order}{'BHIQ'[(1, 2, 4, 8).index(size)]}", number) + data[place + size :]
        case 4:
            return before + after
        case 5:
            return data[: place + length] + data[place : place + length] * rng.choice((1, 1, 3, 50)) + after
        case 6:
            return before if rng.random() < 0.5 else after
        case 7:
            return before + bytes(length) + after
        case _:
            other = rng.randrange(len(data))
            return before + data[other : other + length] + data[place:]


def _spoil_json(data: bytes, rng: random.Random) -> bytes:
    lines = (
        data.decode("utf-8", "replace").splitlines() if data.count(b"\n{") > 1 else [data.decode("utf-8", "replace")]
    )
    at = rng.randrange(max(len(lines), 1))
    try:
        value = json.loads(lines[at])
    except (ValueError, IndexError, RecursionError):
        return _spoil_bytes(data, rng)
    nodes: list[tuple[Any, Any]] = []
    pending = [value]
    while pending:
        node = pending.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, child in list(items):
            nodes.append((node, key))
            pending.append(child)
    if not nodes:
        return _spoil_bytes(data, rng)
    node, key = rng.choice(nodes)
    match rng.randrange(6):
        case 0:
            del node[key]
        case 1 if isinstance(node, dict):
            node[rng.choice(("", "x", "\ud800", "_", "format"))] = node.pop(key)
        case 2:
            holder, other = rng.choice(nodes)
            node[key] = json.loads(json.dumps(holder[other])) if holder is not node else holder[other]
        case _:
            node[key] = rng.choice(VALUES)
    lines[at] = json.dumps(value)
    if rng.random() < 0.03:
        lines[at] = "[" * 100_000
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _spoil_words(data: bytes, rng: random.Random) -> bytes:
    text = data.decode("utf-8", "replace")
    words = list(re.finditer(r"[^\s\[\],:]+", text))
    if not words:
        return _spoil_bytes(data, rng)
    word = rng.choice(words)
    new = rng.choice(YAML) if rng.random() < 0.5 else str(rng.choice(VALUES))
    return (text[: word.start()] + new + text[word.end() :]).encode("utf-8", "surrogatepass")


def _spoil_safetensors(data: bytes, rng: random.Random) -> bytes:
    """Spoil the head, whose length is put right, or numbers of the weights: large ones, or what is none."""
    length = int.from_bytes(data[:8], "little")
    head, body = data[8 : 8 + length], bytearray(data[8 + length :])
    if rng.random() < 0.5:
        head = _spoil_json(head, rng)
        return struct.pack("<Q", len(head)) + head + bytes(body)
    for _ in range(rng.choice((1, 10, 1000))):
        place = 4 * rng.randrange(max(len(body) // 4, 1))
        body[place : place + 4] = struct.pack("<f", rng.choice((1e38, -1e38, 1e20, 1e10, -1e10, 1e4, 0.0, 1e-40)))
    return data[: 8 + length] + bytes(body)


def _spoil_zip(data: bytes, rng: random.Random) -> bytes:
    """Spoil a member, whose checksum is put right."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
    except Exception:  # spoiled already
        members = {}
    if not members:
        return _spoil_bytes(data, rng)
    chosen = rng.randrange(len(members)) if rng.random() < 0.5 else 0
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for at, (name, content) in enumerate(members.items()):
            archive.writestr(name, _spoil_bytes(content, rng) if at == chosen else content)
    return stream.getvalue()


def _unzipped(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except Exception:  # spoiled already
        return data


def with_checksums(data: bytes) -> bytes:
    """Put the checksums of a PNG's pieces right, as far as they can be followed."""
    found, place = bytearray(data), 8
    while place + 12 <= len(found):
        length = int.from_bytes(found[place : place + 4], "big")
        end = place + 8 + length
        if end + 4 > len(found):
            break
        found[end : end + 4] = struct.pack(">I", zlib.crc32(found[place + 4 : end]))
        place = end + 4
    return bytes(found)


# ---- cases ------------------------------------------------------------------------------------------------------


@contextmanager
def case(kind: str, originals: Path, place: Path, seed: int, number: int) -> Iterator[Path]:
    """Put one spoiled file, or folder with a spoiled file, at a place; it is gone afterwards.

    Args:
        kind: A key of `KINDS`.
        originals: Where its `make` has written.
        place: An empty folder.
        seed, number: Which case.
    """
    rng = random.Random(f"{kind}/{seed}/{number}")
    entries = sorted(originals.iterdir())
    with copied(rng.choice(entries), place) as copy:
        files = [copy] if copy.is_file() else sorted(path for path in copy.rglob("*") if path.is_file())
        spoiled = rng.choice(files)
        spoiled.write_bytes(spoil(spoiled.name, spoiled.read_bytes(), rng))
        yield copy


@contextmanager
def copied(entry: Path, place: Path) -> Iterator[Path]:
    """Copy a file or folder to a place; it is gone afterwards."""
    copy = place / entry.name
    if entry.is_dir():
        shutil.copytree(entry, copy)
    else:
        shutil.copy(entry, copy)
    try:
        yield copy
    finally:
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink()


# ---- true files -------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
SMALL = (24, 20)  # height and width of most pictures


def _picture(channels: int = 3, kind: type = np.uint8) -> np.ndarray:
    """A picture that is neither flat nor noise."""
    rows, columns = np.mgrid[: SMALL[0], : SMALL[1]]
    ramp = np.stack([rows * 9, columns * 11, (rows // 6 + columns // 5) * 30, 255 * (rows > 4)], 2)[..., :channels]
    return np.ascontiguousarray(ramp.astype(kind))


def _make_images(folder: Path) -> None:
    rgb, rgba = Image.fromarray(_picture()), Image.fromarray(_picture(4))
    grey = Image.fromarray(_picture()[..., 1])
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    text = PngImagePlugin.PngInfo()
    text.add_text("title", "x" * 50, zip=True)
    profile = b"\0" * 128 + b"profile" * 20
    rgb.save(folder / "rgb.png", pnginfo=text, icc_profile=profile, exif=exif)
    rgba.save(folder / "rgba.png")
    rgb.quantize(16).save(folder / "palette.png", transparency=bytes(range(0, 160, 10)))
    Image.fromarray(_picture()[..., 1].astype(np.uint16) * 257).save(folder / "deep.png")
    grey.convert("1").save(folder / "bits.png")
    rgb.save(folder / "rgb.jpg", exif=exif, icc_profile=profile)
    rgb.save(folder / "progressive.jpg", progressive=True, quality=60)
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.save(folder / "lossy.webp", exif=exif)
    rgba.save(folder / "alpha.webp", lossless=True)
    rgb.quantize(32).save(folder / "palette.gif", transparency=3)
    rgb.save(folder / "plain.tif")
    rgb.save(folder / "packed.tif", compression="tiff_lzw")
    rgba.save(folder / "deflate.tiff", compression="tiff_adobe_deflate")
    grey.convert("1").save(folder / "fax.tif", compression="group4")
    rgb.save(folder / "jpeg.tif", compression="jpeg")
    rgb.save(folder / "rgb.bmp")
    rgb.quantize(16).save(folder / "palette.bmp")


def _read_image(path: Path) -> None:
    """Masks are known by their names."""
    if path.stem in ("palette", "deep", "bits", "fax"):
        read_mask(path)
    if path.suffix == ".png":
        stamp_file(path)
    load_folder(path)
    read_with_alpha(path)


def _frames(count: int = 5) -> list[Image.Image]:
    frames = []
    for index in range(count):
        pixels = np.zeros((*SMALL, 4), np.uint8)
        pixels[4:14, 2 * index : 2 * index + 8] = _picture(4)[:10, :8]
        pixels[4:14, 2 * index : 2 * index + 8, 3] = 255
        frames.append(Image.fromarray(pixels))
    return frames


def _make_animations(folder: Path) -> None:
    first, *rest = _frames()
    both: dict[str, Any] = {"save_all": True, "append_images": rest, "duration": [40, 80, 20, 500, 60]}
    for disposal in (0, 1, 2, 3):
        first.save(folder / f"disposal-{disposal}.gif", disposal=disposal, **both)
    opaque = [frame.convert("RGB") for frame in (first, *rest)]
    opaque[0].save(folder / "opaque.gif", save_all=True, append_images=opaque[1:], duration=100)
    for disposal in (0, 1, 2):
        first.save(folder / f"disposal-{disposal}.png", disposal=disposal, blend=disposal % 2, **both)
    first.save(folder / "animated.apng", format="PNG", **both)
    first.save(folder / "lossless.webp", lossless=True, **both)
    first.save(folder / "lossy.webp", **both)


VIDEOS = (
    ("h264.mp4", "libx264", "mp4", "yuv420p"),
    ("mpeg4.mov", "mpeg4", "mov", "yuv420p"),
    ("mpeg4.avi", "mpeg4", "avi", "yuv420p"),
    ("vp8.webm", "libvpx", "webm", "yuv420p"),
    ("vp9.webm", "libvpx-vp9", "webm", "yuva420p"),
    ("ffv1.mkv", "ffv1", "matroska", "bgra"),
    ("mjpeg.avi", "mjpeg", "avi", "yuvj420p"),
)


def _make_videos(folder: Path) -> None:
    import av

    for name, codec, form, pixels in VIDEOS:
        try:
            with av.open(str(folder / name), "w", format=form) as file:
                stream = file.add_stream(codec, rate=10)
                stream.width, stream.height, stream.pix_fmt = 32, 24, pixels
                for index in range(5):
                    array = np.zeros((24, 32, 3), np.uint8)
                    array[4:20, 3 * index : 3 * index + 9] = 200, 90, 30
                    file.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
                file.mux(stream.encode())
        except (ValueError, av.error.FFmpegError):  # this PyAV has no such encoder
            (folder / name).unlink(missing_ok=True)


def _read_clip(path: Path) -> None:
    read_clip(path, transparent="auto")


def _pixels(count: int = 8) -> torch.Tensor:
    rng = np.random.default_rng(1)
    pixels = np.zeros((count, 3, 16, 16), np.uint8)
    for image in pixels:
        top, left = rng.integers(0, 10, 2)
        image[:, top : top + 5, left : left + 5] = rng.integers(60, 256, (3, 1, 1))
    return torch.from_numpy(pixels)


def _tiny(method: str) -> Any:
    preset, settings = TINY[method]
    return METHODS[method].preset(preset, **settings)


OFTEN = Intervals(log=1, check=2, preview=2, checkpoint_seconds=0.0)


def _make_models(folder: Path) -> None:
    for method in TINY:
        model = _tiny(method)
        train(model, _pixels(), folder / method / "run", intervals=OFTEN)
        shutil.move(folder / method / "run" / "model", folder / f"{method}-model")
        shutil.rmtree(folder / method)


def _read_model(folder: Path) -> None:
    model = load_model(folder)
    images = _pixels(1).float() / 255
    for by in model.decomposers:
        model.decompose(images, by).composite()
    model.preview(images)


def _make_checkpoints(folder: Path) -> None:
    for method in TINY:
        train(_tiny(method), _pixels(), folder / method, intervals=OFTEN, budget=Budget(steps=2))
        for path in (folder / method).iterdir():
            if path.name != "checkpoint.pt":
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _read_checkpoint(folder: Path) -> None:
    train(_tiny(folder.name), _pixels(), folder, intervals=OFTEN, resume=True, budget=Budget(steps=3))


def _make_runs(folder: Path) -> None:
    train(_tiny("dti-sprites"), _pixels(), folder / "run", intervals=OFTEN)
    for name in ("model", "best", "checkpoint.pt", "config.yaml"):
        path = folder / "run" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _read_run(folder: Path) -> None:
    previews = sorted((folder / "previews").glob("*.png"))
    write_history(folder / "report.html", title="x", log=read_log(folder), previews=previews)


def _make_scenes(folder: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    sprites = tuple(torch.rand(4, 6, 5, generator=rng) for _ in range(3))
    back = torch.rand(4, *SMALL, generator=rng)
    back[3] = 1
    there = (
        Placement(-1, (Transform.shift(0, 0, SMALL),), raster=back),
        Placement(0, (Transform.shift(1, 2, SMALL),), (0.5, 1.0, 1.2, 0.1, 0.0, -0.1), 0.8, 3),
        Placement(1, (Transform.of_matrix(np.diag([1.5, 1.5, 1.0]), SMALL),)),
    )
    from delaminate.scene.decomposition import Decomposition

    found = Decomposition(Dictionary(sprites), (there, there), SMALL, background=True)
    save_scenes(found.scenes(("a", "b/c")), folder / "scenes", durations={"a": 40.0, "b/c": 80.0})
    residual = folder / "scenes" / "residuals" / "a.png"
    residual.parent.mkdir()
    residual.write_bytes(png_bytes(_picture()[..., 0].copy()))


def _make_layered(folder: Path) -> None:
    """What comes back from paint programs: layered files, and folders of sheets and maps."""
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        _make_scenes(Path(made))
        scenes = list(load_scenes(Path(made) / "scenes"))[:1]
    for kind in ("ora", "psd", "ase"):
        FORMATS[kind].write(scenes, folder)
    for kind in ("tiled", "aseprite"):
        FORMATS[kind].write(scenes, folder / kind)


def _read_layered(path: Path) -> None:
    if path.is_dir():
        sheets = sorted(path.glob("*.json"))
        return read_sheet(sheets[0]) if sheets else read_tiled(next(path.rglob("*.tmx")), path)  # type: ignore[return-value]
    return read_aseprite(path) if path.suffix == ".aseprite" else DOCUMENTS[path.suffix](path)  # type: ignore[return-value]


def _read_scenes(folder: Path) -> None:
    for scene in load_scenes(folder):
        scene.composite()
    load_rate(folder)
    read_residual(folder / "residuals", "a")


def _make_configurations(folder: Path) -> None:
    import yaml

    for method in TINY:
        config = to_dict(_tiny(method).config)
        (folder / f"{method}.yaml").write_text(yaml.safe_dump(config, sort_keys=False, default_flow_style=None))


def _read_configuration(path: Path) -> None:
    method = METHODS[path.stem]
    config = resolve_config(method, next(iter(method.presets)), path, {})
    with torch.device("meta"):
        new_model(method, replace(config, image_size=(64, 64)) if config.image_size == (0, 0) else config, 0, str(path))


def _read_settings(path: Path) -> None:
    """The same lines as words of a command line."""
    method = METHODS[path.stem]
    words = [
        f"{key}={value}"
        for line in path.read_text(errors="replace").splitlines()
        for key, _, value in [line.partition(":")]
    ]
    build(next(iter(method.presets.values())), parse_settings(words), "--set")


def _make_archives(folder: Path) -> None:
    images = RNG.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    np.savez(folder / "plain.npz", images=images, labels=np.arange(4))
    np.savez_compressed(folder / "packed.npz", images=images, labels=np.arange(4))
    savemat(folder / "svhn.mat", {"X": images.transpose(1, 2, 3, 0), "y": np.arange(4)[:, None] + 1})
    savemat(
        folder / "packed.mat", {"X": images.transpose(1, 2, 3, 0), "y": np.arange(4)[:, None] + 1}, do_compression=True
    )
    head = struct.pack(">4i", 2051, 4, 28, 28)
    (folder / "digits.gz").write_bytes(gzip.compress(head + RNG.integers(0, 256, 4 * 784, dtype=np.uint8).tobytes()))


def _read_archive(path: Path) -> None:
    {".npz": lambda: load_archive(path, None), ".mat": lambda: load_svhn(path), ".gz": lambda: read_idx(path)}[
        path.suffix
    ]()


def _make_shards(folder: Path) -> None:
    """Images with their labels in a tar, a zip and tables."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = [png_bytes(RNG.integers(0, 256, (*SMALL, 3), dtype=np.uint8)) for _ in range(4)]
    masks = [png_bytes(RNG.integers(0, 3, SMALL, dtype=np.uint8)) for _ in range(4)]
    members = [(f"{index}.{kind}.png", content) for kind, each in (("x", images), ("mask", masks))
               for index, content in enumerate(each)]  # fmt: skip
    with tarfile.open(folder / "set.tar", "w") as shard, zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    table = pa.table(
        {"image": pa.array(images, pa.binary()), "mask": pa.array(masks, pa.binary()), "label": [0, 1, 2, 3]}
    )
    pq.write_table(table, folder / "set.parquet")
    with pa.ipc.new_file(str(folder / "set.arrow"), table.schema) as writer:
        writer.write_table(table)


def _make_hdf5(folder: Path) -> None:
    import h5py

    image = RNG.integers(0, 256, (3, *SMALL, 3), dtype=np.uint8)
    mask = np.zeros((3, 4, *SMALL, 1), np.uint8)
    for index in range(4):
        mask[:, index, 5 * index :] = 255
    for name, options in (("plain.h5", {}), ("packed.h5", {"compression": "gzip", "chunks": True, "shuffle": True})):
        with h5py.File(folder / name, "w") as file:
            for key, values in (("image", image), ("mask", mask), ("visibility", np.ones((3, 4), np.float32)),
                                ("shape", np.tile(np.arange(4, dtype=np.uint8), (3, 1)))):  # fmt: skip
                file.create_dataset(key, data=values, **options)


def _make_lmdb(folder: Path) -> None:
    import lmdb

    stream = io.BytesIO()
    Image.fromarray(_picture()).save(stream, "WEBP")
    values = {f"{index:040d}".encode(): stream.getvalue() + bytes(index % 3 * 3000) for index in range(60)}
    with lmdb.open(str(folder / "category"), map_size=2**22) as database, database.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    (folder / "category" / "lock.mdb").unlink(missing_ok=True)


def _make_labels(folder: Path) -> None:
    frames = [_picture(), _picture()[::-1].copy()]
    for name in ("invaders", "dubey", "text", "text/images", "text/boxes", "cub/images/a", "cub/segmentations/a", "flowers/jpg",
                 "flowers/segmim"):  # fmt: skip
        (folder / name).mkdir(parents=True, exist_ok=True)
    boxes, objects = {}, {}
    for index, pixels in enumerate(frames):
        ids = np.zeros(SMALL, np.uint8)
        ids[4:12, 4:12] = 1
        Image.fromarray(pixels).save(folder / "invaders" / f"{index}.png")
        Image.fromarray(pixels).save(folder / "dubey" / f"{index}.png")
        Image.fromarray(ids).save(folder / "dubey" / f"{index}_ids.png")
        Image.fromarray(pixels).save(folder / "text" / "images" / f"{index}.png")
        page = {"width": SMALL[1], "height": SMALL[0], "chars": [["a", 1, 2, 8, 9, 0.9], ["b", 10, 2, 15, 9, 0.9]]}
        (folder / "text" / "boxes" / f"{index}.json").write_text(json.dumps(page))
        boxes[f"{index}.png"] = {
            "ram": [{"category": "Alien", "xywh": [3, 4, 6, 5]}, {"category": "Bullet", "xywh": [9, 9, 2, 2]}]
        }
        objects[f"{index}.png"] = {"objects": [{"id": 1, "class": 2}]}
        Image.fromarray(pixels).save(folder / "cub" / "images" / "a" / f"{index}.jpg")
        Image.fromarray(ids * 255).save(folder / "cub" / "segmentations" / "a" / f"{index}.png")
        Image.fromarray(pixels).save(folder / "flowers" / "jpg" / f"image_{index + 1:05d}.jpg")
        Image.fromarray(pixels).save(folder / "flowers" / "segmim" / f"segmim_{index + 1:05d}.jpg")
    (folder / "invaders" / "boxes.json").write_text(json.dumps({"frames": boxes}))
    (folder / "dubey" / "objects.json").write_text(json.dumps(objects))
    (folder / "cub" / "images.txt").write_text("1 a/0.jpg\n2 a/1.jpg\n")
    (folder / "cub" / "train_val_test_split.txt").write_text("1 0\n2 0\n")
    savemat(folder / "flowers" / "setid.mat", {"tstid": np.array([[1, 2]])})
    write_folder(draw("tetrominoes", 2), folder / "drawn")


def _read_labels(folder: Path) -> None:
    match folder.name:
        case "invaders":
            load_space_invaders_sample(folder)
        case "dubey":
            load_dubey_sample(folder)
        case "text":
            load_text_pages(folder, SMALL)
        case "cub":
            load_cub(folder, size=SMALL)
        case "flowers":
            load_flowers102(folder, size=SMALL)
        case _:
            written_files(folder)
            load_labelled_folder(folder)


KINDS = {
    "images": Kind(_make_images, _read_image),
    "animations": Kind(_make_animations, _read_clip),
    "videos": Kind(_make_videos, _read_clip),
    "models": Kind(_make_models, _read_model),
    "checkpoints": Kind(_make_checkpoints, _read_checkpoint),
    "runs": Kind(_make_runs, _read_run),
    "scenes": Kind(_make_scenes, _read_scenes),
    "layered": Kind(_make_layered, _read_layered),
    "configurations": Kind(_make_configurations, _read_configuration),
    "settings": Kind(_make_configurations, _read_settings, named="--set"),
    "archives": Kind(_make_archives, _read_archive),
    "shards": Kind(_make_shards, open_data),
    "hdf5": Kind(_make_hdf5, load_hdf5),
    "lmdb": Kind(_make_lmdb, load_lsun),
    "labels": Kind(_make_labels, _read_labels),
}
"""What the library reads, by name."""

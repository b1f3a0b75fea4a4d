"""The sample contract, and folders of images.

An `ImageSet` is all that training sees: pixels, names, and where each canvas lies in its original.
Labels live beside it in a `LabelledSet` and are read by metrics only.
"""

import fnmatch
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8, UInt16

from delaminate.data.pictures import PictureStack
from delaminate.data.reading import SUFFIXES, VIDEO_SUFFIXES, Fit, fit_image, read_image, read_values, read_with_alpha
from delaminate.data.sets import ImageSet, natural_key
from delaminate.data.sources import Source, is_source
from delaminate.data.transparency import Transparency
from delaminate.errors import DataError, reading
from delaminate.scene.canvas_map import CanvasMap

MAX_CACHE_BYTES = 16 * 2**30

UNREAD = {
    **dict.fromkeys((".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".svg", ".pdf"), "save it as PNG or JPEG"),
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"), "develop it to PNG or JPEG"),
    **dict.fromkeys(VIDEO_SUFFIXES, "give the clip by itself"),
}
"""What people take for images and is not read within a folder, and what to do with it."""

SCENES = (
    "layers, not photos: written by `decompose`, `edit` or `sample`",
    ("dictionary", "edits", "residuals", "scenes"),
)
OUTPUTS = (
    (("summary.json", "scenes"), *SCENES),
    (("summary.json", "packs"), *SCENES),
    (("dictionary", "journal*.jsonl"), *SCENES),  # of a call that has just begun
    (("config.yaml", "metrics.jsonl"), "pictures of a run, not photos: written by `train`", ("previews",)),
)  # fmt: skip
"""Results of ours that may lie among somebody's images: what shows them, what they are, and their folders of pictures."""


def _shown_by(signs: Iterable[str], names: set[str]) -> bool:
    return all(sign in names or ("*" in sign and bool(fnmatch.filter(names, sign))) for sign in signs)


def load_folder(
    folder: str | Path,
    size: tuple[int, int] | None = None,
    fit: Fit = "squash",
    limit: int | None = None,
    transparent: Transparency = None,
    pad: bool = False,
) -> ImageSet:
    """Read every image below a folder, in natural order (`2` before `10`).

    PNG, JPEG, WEBP, GIF, TIFF and BMP are read, as `read_image` and `fit_image` say. Files that are no images and
    hidden files are passed over; an image that cannot be read, one in another format, and a folder of pictures that this
    library wrote itself (of scenes, of a run) are named in `skipped`.

    Args:
        folder: Searched with its subfolders; or one image file; or one clip, of which `read_clip` says more; or what
            `sources.Source` reads: archives, and addresses such as s3://bucket/photos.
        size: Height and width of the canvas in pixels; None: all images must share one size.
        fit: How an image of another shape gets onto the canvas: `squash`, `crop` or `pad`.
        limit: Read at most so many images.
        transparent: What transparent pixels become in images of their own size: see `data.transparency`.
        pad: Where sizes differ and `size` is None, pad images at the right and below to the largest height and width, with the
            commonest colour of their borders.

    Raises:
        DataError: No image could be read, or `size` is None and the sizes differ.
    """
    if Path(folder).is_file():
        from delaminate.data.clips import is_clip, read_clip  # clips are image sets, so they come second

        if is_clip(folder):
            return read_clip(folder, size, limit, fit, transparent)
    return load_source(open_source(folder), size, fit, limit, transparent, pad)


@runtime_checkable
class Pictures(Protocol):
    """Images that are listed and not yet decoded: `FolderSource`, or `sources.Source`."""

    place: str
    names: list[str]
    skipped: list[tuple[str, str]]

    def __len__(self) -> int: ...

    def full_name(self, index: int) -> str: ...

    def label(self, index: int) -> str: ...

    def picture(self, index: int, alpha: bool = False) -> UInt8[np.ndarray, "H W C"]: ...

    def values(self, index: int) -> UInt8[np.ndarray, "H W C"] | UInt16[np.ndarray, "H W"]: ...

    def fingerprint(self) -> str: ...

    def close(self) -> None: ...


class FolderSource:
    """The image files below a folder of this machine, or one of them, in natural order; as `load_folder` says.

    Raises:
        DataError: There is no such folder, or no image in it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.place = str(folder)
        self.root, self.paths, self.skipped = _image_paths(Path(folder))
        self.names = _names(self.root, self.paths)
        if not self.paths:
            raise DataError(nothing(str(folder), self.skipped))

    def __len__(self) -> int:
        return len(self.paths)

    def full_name(self, index: int) -> str:
        """The relative path, suffix included."""
        return self.paths[index].relative_to(self.root).as_posix()

    def label(self, index: int) -> str:
        """What an image is called in messages."""
        return str(self.paths[index])

    def close(self) -> None:
        """Let go of nothing: each file is open while it is decoded."""

    def picture(self, index: int, alpha: bool = False) -> UInt8[np.ndarray, "H W C"]:
        """Decode an image, with alpha as `read_with_alpha` does.

        Raises:
            DataError: It cannot be read.
        """
        return read_with_alpha(self.paths[index]) if alpha else read_image(self.paths[index])

    def values(self, index: int) -> UInt8[np.ndarray, "H W C"] | UInt16[np.ndarray, "H W"]:
        """Decode an image as `read_values` does.

        Raises:
            DataError: It cannot be read.
        """
        return read_values(self.paths[index])

    def fingerprint(self) -> str:
        """Take the digest of the names, sizes and times of all files."""
        digest = hashlib.blake2b(digest_size=16)
        for index, path in enumerate(self.paths):
            with reading(path, DataError, "cannot be reached"):
                found = path.stat()
            digest.update(f"{self.full_name(index)}\n{found.st_size} {found.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def open_source(place: str | Path) -> Pictures:
    """List the images of a folder, an archive or an address.

    Raises:
        DataError: There is none.
    """
    return Source(place) if is_source(place) else FolderSource(place)


def load_source(
    source: Pictures,
    size: tuple[int, int] | None = None,
    fit: Fit = "squash",
    limit: int | None = None,
    transparent: Transparency = None,
    pad: bool = False,
) -> ImageSet:
    """Read the images of a source into memory; arguments and errors as in `load_folder`."""
    wanted = len(source) if limit is None else min(limit, len(source))
    pictures = PictureStack(source.place, MAX_CACHE_BYTES, wanted)
    kept: list[str] = []
    maps: list[CanvasMap] = []
    skipped = list(source.skipped)
    shape: tuple[int, int] | None = None
    for index, read in read_all(source, range(len(source)), size, fit, transparent is not None):
        if limit is not None and len(pictures) >= limit:
            break
        if isinstance(read, DataError):
            skipped.append((source.full_name(index), reason_of(source, index, read)))
            continue
        pixels, canvas_map = read
        shape = shape or pixels.shape[:2]
        if not pad and pixels.shape[:2] != shape:
            raise DataError(
                f"{source.place}: '{kept[0]}' is {shape} and '{source.names[index]}' {pixels.shape[:2]} "
                "(height, width); give one size for all: cut them, or add margins"
            )
        pictures.add(pixels)
        kept.append(source.names[index])
        maps.append(canvas_map)
    source.close()
    if not len(pictures):
        raise DataError(nothing(source.place, skipped))
    stacked, key = pictures.stacked(None if size is not None else transparent)
    whole = (int(stacked.shape[2]), int(stacked.shape[3]))
    maps = [each if each.canvas == whole else _padded_map(each, whole) for each in maps]
    return ImageSet(stacked, tuple(kept), tuple(maps), tuple(skipped), transparent=key)


def reason_of(source: Pictures, index: int, error: DataError) -> str:
    """Why an image cannot be read, without the name that is said beside it."""
    return str(error).removeprefix(f"{source.label(index)}: ").removesuffix(".")


def _padded_map(canvas_map: CanvasMap, size: tuple[int, int]) -> CanvasMap:
    """The map of an image that was padded at the right and below."""
    return CanvasMap(canvas_map.original, (0.0, 0.0, float(size[1]), float(size[0])), size)


def image_folder(folder: str | Path) -> Path:
    """Say where a folder's images lie: in its `images/` alone, unless some lie beside that and there is no `masks/`."""
    root, inner = Path(folder), Path(folder) / "images"

    def is_image(path: Path) -> bool:
        return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()

    alone = inner.is_dir() and ((root / "masks").is_dir() or not any(map(is_image, root.iterdir())))
    return inner if alone else root


def _image_paths(folder: Path) -> tuple[Path, list[Path], list[tuple[str, str]]]:
    """List the images below a folder, and what looks like one and is not read, with the reason."""
    if folder.is_file():
        return folder.parent, [folder], []
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder or file")
    found, others = [], []
    files, passed = _files(folder)
    for path in files:
        suffix, name = path.suffix.lower(), path.relative_to(folder).as_posix()
        if suffix in SUFFIXES:
            found.append((natural_key(name), path))
        elif suffix in UNREAD:
            others.append((name, f"{suffix[1:].upper()} is not read within a folder; {UNREAD[suffix]}"))
    return folder, [path for _, path in sorted(found)], sorted(others) + sorted(passed)


def _files(root: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """List the files below a folder that are not hidden, and results of ours, which are passed over, with what they are."""
    files, passed = [], []
    for place, folders, names in os.walk(root):
        here = Path(place)
        found = [(what, parts) for signs, what, parts in OUTPUTS if _shown_by(signs, {*folders, *names})]
        if found and here != root:
            passed.append((f"{here.relative_to(root).as_posix()}/", found[0][0]))
            folders.clear()
            continue
        # The folder that is given may hold images beside results: only these are passed over.
        for what, parts in found:
            own = [part for part in parts if part in folders]
            passed += [("/, ".join(own) + "/", what)] if own else []
            folders[:] = [name for name in folders if name not in own]
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [here / name for name in names if not name.startswith(".") and (here / name).is_file()]
    return files, passed


def _names(root: Path, paths: Sequence[Path]) -> list[str]:
    full = [path.relative_to(root) for path in paths]
    short = [path.with_suffix("").as_posix() for path in full]
    return short if len(set(short)) == len(short) else [path.as_posix() for path in full]


Read = tuple[UInt8[np.ndarray, "h w C"], CanvasMap] | DataError
"""An image on its canvas, or why it cannot be read."""


def read_all(
    source: Pictures, rows: Sequence[int], size: tuple[int, int] | None, fit: Fit, alpha: bool = False
) -> Iterator[tuple[int, Read]]:
    """Decode some images of a source, a few at a time, in order: a broken one must not stop the others."""

    def read(index: int) -> Read:
        try:
            pixels = source.picture(index, alpha and size is None)
            if pixels.shape[2] == 4:
                return pixels, CanvasMap.whole(*pixels.shape[:2])
            return fit_image(pixels, size or (pixels.shape[0], pixels.shape[1]), fit)
        except DataError as error:
            return error

    workers = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(rows), 8 * workers):
            chunk = rows[first : first + 8 * workers]
            yield from zip(chunk, pool.map(read, chunk), strict=True)


def nothing(place: str, skipped: Sequence[tuple[str, str]]) -> str:
    """Why a folder or another place gave no image."""
    unread = [(name, reason) for name, reason in skipped if not name.endswith("/")]
    if unread:
        name, reason = unread[0]
        return f"{place}: none of the {len(unread)} image files can be read; the first, '{name}': {reason}"
    folder = Path(place)
    count = sum(path.is_file() for path in folder.rglob("*")) if folder.is_dir() else 1
    passed = "".join(f"; passed over: {name} ({what})" for name, what in skipped)
    suffixes = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
    return f"{place}: found no image among {count} files{passed}; images are {suffixes}"

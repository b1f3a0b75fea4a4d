"""Bytes of files: pixels to and from 8 bits, PNG and JSON, written whole or not at all."""

import io
import json
import math
import mmap
import os
import re
import secrets
import struct
import warnings
import weakref
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from delaminate.errors import OutputError

MADE_OF = "delaminate-made-of"
LINES = 1024
"""Of a list that are written at a time."""
TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")


class _MappedFile(mmap.mmap):
    """A file in the address space of a process, and the same file to be read from."""

    file: BinaryIO


_MAPPED: "weakref.WeakValueDictionary[int, _MappedFile]" = weakref.WeakValueDictionary()


def to_pixels(raster: Float[torch.Tensor, "C h w"]) -> UInt8[np.ndarray, "h w C"]:
    """Round values in [0, 1] to 8 bits; what lies outside is clipped."""
    if not bool(torch.isfinite(raster).all()):
        raise OutputError("scene: a raster has values that are not finite numbers; it cannot be written.")
    values = raster.detach().cpu().to(torch.float64, copy=True)
    pixels = values.clamp_(0, 1).mul_(255).round_().to(torch.uint8)
    return pixels.permute(1, 2, 0).contiguous().numpy()


def from_pixels(pixels: UInt8[np.ndarray, "h w C"]) -> Float[torch.Tensor, "C h w"]:
    """Turn 8-bit pixels into float32 values in [0, 1]."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous().float() / 255


def animation_bytes(pictures: Sequence[np.ndarray], milliseconds: Sequence[float]) -> bytes:
    """Encode pictures of one size, as `png_bytes` takes them, as an animated PNG.

    Equal pictures in a row become one that lasts longer.

    Args:
        pictures: The frames.
        milliseconds: How long each is seen.
    """
    buffer = io.BytesIO()
    first, *rest = map(Image.fromarray, pictures)
    first.save(
        buffer, "PNG", save_all=True, append_images=rest, duration=list(milliseconds), loop=0, disposal=0, blend=0
    )
    return buffer.getvalue()


def png_bytes(pixels: np.ndarray, made_of: str | None = None, level: int = -1) -> bytes:
    """Encode (h, w), (h, w, 3) or (h, w, 4) pixels, uint8, or (h, w) uint16.

    Args:
        pixels: The picture.
        made_of: Digest of what it was made of, put into the file as a text: `read_made_of` finds it again.
        level: Of compression, 1 (soonest) to 9 (smallest); -1: zlib's own choice.
    """
    buffer, text = io.BytesIO(), PngInfo()
    if made_of is not None:
        text.add_text(MADE_OF, made_of)
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=text, compress_level=level)
    return buffer.getvalue()


def read_made_of(path: Path) -> str | None:
    """Read what a PNG was made of, as `png_bytes` has put it there; None: it does not say, or is no PNG."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=("PNG",)) as image:
                found = image.info.get(MADE_OF)
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error, struct.error, Image.DecompressionBombError):
        return None
    return found if isinstance(found, str) else None


def write_atomic(path: Path, data: bytes | Iterable[bytes], durable: bool = False) -> None:
    """Write a file whole or not at all; what was there stays until then.

    Args:
        path: Its folder is made if it is missing.
        data: The whole content, or one part of it after another.
        durable: Wait until the disk holds it, for what must outlast a power cut.

    Raises:
        OutputError: The file cannot be written: a full disk, an unwritable folder.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.writelines([data] if isinstance(data, bytes) else data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}).") from error


def remove_leftovers(folder: Path, before: float = math.inf, deep: bool = True) -> None:
    """Remove what `write_atomic` was writing in a folder when its process was killed.

    Args:
        folder: Where; it may be missing.
        before: Only what is older than this, in seconds since 1970: other processes may be writing there.
        deep: In its subfolders, too.
    """
    for path in folder.rglob(".*.tmp") if deep else folder.glob(".*.tmp"):
        with suppress(OSError):
            if TEMPORARY.fullmatch(path.name) and path.stat().st_mtime < before:
                path.unlink()


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Write JSON with one line for each item of a list; floats keep every bit."""
    return b"".join(json_parts(document))


def json_parts(document: Mapping[str, Any]) -> Iterator[bytes]:
    """Write JSON as `json_bytes` does, some lines at a time; lists may be iterators, of which only those are in memory."""
    text = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    before = "{\n "
    for key, value in document.items():
        yield f"{before}{text(key)}: ".encode()
        before = ",\n "
        if not isinstance(value, list | Iterator):
            yield text(value).encode()
            continue
        rows, between = iter(value), "[\n  "
        while some := list(islice(rows, LINES)):
            yield (between + ",\n  ".join(map(text, some))).encode()
            between = ",\n  "
        yield b"[]" if between[0] == "[" else b"\n ]"
    yield b"\n}\n" if document else b"{\n \n}\n"


def reduced(pixels: np.ndarray, side: int) -> np.ndarray:
    """Make a picture, (h, w, 3) or (h, w, 4) in 8 bits, small enough that no side is longer; it is never enlarged."""
    longest = max(pixels.shape[:2])
    if longest <= side:
        return pixels
    size = [max(1, round(each * side / longest)) for each in (pixels.shape[1], pixels.shape[0])]
    return np.asarray(Image.fromarray(pixels).resize((size[0], size[1]), Image.Resampling.BOX))


def mapped_bytes(path: Path, shape: tuple[int, ...]) -> UInt8[torch.Tensor, "..."]:
    """Map a file of bytes as a tensor that must not be written to. What `take_rows` reads of it takes no memory beside.

    Raises:
        ValueError: The file is shorter.
    """
    if not math.prod(shape):
        return torch.empty(shape, dtype=torch.uint8)
    file = path.open("rb", buffering=0)
    try:
        mapped = _MappedFile(file.fileno(), math.prod(shape), access=mmap.ACCESS_READ)
    except BaseException:
        file.close()
        raise
    mapped.file = file
    weakref.finalize(mapped, file.close)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it cannot be written to is what we want
        tensor = torch.frombuffer(mapped, dtype=torch.uint8)
    _MAPPED[tensor.untyped_storage().data_ptr()] = mapped
    return tensor.view(shape)


def take_rows(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Copy some rows of a tensor, whether it is mapped from a file or not.

    Pages of a mapped file that are touched count as memory of the process, with many around them. So rows are read instead.
    """
    mapped = _MAPPED.get(values.untyped_storage().data_ptr()) if values.device.type == "cpu" else None
    if mapped is None or not values.is_contiguous() or not hasattr(os, "preadv"):
        return values[index.to(values.device)]
    rows = torch.empty((len(index), *values.shape[1:]), dtype=values.dtype)
    num_bytes = math.prod(values.shape[1:])
    views = rows.numpy().reshape(len(index), num_bytes)
    for view, row in zip(views, index.tolist(), strict=True):
        start = values.storage_offset() + (row % len(values)) * num_bytes
        if os.preadv(mapped.file.fileno(), [view.data], start) != num_bytes:
            raise OutputError("a mapped file has become shorter while it was read.")
    return rows

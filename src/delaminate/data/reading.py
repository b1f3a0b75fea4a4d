"""Read one image file, whatever it claims to be, and put it on a canvas.

Files come from strangers. Only six formats are opened, sizes are checked before anything is decoded, and
whatever goes wrong becomes one DataError with the reason.
"""

import io
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64, UInt8, UInt16
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from delaminate.errors import DataError, reading
from delaminate.scene.canvas_map import CanvasMap

Fit = Literal["squash", "crop", "pad"]
FITS = ("squash", "crop", "pad")

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp"})
VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi"})
MASK_FORMATS = ("PNG", "GIF", "TIFF", "BMP")
MASK_SUFFIXES = (".png", ".gif", ".tif", ".tiff", ".bmp")
MAX_PIXELS = 50_000_000
GREYS = np.rint(np.arange(65536) / 257).astype(np.uint8)  # of 16 bits, in 8
BROKEN = "the image cannot be decoded"

# `warnings.catch_warnings` changes the whole process: only one thread may hold it at a time.
_WARNING_LOCK = threading.Lock()


def read_image(
    path: str | Path, formats: Sequence[str] = FORMATS, max_pixels: int = MAX_PIXELS
) -> UInt8[np.ndarray, "H W 3"]:
    """Read a file as 8-bit RGB.

    The EXIF rotation is applied. Transparent images are composited over black, the colour of an empty
    canvas. Of an animation, the first frame is read. Greyscale of 16 bits is scaled by 255 / 65535 and
    rounded; colour of 16 bits loses its lower byte. CMYK is converted without a colour profile.

    Args:
        path: The file.
        formats: The formats that may be opened, in Pillow's names.
        max_pixels: The largest image that is decoded.

    Raises:
        DataError: The file is empty, truncated, too large or not such an image.
    """
    return _read(Path(path), formats, max_pixels, _to_rgb)


def read_with_alpha(path: str | Path, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W C"]:
    """Read a file as `read_image` does, but leave alpha as it is: RGBA, colour not multiplied, where a pixel is not opaque.

    Raises:
        DataError: As `read_image`.
    """
    return _read(Path(path), FORMATS, max_pixels, _with_alpha)


def read_values(
    path: str | Path, max_pixels: int = MAX_PIXELS
) -> UInt8[np.ndarray, "H W C"] | UInt16[np.ndarray, "H W"]:
    """Read a file as `read_with_alpha` does, but greyscale of 16 bits with all of its bits.

    Raises:
        DataError: As `read_image`.
    """
    return _read(Path(path), FORMATS, max_pixels, _values)


def _read(
    path: Path, formats: Sequence[str], max_pixels: int, pixels_from: Callable[[Image.Image], np.ndarray]
) -> np.ndarray:
    with reading(path, DataError, BROKEN), open_picture(path, formats, max_pixels) as image:
        return pixels_from(image)


def decode_image(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """Decode an image that is no file of its own, as `read_image` does.

    Args:
        content: The encoded image.
        name: What it is called in messages.
        max_pixels: The largest image that is decoded.

    Raises:
        DataError: The content is truncated, too large or not such an image.
    """
    with reading(name, DataError, BROKEN), open_picture(io.BytesIO(content), FORMATS, max_pixels) as image:
        return _to_rgb(image)


def decode_with_alpha(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W C"]:
    """Decode an image that is no file of its own, as `read_with_alpha` does; the rest is as in `decode_image`."""
    with reading(name, DataError, BROKEN), open_picture(io.BytesIO(content), FORMATS, max_pixels) as image:
        return _with_alpha(image)


def decode_values(content: bytes, name: str) -> UInt8[np.ndarray, "H W C"] | UInt16[np.ndarray, "H W"]:
    """Decode an image that is no file of its own, as `read_values` does; the rest is as in `decode_image`."""
    with reading(name, DataError, BROKEN), open_picture(io.BytesIO(content), FORMATS, MAX_PIXELS) as image:
        return _values(image)


def decode_mask(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Int64[np.ndarray, "H W"]:
    """Decode labels that are no file of their own, as `read_mask` does; the rest is as in `decode_image`."""
    with reading(name, DataError, BROKEN), open_picture(io.BytesIO(content), MASK_FORMATS, max_pixels) as image:
        return _labels(image, name)


def pixels_of(image: Any, alpha: bool = False) -> UInt8[np.ndarray, "H W C"]:
    """Turn an image in memory into bytes, as `read_image` turns a file.

    Args:
        image: A PIL image; an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); or a tensor (1, H, W), (3, H, W), (4, H, W).
            Arrays and tensors hold bytes, or floats in [0, 1].
        alpha: Leave alpha as it is, as `read_with_alpha` does; else it is put over black.

    Raises:
        DataError: It is none of these, or its values lie outside.
    """
    take = _with_alpha if alpha else _to_rgb
    if isinstance(image, Image.Image):
        return take(image)
    if isinstance(image, Tensor):
        if image.ndim != 3 or image.shape[0] not in (1, 3, 4):
            raise DataError(f"images: a tensor is {tuple(image.shape)}; expected (3, H, W), or (1 or 4, H, W).")
        image = image.detach().cpu().permute(1, 2, 0).numpy()
    if not isinstance(image, np.ndarray):
        raise DataError(f"images: got {type(image).__name__}; expected a path, a PIL image, an array or a tensor.")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
        raise DataError(f"images: an array is {image.shape}; expected (H, W, 3), or (H, W), (H, W, 4).")
    if np.issubdtype(image.dtype, np.floating):
        if not (np.isfinite(image).all() and image.min() >= -1 / 255 and image.max() <= 1 + 1 / 255):
            raise DataError("images: floats lie outside [0, 1]; divide pixels by 255, or undo the normalisation.")
        image = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    if image.dtype != np.uint8:
        raise DataError(f"images: an array holds {image.dtype}; expected uint8, or floats in [0, 1].")
    if image.shape[2] == 1:
        return np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image) if image.shape[2] == 3 else take(Image.fromarray(image, "RGBA"))


def read_mask(path: str | Path, max_pixels: int = MAX_PIXELS) -> Int64[np.ndarray, "H W"]:
    """Read a file of labels: one channel of 1, 8 or 16 bits, or palette indices, as they are.

    Raises:
        DataError: The file cannot be read, has several channels, or is in a format that loses values.
    """
    with reading(Path(path), DataError, BROKEN), open_picture(Path(path), MASK_FORMATS, max_pixels) as image:
        return _labels(image, path)


def _labels(image: Image.Image, where: str | Path) -> Int64[np.ndarray, "H W"]:
    if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
        raise DataError(
            f"{where}: a mask has one channel of integers, this one is {image.mode}; save it as greyscale or palette PNG"
        )
    return np.asarray(image).astype(np.int64)


def fit_image(
    pixels: UInt8[np.ndarray, "H W 3"], size: tuple[int, int], fit: Fit = "squash"
) -> tuple[UInt8[np.ndarray, "h w 3"], CanvasMap]:
    """Put an image on a canvas, and say exactly where each canvas pixel comes from.

    The filter is Pillow's bilinear one, which widens with the reduction and so does not alias; an image
    that already has the size of the canvas is left untouched.

    Args:
        pixels: The original.
        size: Height and width of the canvas in pixels.
        fit: `squash` stretches the whole image; `crop` cuts its largest centred part with the aspect of
            the canvas; `pad` shows the whole image, centred, with black bars.

    Raises:
        DataError: `fit` or `size` is unknown.
    """
    canvas_map, place = _place(pixels.shape[0], pixels.shape[1], size, fit)
    if canvas_map.is_identity:
        return pixels, canvas_map
    top, left, height, width = place
    box_left, box_top, box_width, box_height = canvas_map.box
    box = None if fit == "pad" else (box_left, box_top, box_left + box_width, box_top + box_height)
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, box=box)
    canvas = np.zeros((*size, 3), dtype=np.uint8)
    canvas[top : top + height, left : left + width] = np.asarray(resized)
    return canvas, canvas_map


def fit_mask(labels: Int64[np.ndarray, "H W"], canvas_map: CanvasMap) -> Int64[np.ndarray, "h w"]:
    """Sample labels at the centres of the canvas pixels; outside the original is 0.

    Raises:
        DataError: The labels do not have the size of the original image.
    """
    if labels.shape != canvas_map.original:
        raise DataError(
            f"the mask is {labels.shape}, its image {canvas_map.original} (height, width); expected the same"
        )
    x, y = np.arange(canvas_map.canvas[1]) + 0.5, np.arange(canvas_map.canvas[0])[:, None] + 0.5
    matrix = canvas_map.to_original
    columns, rows = (np.floor(row[0] * x + row[1] * y + row[2]).astype(np.int64) for row in matrix[:2])
    inside = (rows >= 0) & (rows < labels.shape[0]) & (columns >= 0) & (columns < labels.shape[1])
    sampled = labels[rows.clip(0, labels.shape[0] - 1), columns.clip(0, labels.shape[1] - 1)]
    return np.where(inside, sampled, 0)


def _place(height: int, width: int, size: tuple[int, int], fit: Fit) -> tuple[CanvasMap, tuple[int, int, int, int]]:
    """The canvas map, and the canvas rectangle (top, left, height, width) that the image fills."""
    rows, columns = size
    if rows < 1 or columns < 1:
        raise DataError(f"the canvas is {columns} x {rows} pixels; both must be at least 1")
    if fit == "squash":
        return CanvasMap((height, width), (0.0, 0.0, float(width), float(height)), size), (0, 0, rows, columns)
    if fit == "crop":
        scale = min(height / rows, width / columns)
        box_height, box_width = min(rows * scale, height), min(columns * scale, width)
        box = ((width - box_width) / 2, (height - box_height) / 2, box_width, box_height)
        return CanvasMap((height, width), box, size), (0, 0, rows, columns)
    if fit == "pad":
        # The bars are whole pixels, so that the map is exact: the two scales may differ by a hair.
        scale = min(rows / height, columns / width)
        inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
        inner_height, inner_width = min(rows, inner_height), min(columns, inner_width)
        top, left = (rows - inner_height) // 2, (columns - inner_width) // 2
        per_row, per_column = height / inner_height, width / inner_width
        box = (-left * per_column, -top * per_row, columns * per_column, rows * per_row)
        return CanvasMap((height, width), box, size), (top, left, inner_height, inner_width)
    raise DataError(f"fit is {fit!r}; expected 'squash', 'crop' or 'pad'")


def open_picture(path: Path | io.BytesIO, formats: Sequence[str], max_pixels: int) -> Image.Image:
    """Open a file and check its size; nothing is decoded yet.

    Raises:
        DataError: It is no such image, or too large; what else Pillow raises on a broken file is for `errors.reading`.
    """
    try:
        with _WARNING_LOCK, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=tuple(formats))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError("the image is too large to decode") from error
    except UnidentifiedImageError as error:
        if isinstance(path, Path) and not path.stat().st_size:
            raise DataError("the file is empty") from error
        raise DataError(f"not an image that we read ({', '.join(formats)})") from error
    width, height = image.size
    if width * height > max_pixels:
        image.close()
        raise DataError(f"{width} x {height} pixels are more than the {max_pixels:,} we decode")
    return image


def _has_16_bits(image: Image.Image) -> bool:
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", None))


def _values(image: Image.Image) -> UInt8[np.ndarray, "H W C"] | UInt16[np.ndarray, "H W"]:
    if _has_16_bits(image):
        return np.asarray(ImageOps.exif_transpose(image)).clip(0, 65535).astype(np.uint16)
    return _with_alpha(image)


def _to_rgb(image: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    image = ImageOps.exif_transpose(image)
    if _has_16_bits(image):
        grey = GREYS[np.asarray(image).clip(0, 65535)]
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise DataError("32-bit grey has no fixed range; save the image with 8 or 16 bits")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return np.array(image.convert("RGB"))


def _with_alpha(image: Image.Image) -> UInt8[np.ndarray, "H W C"]:
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        pixels = np.array(ImageOps.exif_transpose(image).convert("RGBA"))
        if (pixels[..., 3] < 255).any():
            return pixels
    return _to_rgb(image)

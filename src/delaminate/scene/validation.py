"""Values from JSON that somebody else may have written: taken as what they should be, or refused in one line.

How large pictures may be stands here for both sides: what is written can be read.
"""

from collections.abc import Sequence
from typing import Any

from delaminate.errors import FormatError, OutputError

MAX_SIDE = 16_384  # pixels, of a canvas, a sprite or a step between
MAX_PIXELS = 2**26  # of one picture
MAX_SCENE_PIXELS = 2**28  # of all pictures of one scene, or of the dictionary: 4 GiB in memory


def no_constant(name: str) -> float:
    """Refuse NaN and infinities, which JSON does not have."""
    raise ValueError(f"{name} is not a number")


def unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that comes twice."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key comes twice")
    return value


def fields(value: object, where: str, *keys: str) -> list[Any]:
    """Take exactly these keys from an object, in this order."""
    if not isinstance(value, dict):
        raise FormatError(f"{where}: is {value!r:.40}; expected an object with {', '.join(keys)}.")
    for key in value:
        if key not in keys:
            raise FormatError(f"{where}: unknown key {key!r:.60}; expected {', '.join(keys)}.")
    for key in keys:
        if key not in value:
            raise FormatError(f"{where}: has no {key!r}; expected {', '.join(keys)}.")
    return [value[key] for key in keys]


def versioned(value: object, where: str, kind: str, version: int) -> dict[str, Any]:
    """Take an object that says of which kind and version it is; these keys are taken out."""
    if not isinstance(value, dict) or value.pop("format", None) != kind:
        raise FormatError(f'{where}: is no {kind}; expected an object with "format": "{kind}".')
    found = value.pop("version", None)
    if found != version or isinstance(found, bool):
        raise FormatError(f"{where}: has version {found!r:.40}; this release reads version {version}.")
    return value


def number(value: object, where: str, low: float, high: float) -> float:
    """Take a number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise FormatError(f"{where}: is {value!r:.40}; expected a number from {low:g} to {high:g}.")
    return float(value)


def whole(value: object, where: str, low: int, high: int) -> int:
    """Take a whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise FormatError(f"{where}: is {value!r:.40}; expected a whole number from {low} to {high}.")
    return value


def items(value: object, where: str, low: int, high: int) -> list[Any]:
    """Take a list with so many items."""
    if not isinstance(value, list) or not low <= len(value) <= high:
        size = f"{len(value)} items" if isinstance(value, list) else f"{value!r:.40}"
        raise FormatError(f"{where}: has {size}; expected a list of {low} to {high}.")
    return value


def typed(value: object, where: str, kind: type) -> Any:
    """Take a value of one type."""
    if not isinstance(value, kind):
        raise FormatError(f"{where}: is {value!r:.40}; expected {kind.__name__}.")
    return value


def size(value: object, where: str) -> tuple[int, int]:
    """Take height and width of a picture."""
    height, width = (whole(side, where, 1, MAX_SIDE) for side in items(value, where, 2, 2))
    if height * width > MAX_PIXELS:
        raise FormatError(f"{where}: {width} x {height} pixels; expected at most {MAX_PIXELS}.")
    return height, width


def check_bounds(size: tuple[int, int], rasters: Sequence[tuple[int, int]]) -> None:
    """Make sure that a scene is not too large to be read again.

    Args:
        size: Height and width of the canvas in pixels.
        rasters: Those of the layers' own rasters.

    Raises:
        OutputError: It is too large.
    """
    for height, width in (size, *rasters):
        if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
            raise OutputError(
                f"{width} x {height} pixels are too many for a layer; expected sides up to {MAX_SIDE:,} and at most "
                f"{MAX_PIXELS:,} pixels."
            )
    total = sum(height * width for height, width in rasters)
    if total > MAX_SCENE_PIXELS:
        raise OutputError(
            f"{len(rasters)} layers have {total:,} pixels together; expected at most {MAX_SCENE_PIXELS:,} in a scene."
        )

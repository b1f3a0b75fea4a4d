"""Some images of a collection, spread over it, to say what it is without reading all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from delaminate.data.clips import is_clip, read_clip
from delaminate.data.folders import Pictures, image_folder, open_source, read_all, reason_of
from delaminate.data.sets import ImageSet
from delaminate.data.transparency import replace_transparency
from delaminate.errors import DataError

MOST_PAIRS = 60
"""Pairs of neighbours that are taken: 120 images, beyond which averages over pairs of images hardly change."""
MOST_FRAMES = 300
"""Frames that are read of a clip: 10 s of 30 a second."""
MOST_PIXELS = 2**28
"""Pixels that are decoded at most: three to four seconds."""

Picture = UInt8[np.ndarray, "_h _w 3"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Images of a collection at their own sizes.

    Attributes:
        pictures: In the order of the collection.
        places: Where each stands in the collection, counted from 0.
        count: Images in the collection; of a clip, as far as it was read.
        rate: Frames per second of a clip; None: it is no clip.
        skipped: Files that cannot be used, with the reason: those that were seen.
    """

    pictures: tuple[Picture, ...]
    places: tuple[int, ...]
    count: int
    rate: float | None = None
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def sizes(self) -> set[tuple[int, int]]:
        """Heights and widths that occur."""
        return {picture.shape[:2] for picture in self.pictures}

    def as_set(self) -> ImageSet:
        """The images as a set, in their order.

        Raises:
            DataError: They differ in size.
        """
        if len(self.sizes) > 1:
            raise DataError(f"sample: images are of the sizes {sorted(self.sizes)}; expected one.")
        return replace(ImageSet.from_arrays(np.stack(self.pictures)), rate=self.rate)


def spread(count: int, pairs: int = MOST_PAIRS) -> list[int]:
    """Choose positions in pairs of neighbours, evenly spread.

    >>> spread(5), spread(9, 2)
    ([0, 1, 2, 3, 4], [0, 1, 7, 8])
    """
    if count <= 2 * pairs:
        return list(range(count))
    first = np.linspace(0, count - 2, pairs).round().astype(int)
    return sorted({*first.tolist(), *(first + 1).tolist()})


def sample_images(images: ImageSet) -> Sample:
    """Take some images of a set."""
    pairs = max(2, min(MOST_PAIRS, MOST_PIXELS // max(2 * images.size[0] * images.size[1], 1)))
    places = spread(len(images), pairs)
    pictures = tuple(np.ascontiguousarray(images.pixels[place].permute(1, 2, 0).cpu().numpy()) for place in places)
    return Sample(pictures, tuple(places), len(images), images.rate, images.skipped)


def sample_path(path: str | Path) -> Sample:
    """Take some images of a folder, a clip, an image file, an archive or a store.

    Raises:
        DataError: There is no image that can be read.
    """
    if is_clip(path):
        return sample_images(read_clip(path, limit=MOST_FRAMES, transparent="auto"))
    source = open_source(image_folder(path) if Path(path).is_dir() else path)
    read = list(_read(source, spread(len(source), _affordable(source))))
    failed = [(source.full_name(n), reason_of(source, n, why)) for n, why in read if isinstance(why, DataError)]
    good = [(place, picture) for place, picture in read if isinstance(picture, np.ndarray)]
    source.close()
    if not good:
        raise DataError(f"{path}: none of {len(read)} images can be read; the first, '{failed[0][0]}': {failed[0][1]}")
    pictures, _ = replace_transparency([picture for _, picture in good], "auto")
    places = tuple(place for place, _ in good)
    return Sample(tuple(pictures), places, len(source), skipped=(*source.skipped, *failed))


def _read(source: Pictures, places: Sequence[int]) -> Iterator[tuple[int, np.ndarray | DataError]]:
    """Decode images at their own size: RGB, or RGBA where a pixel is transparent; or why one cannot be."""
    for place, read in read_all(source, places, None, "squash", alpha=True):
        yield place, read if isinstance(read, DataError) else read[0]


def _affordable(source: Pictures) -> int:
    """How many pairs may be decoded, judged by the first image that can be read."""
    for _, picture in _read(source, range(min(len(source), 4))):
        if isinstance(picture, np.ndarray):
            return max(2, min(MOST_PAIRS, MOST_PIXELS // (2 * picture.shape[0] * picture.shape[1])))
    return MOST_PAIRS

"""Images one by one, files each at its own size, for what learns nothing from all of them together."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import UInt8

from delaminate.data.transparency import with_alpha
from delaminate.pipelines.images import Images, open_images, source_of

Picture = UInt8[np.ndarray, "h w C"]


def open_pictures(
    images: Images, alpha: bool = False
) -> tuple[Sequence[str], Callable[[int], Picture], list[tuple[str, str]]]:
    """Open images to be read one by one.

    Args:
        images: What `open_images` takes.
        alpha: Pictures with a transparent pixel have four channels.

    Returns:
        Names of the images; what reads one, which raises DataError where it cannot be read; and the name and reason of every
        file that was passed over.
    """
    source = source_of(images)
    if source is not None:
        names = [source.full_name(index) for index in range(len(source))]
        return names, lambda index: source.picture(index, alpha), list(source.skipped)
    opened = open_images(images, zoom=(1.0, 1.0))

    def read(index: int) -> Picture:
        picture = opened.pixels[index].permute(1, 2, 0).numpy()
        return with_alpha(picture, opened.transparent) if alpha and opened.transparent is not None else picture

    return opened.names, read, list(opened.skipped)

"""Pictures that come one by one, laid into the memory that their set will hold: loading takes little more than they do."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from delaminate.data.transparency import Colour, Transparency, shown_over, transparency_key
from delaminate.errors import DataError, reading

GROWTH = 1.125  # of the memory, where more pictures come than were expected

Picture = UInt8[np.ndarray, "_h _w _c"]


class PictureStack:
    """Pictures of a folder or clip, in their order.

    RGB pictures of one size are copied to where they will stay; those with alpha, or of another size, are kept beside.

    Args:
        where: What is read, for messages.
        most_bytes: How much memory all pictures may take.
        expected: How many will come at most; 0: not known.
    """

    def __init__(self, where: str, most_bytes: int, expected: int = 0) -> None:
        self.where, self.most_bytes, self.expected = where, most_bytes, expected
        self.laid: UInt8[np.ndarray, "N 3 H W"] | None = None
        self.beside: dict[int, Picture] = {}
        self.count = 0
        self.num_bytes = 0

    def __len__(self) -> int:
        return self.count

    def add(self, picture: Picture) -> None:
        """Take the next one.

        Raises:
            DataError: All together take more memory than they may.
        """
        self.num_bytes += picture.nbytes
        if self.num_bytes > self.most_bytes:
            raise DataError(
                f"{self.where}: more than {self.most_bytes / 2**30:.3g} GiB of pixels; give a smaller size or a limit"
            )
        height, width, channels = picture.shape
        with reading(self.where, DataError, "cannot be held"):
            if self.laid is None and channels == 3:
                # What is not used of this is never touched, and takes no memory.
                rows = min(max(self.expected, self.count + 1), max(self.most_bytes // picture.nbytes, 1))
                self.laid = np.empty((rows, 3, height, width), np.uint8)
            if self.laid is None or picture.shape != (*self.laid.shape[2:], 3):
                self.beside[self.count] = picture
            else:
                self._lay(self.laid, self.count, picture)
        self.count += 1

    def _lay(self, laid: UInt8[np.ndarray, "_n 3 _H _W"], index: int, picture: Picture) -> None:
        if index >= len(laid):
            laid.resize((int(GROWTH * index) + 8, *laid.shape[1:]), refcheck=False)
        laid[index] = picture.transpose(2, 0, 1)

    def stacked(self, transparent: Transparency = None) -> tuple[UInt8[Tensor, "N 3 H W"], Colour | None]:
        """All pictures as one tensor, padded to the largest where they differ in size; takes them out of the stack.

        Args:
            transparent: What transparent pixels become: see `data.transparency`.

        Returns:
            The pictures, and the colour that stands for nothing.

        Raises:
            DataError: Padded, they take more memory than they may.
        """
        pictures = [self._picture(index) for index in range(self.count)] if self.beside else []
        key = transparency_key(pictures, transparent) if pictures else None
        if len({picture.shape[:2] for picture in pictures}) > 1:
            return torch.from_numpy(self._padded(pictures, key)), key
        laid = self.laid
        if laid is None:
            laid = np.empty((self.count, 3, *pictures[0].shape[:2]), np.uint8)
        del pictures
        laid.resize((self.count, *laid.shape[1:]), refcheck=False)
        for index in sorted(self.beside):
            self._lay(laid, index, shown_over(self.beside.pop(index), key))
        return torch.from_numpy(laid), key

    def _picture(self, index: int) -> Picture:
        if index in self.beside or self.laid is None:
            return self.beside[index]
        return self.laid[index].transpose(1, 2, 0)

    def _padded(self, pictures: Sequence[Picture], key: Colour | None) -> UInt8[np.ndarray, "N 3 H W"]:
        """Pad pictures to one size: with the colour that stands for nothing, else with the commonest of their borders."""
        height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
        if 3 * height * width * len(pictures) > self.most_bytes:
            raise DataError(
                f"{self.where}: more than {self.most_bytes / 2**30:.3g} GiB of pixels; give a smaller size or a limit"
            )
        colour = np.array(key, np.uint8) if key is not None else _commonest_border(pictures)
        padded = np.empty((len(pictures), 3, height, width), np.uint8)
        padded[:] = colour[:, None, None]
        for whole, picture in zip(padded, pictures, strict=True):
            whole[:, : picture.shape[0], : picture.shape[1]] = shown_over(picture, key).transpose(2, 0, 1)
        return padded


def _commonest_border(pictures: Sequence[Picture]) -> UInt8[np.ndarray, " 3"]:
    borders = []
    for picture in pictures:
        shown = shown_over(picture, None)
        borders.append(np.concatenate([shown[0], shown[-1], shown[:, 0], shown[:, -1]]))
    colours, counts = np.unique(np.concatenate(borders), axis=0, return_counts=True)
    return np.asarray(colours[counts.argmax()])

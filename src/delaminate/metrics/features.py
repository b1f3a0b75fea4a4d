"""Features of images by a network that is brought as an ONNX file: what FID compares.

The library has no such network, and features of another one would give a number that is not FID. An ONNX file holds
arithmetic and numbers; nothing in it is executed.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from delaminate.errors import FormatError, MissingExtra, reading
from delaminate.metrics.images import frechet_distance


class Features:
    """The network of an ONNX file.

    Its first input takes floats (B, 3, H, W) in [0, 1]; where its height and width are fixed, images are resampled to them,
    antialiased. Its first output is (B, D), or (B, D, 1, 1).

    Args:
        path: The file, such as the pooling layer of Inception-v3.

    Raises:
        MissingExtra: The extra `fid` is not installed.
        FormatError: The file is no such network.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtra("FID", "fid") from None
        self.path = Path(path)
        with reading(self.path, FormatError, "cannot be used as a network in ONNX form"):
            data = self.path.read_bytes()
            self.session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        self.digest = hashlib.sha256(data).hexdigest()
        self.input, self.output = self.session.get_inputs()[0], self.session.get_outputs()[0]
        shape = self.input.shape
        if len(shape) == 4 and isinstance(shape[0], int):
            raise FormatError(
                f"{path}: takes {shape[0]} images at a time and no other number. Export it with a dynamic first axis."
            )
        if len(shape) != 4 or shape[1] != 3 or self.input.type != "tensor(float)":
            raise FormatError(
                f"{path}: its input is {self.input.type} {shape}; expected floats (B, 3, H, W), images in [0, 1]."
            )

    def __call__(self, images: Float[Tensor, "B 3 H W"]) -> Float[np.ndarray, "B D"]:
        """Work out one row of features for each image in [0, 1]."""
        height, width = self.input.shape[2:]
        if isinstance(height, int) and isinstance(width, int) and (height, width) != tuple(images.shape[2:]):
            images = F.interpolate(images, (height, width), mode="bilinear", antialias=True, align_corners=False)
        with reading(self.path, FormatError, f"cannot take {tuple(images.shape)} images"):
            (found,) = self.session.run([self.output.name], {self.input.name: images.float().cpu().numpy()})
        if found.size == 0 or found.size != found.shape[0] * found.shape[1] or found.shape[0] != len(images):
            raise FormatError(f"{self.path}: its output is {found.shape}; expected ({len(images)}, D).")
        return np.asarray(found.reshape(len(images), -1))


def fid(
    features: Features, made: Iterable[Float[Tensor, "_ 3 _ _"]], real: Iterable[Float[Tensor, "_ 3 _ _"]]
) -> float:
    """Distance of made from real images, in batches, each in [0, 1].

    Raises:
        ShapeError: There are fewer than two images on a side.

    Reference: Heusel et al., GANs Trained by a Two Time-Scale Update Rule, 2017, Eq. 6.
    """
    one, two = (np.concatenate([features(batch) for batch in batches]) for batches in (made, real))
    return frechet_distance(one, two)

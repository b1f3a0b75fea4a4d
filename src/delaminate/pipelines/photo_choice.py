"""Choose, without labels, between models that cut the one thing out of photos: by what their outlines fall on.

A cut-out is good where colour changes across its outline and nowhere else does; where methods that know nothing of one another
cut out the same; and where different photos get different cut-outs. IoU with true masks is never asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from delaminate import zoo
from delaminate.data import ImageSet
from delaminate.methods import Method, load_model
from delaminate.scene.compositing import segment

SIDE = 128
"""Photos are compared at this size; most models work at half of it."""
SAMPLE = 48
"""Photos that candidates are compared on."""
SHARES = (0.03, 0.8)
"""Share of a photo that one thing in it takes."""


@dataclass(frozen=True)
class Candidate:
    """A model, and how its cut-outs look.

    Attributes:
        model: Its name.
        sharpness: How strong the photo's edges are along the outline, compared with the whole photo: 1 is what an outline
            gives that falls anywhere.
        agreement: Mean IoU with the cut-outs of the other candidates.
        share: Photos in which the cut-out has a share of the photo that a thing has.
        sameness: Mean IoU of cut-outs of different photos: 1 is a fixed patch.
    """

    model: str
    sharpness: float
    agreement: float
    share: float
    sameness: float

    @property
    def score(self) -> float:
        """What candidates are ordered by."""
        return self.sharpness * self.share * (0.5 + 0.5 * self.agreement) * (1 - max(self.sameness - 0.6, 0))


def candidates(images: ImageSet, models: Sequence[str | Method] = ()) -> list[Candidate]:
    """Look at what models cut out of some photos, the best one first.

    Args:
        images: At their own size, or any.
        models: Names or models; none: those of the zoo that cut one thing out of photos.
    """
    chosen = torch.linspace(0, len(images) - 1, min(len(images), SAMPLE)).round().long()
    pixels = images.batch(chosen.unique())
    pixels = torch.nn.functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    edges = np.stack([_edges(photo) for photo in pixels])
    named = [
        (each, load_model(each)) if isinstance(each, str) else (each.name, each) for each in models or in_the_box()
    ]
    cut = [(name, cut_out(method, pixels.clamp(0, 1))) for name, method in named]
    found = [
        _judge(name, masks, edges, [other for n, (_, other) in enumerate(cut) if n != at])
        for at, (name, masks) in enumerate(cut)
    ]
    return sorted(found, key=lambda each: -each.score)


def in_the_box() -> list[str]:
    """Names of the zoo's models that cut one thing out of photos."""
    return [name for name in zoo.names() if name.startswith(("redo/", "perturbgan/")) and "flowers" in name]


def cut_out(method: Method, photos: Float[Tensor, "B 3 H W"]) -> Bool[np.ndarray, "B H W"]:
    """What a model takes for the thing in each photo."""
    labels = segment(method.decompose(photos).layers()).float()[:, None] > 0
    size = photos.shape[-2:]
    return (
        torch.nn.functional.interpolate(labels.float(), size, mode="bilinear", align_corners=False)[:, 0].numpy() > 0.5
    )


def _edges(photo: Float[Tensor, "3 H W"]) -> Float[np.ndarray, "H W"]:
    channels = [ndimage.gaussian_gradient_magnitude(channel, 1.0) for channel in photo.numpy()]
    return np.max(channels, axis=0)


def _judge(
    name: str, masks: Bool[np.ndarray, "B H W"], edges: Float[np.ndarray, "B H W"], others: Sequence[np.ndarray]
) -> Candidate:
    sharp, shares = [], []
    for mask, edge in zip(masks, edges, strict=True):
        outline = mask ^ ndimage.binary_erosion(mask)
        outline[[0, -1]] = outline[:, [0, -1]] = False
        shares.append(SHARES[0] <= mask.mean() <= SHARES[1])
        if outline.any():
            # Blurred outlines of small masks may lie a pixel beside the edge.
            sharp.append(
                float(
                    ndimage.maximum_filter(edge, 3)[outline].mean() / max(ndimage.maximum_filter(edge, 3).mean(), 1e-6)
                )
            )
    agreement = [float(np.mean([_iou(*pair) for pair in zip(masks, other, strict=True)])) for other in others]
    sameness = float(np.mean([_iou(masks[n], masks[n - 1]) for n in range(len(masks))]))
    return Candidate(
        name, float(np.median(sharp)) if sharp else 0.0, float(np.mean(agreement)) if agreement else 0.0,
        float(np.mean(shares)), sameness,
    )  # fmt: skip


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))

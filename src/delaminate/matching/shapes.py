"""Matching for flat-coloured things that are turned and scaled: cut-outs, logos, drawn shapes.

Where each object has one colour, its visible part is one region, and colour coherence does what a correlation over all poses
cannot: it says which pixels belong together before any sprite is known. Shapes that nothing hides recur up to a similarity
and form tight clusters; the clusters' means are the sprites. A region that is partly hidden is explained by the sprite
and pose that cover it, avoid the background, and may hide anywhere behind other regions ("don't care").
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from delaminate.matching.registration import pixel_middles, register, render, shapes_seen, similarity
from delaminate.matching.soft.correlation import correlate
from delaminate.scene.compositing import strict_order
from delaminate.scene.placements import Placement, Transform

FILL = 0.30
"""Share of a sprite's square that its shape fills; leaves room for long shapes."""
BAD, FITS = 0.06, 0.9
"""Error, as a share of its region, above which a pose may be wrong; and agreement from which it tells of its shape."""
FEW = 4
"""Places of each sprite that search has registered."""
KEPT = 8
"""Poses of each region that are kept until who hides whom is known."""
AT_ONCE = 2**22
"""Pixels of pairs of region and sprite that are registered at a time."""
ORDERS = 2
"""How often who hides whom is read off, and all is registered anew."""


@dataclass(frozen=True)
class Regions:
    """The flat-coloured regions of one image.

    Attributes:
        labels: 0 for the background, else 1 + index of the region; -1 where no colour holds, shape (H, W).
        colours: The background's colour, then each region's, shape (n + 1, 3).
    """

    labels: Int[Tensor, "H W"]
    colours: Float[Tensor, "N 3"]

    def __len__(self) -> int:
        return len(self.colours) - 1

    def masks(self) -> Float[Tensor, "n H W"]:
        names = torch.arange(1, len(self.colours))
        return (self.labels[None] == names[:, None, None]).float()


def flat_regions(image: Float[Tensor, "3 H W"], tolerance: float = 0.03, min_pixels: int = 8) -> Regions:
    """Group pixels by colour; the background is the colour most seen along the border.

    Args:
        image: In [0, 1].
        tolerance: Largest difference of any channel within a region.
        min_pixels: Smaller groups are no regions.
    """
    pixels = image.permute(1, 2, 0).reshape(-1, 3).cpu().numpy()
    values, inverse, counts = np.unique(
        (pixels * 255).round().astype(np.int64), axis=0, return_inverse=True, return_counts=True
    )
    inverse = inverse.reshape(-1)
    names = np.full(len(values), -1)
    centres: list[np.ndarray] = []
    for index in np.argsort(-counts, kind="stable"):
        near = [np.abs(values[index] - c).max() <= tolerance * 255 for c in centres]
        if any(near):
            names[index] = near.index(True)
        elif counts[index] >= min_pixels:
            names[index] = len(centres)
            centres.append(values[index])
    labels = names[inverse].reshape(image.shape[1:])
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    background_label = int(np.bincount(border[border >= 0], minlength=1).argmax()) if (border >= 0).any() else 0
    sizes = np.bincount(labels[labels >= 0].ravel(), minlength=len(centres))
    kept = [i for i in range(len(centres)) if i != background_label and sizes[i] >= min_pixels]
    table = np.full(len(centres) + 1, -1)
    table[background_label] = 0
    for new, old in enumerate(kept):
        table[old] = new + 1
    colours = np.array([centres[i] for i in (background_label, *kept)]) if centres else np.zeros((1, 3))
    return Regions(torch.as_tensor(table[labels]), torch.as_tensor(colours / 255, dtype=torch.float32))


def _moments(masks: Float[Tensor, "n H W"]) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " n"]]:
    """Centroids (x, y) in pixels, and areas."""
    area = masks.flatten(1).sum(1).clamp_min(1)
    x = torch.arange(masks.shape[2]) + 0.5
    y = torch.arange(masks.shape[1]) + 0.5
    return torch.stack([(masks.sum(1) @ x) / area, (masks.sum(2) @ y) / area], 1), area


def normalised(masks: Float[Tensor, "n H W"], size: int, angles: Float[Tensor, " A"]) -> Float[Tensor, "n A s s"]:
    """Bring shapes to one centre and area, in each of the given turns."""
    centre, area = _moments(masks)
    scale = (area / (FILL * size * size)).sqrt()
    count, turns = len(masks), len(angles)
    # Where each pixel of the canonical square looks in the image.
    matrix = similarity(centre.repeat_interleave(turns, 0), scale.repeat_interleave(turns), angles.repeat(count), size)
    looked = (matrix[:, :2] @ pixel_middles((size, size))).transpose(1, 2)  # nA ss 2
    extent = looked.new_tensor([masks.shape[2], masks.shape[1]])
    grid = (looked * 2 / extent - 1).reshape(count, turns * size, size, 2)
    return F.grid_sample(masks[:, None], grid, align_corners=False)[:, 0].view(count, turns, size, size)


def overlap(turned: Float[Tensor, "n A s s"], shapes: Float[Tensor, "K s s"]) -> Float[Tensor, "n A K"]:
    """Intersection over union of every shape with every turn of every region."""
    flat, other = turned.flatten(2), shapes.flatten(1)
    both = flat @ other.T
    return both / (flat.sum(2, keepdim=True) + other.sum(1) - both).clamp_min(1e-6)


def find_shapes(
    masks: Float[Tensor, "n H W"], count: int, size: int, similar: float = 0.9, turns: int = 36, rounds: int = 4
) -> Float[Tensor, "K s s"]:
    """Find the shapes that recur: the densest cluster of normalised regions, then the next, at most `count`.

    A shape whose cluster is below a twentieth of the largest is noise of hidden parts, and ends the list.
    """
    angles = torch.arange(turns) * (2 * math.pi / turns)
    turned = normalised(masks, size, angles)
    upright = turned[:, 0]
    close = torch.cat([overlap(some, upright).amax(1) for some in turned.split(64)])  # n n
    left = torch.ones(len(masks), dtype=torch.bool)
    shapes: list[Tensor] = []
    largest = 0
    while len(shapes) < count and left.any():
        votes = ((close > similar) & left[None] & left[:, None]).sum(1)
        best = int(votes.argmax())
        largest = max(largest, int(votes[best]))
        if int(votes[best]) < max(2, largest / 20):
            break
        shape = upright[best]
        for _ in range(rounds):
            agreement = overlap(turned, shape[None])[..., 0]  # n A
            value, turn = agreement.max(1)
            members = (value > similar).nonzero()[:, 0]
            if len(members) == 0:
                break
            # The mean of resampled shapes is blurred; its edge is where half of them end.
            shape = ((turned[members, turn[members]].mean(0) - 0.5) * 4 + 0.5).clamp(0, 1)
        shapes.append(shape)
        left &= overlap(turned, shape[None])[..., 0].amax(1) < similar - 0.08
    return torch.stack(shapes) if shapes else torch.zeros(0, size, size)


@dataclass(frozen=True)
class Pose:
    """A sprite's place: entry, centre (x, y) in pixels, scale, angle, and how well it explains its region, 1 at best."""

    entry: int
    centre: tuple[float, float]
    scale: float
    angle: float
    agreement: float

    def matrix(self, size: int) -> Float[Tensor, "3 3"]:
        centre = torch.tensor([self.centre])
        return similarity(centre, torch.tensor([self.scale]), torch.tensor([self.angle]), size)[0]


class PoseFinder:
    """Finds the sprite and pose behind each region.

    Args:
        shapes: Alphas of the sprites (K, s, s).
        size: Canvas in pixels.
        scales: Scales to try for hidden shapes; those seen on shapes that nothing hides.
        turns: Angles to try.
    """

    def __init__(
        self, shapes: Float[Tensor, "K s s"], size: tuple[int, int], scales: Float[Tensor, " S"], turns: int = 24
    ) -> None:
        self.shapes, self.size = shapes, size
        self.angles = torch.arange(turns) * (2 * math.pi / turns)
        side = shapes.shape[-1]
        self.window = math.ceil(side * float(scales.max()) * 1.1) | 1
        grid = torch.cartesian_prod(torch.arange(len(shapes)).float(), scales, self.angles)
        self.bank_entry, self.bank_scale, self.bank_angle = grid[:, 0].long(), grid[:, 1], grid[:, 2]
        middle = torch.full((len(grid), 2), self.window / 2)
        matrix = similarity(middle, self.bank_scale, self.bank_angle, side)
        self.bank = render(shapes[self.bank_entry][:, None], matrix, (self.window, self.window))[:, None]

    def find(self, regions: Regions) -> list[Pose]:
        """Find every region's pose: from its moments where it fits as a whole, else by search behind the others.

        All of these are registered, the best of each region taken, and who hides whom read off; then anew, for what lies in
        front of others must not cover what is seen of them.
        """
        if len(regions) == 0:
            return []
        masks, background = regions.masks(), (regions.labels == 0).float()
        tells = masks + background
        whole = self._register(*self._by_moments(masks), masks, tells)
        several = [whole]
        for i in range(len(masks)):
            if float(whole.error[whole.region == i].min()) > BAD:
                hidden = self._search(i, 2 * masks[i] - background - 0.05 * (1 - tells[i]))
                several.append(self._register(*hidden, masks, tells))
        tried = _Tried.joined(several).few(KEPT)
        poses = tried.best(len(masks))
        for _ in range(ORDERS if len(masks) > 1 else 0):
            order = strict_order(front_to_back(poses, regions, self.shapes)[None])[0].tolist()
            hides = torch.zeros(len(masks), len(masks))
            for place, i in enumerate(order):
                hides[i, order[:place]] = 1
            tells = (masks + background + (hides @ masks.flatten(1)).view_as(masks)).clamp_max(1)
            tried = self._register(tried.poses, tried.region, tried.entry, masks, tells)
            poses = tried.best(len(masks))
        return poses

    def _by_moments(
        self, masks: Float[Tensor, "n H W"]
    ) -> tuple[Float[Tensor, "m 4"], Int[Tensor, " m"], Int[Tensor, " m"]]:
        """Each region as a whole, as each of the sprites, in the best turn: poses, regions, sprites."""
        side, count = self.shapes.shape[-1], len(self.shapes)
        turn = overlap(normalised(masks, side, self.angles), self.shapes).argmax(1)  # n K
        centre, area = _moments(masks)
        scale = (area / (FILL * side * side)).sqrt().log()
        poses = torch.cat([centre, scale[:, None]], 1).repeat_interleave(count, 0)
        poses = torch.cat([poses, self.angles[turn].view(-1, 1)], 1)
        region = torch.arange(len(masks)).repeat_interleave(count)
        return poses, region, torch.arange(count).repeat(len(masks))

    def _search(
        self, region: int, reward: Float[Tensor, "H W"]
    ) -> tuple[Float[Tensor, "m 4"], Int[Tensor, " m"], Int[Tensor, " m"]]:
        """The best few of every sprite, scale, angle and place: poses, the region, sprites."""
        reach = self.window // 2
        gains = correlate(reward[None, None], self.bank, reach)[0, 0]  # T Y X
        best = gains.flatten(1).max(1)
        found = []
        for entry in range(len(self.shapes)):
            mine = (self.bank_entry == entry).nonzero()[:, 0]
            found.append(mine[best.values[mine].topk(min(FEW, len(mine))).indices])
        top = torch.cat(found)
        y = torch.div(best.indices[top], gains.shape[2], rounding_mode="floor") - reach + self.window / 2
        x = best.indices[top] % gains.shape[2] - reach + self.window / 2
        poses = torch.stack([x.float(), y.float(), self.bank_scale[top].log(), self.bank_angle[top]], 1)
        return poses, torch.full((len(top),), region), self.bank_entry[top]

    def _register(
        self,
        poses: Float[Tensor, "m 4"],
        region: Int[Tensor, " m"],
        entry: Int[Tensor, " m"],
        masks: Float[Tensor, "n H W"],
        tells: Float[Tensor, "n H W"],
    ) -> "_Tried":
        """Register pairs of region and sprite, as many at a time as memory is meant for."""
        parts = [
            register(self.shapes[sprites], some, masks[regions], tells[regions])
            for some, regions, sprites in zip(
                *(each.split(max(1, AT_ONCE // masks[0].numel())) for each in (poses, region, entry)), strict=True
            )
        ]
        found, error = (torch.cat(each) for each in zip(*parts, strict=True))
        return _Tried(found, region, entry, error / masks.flatten(1).sum(1).clamp_min(1)[region])


@dataclass(frozen=True)
class _Tried:
    """Poses that were tried: centre (x, y), log scale, angle; of which region and sprite; error as a share of the region."""

    poses: Float[Tensor, "m 4"]
    region: Int[Tensor, " m"]
    entry: Int[Tensor, " m"]
    error: Float[Tensor, " m"]

    @classmethod
    def joined(cls, several: list["_Tried"]) -> "_Tried":
        return cls(
            torch.cat([each.poses for each in several]),
            torch.cat([each.region for each in several]),
            torch.cat([each.entry for each in several]),
            torch.cat([each.error for each in several]),
        )

    def few(self, count: int) -> "_Tried":
        """The poses of least error of each region, so many at most."""
        order = np.lexsort((self.error.numpy(), self.region.numpy()))
        region = self.region.numpy()[order]
        rank = np.arange(len(order)) - np.searchsorted(region, region)
        kept = torch.from_numpy(order[rank < count])
        return _Tried(self.poses[kept], self.region[kept], self.entry[kept], self.error[kept])

    def best(self, count: int) -> list[Pose]:
        """The pose of least error of each region."""
        found = []
        for region in range(count):
            mine = (self.region == region).nonzero()[:, 0]
            n = int(mine[self.error[mine].argmin()])
            x, y, scale, angle = self.poses[n].tolist()
            found.append(Pose(int(self.entry[n]), (x, y), math.exp(scale), angle, 1 - float(self.error[n])))
        return found


def reestimated(
    shapes: Float[Tensor, "K s s"], images: Float[Tensor, "B 3 H W"], scales: Float[Tensor, " S"], rounds: int = 2
) -> Float[Tensor, "K s s"]:
    """Estimate shapes again from where images show them, those that they fit badly left out."""
    seen = [flat_regions(image) for image in images]
    size = (images.shape[2], images.shape[3])
    for _ in range(rounds):
        finder = PoseFinder(shapes, size, scales)
        found = []
        for regions in seen:
            poses = finder.find(regions)
            good = [n for n, pose in enumerate(poses) if pose.agreement >= FITS]
            if good:
                masks = regions.masks()
                matrix = torch.stack([poses[n].matrix(shapes.shape[-1]) for n in good])
                entry = torch.tensor([poses[n].entry for n in good])
                found.append((entry, matrix, masks[good], (masks + (regions.labels == 0).float())[good] > 0))
        shapes = shapes_seen(shapes, found)
    return shapes


@dataclass(frozen=True)
class Explanation:
    """What was found in one image, back to front: poses, their colours, and the background's colour."""

    poses: list[Pose]
    colours: Float[Tensor, "n 3"]
    background: Float[Tensor, " 3"]


def explain(image: Float[Tensor, "3 H W"], finder: PoseFinder) -> Explanation:
    """Find the sprite, pose, colour and order of every region of an image."""
    regions = flat_regions(image)
    poses = finder.find(regions)
    order = strict_order(front_to_back(poses, regions, finder.shapes)[None])[0].tolist() if poses else []
    colours = regions.colours[1:]
    return Explanation([poses[i] for i in order], colours[order], regions.colours[0])


def seen_scales(masks: Float[Tensor, "n H W"], shapes: Float[Tensor, "K s s"], count: int = 7) -> Float[Tensor, " S"]:
    """List scales between those at which whole shapes were seen, evenly in their logarithm."""
    angles = torch.arange(36) * (2 * math.pi / 36)
    whole = overlap(normalised(masks, shapes.shape[-1], angles), shapes).amax((1, 2)) > 0.9
    if not bool(whole.any()):
        whole = torch.ones_like(whole)
    scales = (masks[whole].flatten(1).sum(1) / (FILL * shapes.shape[-1] ** 2)).sqrt().log()
    return torch.linspace(float(scales.quantile(0.02)), float(scales.quantile(0.98)), count).exp()


def whole_regions(images: Float[Tensor, "B 3 H W"], least: int = 60, most: int = 500) -> Float[Tensor, "n H W"]:
    """Collect regions that are large enough to show a shape and do not touch the border."""
    found: list[Tensor] = []
    for image in images:
        masks = flat_regions(image).masks()
        border = masks[:, [0, -1]].sum((1, 2)) + masks[:, :, [0, -1]].sum((1, 2))
        found.extend(masks[(border == 0) & (masks.flatten(1).sum(1) >= least)])
        if len(found) >= most:
            break
    return torch.stack(found[:most]) if found else images.new_zeros(0, *images.shape[2:])


def front_to_back(poses: list[Pose], regions: Regions, shapes: Float[Tensor, "K s s"]) -> Float[Tensor, "n n"]:
    """Say who hides whom: of the pixels that both cover, how many show the one rather than the other, in [0, 1]."""
    count = len(poses)
    if count == 0:
        return torch.zeros(0, 0)
    size = (regions.labels.shape[0], regions.labels.shape[1])
    stacked = torch.stack([shapes[p.entry] for p in poses])[:, None]
    covers = render(stacked, torch.stack([p.matrix(shapes.shape[-1]) for p in poses]), size) > 0.5
    masks = regions.masks() > 0.5
    hides = torch.full((count, count), 0.5)
    for i in range(count):
        for j in range(i):
            both = covers[i] & covers[j]
            mine, theirs = float((both & masks[i]).sum()), float((both & masks[j]).sum())
            if mine + theirs > 0:
                hides[i, j], hides[j, i] = mine / (mine + theirs), theirs / (mine + theirs)
    return hides.fill_diagonal_(0)


def placements_by_regions(
    image: Float[Tensor, "3 H W"], finder: PoseFinder, background_entry: int
) -> tuple[Placement, ...]:
    """Explain an image region by region: a flat background, then flat-coloured sprites, back to front."""
    seen, size, side = explain(image, finder), finder.size, finder.shapes.shape[-1]
    background = Placement(background_entry, (Transform.shift(0, 0, size),), (0.0, 0.0, 0.0, *seen.background.tolist()))
    objects = [
        Placement(pose.entry, (Transform.of_matrix(pose.matrix(side), size),), (0.0, 0.0, 0.0, *colour.tolist()))
        for pose, colour in zip(seen.poses, seen.colours, strict=True)
    ]
    return (background, *objects)

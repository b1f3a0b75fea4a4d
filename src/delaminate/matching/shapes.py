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

from delaminate.matching.soft.correlation import correlate
from delaminate.scene.compositing import strict_order
from delaminate.scene.placements import Placement, Transform

FILL = 0.30
"""Share of a sprite's square that its shape fills; leaves room for long shapes."""


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


def similarity(
    centre: Float[Tensor, "N 2"], scale: Float[Tensor, " N"], angle: Float[Tensor, " N"], size: int
) -> Float[Tensor, "N 3 3"]:
    """Matrices that put the middle of a square of `size` pixels at `centre` (x, y), scaled and turned; in pixels."""
    cos, sin = scale * angle.cos(), scale * angle.sin()
    half = size / 2
    x = centre[:, 0] - (cos - sin) * half
    y = centre[:, 1] - (sin + cos) * half
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return torch.stack([cos, -sin, x, sin, cos, y, zero, zero, one], 1).view(-1, 3, 3)


def render(
    sprites: Float[Tensor, "N 1 h h"], matrix: Float[Tensor, "N 3 3"], size: tuple[int, int]
) -> Float[Tensor, "N H W"]:
    """Draw one sprite per matrix onto a canvas of its own."""
    inverse = torch.linalg.inv(matrix.double()).float()
    y, x = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    points = torch.stack([x.flatten(), y.flatten(), torch.ones(x.numel())])  # 3 HW
    looked = (inverse[:, :2] @ points).transpose(1, 2) * (2 / sprites.shape[-1]) - 1
    return F.grid_sample(sprites, looked.reshape(-1, *size, 2), align_corners=False)[:, 0]


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
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    points = torch.stack([x.flatten(), y.flatten(), torch.ones(x.numel())])
    looked = (matrix[:, :2] @ points).transpose(1, 2)  # nA ss 2
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
    """A sprite's place: entry, centre (x, y) in pixels, scale, angle, and how well it explains its region."""

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

    def find(self, regions: Regions, good: float = 0.93) -> list[Pose]:
        """Find every region's pose: from its moments where it fits as a whole, else by search behind the others."""
        if len(regions) == 0:
            return []
        masks = regions.masks()
        is_background = (regions.labels == 0).float()
        side = self.shapes.shape[-1]
        turned = normalised(masks, side, self.angles)
        agreement = overlap(turned, self.shapes)  # n A K
        centre, area = _moments(masks)
        poses = []
        for i in range(len(masks)):
            best = int(agreement[i].argmax())
            turn, entry = best // len(self.shapes), best % len(self.shapes)
            scale = math.sqrt(float(area[i]) / (FILL * side * side))
            first = torch.tensor(
                [[float(centre[i, 0]), float(centre[i, 1]), math.log(scale), float(self.angles[turn])]]
            )
            reward = 2 * masks[i] - is_background - 0.05 * (1 - masks[i] - is_background)
            pose = self._polish(first, entry, reward, masks[i])
            if pose.agreement < good:
                pose = max(pose, self._search(reward, masks[i]), key=lambda p: p.agreement)
            poses.append(pose)
        return poses

    def _search(self, reward: Float[Tensor, "H W"], mask: Float[Tensor, "H W"]) -> Pose:
        """Try every sprite, scale, angle and place at once, and polish the best few."""
        reach = self.window // 2
        gains = correlate(reward[None, None], self.bank, reach)[0, 0]  # T Y X
        best = gains.flatten(1).max(1)
        found = []
        for entry in range(len(self.shapes)):
            mine = (self.bank_entry == entry).nonzero()[:, 0]
            top = mine[best.values[mine].topk(min(3, len(mine))).indices]
            place = best.indices[top]
            y = torch.div(place, gains.shape[2], rounding_mode="floor") - reach + self.window / 2
            x = place % gains.shape[2] - reach + self.window / 2
            start = torch.stack([x.float(), y.float(), self.bank_scale[top].log(), self.bank_angle[top]], 1)
            found.append(self._polish(start, entry, reward, mask))
        return max(found, key=lambda pose: pose.agreement)

    def _polish(
        self, start: Float[Tensor, "n 4"], entry: int, reward: Float[Tensor, "H W"], mask: Float[Tensor, "H W"]
    ) -> Pose:
        """Improve poses (x, y, log scale, angle) by trying neighbours in ever smaller steps."""
        moves = torch.cat([torch.zeros(1, 4), torch.eye(4), -torch.eye(4), _diagonals()])
        step = torch.tensor([1.5, 1.5, 0.12, 0.13])
        best = start
        for _ in range(5):
            tried = (best[:, None] + moves * step).view(-1, 4)
            value = self._value(tried, entry, reward)
            choice = value.view(len(best), -1).argmax(1) + torch.arange(len(best)) * len(moves)
            best, step = tried[choice], step * 0.6
        value = self._value(best, entry, reward)
        winner = best[int(value.argmax())]
        total = float(mask.sum())
        # Reward 2 |T & R| - |T & G| reaches 2 |R| where all is explained and no background is covered.
        agreement = float(value.max()) / max(2 * total, 1)
        return Pose(
            entry, (float(winner[0]), float(winner[1])), math.exp(float(winner[2])), float(winner[3]), agreement
        )

    def _value(self, poses: Float[Tensor, "n 4"], entry: int, reward: Float[Tensor, "H W"]) -> Float[Tensor, " n"]:
        shape = self.shapes[entry].expand(len(poses), 1, -1, -1)
        matrix = similarity(poses[:, :2], poses[:, 2].exp(), poses[:, 3], self.shapes.shape[-1])
        return (render(shape, matrix, self.size) * reward).flatten(1).sum(1)


def _diagonals() -> Float[Tensor, "8 4"]:
    """Moves that change place together, and scale with angle."""
    signs = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    zero = torch.zeros(4, 2)
    return torch.cat([torch.cat([signs, zero], 1), torch.cat([zero, signs], 1)])


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

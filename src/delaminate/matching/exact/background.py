"""What lies behind everything: one colour, a static picture, several rooms, or a panorama that the camera scrolls over."""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int16, Int64, UInt8
from scipy import ndimage

from delaminate.errors import ConfigError
from delaminate.matching.exact.camera import (
    CUT,
    NEAR,
    Locator,
    agreement,
    alike,
    best_step,
    is_scrolled,
    near_of,
    panel,
    smoothed,
    step,
    telling,
)
from delaminate.matching.exact.colour_model import ColourModel
from delaminate.matching.exact.stacking import (
    MAX_PANORAMA,
    SETTLES,
    areas_of_one_colour,
    blocks,
    settled_colours,
    some_pixels,
    stacked,
)
from delaminate.matching.tile_cells import colour_codes
from delaminate.rng import numpy_stream

MENDERS = 4
"""Frames that must show a pixel of the background before its colour is corrected."""
GONE = 0.2
"""What shows its surroundings instead in so many frames is no part of a still picture."""
GOES_ON, GOES_ON_PLACES, GOES_ON_LEAST = 0.5, 3, 0.1
"""Nor is what goes on beyond its rim in so many of the frames: at so many pixels, each in at least this share of the frames."""
LOOKED_AT = 101
"""Frames of a scene in which the camera stands still that are asked about its background, at most."""
BRIEF = 8
"""Frames that a flash takes at most."""
CHANGES = 0.35
"""The share of a frame that a cut changes at least."""
SAME_ROOM = 0.8
"""Of a scene's frame, the share that an earlier room must show for the scene to play there."""
FIRST_LOOK, LIKELY = 8, 512
"""On two planes one pixel of so many says where a frame may lie; at so many places all of them are compared."""


@dataclass(frozen=True, eq=False)
class Plane:
    """The near plane, and how it moves.

    Attributes:
        rgba: In [0, 1], (h, w, 4); alpha is 0 or 1.
        speed: Pixels that the near plane moves for each pixel of the far one.
        origin: Row and column of the near plane's corner where the far plane's offset is (0, 0).
    """

    rgba: Float32[np.ndarray, "h w 4"]
    speed: float
    origin: tuple[int, int]

    def predicted(self, far: tuple[int, int]) -> tuple[int, int]:
        """Where the near plane should be, given the far plane's offset."""
        return (
            round(self.origin[0] + self.speed * far[0]),
            round(self.origin[1] + self.speed * far[1]),
        )

    def crop(self, size: tuple[int, int], offset: tuple[int, int]) -> Float32[np.ndarray, "H W 4"]:
        """What a frame shows of it; nothing beyond its border."""
        shown = np.zeros((*size, 4), np.float32)
        top, left = max(offset[0], 0), max(offset[1], 0)
        part = self.rgba[top : offset[0] + size[0], left : offset[1] + size[1]]
        shown[top - offset[0] :, left - offset[1] :][: part.shape[0], : part.shape[1]] = part
        return shown


@dataclass(frozen=True, eq=False)
class Background:
    """The background.

    Attributes:
        rgb: In [0, 1], (h, w, 3): 1 x 1 for one colour, of the frames' size, or larger where the camera scrolls; several
            rooms lie below each other.
        plane: A nearer plane that scrolls faster, or None.
    """

    rgb: Float32[np.ndarray, "h w 3"]
    plane: Plane | None = None

    def offset(self, frame: UInt8[np.ndarray, "H W 3"], near: tuple[int, int] | None = None) -> tuple[int, int]:
        """Where a frame lies on the panorama: its top and left in pixels; (0, 0) unless that is larger."""
        height, width = frame.shape[:2]
        if self.plane is not None:
            return self.locate(frame)[0]
        if self.rgb.shape[0] <= height and self.rgb.shape[1] <= width:
            return 0, 0
        return self.locator(frame, near)

    def locate(self, frame: UInt8[np.ndarray, "H W 3"]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where a frame lies on the far plane, and on the near one; the same twice where there is one plane."""
        if self.plane is None:
            return (self.offset(frame),) * 2
        return self.plane_locator(frame)

    @functools.cached_property
    def locator(self) -> Locator:
        """What finds frames on this background."""
        return Locator(self.rgb)

    @functools.cached_property
    def plane_locator(self) -> "PlaneLocator":
        """What finds frames on two planes."""
        assert self.plane is not None
        return PlaneLocator(self.rgb, self.plane)

    def crop(self, size: tuple[int, int], offset: tuple[int, int]) -> Float32[np.ndarray, "H W 3"]:
        """The part of the background that a frame of `size` at `offset` shows, without the near plane."""
        if self.rgb.shape[:2] == (1, 1):
            return np.broadcast_to(self.rgb, (*size, 3))
        rows = (offset[0] + np.arange(size[0])).clip(0, self.rgb.shape[0] - 1)
        columns = (offset[1] + np.arange(size[1])).clip(0, self.rgb.shape[1] - 1)
        return self.rgb[rows[:, None], columns[None]]

    def behind(
        self, size: tuple[int, int], far: tuple[int, int], near: tuple[int, int]
    ) -> Float32[np.ndarray, "H W 3"]:
        """What a frame shows behind all sprites: both planes, if there are two."""
        shown = self.crop(size, far)
        if self.plane is None:
            return shown
        front = self.plane.crop(size, near)
        return np.where(front[..., 3:] > 0.5, front[..., :3], shown).astype(np.float32)


class PlaneLocator:
    """Finds where frames lie on two planes: the faster one is tried everywhere, the other is where it should be, or beside.

    Args:
        far: The far plane, in [0, 1].
        plane: The near one.
    """

    def __init__(self, far: Float32[np.ndarray, "h w 3"], plane: Plane) -> None:
        self.far, self.plane = np.rint(far * 255).astype(np.int16), plane
        self.near = np.rint(plane.rgba[..., :3] * 255).astype(np.int16)
        self.opaque = plane.rgba[..., 3] > 0.5

    def __call__(self, frame: UInt8[np.ndarray, "H W 3"], sample: int = 500) -> tuple[tuple[int, int], tuple[int, int]]:
        """The offsets of a frame on the far plane and on the near one: top and left in pixels."""
        size = np.array(frame.shape[:2])
        fast = self.plane.speed >= 1
        rows, columns = (np.array((self.near if fast else self.far).shape[:2]) - size).clip(0)
        tries = np.stack(np.meshgrid(np.arange(rows + 1), np.arange(columns + 1), indexing="ij"), -1).reshape(-1, 2)
        pixels = _telling_pixels(frame, sample)
        if fast:
            near, far = tries, np.floor((tries - np.array(self.plane.origin)) / self.plane.speed).astype(np.int64)
        else:
            near, far = np.rint(np.array(self.plane.origin) + self.plane.speed * tries).astype(np.int64), tries
        # A few pixels tell where it may lie, all of them where of these.
        for some, kept in ((pixels[::FIRST_LOOK], LIKELY), (pixels, 4)):
            shares = np.concatenate(
                [self._shares(frame, some, far[n : n + 512], near[n : n + 512]) for n in range(0, len(far), 512)]
            )
            best = np.argsort(-shares, kind="stable")[:kept]
            far, near = far[best], near[best]
        everywhere = np.argwhere(np.ones(frame.shape[:2], bool))[::2]
        beside = np.array([(y, x) for y in ((-1, 0, 1) if rows else (0,)) for x in (-1, 0, 1)])
        moved = np.tile(beside, (len(far), 1))
        far, near = far.repeat(len(beside), 0), near.repeat(len(beside), 0)
        far, near = (far + moved, near) if fast else (far, near + moved)
        closer = self._shares(frame, everywhere, far, near)
        winner = int(closer.argmax())
        return (int(far[winner][0]), int(far[winner][1])), (int(near[winner][0]), int(near[winner][1]))

    def _shares(
        self, frame: UInt8[np.ndarray, "H W 3"], pixels: np.ndarray, far: np.ndarray, near: np.ndarray
    ) -> Float32[np.ndarray, " n"]:
        """Of some pixels of a frame, the shares that the planes explain at some offsets."""
        looked = {}
        for name, picture, offset in (("far", self.far, far), ("near", self.near, near)):
            place = offset[:, None] + pixels[None]
            inside = (place >= 0).all(2) & (place < np.array(picture.shape[:2])).all(2)
            y, x = place[..., 0].clip(0, picture.shape[0] - 1), place[..., 1].clip(0, picture.shape[1] - 1)
            looked[name] = picture[y, x], inside & (self.opaque[y, x] if name == "near" else True)
        shown = np.where(looked["near"][1][..., None], looked["near"][0], looked["far"][0])
        there = looked["near"][1] | looked["far"][1]
        alike_ = (np.abs(shown - frame[pixels[:, 0], pixels[:, 1]].astype(np.int16)) <= NEAR).all(2) & there
        return alike_.mean(1).astype(np.float32)


def _telling_pixels(frame: UInt8[np.ndarray, "H W 3"], count: int) -> Int64[np.ndarray, "n 2"]:
    """Some pixels of a frame, rows and columns, by chance: most of them where it is not of one colour, if it is anywhere."""
    rng = numpy_stream("plane locator")
    anywhere = rng.integers(0, frame.shape[:2], (count, 2))
    outlines = np.zeros(frame.shape[:2], bool)
    outlines[:-1] |= (frame[1:] != frame[:-1]).any(2)
    outlines[:, :-1] |= (frame[:, 1:] != frame[:, :-1]).any(2)
    places = np.argwhere(outlines)
    if not len(places):
        return anywhere
    return np.concatenate([anywhere[: count // 4], places[rng.integers(0, len(places), count - count // 4)]])


def solid(frames: UInt8[np.ndarray, "N H W 3"]) -> Background:
    """The commonest colour: of the fullest of 32 x 32 x 32 bins the commonest, or its median where none stands out."""
    some = sampled(frames, 100).reshape(-1, 3)
    bins = (some >> 3).astype(np.int64) @ np.array([1024, 32, 1])
    fullest = some[bins == np.bincount(bins).argmax()]
    counts = np.bincount((fullest & 7).astype(np.int64) @ np.array([64, 8, 1]), minlength=512)
    commonest = (fullest[0] & 0b11111000) + np.array(np.unravel_index(counts.argmax(), (8, 8, 8)))
    colour = commonest if 2 * counts.max() > len(fullest) else np.median(fullest, 0)
    return Background((colour / 255).astype(np.float32)[None, None])


def static(frames: UInt8[np.ndarray, "N H W 3"], noisy: bool = False, colours: ColourModel | None = None) -> Background:
    """The background's colour of every pixel, one that was seen there; behind what hides it all the time, that beside.

    Args:
        frames: The images.
        noisy: Colours vary from frame to frame, as compression leaves them: then the mean of those around the commonest.
        colours: Which colours are the background's; None: learned from the frames.
    """
    return Background(stacked(frames, np.zeros((len(frames), 2), np.int64), noisy, colours, LOOKED_AT)[0])


def sampled(frames: UInt8[np.ndarray, "N H W 3"], most: int = LOOKED_AT) -> UInt8[np.ndarray, "n H W 3"]:
    """Some of the frames, evenly along the clip."""
    return frames[np.linspace(0, len(frames) - 1, min(len(frames), most)).astype(int)]


def without_things_at_rest(
    background: Background, frames: UInt8[np.ndarray, "N H W 3"], hole: float, place: float
) -> Background:
    """Take out of a static picture what comes, goes or changes: digits of a score, a thing at rest, a wall that is shot at.

    An area of one colour is taken out where frames so often show what is around it instead that its holes cost more bits
    than placing it in every frame that has it, or where it is gone in a fifth of the frames.

    Args:
        background: The commonest colour of every pixel, of the frames' size.
        frames: The images.
        hole: Bits of a pixel of the background that a frame does not show.
        place: Bits of placing a thing.
    """
    some = sampled(frames)
    rgb = np.rint(background.rgb * 255).astype(np.uint8)
    shown = (np.abs(some.astype(np.int16) - rgb) <= NEAR).all(3).mean(0)
    areas, count = areas_of_one_colour(rgb)
    places = ndimage.find_objects(areas + 1)
    result = background.rgb.copy()
    gone = np.bincount(areas.ravel(), 1 - shown.ravel())  # at the most
    small = count <= areas.size // 20
    restless = np.bincount(areas[_beside_what_changes(shown)], minlength=len(count)) > 0
    for index in np.flatnonzero(
        small & (restless | (hole * gone > place * (1 - gone / count)) | (gone > GONE * count))
    ):
        rows, columns = places[index]
        window = slice(max(rows.start - 1, 0), rows.stop + 1), slice(max(columns.start - 1, 0), columns.stop + 1)
        inside = areas[window] == index
        rim = ndimage.binary_dilation(inside) & ~inside
        if not rim.any():
            continue
        colours, often = np.unique(rgb[window][rim], axis=0, return_counts=True)
        around, own = colours[often.argmax()], rgb[window][inside][0]
        if (np.abs(own.astype(np.int16) - around) <= NEAR).all():
            continue  # a step of a gradient is no thing
        looked = some[(slice(None), *window)].astype(np.int16)
        instead, beyond = _instead_and_beyond(looked, rgb[window], inside, around)
        gains = hole * instead[:, inside].sum(1).mean() > place * (1 - instead[:, inside].mean())
        if gains or instead[:, inside].mean() > GONE or _goes_on(beyond[:, rim]):
            result[window][inside] = around / np.float32(255)
    return Background(result)


def _instead_and_beyond(
    looked: Int16[np.ndarray, "n h w 3"],
    rgb: UInt8[np.ndarray, "h w 3"],
    inside: Bool[np.ndarray, "h w"],
    around: UInt8[np.ndarray, "3"],
) -> tuple[Bool[np.ndarray, "n h w"], Bool[np.ndarray, "n h w"]]:
    """Where frames show an area's surroundings instead of it, and where they show it beyond its rim.

    What touches a colour that is neither the area's nor the background's is part of a thing before them.
    """
    surrounds, same = ((np.abs(looked - colour) <= NEAR).all(3) for colour in (around, rgb[inside][0]))
    other = ~(surrounds | same | (np.abs(looked - rgb) <= NEAR).all(3))
    instead, beyond = surrounds & inside, same
    if not other.any():
        return instead, beyond
    in_frame = np.zeros((3, 3, 3), bool)
    in_frame[1] = True
    beside = ndimage.binary_dilation(other, in_frame)
    things = [ndimage.binary_propagation(beside & each, in_frame, each) for each in (instead, beyond)]
    return instead & ~things[0], beyond & ~things[1]


def _beside_what_changes(shown: Float[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels beside one that is not as the background is in some of the frames."""
    return ndimage.binary_dilation(shown < 1 - GOES_ON_LEAST)


def _goes_on(rim: Bool[np.ndarray, "n r"]) -> bool:
    """Whether frames show an area beyond its rim, in most of them and at several places: it is what digits have in common."""
    beyond = rim[:, rim.mean(0) >= GOES_ON_LEAST]
    return bool(beyond.shape[1] >= min(GOES_ON_PLACES, rim.shape[1] // 2) and beyond.any(1).mean() > GOES_ON)


def rooms(
    frames: UInt8[np.ndarray, "N H W 3"], noisy: bool = False, shots: Sequence[tuple[int, int]] | None = None
) -> Background | None:
    """The backgrounds of the scenes that a clip is cut to, below each other; None where it is not cut.

    A scene whose frames an earlier background shows plays there.

    Args:
        frames: A clip.
        noisy: Colours vary from frame to frame.
        shots: What `scenes_of` says, if that is known.

    Raises:
        ConfigError: They would be too large.
    """
    shots = scenes_of(frames, noisy) if shots is None else shots
    if len(shots) < 2 or len(shots) > len(frames) // 3:
        return None
    colours = ColourModel.learned([some_pixels(sampled(frames[a:b]), noisy) for a, b in shots if b - a >= 3])
    found: list[Background] = []
    for first, last in shots:
        some = frames[first:last]
        middle = some[len(some) // 2]
        if len(some) < 3 or any(_shows(each, middle) for each in found):
            continue
        restless = np.median([alike(a, b) for a, b in itertools.pairwise(some)]) <= 0.6
        scrolls = restless or is_scrolled(some, noisy)
        found.append(panorama(some, noisy=noisy) if scrolls else static(some, noisy, colours))
    if len(found) < 2:
        return None
    width = max(each.rgb.shape[1] for each in found)
    padded = [np.pad(each.rgb, ((0, 0), (0, width - each.rgb.shape[1]), (0, 0)), mode="edge") for each in found]
    if sum(len(each) for each in padded) * width > MAX_PANORAMA:
        raise ConfigError(f"background: the {len(found)} rooms are too large together; train on a shorter clip.")
    return Background(np.concatenate(padded))


def scenes_of(frames: UInt8[np.ndarray, "N H W 3"], noisy: bool = False) -> list[tuple[int, int]]:
    """Where a clip is cut: first frame of each scene, and the one after its last."""
    plain, near = np.rint(solid(frames).rgb[0, 0] * 255).astype(np.int16), near_of(noisy)
    calm = map(smoothed, frames) if noisy else frames
    cuts = [n for n, (one, other) in enumerate(itertools.pairwise(calm), start=1) if _is_cut(one, other, plain, near)]
    return list(itertools.pairwise([0, *cuts, len(frames)]))


def _is_cut(
    before: UInt8[np.ndarray, "H W 3"], after: UInt8[np.ndarray, "H W 3"], plain: Int16[np.ndarray, "3"], near: int
) -> bool:
    """Whether much of a frame changes, and what is drawn in either of two does not go on in the other, however one is shifted.

    Two rooms may have the same floor, and what comes between them may be a blank screen.
    """
    if alike(before, after, near) > 1 - CHANGES:
        return False
    drawn = [(np.abs(frame - plain) > near).any(2) for frame in (before, after)]
    if agreement(before, after, 0, 0, near, drawn=drawn) >= CUT:
        return False
    return agreement(before, after, *step(before, after, near), near, drawn=drawn) < CUT


def with_flashes(
    background: Background, frames: UInt8[np.ndarray, "N H W 3"], shots: Sequence[tuple[int, int]]
) -> Background:
    """Add what a background looks like in flashes: scenes of a few frames that show it in other colours.

    Args:
        background: One colour, a still picture, or rooms of the frames' size.
        frames: A clip whose colours recur to the bit.
        shots: What `scenes_of` says.
    """
    height, width = frames.shape[1:3]
    rgb = np.broadcast_to(background.rgb, (height, width, 3)) if background.rgb.shape[:2] == (1, 1) else background.rgb
    if rgb.shape[1] != width or rgb.shape[0] % height or background.plane is not None:
        return background
    known = [*rgb.reshape(-1, height, width, 3)]
    found = list(known)
    for first, last in shots:
        middle = frames[(first + last) // 2]
        room = (len(found) + 1) * middle[..., 0].size <= MAX_PANORAMA
        if last - first > BRIEF or not room or any(_shows(Background(each), middle) for each in found):
            continue
        found += [each for each in (_recoloured(one, middle) for one in known) if each is not None][:1]
    return background if len(found) == len(known) else Background(np.concatenate(found))


def _recoloured(
    rgb: Float32[np.ndarray, "H W 3"], frame: UInt8[np.ndarray, "H W 3"]
) -> Float32[np.ndarray, "H W 3"] | None:
    """A picture with each colour replaced by what a frame mostly shows there; None where the frame does not show that."""
    colours, which = np.unique(colour_codes(np.rint(rgb * 255).astype(np.uint8)), return_inverse=True)
    shown = colour_codes(frame).ravel().astype(np.int64)
    pairs, often = np.unique(which.ravel() * 2**24 + shown, return_counts=True)
    order = np.argsort(often, kind="stable")
    becomes = np.zeros(len(colours), np.int64)
    becomes[pairs[order] >> 24] = pairs[order] & (2**24 - 1)  # the commonest comes last
    new = becomes[which.ravel()]
    if (new == shown).mean() <= SAME_ROOM:
        return None
    return (np.stack([new >> 16, new >> 8 & 255, new & 255], 1).reshape(rgb.shape) / 255).astype(np.float32)


def _shows(background: Background, frame: UInt8[np.ndarray, "H W 3"]) -> bool:
    """Whether most of a frame is part of a background."""
    behind = background.crop(frame.shape[:2], background.offset(frame))
    return alike(np.rint(behind * 255).astype(np.uint8), frame) > SAME_ROOM


def panorama(frames: UInt8[np.ndarray, "N H W 3"], rounds: int = 2, noisy: bool = False) -> Background:
    """Put the frames of a clip together to the picture that the camera scrolls over.

    Each frame is laid where most of its pixels agree with the one before; the commonest colour of all that fall on a
    pixel is the panorama, onto which every frame is laid once more.

    Raises:
        ConfigError: The panorama would be too large.
    """
    background, _, _ = panorama_and_places(frames, rounds, noisy)
    return static(frames, noisy) if background.rgb.shape[:2] == frames.shape[1:3] else background


def panorama_and_places(
    frames: UInt8[np.ndarray, "N H W 3"], rounds: int = 2, noisy: bool = False
) -> tuple[Background, Int64[np.ndarray, "N 2"], ColourModel]:
    """As `panorama`; also where each frame lies on it, top and left in pixels, and which colours are the background's."""
    places, near = [(0, 0)], near_of(noisy)
    seen, calm = telling(frames, near), map(smoothed, frames) if noisy else frames
    for pairs in zip(itertools.pairwise(frames), itertools.pairwise(calm), strict=True):
        down, right = best_step(pairs[: 1 + noisy], seen)
        places.append((places[-1][0] + down, places[-1][1] + right))
    hidden = panel(frames, np.array(places), near)
    rgb, colours = stacked(frames, np.array(places), noisy, hidden=hidden)
    background = Background(rgb)
    for _ in range(rounds):
        top, left = (min(place[axis] for place in places) for axis in (0, 1))
        corners = [(y - top, x - left) for y, x in places]
        places = [background.locator(frame, corner) for frame, corner in zip(frames, corners, strict=True)]
        rgb, colours = stacked(frames, np.array(places), noisy, hidden=hidden)
        background = Background(rgb)
    return background, np.array(places, np.int64) - np.array(places, np.int64).min(0), colours


def mended(
    background: Background,
    frames: UInt8[np.ndarray, "N H W 3"],
    places: tuple[tuple[int, int], ...],
    hidden: Bool[np.ndarray, "N H W"],
) -> Background:
    """Correct a static picture or a panorama where frames, sprites taken away, agree on another colour.

    Args:
        background: As it was thought to be.
        frames: Some frames.
        places: Top and left of each on the background.
        hidden: Pixels where sprites hide it.
    """
    rgb = background.rgb.copy()
    for left, right, stack, there in blocks(frames, np.array(places), rgb.shape[:2], len(frames), hidden):
        colour, seen, same, _ = settled_colours(stack, there, noisy=False)
        part = rgb[:, left:right]
        sure = (seen >= MENDERS) & (same >= SETTLES * seen) & (np.abs(part * 255 - colour) > NEAR).any(2)
        part[sure] = colour[sure] / 255
    return Background(rgb)


def retold(
    background: Background,
    frames: UInt8[np.ndarray, "N H W 3"],
    places: tuple[tuple[int, int], ...],
    hidden: Bool[np.ndarray, "N H W"],
    where: Bool[np.ndarray, "h w"],
    least: int = 2,
) -> tuple[Float32[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """Tell some pixels of a background anew, by the commonest colour that frames show there; also say which were seen."""
    rgb, told = background.rgb.copy(), np.zeros(where.shape, bool)
    for left, right, stack, there in blocks(frames, np.array(places), rgb.shape[:2], len(frames), hidden):
        colour, seen, _, _ = settled_colours(stack, there, noisy=False)
        told[:, left:right] = where[:, left:right] & (seen >= least)
        rgb[:, left:right][told[:, left:right]] = colour[told[:, left:right]] / 255
    return rgb, told

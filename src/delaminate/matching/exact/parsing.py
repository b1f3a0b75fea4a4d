"""What a dictionary makes of frames, and what the frames say about the dictionary."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64
from scipy import ndimage

from delaminate.matching.exact.detection import Occurrence, TemplateBank, find
from delaminate.matching.exact.growth import RegionGrowing, agree, connected
from delaminate.matching.exact.templates import BACKGROUND, CLOSED, OPEN, Frames, HardSprite

TINTED = 2
"""Pixels beside a sprite that it may tint, where chroma is smeared."""
OFTEN_SEEN, STAND = 4, 0.8
"""A sprite stands if this share of its occurrences are at places at which it is seen so many times."""
STANDS = 0.3
"""Of the occurrences of a picture, the share at one place of the background, at most, for it to be told from another."""


@dataclass(frozen=True, eq=False)
class Parse:
    """What a dictionary makes of some frames.

    Attributes:
        places: Per frame, front to back.
        left: Per frame, open pixels that nothing matches, plus pixels painted wrongly: the error in pixels.
        pieces: Per frame, the connected regions that these pixels form.
    """

    places: list[list[Occurrence]]
    left: Int64[np.ndarray, " N"]
    pieces: Int64[np.ndarray, " N"]

    def cost(self, price: float) -> Float32[np.ndarray, " N"]:
        """Description length of each frame, in pixels: what is wrong, and a price for each placement."""
        return (self.left + price * np.array([len(some) for some in self.places])).astype(np.float32)

    def usage(self, count: int) -> Int64[np.ndarray, " K"]:
        entries = [place.entry for some in self.places for place in some]
        return np.bincount(np.array(entries, dtype=np.int64), minlength=count)


def parse(frames: Frames, bank: TemplateBank, indices: list[int], check: Callable[[], None] = lambda: None) -> Parse:
    """Find the dictionary's patterns in frames; closes what they match. `check` is called for each frame."""
    places, left, pieces = [], [], []
    for index in indices:
        check()
        base = frames.kind[index].copy()
        some = find(frames, index, bank)
        wrong = np.zeros_like(base, dtype=bool)
        painted = np.zeros_like(wrong)
        for place in some:
            pattern = bank.patterns[place.entry]
            y, x = place.top + frames.margin, place.left + frames.margin
            window = slice(y, y + pattern.size[0]), slice(x, x + pattern.size[1])
            shown = pattern.alpha & ~painted[window]
            wrong[window] |= shown & ~frames.shows(index, window, pattern)
            painted[window] |= pattern.alpha
        places.append(some)
        unseen = (base == OPEN) & ~painted
        if frames.as_light is not None:
            unseen &= ~(frames.as_light[index] & ndimage.binary_dilation(painted, np.ones((3, 3)), TINTED))
        error = unseen | (wrong & (base != CLOSED))
        left.append(int(np.count_nonzero(error)))
        pieces.append(ndimage.label(error, np.ones((3, 3)))[1] if left[-1] else 0)
    return Parse(places, np.array(left, dtype=np.int64), np.array(pieces, dtype=np.int64))


def reestimate(frames: Frames, patterns: list[HardSprite], found: Parse, growth: RegionGrowing) -> list[HardSprite]:
    """Estimate every pattern from the pixels that it alone explains; `frames` must be fresh, with nothing closed."""
    ranks, where = _owners(frames, patterns, found)
    patterns = _with_hidden_background(frames, patterns, found, ranks)
    return [_reestimated(frames, p, spots, ranks, found, growth) for p, spots in zip(patterns, where, strict=True)]


def _owners(
    frames: Frames, patterns: list[HardSprite], found: Parse
) -> tuple[Int64[np.ndarray, "N H W"], list[Int64[np.ndarray, "n 4"]]]:
    """Which placement of its frame explains each pixel, the front-most is 0; and of each pattern its spots and numbers."""
    owner = []
    where: list[list[tuple[int, int, int, int]]] = [[] for _ in patterns]
    for index, some in enumerate(found.places):
        rank = np.full(frames.kind.shape[1:], len(some), np.int64)
        for number, place in reversed(list(enumerate(some))):
            pattern = patterns[place.entry]
            y, x = place.top + frames.margin, place.left + frames.margin
            window = slice(y, y + pattern.size[0]), slice(x, x + pattern.size[1])
            match = pattern.alpha & frames.shows(index, window, pattern)
            rank[window][match] = number
            where[place.entry].append((index, y, x, number))
        owner.append(rank)
    return np.stack(owner), [np.array(spots, dtype=np.int64).reshape(-1, 4) for spots in where]


def split(
    frames: Frames,
    patterns: list[HardSprite],
    found: Parse,
    growth: RegionGrowing,
    offsets: tuple[tuple[int, int], ...],
    standing: bool = False,
) -> list[HardSprite]:
    """Tell pictures of one thing apart that differ in little, such as two steps of a walk; `frames` must be fresh.

    The occurrences of a pattern are cut in two where one pixel tells most, and each goes to the half whose typical
    picture it resembles more. Two pictures are kept if they save more pixels than one more picture has. A picture that
    stands at few places of the background, which `offsets` tell, may owe what is special about it to the background there.
    `standing`: only those of patterns that stand, such as digits.
    """
    ranks, where = _owners(frames, patterns, found)
    result = []
    for pattern, spots in zip(patterns, where, strict=True):
        halves = []
        is_cut = len(spots) >= 3 * growth.least and pattern.opacity == 1 and not pattern.given
        if is_cut and (not standing or _all_stand(spots[:, 1:3] + np.array(offsets)[spots[:, 0]])):
            halves = _halves(frames, pattern, spots, ranks, found.places, growth, np.array(offsets))
        result += halves or [pattern]
    return result


def _halves(
    frames: Frames,
    pattern: HardSprite,
    where: np.ndarray,
    ranks: np.ndarray,
    places: list[list[Occurrence]],
    growth: RegionGrowing,
    offsets: np.ndarray,
    rim: int = 2,
) -> list[HardSprite]:
    """The two pictures of a pattern; none if it is one."""
    where = where[np.linspace(0, len(where) - 1, min(len(where), growth.sample)).astype(int)]
    size = (pattern.size[0] + 2 * rim, pattern.size[1] + 2 * rim)
    colour, kind = frames.windows(where[:, :3], -rim, -rim, size)
    y = (where[:, 1, None] - rim + np.arange(size[0])).clip(0, ranks.shape[1] - 1)[:, :, None]
    x = (where[:, 2, None] - rim + np.arange(size[1])).clip(0, ranks.shape[2] - 1)[:, None, :]
    rank = ranks[where[:, 0, None, None], y, x]
    last = np.array([len(places[i]) for i in where[:, 0]])[:, None, None]
    kind = np.where((rank < last) & (rank != where[:, 3, None, None]), CLOSED, kind)  # others explain it

    def differs(shown: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Where occurrences (n, h, w) are not as a picture says."""
        # A pixel that has the background's colour agrees wherever that is seen.
        return (kind != CLOSED) & ~np.where(own, frames.codes.same(colour, shown), kind == BACKGROUND)

    own, kept = np.pad(pattern.alpha, rim), np.pad(pattern.colour, ((rim, rim), (rim, rim), (0, 0)))
    before = differs(kept, own)
    telling = before.sum(0)
    place = np.unravel_index(telling.argmax(), telling.shape)
    second = before[:, place[0], place[1]]
    fewest = growth.least if frames.codes.exact else max(growth.least, 0.1 * len(where))
    pictures: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(3):
        if min(second.sum(), (~second).sum()) < fewest:
            return []
        pictures = []
        for some in (~second, second):
            typical, share, tells = agree(frames, colour[some], kind[some])
            pictures.append((typical, (share >= 0.5) & (tells >= 3)))
        errors = np.stack([differs(*picture).sum((1, 2)) for picture in pictures])
        second = errors[1] < errors[0]
    if before.sum() - errors.min(0).sum() <= pattern.area:
        return []
    if _stands(where[:, 1:3] + offsets[where[:, 0]], second):
        return []
    halves = [HardSprite.cut(shown, connected(alpha, own & alpha))[0] for shown, alpha in pictures]
    return halves if all(half.area >= growth.smallest for half in halves) else []


def _stands(corners: Int64[np.ndarray, "n 2"], second: Bool[np.ndarray, " n"]) -> bool:
    """Whether the background may be what tells two pictures apart: one of them is mostly at one place.

    Where both stand, as the digits of a score do, only at a place at which the other is never seen.
    """
    _, place = np.unique(corners, axis=0, return_inverse=True)
    place = place.ravel()
    counts = np.stack([np.bincount(place[some], minlength=place.max() + 1) for some in (~second, second)])
    if _all_stand(corners):
        counts = np.where(counts[::-1] == 0, counts, 0)
    return bool((counts.max(1) > STANDS * np.bincount(second, minlength=2)).any())


def _all_stand(corners: Int64[np.ndarray, "n 2"]) -> bool:
    """Whether most occurrences are at places at which there are several."""
    often = np.unique(corners, axis=0, return_counts=True)[1]
    return bool(often[often >= OFTEN_SEEN].sum() >= STAND * often.sum())


def _with_hidden_background(
    frames: Frames, patterns: list[HardSprite], found: Parse, ranks: Int64[np.ndarray, "N H W"]
) -> list[HardSprite]:
    """Add pixels of the background's own colour, such as a white eye on a white page.

    Alone on the background nobody can tell such a pixel from a hole. But where a sprite lies on another one, a hole shows that
    one, and a pixel of the background's colour hides it.
    """
    hides = [np.zeros(p.alpha.shape, np.int64) for p in patterns]
    shows = [np.zeros(p.alpha.shape, np.int64) for p in patterns]
    tint = [np.zeros((*p.alpha.shape, 3), np.float32) for p in patterns]
    for index, some in enumerate(found.places):
        under = np.zeros_like(frames.colour[index])
        covered = np.zeros(frames.size, bool)
        for number, place in reversed(list(enumerate(some))):
            pattern, k = patterns[place.entry], place.entry
            y, x = place.top + frames.margin, place.left + frames.margin
            window = slice(y, y + pattern.size[0]), slice(x, x + pattern.size[1])
            colour, behind = frames.colour[index][window], covered[window] & ~pattern.alpha
            if behind.any():
                behind &= ranks[index][window] >= number  # nothing in front hides it
                fits = frames.codes.same(colour, under[window])
                background = frames.kind[index][window] == BACKGROUND
                hides[k] += behind & background & ~fits
                shows[k] += behind & fits & ~background
                tint[k] += colour * (behind & background & ~fits)[..., None]
            under[window][pattern.alpha] = pattern.colour[pattern.alpha]
            covered[window] |= pattern.alpha
    result = []
    for pattern, hidden, shown, total in zip(patterns, hides, shows, tint, strict=True):
        opaque = (hidden >= 3) & (hidden >= 3 * shown) & (pattern.opacity == 1)
        colour = np.where(opaque[..., None], total / hidden.clip(1)[..., None], pattern.colour)
        better = HardSprite(colour.astype(np.float32), pattern.alpha | opaque, pattern.opacity)
        result.append(pattern if pattern.given else better)
    return result


def _reestimated(
    frames: Frames,
    pattern: HardSprite,
    where: np.ndarray,
    ranks: np.ndarray,
    found: Parse,
    growth: RegionGrowing,
    rim: int = 2,
) -> HardSprite:
    if len(where) < growth.least or pattern.area == 0 or pattern.opacity < 1 or pattern.given:
        return pattern
    where = where[np.linspace(0, len(where) - 1, min(len(where), growth.sample)).astype(int)]
    size = (pattern.size[0] + 2 * rim, pattern.size[1] + 2 * rim)
    colour, kind = frames.windows(where[:, :3], -rim, -rim, size)
    y = (where[:, 1, None] - rim + np.arange(size[0])).clip(0, ranks.shape[1] - 1)[:, :, None]
    x = (where[:, 2, None] - rim + np.arange(size[1])).clip(0, ranks.shape[2] - 1)[:, None, :]
    rank = ranks[where[:, 0, None, None], y, x]
    own = np.pad(pattern.alpha, rim)
    last = np.array([len(found.places[i]) for i in where[:, 0]])[:, None, None]
    taken = np.where(own, rank < where[:, 3, None, None], (rank < last) & (rank != where[:, 3, None, None]))
    # A pixel that has the background's colour agrees wherever that is seen.
    kept = np.pad(pattern.colour, ((rim, rim), (rim, rim), (0, 0)))
    kind = np.where(own & (kind == BACKGROUND) & frames.codes.same(colour, kept), OPEN, kind)
    typical, share, tells = agree(frames, colour, np.where(taken, CLOSED, kind), known=True)
    enough = np.where(own, tells >= 3, tells >= 0.5 * len(where))
    core = np.sort(share[own & enough])
    if len(core) == 0:
        return pattern
    least = np.where(own, 0.6, growth.together) * core[len(core) // 2]
    support = connected(np.where(enough, share >= least, own), own)
    better, _, _ = HardSprite.cut(np.where(enough[..., None], typical, kept), support)
    return better if better.area >= growth.smallest else pattern

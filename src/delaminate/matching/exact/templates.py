"""How well a pattern agrees with a frame, pixel by pixel: a pixel matches or it does not.

Squared error asks how far off a colour is; where sprites hide each other that is the wrong question, for a hidden pixel is
off by as much as its occluder pleases. Here a pixel of a frame is *open* (shows something unexplained), *background* (shows the
background) or *closed* (explained, or outside), and a pattern at a place is worth

    gain = matches - MISFIT * (open pixels that do not match) - (background pixels covered)

which is at most what it would be worth without the second term, for something in front may explain these pixels: that is one
correlation if colours are turned into codes whose inner product is 1 for equal colours and about 0 for different ones
(random Fourier features; Rahimi and Recht, 2007). Codes propose; the pixels themselves decide.
"""

import copy
import functools
import hashlib
import itertools
from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Complex, Float, Float32, Int64, UInt8, UInt32
from torch import Tensor

from delaminate.matching.exact.noise import is_noisy
from delaminate.matching.exact.outlines import shows_background
from delaminate.matching.exact.subsampling import LUMA
from delaminate.matching.tile_cells import colour_codes, orient
from delaminate.rng import numpy_stream

MISFIT = 0.4
"""Cost of an open pixel that a pattern covers and does not match; something in front may yet explain it."""
CLOSED, BACKGROUND, OPEN = 0, 1, 2
"""What is known about a pixel of a frame."""
CODE_WIDTH = 8
EXACT = 0.03
"""Tolerances up to here are those of captures without loss: there, equal colours are equal to the bit."""
MAX_DIRECT_VALUES = 2**25
"""Correlations are taken in bands of rows that give no more values than this at a time."""
FFT_COST = 170
"""What the FFT of a template costs, in pixels of a template that is correlated directly."""
MAX_SPECTRUM_BYTES = 2**29
"""Templates that would take more memory than this are correlated directly."""
MAX_STRIP_PIXELS = 2**20
"""Peaks of a larger frame are looked for in strips of about so many pixels, so that memory does not grow with it."""
MAX_KEPT_BYTES = 2**30
"""Maps of frames, as they were and as they are, and spectra of these, are kept if they take no more memory than this."""
MAX_SPECTRA_PIXELS = 2**22
"""Pixels of windows of which spectra are kept: about 150 MB."""


Spots = Int64[np.ndarray, "n 3"]
"""Frame, row and column on padded frames."""
Shape = tuple[int, int]
"""Height and width in pixels."""
Spectra = dict[tuple[int, ...], Tensor]
"""Fourier transforms of the maps of one frame, by their size."""


def packed(colour: np.ndarray) -> UInt32[np.ndarray, "*S"]:
    """Colours (..., 3), in [0, 1] or of 8 bits, as one number each."""
    return colour_codes(colour if colour.dtype == np.uint8 else np.rint(colour * 255).astype(np.uint8))


@dataclass(frozen=True, eq=False)
class HardSprite:
    """A sprite with hard alpha, cut to its own extent.

    Attributes:
        colour: RGB in [0, 1], shape (h, w, 3); 0 where there is no alpha.
        alpha: Shape (h, w).
        opacity: Below 1, the background shines through all over the sprite.
        given: It was given, not found: search leaves it as it is, and keeps it whether it occurs or not.
    """

    colour: Float32[np.ndarray, "h w 3"]
    alpha: Bool[np.ndarray, "h w"]
    opacity: float = 1.0
    given: bool = False

    @property
    def size(self) -> tuple[int, int]:
        return self.alpha.shape[0], self.alpha.shape[1]

    @functools.cached_property
    def packed(self) -> UInt32[np.ndarray, "h w"]:
        """The colours, rounded to 8 bits, as one number each."""
        return packed(self.colour)

    @property
    def key(self) -> tuple[bytes, bytes, Shape]:
        """Equal for sprites that are equal to the bit."""
        return self.packed.tobytes(), self.alpha.tobytes(), self.size

    @functools.cached_property
    def exact_key(self) -> bytes:
        """Equal for sprites that are equal to the last bit of their numbers."""
        shown = self.colour.tobytes() + self.alpha.tobytes() + str(self.size).encode()
        return hashlib.blake2b(shown, digest_size=16).digest()

    @property
    def is_flat(self) -> bool:
        """It has one colour."""
        shown = self.packed[self.alpha]
        return len(shown) == 0 or bool((shown == shown[0]).all())

    @property
    def area(self) -> int:
        return int(self.alpha.sum())

    def oriented(self, orientation: int) -> "HardSprite":
        """One of the eight orientations, see `orient`."""
        # Copies: a view that is one pixel wide may have a negative stride and still count as contiguous.
        colour, alpha = (orient(each, orientation, rows=0).copy() for each in (self.colour, self.alpha))
        return HardSprite(colour, alpha, self.opacity)

    def rgba(self) -> Float[Tensor, "4 h w"]:
        stacked = np.concatenate([self.colour, self.opacity * self.alpha[..., None]], 2)
        return torch.from_numpy(stacked.astype(np.float32)).permute(2, 0, 1).contiguous()

    @classmethod
    def cut(cls, colour: np.ndarray, alpha: np.ndarray) -> tuple["HardSprite", int, int]:
        """Cut to the box of alpha; also return how far its corner moved down and right."""
        rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
        if len(rows) == 0:
            return cls(np.zeros((0, 0, 3), np.float32), np.zeros((0, 0), bool)), 0, 0
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        kept = alpha[window]
        return cls((colour[window] * kept[..., None]).astype(np.float32), kept.copy()), int(rows[0]), int(columns[0])


def _luma_first(chroma: float) -> Float32[np.ndarray, "3 3"]:
    """Of colours (..., 3), the luma and the chroma (ITU-R BT.601), as far apart as in RGB for greys; chroma counts less."""
    blue, red = (np.array([0, 0, 1]) - LUMA) / (1 - LUMA[2]), (np.array([1, 0, 0]) - LUMA) / (1 - LUMA[0])
    return np.stack([LUMA * 3**0.5, blue * chroma, red * chroma], 1).astype(np.float32)


class ColourCodes:
    """Turns colours into unit vectors whose inner product says whether they are the same.

    Args:
        tolerance: Distance in RGB below which two colours count as one, in [0, 1] units.
        chroma: What chroma counts in it, beside luma: 1 as in RGB. Compression keeps luma sharp and smears chroma; less than 1
            is meant for the background, which is smooth: where a sprite is compared, chroma counts half of that.
    """

    def __init__(self, tolerance: float, chroma: float = 1.0) -> None:
        rng = numpy_stream("colour codes", CODE_WIDTH)
        self.tolerance, self.chroma = tolerance, chroma
        self.metric = np.eye(3, dtype=np.float32) if chroma == 1 else _luma_first(chroma / 2)
        self.ground_metric = self.metric if chroma == 1 else _luma_first(chroma)
        drawn = rng.normal(size=(3, CODE_WIDTH)) / max(tolerance, 1 / 255)
        self.weight = torch.from_numpy(self.metric @ drawn).float().T
        self.phase = torch.from_numpy(rng.uniform(0, 2 * np.pi, CODE_WIDTH)).float()

    def __call__(self, colour: Float[Tensor, "B H W 3"]) -> Float[Tensor, "B D H W"]:
        code = torch.cos(colour @ self.weight.T + self.phase)
        return (code / code.norm(dim=-1, keepdim=True).clamp_min(1e-3)).permute(0, 3, 1, 2)

    @property
    def exact(self) -> bool:
        """Equal colours are equal to the bit, so that patterns can be looked up."""
        return self.tolerance <= EXACT

    @property
    def smeared(self) -> bool:
        """Chroma is smeared."""
        return self.chroma < 1

    def same_as_ground(self, colour: np.ndarray, ground: np.ndarray) -> np.ndarray:
        """Whether colours (..., 3) are the background's."""
        return np.asarray(np.square((colour - ground) @ self.ground_metric).sum(-1) <= self.tolerance**2)

    def as_light(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Whether colours (..., 3) are about equally light, whatever their hue."""
        return np.asarray(np.abs((one - other) @ self.metric[:, 0]) <= self.tolerance / 2)

    def same(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Whether colours (..., 3) are within the tolerance of each other."""
        difference = one - other if self.chroma == 1 else (one - other) @ self.metric
        return np.asarray(np.einsum("...c,...c->...", difference, difference) <= self.tolerance**2)


class Frames:
    """Frames under explanation, with a margin in which patterns may hang over the border.

    Attributes:
        colour: (N, H + 2 m, W + 2 m, 3) float32 in [0, 1].
        kind: (N, H + 2 m, W + 2 m), of CLOSED, BACKGROUND and OPEN.
        was_open: Where kind was OPEN before anything was explained.
        packed: Colours as one number each, (N, H + 2 m, W + 2 m); empty where they do not recur to the bit.
        background: The background where that is one colour, else None.
        background_picture: What is behind the frames, one for each or one for all, without margin.
        margin: m, in pixels.
        spots: Where patterns may be; `TemplateBank` keeps there what it has found.
        whole: Of what was cut out of other frames, with the same margin: these, and frame, top and left of each.
    """

    def __init__(
        self,
        frames: UInt8[np.ndarray, "N H W 3"],
        background: Float32[np.ndarray, "#N #H #W 3"],
        margin: int,
        codes: ColourCodes,
        whole: "tuple[Frames, Spots] | None" = None,
    ) -> None:
        self.codes, self.margin, self.whole = codes, margin, whole
        pad = ((0, 0), (margin, margin), (margin, margin))
        self.background = background[0, 0, 0] if background.shape[:3] == (1, 1, 1) else None
        self.background_picture = background
        colour = frames.astype(np.float32) / 255
        # Where colours recur to the bit, so does the background; rounding it to 8 bits and back is all the difference there is.
        if codes.exact:
            is_ground = (np.abs(colour - background) < 1.5 / 255).all(-1)
        elif is_noisy(codes.tolerance):
            is_ground = shows_background(colour, background, codes.ground_metric, codes.tolerance)
        else:
            is_ground = codes.same_as_ground(colour, background)
        self.colour = np.pad(colour, (*pad, (0, 0)))
        self.kind = np.pad(np.where(is_ground, BACKGROUND, OPEN).astype(np.uint8), pad, constant_values=CLOSED)
        self.was_open, self.kind_before = self.kind == OPEN, self.kind.copy()
        # What is as light as the background beside a sprite may be its tint.
        self.as_light = np.pad(codes.as_light(colour, background), pad) if codes.smeared else None
        self.spots: dict[tuple[object, ...], Int64[np.ndarray, "n 2"]] = {}
        self.lookups: dict[tuple[int, Shape], tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._first: dict[int, Tensor] = {}
        self._spectra: dict[tuple[int, Shape], Spectra] = {}
        self._maps: dict[int, Tensor] = {}
        self._spectra_now: dict[int, dict[Shape, Spectra]] = {}
        self.packed = np.pad(packed(frames), pad) if codes.exact else np.zeros((0, 0, 0), np.uint32)

    def __len__(self) -> int:
        return len(self.colour)

    def fresh(self) -> "Frames":
        """The same frames with nothing explained; what never changes is shared."""
        again = copy.copy(self)
        again.kind, again._maps, again._spectra_now = self.kind_before.copy(), {}, {}
        return again

    def at_first(self) -> "Frames":
        """The same frames with nothing explained, to look at only."""
        again = copy.copy(self)
        again.kind, again._maps, again._spectra_now = self.kind_before, {}, {}
        return again

    @property
    def size(self) -> tuple[int, int]:
        """Height and width with the margin, in pixels."""
        return self.kind.shape[1], self.kind.shape[2]

    @property
    def share_explained(self) -> float:
        """Of the pixels that were open, the share that has been closed."""
        return 1 - int(np.count_nonzero(self.kind == OPEN)) / max(int(np.count_nonzero(self.was_open)), 1)

    def shows(self, index: int, window: tuple[slice, slice], pattern: HardSprite) -> Bool[np.ndarray, "h w"]:
        """Where a window of a frame has the colours of a pattern."""
        if pattern.opacity < 1:
            spot = np.array([[index, window[0].start, window[1].start]])
            mixed = pattern.opacity * pattern.colour + (1 - pattern.opacity) * self.behind_at(spot, pattern.size)[0]
            return np.asarray((np.abs(self.colour[index][window] - mixed) <= self.slack).all(-1))
        if self.codes.exact:
            return self.packed[index][window] == pattern.packed
        return self.codes.same(self.colour[index][window], pattern.colour)

    def first_maps(self, index: int) -> Float[Tensor, "1 C H W"]:
        """As `maps`, with nothing explained."""
        if index in self._first:
            return self._first[index]
        codes = self.codes(torch.from_numpy(self.colour[index : index + 1]))
        kind = torch.from_numpy(self.kind_before[index : index + 1])
        is_open = (kind == OPEN).float()[:, None]
        maps = torch.cat([codes * is_open, (kind == BACKGROUND).float()[:, None], is_open], 1)
        if self._keeps_maps:
            self._first[index] = maps
        return maps

    def first_spectra(self, index: int, size: Shape) -> Spectra:
        """Where spectra of a window, so large, of `first_maps` are remembered; nowhere if they are too many."""
        if (index, size) not in self._spectra and len(self._spectra) * size[0] * size[1] > MAX_SPECTRA_PIXELS:
            return {}
        return self._spectra.setdefault((index, size), {})

    def maps(self, index: int) -> Float[Tensor, "1 C H W"]:
        """What correlates with patterns: codes of open pixels, then background and open as indicators."""
        if index in self._maps:
            return self._maps[index]
        kind = torch.from_numpy(self.kind[index : index + 1])
        is_open = (kind == OPEN).float()[:, None]
        codes = self.first_maps(index)[:, :CODE_WIDTH] * is_open  # what is open was so at first
        maps = torch.cat([codes, (kind == BACKGROUND).float()[:, None], is_open], 1)
        if self._keeps_maps:
            self._maps[index] = maps
        return maps

    def spectra(self, index: int, size: Shape) -> Spectra:
        """Where spectra of a window, so large, of `maps` are remembered while these stay as they are."""
        if not self._keeps_maps:
            return {}
        return self._spectra_now.setdefault(index, {}).setdefault(size, {})

    @property
    def _keeps_maps(self) -> bool:
        return len(self) * self.kind[0].size * 3 * (CODE_WIDTH + 2) * 4 < MAX_KEPT_BYTES

    def windows(self, spots: Spots, top: int, left: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Cut aligned windows: colours (n, h, w, 3) and kinds (n, h, w); closed beyond the padded frame."""
        height, width = self.size
        y = spots[:, 1, None] + top + np.arange(size[0])
        x = spots[:, 2, None] + left + np.arange(size[1])
        inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
        y, x = y.clip(0, height - 1)[:, :, None], x.clip(0, width - 1)[:, None, :]
        i = spots[:, 0, None, None]
        return self.colour[i, y, x], np.where(inside, self.kind[i, y, x], CLOSED)

    @property
    def slack(self) -> float:
        """Difference in a channel that mixing colours may leave, in [0, 1] units."""
        return max(2.5 / 255, self.codes.tolerance if not self.codes.exact else 0.0)

    def behind_at(self, spots: Spots, size: Shape) -> Float32[np.ndarray, "n h w 3"]:
        """What is behind windows on padded frames; beyond the frame its border goes on."""
        count, height, width = self.background_picture.shape[:3]
        rows = (spots[:, 1, None] - self.margin + np.arange(size[0])).clip(0, height - 1)[:, :, None]
        columns = (spots[:, 2, None] - self.margin + np.arange(size[1])).clip(0, width - 1)[:, None, :]
        return self.background_picture[(spots[:, 0] if count > 1 else 0 * spots[:, 0])[:, None, None], rows, columns]

    def reset(self, indices: list[int], kinds: UInt8[np.ndarray, "n H W"]) -> None:
        """Go back to what was known before."""
        self.kind[indices] = kinds
        for index in indices:
            self.forget_maps(index)

    def hide(self, index: int, pixels: Bool[np.ndarray, "H W"]) -> None:
        """Count pixels of a frame, without margin, as background from the first; of frames that are kept nowhere."""
        inside = slice(self.margin, -self.margin), slice(self.margin, -self.margin)
        for kind in (self.kind, self.kind_before):
            kind[index][inside][pixels] = BACKGROUND
        self.was_open[index][inside][pixels] = False
        self.forget_maps(index)

    def close(self, index: int, window: tuple[slice, slice], pixels: Bool[np.ndarray, "h w"]) -> None:
        """Count pixels of a window as explained."""
        self.kind[index][window][pixels] = CLOSED
        self.forget_maps(index)

    def forget_maps(self, index: int) -> None:
        """What is known about a frame's pixels has changed."""
        self._maps.pop(index, None)
        self._spectra_now.pop(index, None)


def templates(
    patterns: list[HardSprite], codes: ColourCodes, background: Float32[np.ndarray, "3"] | None = None
) -> Float[Tensor, "K C h w"]:
    """Templates whose correlation with all but the last of `Frames.maps` is the most that patterns, padded to one size, gain.

    Pixels of the background's own colour do no harm where the background is seen.
    """
    height, width = (max(p.size[axis] for p in patterns) for axis in (0, 1))
    colour = torch.zeros(len(patterns), height, width, 3)
    alpha = torch.zeros(len(patterns), 1, height, width)
    for k, pattern in enumerate(patterns):
        h, w = pattern.size
        colour[k, :h, :w] = torch.from_numpy(pattern.colour)
        alpha[k, 0, :h, :w] = torch.from_numpy(pattern.alpha)
    harm = alpha
    if background is not None:
        harm = alpha * torch.from_numpy(~codes.same(colour.numpy(), background))[:, None]
    return torch.cat([codes(colour) * alpha, -harm], 1)


class TemplateCorrelator:
    """Correlates frames with one set of templates: by the FFT, or directly in bfloat16 where templates are small.

    Measured on a CPU, 200 x 264 pixels, one thread: the FFT takes 0.55 ms a template of any size, and 1 ms that all
    templates share; 16 templates take 3.5 ms directly if they have 7 x 7 pixels, 30 ms if they have 24 x 24, and fewer
    templates take no less. Codes only propose, so bfloat16 will do.

    Args:
        bank: Templates, from `templates` or of the same channels.
        size: Height and width of the maps.
    """

    def __init__(self, bank: Float[Tensor, "K C h w"], size: tuple[int, int]) -> None:
        self.bank = bank
        count, channels, h, w = bank.shape
        self.strip = max(MAX_STRIP_PIXELS // size[1], 2 * h)
        self.fft_size = [scipy.fft.next_fast_len(n, real=True) for n in (min(size[0], self.strip + h + 7), size[1])]
        held = count * channels * self.fft_size[0] * (self.fft_size[1] // 2 + 1) * 8
        # The measurement above in units of one template pixel, taken directly; only the ratio counts.
        self.by_fft = FFT_COST * count < h * w * 16 * -(-count // 16) and (held <= MAX_SPECTRUM_BYTES or count == 1)
        if self.by_fft:
            self.spectrum = torch.fft.rfft2(bank, s=self.fft_size).conj().resolve_conj()
        else:
            self.half = bank.bfloat16().to(memory_format=torch.channels_last)

    def __call__(self, maps: Float[Tensor, "1 C H W"], shared: Spectra | None = None) -> Float[Tensor, "K Y X"]:
        """Correlate at every place that lies inside the padded frame.

        Args:
            maps: From `Frames.maps`, or some of its rows.
            shared: Remembers the spectrum of these very maps for correlators of the same size.
        """
        height, width = maps.shape[2:]
        rows, columns = height - self.bank.shape[2] + 1, width - self.bank.shape[3] + 1
        if self.by_fft and height > self.fft_size[0]:
            h = self.bank.shape[2]
            starts = range(0, rows, self.strip)
            return torch.cat([self(maps[:, :, n : min(n + self.strip, rows) + h - 1]) for n in starts], 1)
        if self.by_fft:
            shared = {} if shared is None else shared
            spectrum = shared.get(tuple(self.fft_size))
            if spectrum is None:
                spectrum = shared[tuple(self.fft_size)] = torch.fft.rfft2(maps[0], s=self.fft_size)
            product = torch.stack([_sum_of_products(spectrum, each) for each in self.spectrum])
            return torch.fft.irfft2(product, s=self.fft_size)[:, :rows, :columns]
        maps = maps.bfloat16().contiguous(memory_format=torch.channels_last)
        band = max(1, MAX_DIRECT_VALUES // (len(self.bank) * width))
        parts = [
            F.conv2d(maps[:, :, first : min(first + band, rows) + self.bank.shape[2] - 1], self.half)[0].float()
            for first in range(0, rows, band)
        ]
        return torch.cat(parts, 1)

    def peaks(
        self,
        maps: Float[Tensor, "1 C H W"],
        rows_least: Tensor,
        columns_least: Tensor,
        reach: int,
        shared: Spectra | None = None,
    ) -> tuple[Int64[np.ndarray, "n 3"], Float32[np.ndarray, " n"]]:
        """Find `peaks` of the correlation and their values, strip by strip.

        Args:
            maps: From `Frames.first_maps`, all but the last.
            rows_least, columns_least: (K, Y, 1) and (K, 1, X): the lower of the two is the least that a peak must have.
            reach: As in `peaks`; at most 3.
            shared: Remembers the spectrum of `maps`, unless they are taken in several strips.
        """
        h = self.bank.shape[2]
        rows = maps.shape[2] - h + 1
        found, values = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.float32)]
        for first in range(0, rows, self.strip):
            last = min(first + self.strip, rows)
            top, bottom = max(first - reach, 0), min(last + reach, rows)
            value = self(maps[:, :, top : bottom + h - 1], shared if rows <= self.strip else None)
            places = peaks(value, torch.minimum(rows_least[:, top:bottom], columns_least), reach)
            places = places[(places[:, 1] >= first - top) & (places[:, 1] < last - top)]
            values.append(value.numpy()[tuple(places.T)])
            found.append(places + np.array([0, top, 0]))
        places = np.concatenate(found)
        ranking = np.lexsort(places.T[::-1])
        return places[ranking], np.concatenate(values)[ranking]


def _sum_of_products(one: Complex[Tensor, "C Y X"], other: Complex[Tensor, "C Y X"]) -> Complex[Tensor, "Y X"]:
    """The products of two stacks, summed over their planes, one after the other: these fit into the cache."""
    total = one[0] * other[0]
    for first, second in zip(one[1:], other[1:], strict=True):
        total.addcmul_(first, second)
    return total


def peaks(
    value: Float[Tensor, "K Y X"],
    least: Float[Tensor, "_k #Y #X"] | float,  # noqa: F821
    reach: int,
) -> Int64[np.ndarray, "n 3"]:
    """Local maxima (k, y, x) of at least `least` among the pixels up to `reach` away; equal neighbours both count.

    Peaks are few, so neighbours are compared for candidates only, not for the whole map.
    """
    shown, lowest = value.numpy(), least if isinstance(least, float) else float(least.min())
    places = np.stack(np.unravel_index(np.flatnonzero(shown >= lowest), shown.shape), 1)
    if not isinstance(least, float):
        places = places[shown[tuple(places.T)] >= np.broadcast_to(least.numpy(), shown.shape)[tuple(places.T)]]
    if len(places) == 0:
        return places
    wide = F.pad(value, (reach,) * 4, value=-torch.inf).numpy()
    flat = np.ravel_multi_index(tuple(places.T), wide.shape)  # of the corner: the padding is that far
    best = np.full(len(flat), -np.inf, np.float32)
    for down, right in itertools.product(range(2 * reach + 1), repeat=2):
        np.maximum(best, wide.ravel()[flat + down * wide.shape[2] + right], out=best)
    return places[shown[tuple(places.T)] >= best - np.float32(1e-3)]

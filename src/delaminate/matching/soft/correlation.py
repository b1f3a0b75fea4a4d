"""Every sprite at every position.

A sprite put behind what is already explained, over a known background, changes the residual z of an image to

    z' = z + a B - g T q

where a is its alpha, q = a * colour (premultiplied), g its gain per channel, T the transmittance of everything in
front and B = T * background. The drop in squared error of *every* sprite at *every* position is therefore

    drop = 2 g N - g^2 D - M,   N = <zT, q> + <BT, a q>,   D = <T^2, q^2>,   M = 2 <zB, a> + <B^2, a^2>

which is a handful of correlations, and the best gain is closed-form: g = N / D. Over a black background only N and D
remain, with one term each.
"""

from dataclasses import dataclass

import scipy.fft
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Sprites:
    """Candidates of a search, all on one square of pixels.

    Attributes:
        colour: (K, C, h, w) in [0, 1], not premultiplied; C is 3, or 1 for a shading that every placement tints.
        alpha: (K, 1, h, w) in [0, 1].
    """

    colour: Float[Tensor, "K C h w"]
    alpha: Float[Tensor, "K 1 h w"]

    def __len__(self) -> int:
        return len(self.colour)

    @property
    def size(self) -> tuple[int, int]:
        return self.colour.shape[2], self.colour.shape[3]

    @property
    def premultiplied(self) -> Float[Tensor, "K C h w"]:
        return self.colour * self.alpha

    def rgba(self) -> Float[Tensor, "K 4 h w"]:
        return torch.cat([self.colour.expand(-1, 3, -1, -1), self.alpha], 1)


def correlate(
    maps: Float[Tensor, "B M H W"], templates: Float[Tensor, "K M h w"] | Float[Tensor, "K 1 h w"], reach: int
) -> Float[Tensor, "B M K H2 W2"]:
    """Correlate every map with every template at every position.

        out[b, m, k, y, x] = sum_{i, j} maps[b, m, y - reach + i, x - reach + j] * templates[k, m, i, j]

    Positions run from -reach to H + reach - h (and alike along x); maps are 0 outside. Small templates go through
    direct products, large ones through the FFT; both are exact up to rounding.

    Args:
        maps: Image maps.
        templates: One per map, or one shared by all maps.
        reach: How far a template may hang over the border, in pixels.
    """
    batch, count = maps.shape[:2]
    sprites, shared, h, w = templates.shape
    padded = F.pad(maps, (reach, reach, reach, reach))
    rows, columns = padded.shape[-2] - h + 1, padded.shape[-1] - w + 1
    fft_size = [scipy.fft.next_fast_len(n, real=True) for n in padded.shape[-2:]]
    # Measured on two CPU cores: a direct product is worth about 1/25 of an FFT butterfly.
    direct_cost = h * w * rows * columns / 25
    fft_cost = fft_size[0] * fft_size[1] * sum(n.bit_length() for n in fft_size)
    if direct_cost <= fft_cost and shared == 1:
        out = F.conv2d(padded.reshape(batch * count, 1, *padded.shape[-2:]), templates)
        return out.view(batch, count, sprites, rows, columns)
    spectrum = torch.fft.rfft2(padded, s=fft_size)[:, :, None]  # B M 1 . .
    conjugate = torch.fft.rfft2(templates, s=fft_size).conj().transpose(0, 1)  # M K . .
    return torch.fft.irfft2(spectrum * conjugate[None], s=fft_size)[..., :rows, :columns]


@dataclass(frozen=True)
class Scores:
    """What each sprite would gain at each position.

    Attributes:
        drop: Fall of the summed squared error, shape (B, K, Y, X); negative where a sprite would harm.
        gain: Best colour gain per channel, shape (B, 3, K, Y, X).
    """

    drop: Float[Tensor, "B K Y X"]
    gain: Float[Tensor, "B 3 K Y X"]


def score(
    sprites: Sprites,
    residual: Float[Tensor, "B 3 H W"],
    through: Float[Tensor, "B 1 H W"],
    padded_background: Float[Tensor, "B 3 H W"] | None,
    reach: int,
    free_colour: bool = True,
    max_gain: float = 1.0,
) -> Scores:
    """Score every sprite at every position, each in its best colour.

    Args:
        sprites: The candidates.
        residual: Image minus the present composite.
        through: Transmittance T of what is placed already, in [0, 1].
        padded_background: The background at full strength, margin included, or None where it is black.
        reach: How far sprites may hang over the border, in pixels.
        free_colour: Choose the gain of each channel in [0, max_gain]; otherwise it is 1.
        max_gain: The largest gain, in units of the sprite's colour.
    """
    q, a = sprites.premultiplied, sprites.alpha
    tinted = q.shape[1] == 1
    numerator = correlate(residual * through, q, reach)  # B 3 K Y X
    energy = correlate(through**2, q**2 if tinted else _stack(q**2), reach)
    if not tinted:
        energy = energy.view(len(energy), 3, len(sprites), *energy.shape[-2:])
    offset: Tensor | float = 0.0
    if padded_background is not None:
        shown = padded_background * through  # B in the formula
        numerator = numerator + correlate(shown * through, a * q, reach)
        cross = (residual * shown).sum(1, keepdim=True)
        power = (shown**2).sum(1, keepdim=True)
        offset = 2 * correlate(cross, a, reach)[:, 0] + correlate(power, a**2, reach)[:, 0]
    best = (numerator / energy.clamp_min(1e-6)).clamp_(0, max_gain)
    gain = best if free_colour else torch.ones_like(numerator)
    drop = (gain * (2 * numerator - gain * energy)).sum(1) - offset
    return Scores(drop, gain)


def _stack(squares: Float[Tensor, "K 3 h w"]) -> Float[Tensor, "3*K 1 h w"]:
    """Line up the channels of all sprites, so that one map meets them all: channel first."""
    return squares.transpose(0, 1).reshape(-1, 1, *squares.shape[-2:])

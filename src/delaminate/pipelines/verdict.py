"""An honest line about what came out: after a training, and after images have been taken apart."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from delaminate.data import ImageSet
from delaminate.methods import Method
from delaminate.metrics import psnr
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import OWN_RASTER

Level = Literal["good", "fair", "poor", "nothing"]
GOOD_SHARE, POOR_SHARE = 0.9, 0.5
"""Shares of what is no background that are explained."""
GOOD_PSNR, POOR_PSNR = 28.0, 18.0
"""In dB."""
SAMPLE = 12
"""Images on which a training is judged."""


@dataclass(frozen=True)
class Verdict:
    """What came out, in figures and in words.

    Attributes:
        level: good, fair, poor, or nothing worth having.
        text: A sentence or two: sprites, the share explained, PSNR, what was taken for the background, what to try.
        figures: The same for machines.
    """

    level: Level
    text: str
    figures: dict[str, Any]


@dataclass
class Tally:
    """Adds up what decompositions make of images, batch by batch.

    Attributes:
        method: Which model.
        by: The way of decomposing.
    """

    method: Method
    by: str
    images: int = 0
    objects: int = 0
    empty: int = 0
    shown: Counter[int] = field(default_factory=Counter)
    there: int = 0
    explained: int = 0
    errors: list[float] = field(default_factory=list)
    sprites: int = 0

    def add(
        self,
        found: Decomposition,
        images: Float[Tensor, "B 3 H W"],
        rebuilt: Float[Tensor, "B 3 H W"],
        errors: list[float],
    ) -> None:
        """Take up what was found in some images, at the model's size: their composites, and PSNR in dB."""
        first = 1 if found.background else 0
        counts = [len(placements) - first for placements in found.images]
        self.images += len(counts)
        self.objects += sum(counts)
        self.empty += sum(count <= 0 for count in counts)
        self.shown.update(p.entry for some in found.images for p in some[first:] if p.entry != OWN_RASTER)
        self.sprites = len(found.dictionary) - len(found.dictionary.backgrounds)
        self.errors += errors
        if found.background:
            bare = Decomposition(found.dictionary, tuple(some[:1] for some in found.images), found.size, True)
            there = ~self.method.same_colours(images, bare.composite().to(images))
            right = self.method.same_colours(images, rebuilt)
            self.there += int(there.sum())
            self.explained += int((there & right).sum())

    @property
    def share(self) -> float | None:
        """Of the pixels that do not show the background alone, the share that is explained; None where there are none."""
        return self.explained / self.there if self.there else None

    def level(self) -> Level:
        """How good it is."""
        if not self.images:
            return "nothing"
        mean = sum(self.errors) / len(self.errors)
        if self.objects == 0:  # images of the background alone are explained by it
            return "fair" if mean >= GOOD_PSNR and not self.method.copies_input(self.by) else "nothing"
        if self.method.copies_input(self.by):
            return "good"
        share = 1.0 if self.share is None else self.share
        if mean < POOR_PSNR or share < POOR_SHARE:
            return "poor"
        return "good" if mean >= GOOD_PSNR and share >= GOOD_SHARE else "fair"

    def verdict(self) -> Verdict:
        """Say it."""
        level, used = self.level(), len(self.shown)
        figures: dict[str, Any] = {"level": level, "images": self.images, "objects": self.objects, "empty": self.empty}
        said = []
        if self.sprites:
            figures |= {"sprites": self.sprites, "sprites_used": used}
            said.append(f"{self.sprites} sprite{'s' * (self.sprites != 1)}, {used} in use")
        if not self.method.copies_input(self.by):
            mean, worst = sum(self.errors) / max(len(self.errors), 1), min(self.errors, default=0.0)
            figures |= {"psnr": mean, "psnr_least": worst}
            if self.share is not None:
                figures["explained"] = self.share
                said.append(f"{100 * self.share:.0f} % of what is not background explained")
            said.append(f"rebuilt at {mean:.1f} dB (the worst image {worst:.1f})")
        if background := self.method.background_text:
            figures["background"] = background
            said.append(f"background: {background}")
        if self.empty and level != "nothing":
            said.append(f"{self.empty} of {self.images} images hold nothing but background")
        head = {
            "good": "", "fair": "Partly explained: ", "poor": "Badly explained: ", "nothing": "Nothing was found: "
        }[level]  # fmt: skip
        advice = self.method.advice(level, self.by)
        text = f"{head}{'; '.join(said)}." + (f" {advice}" if advice else "")
        return Verdict(level, text[0].upper() + text[1:], figures | {"text": text})


def judge(method: Method, images: ImageSet, sample: int = SAMPLE) -> Verdict:
    """Judge a model by some of the images that it was trained on, without labels."""
    rows = torch.linspace(0, len(images) - 1, min(len(images), sample)).round().long().tolist()
    tally = Tally(method, method.default)
    for row in rows:
        pixels = images.batch([row])
        found = method.decompose(pixels, method.default)
        rebuilt = found.composite().to(pixels)
        tally.add(found, pixels, rebuilt, psnr(pixels, rebuilt).tolist())
    return tally.verdict()

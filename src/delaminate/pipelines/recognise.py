"""Say what a collection of images is, without labels, and which method suits it with which settings.

The measures stand in `image_facts`. What is decided here are thresholds between them, each between the ranges that whole
families of collections have in `benchmarks/recognise.py`, none near a single one.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from delaminate.data import ImageSet, draw_images
from delaminate.data.registry import open_data
from delaminate.data.samples import Sample, sample_images, sample_path
from delaminate.data.synthetic import DRAWINGS
from delaminate.matching.exact.camera import is_scrolled
from delaminate.methods import METHODS
from delaminate.methods.base import Forecast
from delaminate.pipelines.image_facts import Facts, measure
from delaminate.pipelines.images import Images, darkness, enlargement_undone, forecast_text, margins_cut, open_images
from delaminate.pipelines.tile_maps import is_map

Kind = Literal["clip", "maps", "pixel-art", "pages", "shapes", "blobs", "photos-alike", "photos-unlike"]
KINDS: Mapping[Kind, str] = {
    "clip": "frames of a clip: things that move over a background",
    "maps": "maps of a game, laid out in tiles",
    "pixel-art": "pictures made of the same pixels again and again, such as screens of a game or maps",
    "pages": "pages of text: ink on paper",
    "shapes": "flat-coloured shapes",
    "blobs": "bright spots on dark, as a fluorescence microscope shows cells",
    "photos-alike": "photos of one kind of thing",
    "photos-unlike": "pictures that have nothing in common",
}
"""Every kind, in words."""

FEW = 8
"""Photos below which nothing can be said of what they share."""
DRAWN = 400
"""Images that are drawn of a built-in set."""
SEARCHED, LEAST_TOGETHER, MOST_TOGETHER = 1_200_000, 12, 60
"""Pixels that are searched in a round, of pictures in no order; and how many of these at least, and at most."""
OUTLINE = 6.0
"""Over a thing's side: the share of neighbours within it that may differ, along outlines of one or two antialiased pixels."""
DRAWING = 0.6
"""Neighbours that are equal: from here on images are drawn."""
MOST_SHAPE_SIDE = 128
"""Canvas, in pixels, on which shapes are looked for: their outlines are clear enough there."""


@dataclass(frozen=True)
class Plan:
    """What to do with a collection.

    Attributes:
        method, preset: What to train.
        settings: Settings over the preset.
        reason: Why, in a sentence.
        exports: Formats that people want of this kind of collection.
    """

    method: str
    preset: str
    settings: Mapping[str, Any]
    reason: str
    exports: tuple[str, ...] = ("html",)

    def words(self, data: str, out: str) -> list[str]:
        """The training as words of the command line."""
        given = [f"{key}={_plain(value)}" for key, value in self.settings.items()]
        chosen = [word for each in given for word in ("--set", each)]
        return ["delaminate", "train", self.method, data, "--preset", self.preset, *chosen, "--out", out]


@dataclass(frozen=True)
class Recognition:
    """What a collection is.

    Attributes:
        kind: One of `KINDS`.
        evidence: The two lines that say so: what was read, and by what it was recognised.
        facts: What was measured.
        count: Images; of a clip, as far as it was looked at.
        size: Height and width in pixels, of the largest image.
        native_size: The same once an enlargement is undone.
        enlargement: By how much pixels were enlarged, in words; empty: they were not.
        in_order: The images follow one another in time.
        plan: What to do; None: nothing that is here takes them apart.
        advice: What to do otherwise, where there is no plan, or what to expect.
        forecast: What training takes on one core of this machine, where the method can say it.
    """

    kind: Kind
    evidence: tuple[str, str]
    facts: Facts
    count: int
    size: tuple[int, int]
    native_size: tuple[int, int]
    enlargement: str = ""
    in_order: bool = False
    plan: Plan | None = None
    advice: str = ""
    forecast: Forecast | None = None

    @property
    def sentence(self) -> str:
        """The kind, what to do about it and why."""
        said = f"These are {KINDS[self.kind]}."
        if self.plan is not None:
            said += f" {self.plan.reason}"
        if self.forecast is not None:
            said += f" {forecast_text(self.forecast, self.native_size)}"
        return f"{said} {self.advice}".strip()

    def to_json(self) -> dict[str, Any]:
        """The same for machines."""
        plan = self.plan
        return {
            "kind": self.kind, "evidence": list(self.evidence), "sentence": self.sentence, "images": self.count,
            "size": list(self.size), "native_size": list(self.native_size), "enlargement": self.enlargement,
            "in_order": self.in_order, "facts": asdict(self.facts),
            "method": None if plan is None else plan.method, "preset": None if plan is None else plan.preset,
            "settings": {} if plan is None else dict(plan.settings),
        }  # fmt: skip


def recognise(images: Images) -> Recognition:
    """Say what images are and what to do with them, without labels, in a few seconds: a part of them is looked at.

    Args:
        images: What `open_images` takes.

    Raises:
        DataError: There are none that can be read.
    """
    whole = sample_of(images)
    sample, enlargement = _at_native_size(whole)
    facts = measure(sample)
    kind = kind_of(facts, sample.rate is not None, sample.count)
    drawn = kind in ("pixel-art", "shapes") or (kind in ("photos-alike", "photos-unlike") and facts.equal >= DRAWING)
    if drawn and _are_maps(sample):
        kind = "maps"
    if kind in ("blobs", "photos-alike", "photos-unlike"):  # whatever is blurred looks like an interpolated enlargement
        sample, enlargement = whole, ""
    size, in_order = _largest(sample.sizes), kind == "clip" or sample.rate is not None
    found = Recognition(
        kind, (_read_text(sample, enlargement, facts), _seen_text(kind, facts, sample)), facts, sample.count,
        _largest(whole.sizes), size, enlargement, in_order, plan_for(kind, facts, size), advice_for(kind),
    )  # fmt: skip
    return replace(found, forecast=_forecast(found))


def kind_of(facts: Facts, is_clip: bool, count: int) -> Kind:
    """Decide what images are, the surest kinds first."""
    f = facts
    # Light on dark has one colour, or grey, and grain: no two neighbours within it are equal as in a drawing.
    if (
        f.one_axis >= 0.99
        and f.dark <= 0.3
        and f.lit <= 0.4
        and f.lit_equal < 0.3
        and f.recurring < (0.4 if is_clip else 0.6)
    ):
        return "blobs"
    # Paper is light and takes most of the page; ink is all of the rest, in many pieces, in rows.
    ink = f.one_axis >= 0.97 and f.bimodal >= 0.8 and 0.02 <= f.ink <= 0.35 and f.paper >= 110
    if ink and f.letters >= 25 and f.lines >= 4 and not is_clip:
        return "pages"
    drawn = f.recurring >= 0.4 or (f.equal >= 0.6 and f.changes <= 0.35)
    if (is_clip and (drawn or f.follows)) or (f.follows and (drawn or f.coherence <= 0.5)):
        return "clip"
    if _are_shapes(f):
        return "shapes"
    if f.recurring >= 0.4:
        return "pixel-art"
    # No photo is made of equal pixels, however alike drawings are.
    return "photos-alike" if count >= FEW and likeness(f) >= 1 and f.equal < DRAWING else "photos-unlike"


def _are_maps(sample: Sample) -> bool:
    """Whether the first, the middle and the last picture are maps, all of which is laid out in tiles."""
    few = {0, len(sample.pictures) // 2, len(sample.pictures) - 1}
    return sample.rate is None and all(is_map(sample.pictures[index]) for index in few)


def _are_shapes(f: Facts) -> bool:
    """Few things of one hue each: flat, also after compression, or shaded in a way that recurs."""
    if f.still > 0.03 or not 0 < f.number <= 40 or f.things > 0.6:
        return False
    # Neighbours differ along outlines alone: of small things these are a larger share.
    outlines = max(0.06, OUTLINE / max(min(f.size), 1)) if f.equal >= 0.9 else 0.6
    flat = f.nearly_equal >= 0.8 and f.plain >= 0.7 and f.changes <= outlines and f.equal >= 0.35
    # Grey things have no hue that could tell one from another, so colour is asked for.
    shaded = f.recurring >= 0.4 and f.changes > 0.1 and f.hues <= 0.1 * f.changes and f.one_axis < 0.95
    return (flat and f.recurring < 0.4) or (shaded and f.ground >= 0.7)


def likeness(facts: Facts) -> float:
    """How alike photos are, from 0; from 1 on they show one kind of thing.

    Any of three is enough: flowers share light and dark (bright in the middle), butterflies where there is detail, horses
    which way edges run. Photos of anything reach 0.82 at most in the record, six classes of photos 1.06 and more.
    """
    return max(facts.low / 0.05, facts.edges / 0.085, facts.outlines / 0.035)


# ---- What to do -------------------------------------------------------------------------------------------------------


def plan_for(kind: Kind, facts: Facts, size: tuple[int, int]) -> Plan | None:
    """Choose the method, with settings, for a kind of images of this size."""
    if kind == "clip":
        why = "MarioNette's search fits: it finds the background, still or scrolling, and everything that recurs on it."
        return Plan("marionette", "video", {}, why, ("html", "atlas", "aseprite", "tiled"))
    if kind == "pixel-art":
        why = "MarioNette's search fits: pixels that recur exactly are counted, not learned."
        return Plan("marionette", "video", _for_collection(facts, size), why, ("html", "atlas", "tiled"))
    if kind == "pages":
        why = "MarioNette's search for whole pieces of ink fits: letters recur, with the noise of print and scan."
        return Plan("marionette", "text-pages", {}, why, ("html", "atlas", "placements"))
    if kind == "shapes":
        return _plan_for_shapes(facts, size)
    if kind == "photos-alike":
        why = "A method for one thing before a background fits; which one is chosen by looking at what each cuts out."
        return Plan("redo", "photos", {}, why, ("html", "masks"))
    return None


def _for_collection(facts: Facts, size: tuple[int, int]) -> dict[str, Any]:
    """Settings for pictures in no order: of what recurs in all of them, a part shows as much and takes less time."""
    together = max(LEAST_TOGETHER, SEARCHED // (size[0] * size[1]))
    settings: dict[str, Any] = {} if together >= MOST_TOGETHER else {"search_batch": together}
    if facts.still < 0.03:  # nothing stays, so that there is no scenery
        settings["background"] = "solid"
    return settings


def _plan_for_shapes(facts: Facts, size: tuple[int, int]) -> Plan:
    shrink = max(1.0, max(size) / MOST_SHAPE_SIDE)
    canvas = tuple(round(side / shrink) for side in size)
    longest = max(facts.size) / shrink
    if facts.changes > 0.1 and facts.recurring >= 0.4:
        # Room for the largest thing, for things that touch and are seen as one, and for a margin.
        side = int(min(max(canvas), max(8, 4 * round((longest + 4) / 4))))
        settings = {
            "image_size": canvas, "sprite_size": (side, side), "num_sprites": 0, "num_layers": 0, "readout": "pooled",
            "distil_steps": 0, "steps": 0, "frozen_steps": 0,
        }  # fmt: skip
        why = "DTI-Sprites' search by correlation fits: shaded shapes that are moved and coloured, and never turned."
        return Plan("dti-sprites", "tetrominoes", settings, why, ("html", "masks"))
    settings = {"image_size": canvas, "num_sprites": 0, "num_layers": 0}
    why = "DTI-Sprites' search by regions fits: every thing has one colour, and may be turned and scaled."
    return Plan("dti-sprites", "multi-dsprites", settings, why, ("html", "masks"))


def advice_for(kind: Kind) -> str:
    """What to say besides, or instead of a plan."""
    if kind == "blobs":
        return (
            "None of the methods here beats a threshold on cells, so this is one (Otsu's, of the square root of brightness), "
            "with pieces of several waists counted apart. For crowded tissue take Cellpose or StarDist, which are trained."
        )
    if kind == "maps":
        return "Nothing has to be learned: the lattice of their tiles is found, and every tile is a sprite."
    if kind == "photos-unlike":
        return (
            "Nothing here takes them apart: all four methods need something that recurs from image to image. For masks of any "
            "photo take a trained segmenter, such as Segment Anything or rembg; or give photos of one kind of thing."
        )
    return ""


def _forecast(found: Recognition) -> Forecast | None:
    if found.plan is None:
        return None
    method = METHODS[found.plan.method]
    return method.forecast_training(method.preset_config(found.plan.preset), found.count, found.native_size)


# ---- Reading ----------------------------------------------------------------------------------------------------------


def sample_of(images: Images) -> Sample:
    """Some images of a collection, as they are."""
    if isinstance(images, str | Path) and Path(images).exists() and not (Path(images) / "data.mdb").is_file():
        return sample_path(images)
    if isinstance(images, str | Path):
        name = str(images)
        found = draw_images(name, DRAWN) if name in DRAWINGS else open_data(name, labels=False)
        return sample_images(found if isinstance(found, ImageSet) else found.images)
    return sample_images(open_images(images, zoom=(1.0, 1.0)))


def _at_native_size(sample: Sample) -> tuple[Sample, str]:
    """Undo margins and an enlargement, where all images have one size; say by how much."""
    if len(sample.sizes) > 1 or len(sample.pictures) < 1:
        return sample, ""
    whole = margins_cut(sample.as_set())
    undone = enlargement_undone(whole)
    if undone is whole and whole.size == next(iter(sample.sizes)):
        return sample, ""
    pictures = tuple(np.ascontiguousarray(each.permute(1, 2, 0).numpy()) for each in undone.pixels)
    factors = [before / after for before, after in zip(whole.size, undone.size, strict=True)]
    text = "" if undone is whole else " x ".join(dict.fromkeys(f"{round(factor, 1):g}" for factor in factors))
    return replace(sample, pictures=pictures), text


def _largest(sizes: set[tuple[int, int]]) -> tuple[int, int]:
    return max(height for height, _ in sizes), max(width for _, width in sizes)


# ---- Words ------------------------------------------------------------------------------------------------------------


def _read_text(sample: Sample, enlargement: str, facts: Facts) -> str:
    """What was read."""
    height, width = _largest(sample.sizes)
    what = "frame" if sample.rate is not None else "image"
    said = [f"{sample.count:,} {what}{'s' * (sample.count != 1)}"]
    if sample.rate is not None:
        said.append(f"{sample.rate:.3g} a second")
    mixed = "up to " if len(sample.sizes) > 1 else ""
    said.append(
        f"{mixed}{width} x {height} pixels"
        + (f" once their enlargement by {enlargement} is undone" if enlargement else "")
    )
    if facts.recurring >= 0.4 or facts.equal >= 0.6:
        said.append("pixels as they were drawn" if facts.equal >= 0.6 else "drawn, then compressed")
    if sample.skipped:
        said.append(f"{len(sample.skipped)} files skipped")
    dark = darkness(max(int(picture.max()) for picture in sample.pictures)) if sample.pictures else ""
    return ", ".join(said) + "." + (f" They are {dark}" if dark else "")


def _seen_text(kind: Kind, f: Facts, sample: Sample) -> str:
    """By what the kind was recognised."""
    equal = f"{f.equal:.0%} of neighbouring pixels are equal"
    if kind == "blobs":
        return (
            f"One colour of light on dark; spots cover {f.lit:.0%} and have grain, as light has and drawings have not."
        )
    if kind == "pages":
        return (
            f"Two tones explain {f.bimodal:.0%} of the lightness; ink covers {f.ink:.0%}, in {f.letters} pieces and {f.lines} "
            "lines in the middle of a page."
        )
    if kind == "clip":
        return (
            f"Neighbours differ {f.coherence:.0%} as much as images far apart, {f.change:.0%} of the pixels change; "
            f"the background {_background(f, sample)}."
        )
    if kind in ("pixel-art", "maps"):
        return f"{f.recurring:.0%} of the busy patches are found again to the bit; {equal}."
    if kind == "shapes":
        height, width = f.size
        return (
            f"At most {f.number} things that do not touch, {width} x {height} pixels or less, of one hue each, flat or shaded "
            f"alike; {equal}."
        )
    if sample.count < FEW:
        return f"{equal.capitalize()}; {sample.count} images are too few to say what they share: {FEW} are needed, better 50."
    share = f"light and dark {f.low:.2f}, detail {f.edges:.2f}, outlines {f.outlines:.2f}"
    return (
        f"{equal.capitalize()} and nothing recurs to the bit. How alike they are: {share} (photos of anything: below 0.05, "
        "0.085 and 0.035)."
    )


def _background(f: Facts, sample: Sample) -> str:
    """What the background does, as far as a glance tells; training tries every kind."""
    if f.ground >= 0.9 and f.things <= 0.4:
        return "is one colour"
    return "scrolls" if _scrolls(sample) else "stays"


def _scrolls(sample: Sample) -> bool:
    """Whether the camera moves, by neighbours that follow one another."""
    return len(sample.sizes) == 1 and is_scrolled(np.stack(sample.pictures[:60]))


def _plain(value: Any) -> str:
    """A setting as `--set` takes it."""
    if isinstance(value, tuple | list):
        return "[" + ",".join(map(str, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)

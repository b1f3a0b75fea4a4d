"""Where decompositions go, batch by batch: what has become of each image, and its scene, in memory or in a folder."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from delaminate.errors import ConfigError, OutputError
from delaminate.exporters.animations import without_background
from delaminate.exporters.residuals import residual_picture
from delaminate.files import png_bytes
from delaminate.methods import Method
from delaminate.metrics import psnr
from delaminate.pipelines.images import OpenedImages
from delaminate.pipelines.journal import image_digest
from delaminate.pipelines.records import Record
from delaminate.pipelines.scene_folder import SceneFolder
from delaminate.pipelines.verdict import Tally, Verdict, count_images
from delaminate.refinement.small_regions import has_separate_parts
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import OWN_RASTER
from delaminate.scene.scenes import Scene, check_name, with_photo
from delaminate.scene.validation import check_bounds


@dataclass
class Totals:
    """What came out of all images.

    Attributes:
        count: Scenes.
        skipped: Name and reason of every image that became no scene.
        verdict: What came out, judged by all images.
        scattered: Those in which a layer lies in several large parts.
        means: Of the errors that scenes have: `psnr` and `psnr_original` in dB, unless layers show the images themselves.
    """

    count: int
    skipped: list[tuple[str, str]]
    verdict: Verdict
    scattered: int
    means: dict[str, float]


@dataclass
class SceneOutput:
    """Takes up what was found batch by batch; what is there stays usable when that is interrupted.

    Attributes:
        opened: What is decomposed.
        method, by: What decomposes it, and how.
        model: The model's name, for the figures.
        folder: Where scenes go; None: they stay in memory.
        scenes, records: By their names, where they stay in memory.
        entries: Id of each dictionary entry, and whether it is a background.
    """

    opened: OpenedImages
    method: Method
    by: str
    model: str
    folder: SceneFolder | None = None
    scenes: dict[str, Scene] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    entries: Sequence[tuple[str, bool]] = ()

    def __post_init__(self) -> None:
        if self.folder is not None:
            self.entries = self.folder.journal.entries or ()

    @property
    def known(self) -> Mapping[str, Record]:
        """What has become of images, by their whole names: those of the folder, if there is one."""
        return self.records if self.folder is None else self.folder.journal.records

    def name(self, row: int) -> str:
        """The whole name of an image, which is that of its scene."""
        return self.opened.full_name(row)

    def names(self) -> Iterator[str]:
        """Go through the whole names of all images, in their order."""
        return map(self.opened.full_name, range(len(self.opened.images)))

    def listed(self) -> Iterator[Record]:
        """Go through what has become of images, in their order. There may be millions: they are read as they are asked for."""
        return (record for name in self.names() if (record := self.known.get(name)) is not None)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Go through name and errors of every scene."""
        return ({"name": record.name, **record.errors} for record in self.listed() if record.skipped is None)

    def totals(self) -> Totals:
        """What came out, of all images together."""
        sprites = sum(not background for _, background in self.entries)
        tally, skipped = Tally(self.method, self.by, sprites), list(self.opened.images.skipped)
        scenes = scattered = 0
        sums: dict[str, float] = {}
        for row, shown in enumerate(self.opened.images.names):
            record = self.known.get(self.name(row))
            if record is None:
                continue
            tally.add(record.tally)
            scattered += record.scattered
            scenes += record.skipped is None
            if record.skipped is not None:
                skipped.append((shown, record.skipped))
            for key, error in record.errors.items():
                sums[key] = sums.get(key, 0.0) + error
        means = {key: total / scenes for key, total in sums.items()}
        return Totals(scenes, skipped, tally.verdict(), scattered, means)

    def is_done(self, row: int) -> bool:
        """Say whether nothing is left to do for an image, because a scene of it is there."""
        return self.folder is not None and self.folder.has(self.name(row), image_digest(self.opened.images, row))

    def add(
        self, found: Decomposition, pixels: Float[Tensor, "B 3 H W"], rows: range, done: Collection[int] = ()
    ) -> None:
        """Take up a batch.

        Args:
            found: What was found in its images.
            pixels: They themselves, at the model's size.
            rows: Which images they are.
            done: Those of them whose scenes stay as they are.
        """
        rebuilt = found.composite().to(pixels)
        errors = psnr(pixels, rebuilt).tolist()
        tallies = count_images(self.method, found, pixels, rebuilt, errors)
        self.entries = [
            (found.dictionary.name(i), i in found.dictionary.backgrounds) for i in range(len(found.dictionary))
        ]
        left = [index for index, row in enumerate(rows) if row not in done]
        reasons = {index: self._reason(found, index, self.name(rows[index])) for index in left}
        usable = [index for index in left if reasons[index] is None]
        scenes, scattered = self._scenes(found, usable, rows)
        records, residuals = [], {}
        copies = self.method.copies_input(self.by)  # a photo seen through its own masks is itself
        for index in left:
            name = self.name(rows[index])
            told: dict[str, float] = {}
            if index in scenes and not copies:
                told, residual = self._measure(scenes[index], pixels[index], rebuilt[index], errors[index], rows[index])
                residuals[name] = residual
            digest = "" if self.folder is None else image_digest(self.opened.images, rows[index])
            records.append(Record(name, digest, tallies[index], told, index in scattered, skipped=reasons[index]))
        kept = list(scenes.values())
        if self.opened.images.transparent is not None:
            # What is behind everything was transparent in the images: it is no layer.
            kept = [without_background(scene) for scene in kept]
        if self.folder is None:
            self.scenes.update((scene.name, scene) for scene in kept)
            self.records.update((record.name, record) for record in records)
        else:
            # The sprites are those of scenes: at the images' own size.
            dictionary = (kept or found[:1].scenes())[0].dictionary
            self.folder.add(dictionary, kept, residuals, records)
            if self.folder.is_due:
                self.publish()

    def publish(self) -> Totals:
        """Write the lists of a folder, if there is one: its scenes, how closely they rebuild their images, which were skipped.

        Returns:
            What they say.
        """
        found = self.totals()
        while self.folder is not None:
            figures = {"model": self.model, "by": self.by, **found.means, "images": self.rows()}
            figures |= {"skipped": [{"name": name, "reason": reason} for name, reason in found.skipped]}
            if found.count:
                self.folder.publish(self.names, figures | {"verdict": found.verdict.figures})
            if not self.folder.has_grown():
                break
            found = self.totals()
        return found

    def _reason(self, found: Decomposition, index: int, name: str) -> str | None:
        """Why an image cannot become a scene; None: it can."""
        size = found.size if found.canvas_maps is None else found.canvas_maps[index].original
        try:
            check_name(name)
            check_bounds(size, [size for placement in found.images[index] if placement.entry == OWN_RASTER])
        except (ConfigError, OutputError) as problem:
            return str(problem)
        return None

    def _scenes(self, found: Decomposition, usable: Sequence[int], rows: range) -> tuple[dict[int, Scene], set[int]]:
        """Scenes of some images of a batch, by their position in it, and those with a layer in several large parts."""
        maps = None if found.canvas_maps is None else tuple(found.canvas_maps[index] for index in usable)
        some = replace(found, images=tuple(found.images[index] for index in usable), canvas_maps=maps)
        made = some.scenes([self.name(rows[index]) for index in usable])
        if not made or not self.method.copies_input(self.by):
            return dict(zip(usable, made, strict=True)), set()
        for place, index in enumerate(usable):
            original = self.opened.original(rows[index])
            if original is not None and tuple(original.shape[1:]) == made[place].size:
                made[place] = with_photo(made[place], original)
        parts = has_separate_parts(some.labels()[0]).tolist()
        return dict(zip(usable, made, strict=True)), {index for index, each in zip(usable, parts, strict=True) if each}

    def _measure(
        self,
        scene: Scene,
        pixels: Float[Tensor, "3 H W"],
        rebuilt: Float[Tensor, "3 H W"],
        error: float,
        row: int,
    ) -> tuple[dict[str, float], bytes]:
        """How closely a scene rebuilds its image, at the model's size and at its own, and a picture of what is left."""
        same = self.opened.images.canvas_maps[row].is_identity
        original, at_original = None if same else self.opened.original(row), error
        if original is None:  # the canvas is the image, or all that is left of it
            original = pixels
        else:
            rebuilt = scene.composite().cpu()
            at_original = float(psnr(original[None], rebuilt[None]))
        told = {"psnr": error, "psnr_original": at_original}
        return told, b"" if self.folder is None else png_bytes(residual_picture(original, rebuilt))

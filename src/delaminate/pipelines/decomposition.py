"""Decompose images into scenes: in memory, or into a folder, batch by batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from delaminate.data import ImageSet
from delaminate.data.sets import natural_key
from delaminate.data.synthetic import DRAWINGS, Split
from delaminate.engine.record import Callback
from delaminate.errors import ConfigError, DataError, OutputError
from delaminate.exporters.animations import without_background
from delaminate.exporters.residuals import residual_path, residual_picture
from delaminate.files import json_bytes, png_bytes, write_atomic
from delaminate.methods import Method, load_model
from delaminate.metrics import psnr
from delaminate.pipelines.devices import pick_device
from delaminate.pipelines.images import (
    BATCH_PIXELS,
    Images,
    OpenedImages,
    Zoom,
    canvas,
    check_fit,
    follower,
    forecast_text,
    open_with_originals,
)
from delaminate.pipelines.output_folders import ERRORS, make_room_for_scenes
from delaminate.pipelines.verdict import Tally, Verdict
from delaminate.refinement.small_regions import has_separate_parts
from delaminate.scene.canvas_map import Blocks
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.loading import load_scenes
from delaminate.scene.placements import OWN_RASTER, Dictionary
from delaminate.scene.saving import SceneWriter
from delaminate.scene.scenes import Scene, check_name, with_photo
from delaminate.scene.validation import check_bounds
from delaminate.scene.views import joined, page_of


@dataclass
class DecomposedImages(Sequence[Scene]):
    """What decomposing has made of images: their scenes, and how closely these rebuild them.

    Attributes:
        rows: For each scene its `name`, and unless layers show the image itself its `psnr` at the model's size and
            `psnr_original` at its own, in dB.
        skipped: Name and reason of every image that became no scene.
        by: The way of decomposing.
        copies_input: Layers show the images themselves, so that nothing is reconstructed.
        num_scattered: Scenes in which a layer lies in several large parts.
        verdict: What came out, judged by all images.
        folder: Where the scenes are, or None: in memory.
        kept: The scenes, where they are in memory.
        rate: Frames per second, where they are the frames of a clip.
        durations: Milliseconds that each of these is seen, by the scenes' names, where known.
        blocks: What the originals are made of, where they are enlarged pixel art.
    """

    rows: list[dict[str, Any]]
    skipped: list[tuple[str, str]]
    by: str
    copies_input: bool
    num_scattered: int = 0
    verdict: Verdict | None = None
    folder: Path | None = None
    kept: Sequence[Scene] = ()
    rate: float | None = None
    durations: Mapping[str, float] | None = None
    blocks: Blocks | None = None

    @cached_property
    def scenes(self) -> Sequence[Scene]:
        """One scene for each image, at the image's own size; all share one dictionary."""
        return self.kept if self.folder is None else load_scenes(self.folder, order=natural_key)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.scenes[index]

    @property
    def dictionary(self) -> Dictionary:
        """The sprites that the scenes share."""
        return self.scenes[0].dictionary

    @property
    def means(self) -> dict[str, float]:
        """Mean `psnr` and `psnr_original` over all scenes, in dB; empty where layers show the images themselves."""
        return _means(self.rows)

    @property
    def summary(self) -> str:
        """What came out, in a sentence or two."""
        means = self.means
        said = "layers show the images themselves."
        if means:
            said = f"rebuilt at {means['psnr']:.1f} dB at the model's size, {means['psnr_original']:.1f} dB at the images' own."
        if self.verdict is not None:
            said += f" {self.verdict.text}"
        if 4 * self.num_scattered > len(self.rows):
            said += (
                f" In {self.num_scattered} of them a layer lies in several large parts: if these are several things, this "
                "method does not tell them apart."
            )
        where = f" in {self.folder}" if self.folder is not None else ""
        return f"{len(self.rows)} scenes{where}, by {self.by}: {said}"

    def _repr_html_(self) -> str:
        shown = [scene.composite() for scene in self.scenes[:8]]
        return page_of(f"{len(self)} scenes", {"what came out": self.summary}, [joined(shown)] if shown else [])


def decompose(
    model: str | Path | Method,
    images: Images,
    out: str | Path | None = None,
    *,
    by: str | None = None,
    fit: str = "squash",
    limit: int | None = None,
    zoom: Zoom | None = None,
    batch: int = 64,
    overwrite: bool = False,
    device: str = "auto",
    callback: Callback | None = None,
) -> DecomposedImages:
    """Decompose images into scenes of layers, at the images' own size.

        found = delaminate.decompose("redo/flowers17", "photos/")
        found[0].composite()

    Pixel art that was enlarged is worked on at its own size, the frames of a clip get tracks, and layers of photos have the
    photo's own pixels.

    Args:
        model: A model, or the path or name of one.
        images: What `open_images` takes.
        out: A folder for the scenes, which are written batch by batch with what they do not explain; None: they stay in
            memory.
        by: One of the model's `decomposers`; None: the best.
        fit: How images meet the model's canvas: "squash", "crop" or "pad".
        limit: Only so many images, the first ones.
        zoom: By how much pixel art was enlarged, down and across; None: it is found.
        batch: Images at a time, fewer where they are large.
        overwrite: Remove the scenes in `out`, edits included.
        device: "auto", "cpu", "cuda" or "cuda:N".
        callback: Is told how far it is: `stage("decompose", 0, count)`, then `step("decompose", done, {})`.

    Raises:
        ConfigError: The model cannot decompose that way, or `out` holds scenes.
        DataError: No image became a scene.
    """
    check_fit(fit)
    where = pick_device(device)
    method = model.to(where) if isinstance(model, Method) else load_model(model, where)
    split: Split = "dev" if isinstance(images, str) and images in DRAWINGS else "train"  # of a real set, the whole
    opened = open_with_originals(
        images, canvas(method, by), fit, like=method.image_size, transparent=method.transparent, count=limit, split=split,
        zoom=zoom, callback=callback,
    )  # fmt: skip
    found, by = opened.images, by or method.default
    copies = method.copies_input(by)
    batch = max(1, min(batch, BATCH_PIXELS // _largest(found, copies)))
    folder = None if out is None else Path(out)
    if folder is not None:
        make_room_for_scenes(folder, overwrite, len(found))
    forecast = method.forecast_decomposition(len(found), found.size, batch)
    if forecast is not None and callback is not None:
        callback.note(forecast_text(forecast, found.size))
    name = str(model) if not isinstance(model, Method) else model.name
    writer = None if folder is None else SceneWriter(folder, found.rate, opened.durations, opened.blocks)
    output = _Output(opened, name, by, copies, list(found.skipped), writer)
    _decompose_batches(method, by, where, batch, output, callback)
    if not output.rows:
        raise DataError(
            f"{images if isinstance(images, str | Path) else 'decompose'}: no image became a scene; the skipped files say why."
        )
    return output.result(folder)


def _decompose_batches(
    method: Method, by: str, device: str, batch: int, output: "_Output", callback: Callback | None
) -> None:
    """Go through all images; wherever that ends, what is there is written and judged."""
    found = output.opened.images
    follow, tally = follower(found), Tally(method, by)
    if callback is not None:
        callback.stage("decompose", 0, len(found))
    try:
        for first in range(0, len(found), batch):
            rows = range(first, min(first + batch, len(found)))
            some, pixels = _decomposed(method, found, rows, by, device, follow)
            rebuilt = some.composite().to(pixels)
            errors = psnr(pixels, rebuilt).tolist()
            tally.add(some, pixels, rebuilt, errors)
            output.add(some, errors, pixels, rows)
            if callback is not None:
                callback.step("decompose", rows.stop, {})
    except KeyboardInterrupt:
        if callback is not None and output.writer is not None:
            callback.note(f"Stopped: {len(output.rows)} of {len(found)} scenes are in {output.writer.folder}.")
        raise
    finally:
        output.verdict = tally.verdict()
        output.write_errors()


def _largest(images: ImageSet, copies: bool) -> int:
    """Pixels of the largest layer; those that show the photo have its size."""
    sizes = [canvas_map.original for canvas_map in images.canvas_maps] if copies else [images.size]
    return max(height * width for height, width in sizes)


def _decomposed(
    method: Method,
    images: ImageSet,
    rows: range,
    by: str,
    device: str,
    follow: Callable[[Decomposition], Decomposition],
) -> tuple[Decomposition, Float[Tensor, "B 3 H W"]]:
    """Decompose some images: what was found, and they themselves."""
    part = images.subset(rows)
    pixels = part.batch(range(len(part)))
    return follow(method.decompose(pixels.to(device), by, part.canvas_maps)), pixels


@dataclass
class _Output:
    """Takes up scenes batch by batch; what is written stays usable when that is interrupted."""

    opened: OpenedImages
    model: str
    by: str
    copies: bool
    skipped: list[tuple[str, str]]
    writer: SceneWriter | None
    scenes: list[Scene] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    num_scattered: int = 0
    written: int = 0
    verdict: Verdict | None = None

    def add(self, found: Decomposition, errors: list[float], pixels: Float[Tensor, "B 3 H W"], rows: range) -> None:
        """Take up a batch: its scenes, and what they do not explain."""
        names = self._usable_names(found, rows)
        some = replace(
            found,
            images=tuple(found.images[index] for index in names),
            canvas_maps=None if found.canvas_maps is None else tuple(found.canvas_maps[index] for index in names),
        )
        kept = some.scenes(list(names.values()))
        if self.copies:
            self.num_scattered += int(has_separate_parts(some.labels()[0]).sum())
        told: list[dict[str, Any]] = []
        for place, (index, name) in enumerate(names.items()):
            original = self.opened.original(rows[index])
            if original is not None and self.copies and tuple(original.shape[1:]) == kept[place].size:
                kept[place] = with_photo(kept[place], original)
            row: dict[str, Any] = {"name": name}
            if not self.copies:  # a photo seen through its own masks is itself
                if original is None:  # an image without a file has only the model's size
                    original, rebuilt = pixels[index], found[index : index + 1].composite()[0].to(pixels)
                    at_original = errors[index]
                else:
                    rebuilt = kept[place].composite().cpu()
                    at_original = float(psnr(original[None], rebuilt[None]))
                row |= {"psnr": errors[index], "psnr_original": at_original}
                if self.writer is not None:
                    picture = png_bytes(residual_picture(original, rebuilt))
                    write_atomic(residual_path(self.writer.folder, name), picture)
            told.append(row)
        if not kept:
            return
        if self.opened.images.transparent is not None:
            # What is behind everything was transparent in the images: it is no layer.
            kept = [without_background(scene) for scene in kept]
        if self.writer is None:
            self.scenes += kept
        else:
            self.writer.add(kept)
        self.rows += told
        # For who kills it, who loses a twentieth at most. It is written whole, so every batch would be quadratic.
        if len(self.rows) >= 1.05 * self.written:
            self.write_errors()

    def _usable_names(self, found: Decomposition, rows: range) -> dict[int, str]:
        """Names of the images of a batch that can become scenes, by their position in it; others are skipped."""
        names: dict[int, str] = {}
        for index, row in enumerate(rows):
            name = self.opened.full_name(row)
            try:
                check_name(name)
                check_bounds(*_sizes(found, index))
            except (ConfigError, OutputError) as problem:
                self.skipped.append((self.opened.images.names[row], str(problem)))
                continue
            names[index] = name
        return names

    def write_errors(self) -> None:
        """Write how closely the scenes so far rebuild their images, and which images were skipped."""
        if not self.rows or self.writer is None:
            return
        skipped = [{"name": name, "reason": reason} for name, reason in self.skipped]
        errors = {"model": self.model, "by": self.by, **_means(self.rows), "images": self.rows, "skipped": skipped}
        if self.verdict is not None:
            errors["verdict"] = self.verdict.figures
        write_atomic(self.writer.folder / ERRORS, json_bytes(errors))
        self.written = len(self.rows)

    def result(self, folder: Path | None) -> DecomposedImages:
        return DecomposedImages(
            self.rows,
            self.skipped,
            self.by,
            self.copies,
            self.num_scattered,
            self.verdict,
            folder,
            tuple(self.scenes),
            self.opened.images.rate,
            self.opened.durations,
            self.opened.blocks,
        )


def _means(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means of the errors that scenes have, if they have any."""
    keys = [key for key in ("psnr", "psnr_original") if rows and key in rows[0]]
    return {key: sum(row[key] for row in rows) / len(rows) for key in keys}


def _sizes(found: Decomposition, index: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """The sizes that a scene's canvas, and its layers' own rasters at the most, have at the original size."""
    size = found.size if found.canvas_maps is None else found.canvas_maps[index].original
    return size, [size for placement in found.images[index] if placement.entry == OWN_RASTER]

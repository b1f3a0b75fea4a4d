"""`delaminate decompose MODEL IMAGES`: take images apart into scenes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from torch import Tensor

    from delaminate.data import ImageSet
    from delaminate.methods import Method
    from delaminate.scene.decomposition import Decomposition
    from delaminate.scene.saving import SceneWriter


def decompose(
    model: Annotated[
        str, typer.Argument(help="A model or run folder, a name of `delaminate models`, or hub:OWNER/NAME.")
    ],
    images: Annotated[str, typer.Argument(help="A folder of images, one image, a clip, or a built-in data set.")],
    out: Annotated[Path, typer.Option(help="Where the scenes go.")],
    by: Annotated[
        str | None, typer.Option(help="How to decompose: search, network, refined ...; default: the best.")
    ] = None,
    fit: Annotated[str, typer.Option(help="How images meet the model's canvas: squash, crop or pad.")] = "squash",
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Only so many images, the first ones.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images at a time, fewer where they are large.")] = 64,
    again: Annotated[bool, typer.Option(help="Remove the scenes in OUT, edits included, and begin anew.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Take every image apart into layers that you can edit, export and measure.

    OUT holds the sprites (dictionary/*.png), one scene for each image (scenes/NAME/scene.json), small pictures of what
    the layers do not explain (residuals/NAME.png, not of cut-outs) and errors.json, which says how closely the layers
    rebuild each image, at the model's size and at the image's own, and which files were skipped and why. Draw a sprite
    of the dictionary anew and every image that uses it changes.

        delaminate decompose dti-sprites/tetrominoes pieces/images --out scenes
    """
    from rich.progress import track

    from delaminate.cli.train import pick_device, report_skipped
    from delaminate.data.synthetic.scenes import DRAWINGS, Split
    from delaminate.errors import ConfigError, DataError
    from delaminate.methods import load_model
    from delaminate.pipelines.images import BATCH_PIXELS, canvas, follower, forecast_taking_apart, open_images
    from delaminate.pipelines.output_folders import counted_if_stopped, make_room_for_scenes
    from delaminate.scene.saving import SceneWriter

    if fit not in ("squash", "crop", "pad"):
        raise ConfigError(f"--fit {fit}: expected squash, crop or pad.")
    where = pick_device(device)
    method = load_model(model, where)
    split: Split = "dev" if images in DRAWINGS else "train"  # of a real set, "train" is the whole
    size = canvas(method, by)
    found = open_images(images, size, fit, like=method.image_size, count=limit, split=split)
    by = by or method.default
    photo = method.carries_photo(by)
    batch = max(1, min(batch, BATCH_PIXELS // _largest(found, photo)))
    make_room_for_scenes(out, again, len(found))
    if said := forecast_taking_apart(method, found, batch):
        typer.echo(said)
    follow = follower(found)
    folder = _Output(SceneWriter(out, found.rate), model, by, list(found.skipped), photo)
    paths = _paths(Path(images))
    try:
        with counted_if_stopped(folder.writer, len(found)):
            for rows in track(list(_batches(len(found), batch)), "Taking apart", transient=True):
                folder.add(*_take_apart(method, found, rows, by, where, follow), paths)
    finally:
        folder.write_errors()
    from rich.console import Console

    console = Console()
    report_skipped(console, tuple(folder.skipped))
    if not folder.rows:
        raise DataError(f"{images}: no image became a scene; the skipped files say why.")
    typer.echo(folder.summary())


def _largest(images: "ImageSet", photo: bool) -> int:
    """Pixels of the largest layer; those that show the photo have its size."""
    sizes = [frame.original for frame in images.frames] if photo else [images.size]
    return max(height * width for height, width in sizes)


def _batches(count: int, size: int) -> Iterator[range]:
    return (range(first, min(first + size, count)) for first in range(0, count, size))


def _paths(images: Path) -> dict[str, Path]:
    """Where an image lies, by its name in an `ImageSet`: the relative path with or without suffix."""
    from delaminate.data.folders import image_folder
    from delaminate.data.reading import SUFFIXES

    root = images.parent if images.is_file() else image_folder(images)
    files = [images] if images.is_file() else sorted(root.rglob("*")) if root.is_dir() else []
    found: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() in SUFFIXES:
            relative = path.relative_to(root)
            found[relative.with_suffix("").as_posix()] = path
            found[relative.as_posix()] = path
    return found


def _take_apart(
    method: "Method",
    images: "ImageSet",
    rows: range,
    by: str | None,
    device: str,
    follow: "Callable[[Decomposition], Decomposition]",
) -> "tuple[Decomposition, tuple[str, ...], list[float], Tensor]":
    from delaminate.metrics import psnr

    part = images.subset(rows)
    pixels = part.batch(range(len(part)))
    found = follow(method.decompose(pixels.to(device), by, part.frames))
    return found, part.names, psnr(pixels, found.composite().to(pixels)).tolist(), pixels


@dataclass
class _Output:
    """Writes scenes batch by batch; what is written stays usable when the command is interrupted."""

    writer: "SceneWriter"
    model: str
    by: str
    skipped: list[tuple[str, str]]
    photo: bool
    rows: list[dict[str, Any]] = field(default_factory=list)
    scattered: int = 0
    written: int = 0

    def add(
        self,
        found: "Decomposition",
        names: tuple[str, ...],
        errors: list[float],
        pixels: "Tensor",
        paths: dict[str, Path],
    ) -> None:
        """Write the scenes of a batch, and what they do not explain."""
        from delaminate.errors import ConfigError, OutputError
        from delaminate.export.residuals import residual_path, residual_picture
        from delaminate.files import png_bytes, write_atomic
        from delaminate.metrics import psnr
        from delaminate.refinement.small_regions import scattered
        from delaminate.scene.scenes import check_name, with_photo
        from delaminate.scene.validation import check_bounds

        fulls: dict[int, str] = {}
        for index, name in enumerate(names):
            path = paths.get(name)
            # The image's whole name, suffix included, so that a.png and a.jpg do not meet.
            full = name if path is None else name.removesuffix(path.suffix) + path.suffix
            try:
                check_name(full)
                check_bounds(*_sizes(found, index))
            except (ConfigError, OutputError) as problem:
                self.skipped.append((name, str(problem)))
                continue
            fulls[index] = full
        some = replace(
            found,
            images=tuple(found.images[index] for index in fulls),
            frames=None if found.frames is None else tuple(found.frames[index] for index in fulls),
        )
        kept = some.scenes(list(fulls.values()))
        rows: list[dict[str, Any]] = []
        if self.photo:
            self.scattered += int(scattered(some.labels()[0]).sum())
        for place, (index, full) in enumerate(fulls.items()):
            path = paths.get(names[index])
            if path is None:
                # An image without a file has only the model's size.
                original, rebuilt = pixels[index], found[index : index + 1].composite()[0].to(pixels)
            else:
                original = _read(path)
                if self.photo and original.shape[1:] == kept[place].size:
                    kept[place] = with_photo(kept[place], original)
                rebuilt = kept[place].composite().cpu()
            row: dict[str, Any] = {"name": full}
            if not self.photo:  # a photo seen through its own masks is itself
                at_original = errors[index] if path is None else float(psnr(original[None], rebuilt[None]))
                row |= {"psnr": errors[index], "psnr_original": at_original}
                write_atomic(residual_path(self.writer.folder, full), png_bytes(residual_picture(original, rebuilt)))
            rows.append(row)
        if kept:
            self.writer.add(kept)
            self.rows += rows
            # For who kills it, who loses a twentieth at most. It is written whole, so every batch would be quadratic.
            if len(self.rows) >= 1.05 * self.written:
                self.write_errors()

    def write_errors(self) -> None:
        """Write how closely the scenes so far rebuild their images, and which images were skipped."""
        from delaminate.files import json_bytes, write_atomic
        from delaminate.pipelines.output_folders import ERRORS

        if not self.rows:
            return
        skipped = [{"name": name, "reason": reason} for name, reason in self.skipped]
        errors = {"model": self.model, "by": self.by, **self._means(), "images": self.rows, "skipped": skipped}
        write_atomic(self.writer.folder / ERRORS, json_bytes(errors))
        self.written = len(self.rows)

    def _means(self) -> dict[str, float]:
        keys = () if self.photo else ("psnr", "psnr_original")
        return {key: sum(row[key] for row in self.rows) / max(len(self.rows), 1) for key in keys}

    def summary(self) -> str:
        """Say what came out, and what to do next."""
        means = self._means()
        said = "layers show the images themselves."
        if means:
            said = f"rebuilt at {means['psnr']:.1f} dB at the model's size, {means['psnr_original']:.1f} dB at the images' own."
        if 4 * self.scattered > len(self.rows):
            said += (
                f" In {self.scattered} of them a layer lies in several large parts: if these are several things, this method "
                "does not tell them apart."
            )
        return (
            f"{len(self.rows)} scenes in {self.writer.folder}, by {self.by}: {said}\n"
            f"Next: delaminate export {quote(str(self.writer.folder))} --to html --out report"
        )


def _sizes(found: "Decomposition", index: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """The sizes that a scene's canvas, and its layers' own rasters at the most, have at the original size."""
    from delaminate.scene.placements import OWN_RASTER

    size = found.size if found.frames is None else found.frames[index].original
    return size, [size for placement in found.images[index] if placement.entry == OWN_RASTER]


def _read(path: Path) -> "Tensor":
    """The image itself, (3, H, W) in [0, 1]."""
    import torch

    from delaminate.data import read_image

    return torch.from_numpy(read_image(path)).permute(2, 0, 1).float() / 255

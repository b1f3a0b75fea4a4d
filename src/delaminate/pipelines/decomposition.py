"""Decompose images into scenes: in memory, or into a folder, batch by batch."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from delaminate.data import ImageSet
from delaminate.data.clips import is_clip
from delaminate.data.places import is_place
from delaminate.data.sets import natural_key
from delaminate.data.synthetic import DRAWINGS, Split
from delaminate.engine.record import Callback
from delaminate.errors import ConfigError, DataError, FormatError, OutputError, reading
from delaminate.methods import Method, load_model
from delaminate.pipelines.cluster import Workers, absolute, chosen_workers, for_workers, model_here, pool
from delaminate.pipelines.devices import pick_device
from delaminate.pipelines.images import (
    BATCH_PIXELS,
    Images,
    Zoom,
    canvas,
    check_fit,
    follower,
    forecast_text,
    open_with_originals,
)
from delaminate.pipelines.journal import model_digest, recorded_settings
from delaminate.pipelines.output_folders import ERRORS
from delaminate.pipelines.scene_folder import SceneFolder
from delaminate.pipelines.scene_output import SceneOutput, Totals
from delaminate.pipelines.shards import Shard, shard_rows
from delaminate.pipelines.verdict import Verdict
from delaminate.scene.canvas_map import Blocks
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.loading import load_scenes
from delaminate.scene.placements import Dictionary
from delaminate.scene.scenes import Scene
from delaminate.scene.views import joined, page_of

SHARDS_EACH = 4
"""Shards for each worker: what a lost one costs is one of them."""
CACHE = ".cache"
"""Folder in that of the scenes for a cache of decoded images; shards share it, others remove it at their end."""


@dataclass
class DecomposedImages(Sequence[Scene]):
    """What decomposing has made of images: their scenes, and how closely these rebuild them.

    Attributes:
        num_scenes: How many there are.
        skipped: Name and reason of every image that became no scene.
        by: The way of decomposing.
        copies_input: Layers show the images themselves, so that nothing is reconstructed.
        means: Means of the errors in `rows`, in dB; empty where layers show the images themselves.
        num_scattered: Scenes in which a layer lies in several large parts.
        verdict: What came out, judged by all images.
        folder: Where the scenes are, or None: in memory.
        kept, errors: The scenes and their `rows`, where they are in memory.
        rate: Frames per second, where they are the frames of a clip.
        durations: Milliseconds that each of these is seen, by the scenes' names, where known.
        blocks: What the originals are made of, where they are enlarged pixel art.
    """

    num_scenes: int
    skipped: list[tuple[str, str]]
    by: str
    copies_input: bool
    means: dict[str, float]
    num_scattered: int = 0
    verdict: Verdict | None = None
    folder: Path | None = None
    kept: Sequence[Scene] = ()
    errors: Sequence[dict[str, Any]] = ()
    rate: float | None = None
    durations: Mapping[str, float] | None = None
    blocks: Blocks | None = None

    @cached_property
    def scenes(self) -> Sequence[Scene]:
        """One scene for each image, at the image's own size; all share one dictionary."""
        return self.kept if self.folder is None else load_scenes(self.folder, order=natural_key)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """For each scene its `name`, and unless layers show the image itself its `psnr` at the model's size and `psnr_original`
        at its own, in dB.

        Raises:
            FormatError: They are to be read out of the folder, and are not there any more.
        """
        if self.folder is None:
            return list(self.errors)
        with reading(self.folder / ERRORS, FormatError, "holds no errors of scenes"):
            return list(json.loads((self.folder / ERRORS).read_bytes())["images"])

    def __len__(self) -> int:
        return self.num_scenes

    def __getitem__(self, index: Any) -> Any:
        return self.scenes[index]

    @property
    def dictionary(self) -> Dictionary:
        """The sprites that the scenes share."""
        return self.scenes[0].dictionary

    @property
    def summary(self) -> str:
        """What came out, in a sentence or two."""
        means = self.means
        said = "layers show the images themselves."
        if means:
            said = f"rebuilt at {means['psnr']:.1f} dB at the model's size, {means['psnr_original']:.1f} dB at the images' own."
        if self.verdict is not None and self.verdict.text:
            said += f" {self.verdict.text}"
        if 4 * self.num_scattered > self.num_scenes:
            said += (
                f" In {self.num_scattered} of them a layer lies in several large parts: if these are several things, this "
                "method does not tell them apart."
            )
        where = f" in {self.folder}" if self.folder is not None else ""
        return f"{self.num_scenes} scenes{where}, by {self.by}: {said}"

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
    rate: float | None = None,
    batch: int = 64,
    overwrite: bool = False,
    resume: bool = False,
    shard: Shard | None = None,
    packed: bool = False,
    device: str = "auto",
    callback: Callback | None = None,
    cache: str | Path | None = None,
    workers: int | None = None,
    cluster: str | None = None,
) -> DecomposedImages:
    """Decompose images into scenes of layers, at the images' own size.

        found = delaminate.decompose("redo/flowers17", "photos/")
        found[0].composite()

    Pixel art that was enlarged is worked on at its own size, the frames of a clip get tracks, and layers of photos have the
    photo's own pixels.

    A call with `out` that was cut off, wherever that was, is finished by the same call with `resume`: the folder ends with the
    same bytes as if nothing had happened, on the same device with the same `batch`. What was edited since stays.

    Args:
        model: A model, or the path or name of one.
        images: What `open_images` takes.
        out: A folder for the scenes, which are written batch by batch with what they do not explain; None: they stay in
            memory.
        by: One of the model's `decomposers`; None: the best.
        fit: How images meet the model's canvas: "squash", "crop" or "pad".
        limit: Only so many images, the first ones.
        zoom: By how much pixel art was enlarged, down and across; None: it is found.
        rate: Frames a second, where images are the frames of a clip; 0: they are none; None: as `open_images` finds.
        batch: Images at a time, fewer where they are large.
        overwrite: Remove the scenes in `out`, edits included.
        resume: Go on with the scenes in `out`: those that are there stay, and only what is missing is made. Where nothing is
            there yet, all is.
        shard: Only part (i, n) of the images, i from 1 to n. Processes on any machines may write their shards into one
            folder at a time; the last to end lists all scenes, and `resume` without `shard` makes what one of them left.
        packed: Pack the scenes into few large files: see `pack_scenes`. Where scenes are there, as these are.
        device: "auto", "cpu", "cuda" or "cuda:N".
        callback: Is told how far it is: `stage("decompose", 0, count)`, then `step("decompose", done, {})`.
        cache: A folder for a cache of the decoded images. Without it, images that take more than a quarter of the free memory
            are cached in `out` until they are decomposed, and others are held in memory.
        workers: Share the work among so many processes of this machine (extra `scale`). Model and images are to be given by
            their paths; scenes are those of one process.
        cluster: Share it among the workers of Dask's scheduler at this address, which see the same files.

    Raises:
        ConfigError: The model cannot decompose that way; `out` holds scenes, or with `resume` such as another model or other
            settings made; or there is no such shard, or it is one of a clip, whose frames are followed from the first on.
        DataError: No image became a scene.
    """
    check_fit(fit)
    if out is None and (resume or packed):
        raise ConfigError("decompose: resume and packed are about a folder of scenes; give `out`.")
    where = pick_device(device)
    sharing = chosen_workers(workers, cluster)
    if sharing is not None:
        _check_sharing(model, images, out, shard)
    rate = _rate_of(images, rate, out if resume else None)
    method = model.to(where) if isinstance(model, Method) else load_model(model, where)
    split: Split = "dev" if isinstance(images, str) and images in DRAWINGS else "train"  # of a real set, the whole
    place = cache if sharing is None or cache is not None else _shared_cache(images, method, by, out)
    opened = open_with_originals(
        images, canvas(method, by), fit, like=method.image_size, transparent=method.transparent, count=limit, split=split,
        zoom=zoom, rate=rate, straighten=method.straightens(method.config), callback=callback, cache=place,
        room=None if out is None else Path(out) / CACHE,
    )  # fmt: skip
    by = by or method.default
    batch = max(1, min(batch, BATCH_PIXELS // _largest(opened.images, method.copies_input(by))))
    rows = _rows(opened.images, shard, sharing, batch)
    settings = _settings(method, by, fit, zoom, images, opened.images)
    folder = None if out is None else SceneFolder(Path(out), opened, settings, shard, resume, overwrite, packed)
    if folder is not None and sharing is not None:
        folder.close()  # there is room, and workers have it now
        how = {
            "by": by, "fit": fit, "limit": limit, "zoom": zoom, "rate": rate, "batch": batch, "packed": packed,
            "device": device, "cache": None if place is None else absolute(place),
        }  # fmt: skip
        _share_out(
            sharing, absolute(str(model)), absolute(images), str(folder.folder.resolve()), len(rows), how, callback
        )
        folder = SceneFolder(folder.folder, opened, settings, None, True, False, packed)
    output = SceneOutput(opened, method, by, str(model) if not isinstance(model, Method) else model.name, folder)
    with nullcontext() if folder is None else closing(folder):
        if sharing is None:
            _announce(output, len(rows), batch, callback)
            found = _decompose_batches(output, rows, where, batch, callback)
        else:
            found = _take_up(output)
    return _result(output, found, images, shard)


def _settings(method: Method, by: str, fit: str, zoom: Zoom | None, images: Images, found: ImageSet) -> dict[str, Any]:
    """What decides what comes out, by which a folder knows that it goes on with the same."""
    settings = {"model": model_digest(method), "by": by, "fit": fit, "zoom": None if zoom is None else list(zoom)}
    return settings if _is_clip_file(images) else {**settings, "rate": found.rate}


def _is_clip_file(images: Images) -> bool:
    """Whether images are a file that says itself how long its frames are seen."""
    return isinstance(images, str | Path) and is_clip(str(images))


def _rate_of(images: Images, rate: float | None, out: str | Path | None) -> float | None:
    """The rate that is asked for; of a folder that is gone on with, where none is, the one that it began with."""
    before = recorded_settings(Path(out)) if rate is None and out is not None and not _is_clip_file(images) else None
    return rate if before is None else before.get("rate") or 0.0


def _check_sharing(model: Any, images: Any, out: Any, shard: Shard | None) -> None:
    """Refuse what workers cannot do.

    Raises:
        ConfigError: The model or the images are in memory, there is no folder, or one shard is asked for.
    """
    for_workers(model, images, "decompose")
    if out is None:
        raise ConfigError("decompose: workers write scenes into a folder that all of them see; give `out`.")
    if shard is not None:
        raise ConfigError("--shard: with --workers or --cluster all shards are made; leave it out.")


def _shared_cache(images: Images, method: Method, by: str | None, out: str | Path | None) -> Path | None:
    """Where workers read images from that one process has decoded; None: they are in no files, or taken as they are."""
    able = canvas(method, by) is not None and is_place(images) and not is_clip(str(images))
    return Path(str(out)) / CACHE if able else None


def _share_out(
    sharing: Workers, model: str, images: str, out: str, count: int, how: dict[str, Any], callback: Callback | None
) -> None:
    """Let workers decompose the shards of a collection."""
    if callback is not None:
        callback.stage("decompose", 0, count)
    with pool(sharing) as workers:
        batches = -(-count // how["batch"])
        parts = max(1, min(SHARDS_EACH * workers.size, batches))
        tasks = [(model, images, out, (part, parts), how) for part in range(1, parts + 1)]
        done, problems = 0, []
        for number, problem in workers.each(decompose_shard, tasks):
            done += len(shard_rows(count, (number + 1, parts), how["batch"]))
            problems += [problem] if problem else []
            if callback is not None:
                callback.step("decompose", done, {})
        if len(problems) == parts:
            raise DataError(problems[0])


def decompose_shard(model: str, images: str, out: str, shard: Shard, how: dict[str, Any]) -> str:
    """Decompose one shard, or what is left of it, in a process that keeps the model.

    Args:
        model, images, out: Where they are, as this process sees them.
        shard: Which part.
        how: What else `decompose` takes.

    Returns:
        Why no image of it became a scene; empty: some did.
    """
    options = {key: value for key, value in how.items() if key != "device"}
    where = pick_device(how["device"])
    try:
        decompose(model_here(model, where), images, out, shard=shard, resume=True, device=where, **options)
    except DataError as error:
        return str(error)
    return ""


def _take_up(output: SceneOutput) -> Totals:
    """List what workers have made.

    Raises:
        OutputError: Something is missing.
    """
    missing, one = 0, ""
    for name in output.names():
        if name not in output.known:
            missing, one = missing + 1, one or name
    if missing:
        raise OutputError(
            f"decompose: {missing} images have no scene yet, such as '{one}'. The same command with --resume goes on."
        )
    return output.publish()


def _rows(images: ImageSet, shard: Shard | None, sharing: Workers | None, batch: int) -> range:
    """The images of a shard.

    Raises:
        ConfigError: There is no such shard; or these are the frames of a clip, which is not shared.
    """
    if images.rate is not None and not (shard is None and sharing is None):
        raise ConfigError(
            "decompose: the frames of a clip are followed from the first to the last; leave --shard, --workers and --cluster "
            "out, or let each image stand for itself: --rate 0."
        )
    return shard_rows(len(images), shard, batch)


def _announce(output: SceneOutput, count: int, batch: int, callback: Callback | None) -> None:
    """Say what the computation will take, and what is there already."""
    if callback is None:
        return
    size = output.opened.images.size
    forecast = output.method.forecast_decomposition(count, size, batch)
    if forecast is not None:
        callback.note(forecast_text(forecast, size))
    if output.folder is not None and output.folder.num_scenes:
        callback.note(f"Going on with {output.folder.folder}: {output.folder.num_scenes} scenes are there.")


def _decompose_batches(output: SceneOutput, rows: range, device: str, batch: int, callback: Callback | None) -> Totals:
    """Go through images; wherever that ends, what is there is written and judged.

    Batches are the same whatever is there already, so that numbers are.
    """
    found, folder = output.opened.images, output.folder
    follow = follower(found)
    if callback is not None:
        callback.stage("decompose", 0, len(rows))
    try:
        for first in range(rows.start, rows.stop, batch):
            some = range(first, min(first + batch, rows.stop))
            done = {row for row in some if output.is_done(row)}
            # Frames of a clip are gone through again, so that what is followed keeps its number.
            if len(done) < len(some) or found.rate is not None or (folder is not None and folder.lacks_sprites()):
                output.add(*_decomposed(output.method, found, some, output.by, device, follow), some, done)
            if callback is not None:
                callback.step("decompose", some.stop - rows.start, {})
    except KeyboardInterrupt:
        if callback is not None and folder is not None:
            callback.note(
                f"Stopped: {folder.num_scenes} of {len(found)} scenes are in {folder.folder}. The same command with --resume "
                "goes on."
            )
        raise
    finally:
        totals = output.publish()
    if callback is not None and folder is not None:
        for note in folder.notes():
            callback.note(note)
    return totals


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


def _result(output: SceneOutput, found: Totals, asked: Images, shard: Shard | None) -> DecomposedImages:
    """Say what was made, and tidy up.

    Raises:
        DataError: Nothing was.
    """
    if not found.count:
        where = asked if isinstance(asked, str | Path) else "decompose"
        raise DataError(f"{where}: no image became a scene; the skipped files say why.")
    if output.folder is not None and shard is None:
        shutil.rmtree(output.folder.folder / CACHE, ignore_errors=True)
    images = output.opened.images
    return DecomposedImages(
        found.count,
        found.skipped,
        output.by,
        output.method.copies_input(output.by),
        found.means,
        found.scattered,
        found.verdict,
        None if output.folder is None else output.folder.folder,
        tuple(output.scenes.values()),
        () if output.folder is not None else tuple(output.rows()),
        images.rate,
        output.opened.durations,
        output.opened.blocks,
    )

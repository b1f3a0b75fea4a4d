"""Measure a model on labelled images: the protocol of `delaminate evaluate`, and of the benchmarks."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from delaminate.data import ImageSet, LabelledSet, Labels, draw, load_benchmark, open_data, true_sprites
from delaminate.data.real.recordings import RECORDINGS
from delaminate.data.registry import BENCHMARKS
from delaminate.data.synthetic import DRAWINGS
from delaminate.engine import checkpoint
from delaminate.engine.batches import fingerprint
from delaminate.engine.record import Callback
from delaminate.errors import ConfigError, DataError
from delaminate.exporters.figure_texts import explanation
from delaminate.methods import Method, load_model
from delaminate.metrics import evaluate as measure_decomposer
from delaminate.metrics.evaluation import Figures, Parts, Plan, State, measure_part, part_rows
from delaminate.metrics.features import Features
from delaminate.metrics.features import fid as frechet_inception_distance
from delaminate.pipelines.cluster import AHEAD, Pool, absolute, chosen_workers, model_here, pool
from delaminate.pipelines.devices import pick_device
from delaminate.pipelines.images import canvas, check_fit, follower
from delaminate.pipelines.journal import model_digest
from delaminate.pipelines.sampling import sample_batches
from delaminate.scene.compositing import composite
from delaminate.scene.views import page_of

PIXELS_AT_A_TIME = 2**24
"""Pages of text are large: so many pixels are measured at a time."""
DRAWN_COUNT = 320
"""Images of a drawn set that are measured, unless it is said how many."""


@dataclass(frozen=True)
class Evaluation(Mapping[str, float | str]):
    """Figures by name, with `protocol`, which says in words how they were measured.

    Attributes:
        figures: All of them.
        skipped: Name and reason of every image that could not be used.
        labelled: Whether anything is known about the images.
    """

    figures: Figures
    skipped: tuple[tuple[str, str], ...] = ()
    labelled: bool = True

    def __getitem__(self, name: str) -> float | str:
        return self.figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)

    def _repr_html_(self) -> str:
        told = {
            name: f"{value:.4g} ({explanation(name)})" if isinstance(value, int | float) else value
            for name, value in self.figures.items()
        }
        return page_of("Figures", told)


def evaluate(
    model: str | Path | Method,
    data: str | Path | LabelledSet | ImageSet,
    *,
    by: str | None = None,
    ignore: tuple[int, ...] = (),
    count: int | None = None,
    split: str | None = None,
    seed: int = 0,
    fit: str = "squash",
    batch: int = 64,
    device: str = "auto",
    fid: str | Path | None = None,
    callback: Callback | None = None,
    parts: str | Path | None = None,
    resume: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
) -> Evaluation:
    """Measure a model on labelled images. Labels are used here and nowhere else.

    Args:
        model: A model, or the path or name of one.
        data: A built-in set; a folder with images/, masks/ and optionally classes/; or a set in memory.
        by: One of the model's `decomposers`; None: the best.
        ignore: Mask values to leave out of every figure.
        count: How many images; of drawn sets 320.
        split: "train" or "dev"; None: "dev" of drawn sets, all of real ones. Only `delaminate bench` opens the test range.
        seed: Which series of a drawn set.
        fit: How images meet the model's canvas.
        batch: Images at a time.
        device: "auto", "cpu", "cuda" or "cuda:N".
        fid: Also measure FID of scenes from noise by this network, an ONNX file (extra `fid`).
        callback: Is told how far it is.
        parts: A folder for what has been measured so far; it is removed at the end. A call that was cut off is finished by the
            same call with `resume`: the figures are those of an unbroken one to the bit, but for the speed. A clip is measured
            from its beginning, for its objects are followed.
        resume: Go on with what `parts` holds; without it that is removed.
        workers: Share the work among so many processes of this machine (extra `scale`). The model is to be given by its path
            or name; images and labels are sent to them. The figures stay the same, but `images_per_second` is each worker's.
        cluster: Share it among the workers of Dask's scheduler at this address.

    Raises:
        ConfigError: The model cannot decompose that way, or the images have another size than it; or `parts` holds what
            another model, other images or settings gave.
        DataError: The data cannot be used, or the split is not to be had here.
    """
    if split is not None:
        refuse_test(split)
    where = pick_device(device)
    sharing = chosen_workers(workers, cluster)
    if sharing is not None and isinstance(model, Method):
        raise ConfigError("evaluate: workers load the model by themselves; give its path or name.")
    method = model.to(where) if isinstance(model, Method) else load_model(model, where)
    labelled, part = open_labelled(data, canvas(method, by), count, seed, split, fit, ignore)
    if sharing is not None and labelled.images.rate is not None:
        raise ConfigError("--workers: the frames of a clip are followed from the first to the last; leave it out.")
    known = any(label is not None for label in vars(labelled.labels).values())
    replica = ", a replica drawn by this library" if labelled.replica else ""
    sentence = f"{labelled.name}{replica} ({part})"
    distance = {} if fid is None else measure_fid(method, labelled.images, Path(fid), batch, seed)
    figures: Figures = {"protocol": f"{sentence}; not decomposed."}
    if by or method.decomposers or not distance:  # generators alone paint scenes, and decompose nothing yet
        sentence += f"; decomposed by {by or method.default}."
        whole = split is None and count is None
        name = str(data) if isinstance(data, str | Path) else ""
        way, kept, shared = by or method.default, None, None
        if parts is not None and labelled.images.rate is None:
            kept = KeptParts(Path(parts), _settings(method, labelled, way, batch, ignore), resume)
        with nullcontext() if sharing is None else pool(sharing) as there:
            if there is not None:
                shared = SharedParts(
                    there, absolute(str(model)), way, device, labelled, _at_a_time(batch, labelled), kept
                )
            figures = measure(
                method, labelled, name, way, where, batch, sentence, dev=whole, callback=callback,
                parts=shared or kept,
            )  # fmt: skip
        if kept is not None:
            kept.remove()
    if distance:
        figures |= distance | {"protocol": f"{figures['protocol']} {distance['protocol']}"}
    return Evaluation(figures, labelled.images.skipped, known)


class KeptParts:
    """What was measured so far, one file for each part of the images, so that a call that is cut off can be finished.

    Args:
        folder: Where the files are.
        settings: What decides what is measured.
        resume: Go on with what is there; else it is removed.

    Raises:
        ConfigError: What is there was measured with other settings.
        FormatError: A file is damaged.
    """

    def __init__(self, folder: Path, settings: dict[str, str], resume: bool) -> None:
        self.folder, self.settings = folder, settings
        if not resume:
            self.remove()

    def __call__(self, rows: range, plan: Plan, here: Callable[[], State]) -> State:
        found = self.get(rows)
        if found is None:
            found = here()
            self.put(rows, found)
        return found

    def get(self, rows: range) -> State | None:
        """What was measured in some images; None: nothing yet."""
        path = self._path(rows)
        if not path.exists():
            return None
        found = checkpoint.load(path, "cpu")
        if found.get("settings") != self.settings:
            raise ConfigError(
                f"{self.folder}: was measured with another model, other images or other settings; --resume goes on with the "
                "same. Remove the folder, or leave --resume out."
            )
        return dict(found["state"])

    def put(self, rows: range, state: State) -> None:
        """Keep what was measured in some images."""
        checkpoint.save(self._path(rows), {"settings": self.settings, "state": state})

    def remove(self) -> None:
        """Remove all that was kept, and nothing else."""
        for path in self.folder.glob("part-*.pt"):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # other things are in there
            self.folder.rmdir()

    def _path(self, rows: range) -> Path:
        return self.folder / f"part-{rows.start:09d}.pt"


def _settings(method: Method, labelled: LabelledSet, by: str, batch: int, ignore: tuple[int, ...]) -> dict[str, str]:
    """What decides what is measured, as texts."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in vars(labelled.labels).items():
        digest.update(f"{name} {value.dtype if isinstance(value, Tensor) else value}".encode())
        if isinstance(value, Tensor):
            digest.update(np.ascontiguousarray(value.cpu().numpy()).data)
    names = hashlib.blake2b("\n".join(labelled.images.names).encode(), digest_size=16).hexdigest()
    return {
        "model": model_digest(method), "by": by, "batch": str(batch), "ignore": str(sorted(ignore)),
        "images": f"{fingerprint(labelled.images.pixels)} {names}", "labels": digest.hexdigest(),
    }  # fmt: skip


def refuse_test(split: str) -> None:
    """Keep the test scenes closed.

    Raises:
        DataError: The split is `test`, or there is none of that name.
    """
    if split == "test":
        raise DataError("--split test: only `delaminate bench` opens the test scenes. Use train or dev.")
    if split not in ("train", "dev"):
        raise DataError(f"--split {split}: there is no such part. Use train or dev.")


def open_labelled(
    data: str | Path | LabelledSet | ImageSet,
    size: tuple[int, int] | None,
    count: int | None,
    seed: int,
    split: str | None,
    fit: str,
    ignore: tuple[int, ...],
) -> tuple[LabelledSet, str]:
    """Open data for measuring, of a size or as they are, and say which part; images without labels get empty ones."""
    found: LabelledSet | ImageSet
    if isinstance(data, LabelledSet | ImageSet):
        drawn, name, chosen = False, "images in memory", "train"
        found = data if count is None else data.subset(range(min(count, len(data))))
    else:
        name = str(data)
        drawn = (name in DRAWINGS or name in RECORDINGS) and not Path(name).exists()
        chosen = split or ("dev" if drawn else "train")
        many = count or (DRAWN_COUNT if drawn else None)
        found = open_data(name, many, seed, chosen, size, check_fit(fit), ignore=ignore)  # type: ignore[arg-type]
    if not isinstance(found, LabelledSet):
        found = LabelledSet(found, Labels(), Path(name).name)
    if size is not None and found.images.size != size:
        raise ConfigError(
            f"evaluate: images of {name} are {found.images.size}, the model's {size} (height, width). Write them with "
            "`delaminate data write` and give that folder: folders are brought to the model's size."
        )
    which = split or ("all" if count is None else "the first ones")
    part = f"{len(found)} images, {chosen} scenes of seed {seed}" if drawn else f"{len(found)} images, {which}"
    return found, part


def validation_of(
    labelled: LabelledSet, name: str, size: tuple[int, int], dev: bool
) -> tuple[tuple[ImageSet, Labels] | None, str]:
    """Find other images of a built-in set, on which the names of the `_split` figures are chosen, and say which they are.

    Args:
        labelled: What is measured.
        name: Of the set.
        size: Height and width of the canvas.
        dev: The development part of a real set may serve.
    """
    drawing = DRAWINGS.get(name) if not Path(name).exists() else None
    if name in BENCHMARKS and not Path(name).exists() and dev:
        others = load_benchmark(name, split="dev", size=size)
        shared = set(others.images.names) & set(labelled.images.names)
        return (others.images, others.labels), f"{len(others.images)} of them" if shared else "other images"
    if drawing is not None and drawing.regions:
        others = draw(name, 100, split="train", size=labelled.images.size)
        return (others.images, others.labels), "other images"
    return None, "other images"


def measure(
    method: Method,
    labelled: LabelledSet,
    name: str,
    by: str,
    device: str,
    batch: int,
    sentence: str,
    *,
    dev: bool = False,
    validation: tuple[tuple[ImageSet, Labels] | None, str] | None = None,
    soft: bool = False,
    callback: Callback | None = None,
    parts: Parts | None = None,
) -> Figures:
    """Measure one way of decomposing.

    Args:
        method, by, device: The model, the way, and where it is.
        labelled, name: The images and what is known about them; the name of the built-in set that they are of, or "".
        batch: Images at a time; fewer where they are large.
        sentence: About the data and the decomposer, for the protocol.
        dev: Names of the `_split` figures may be chosen on the development part of a real set.
        validation: Other images to choose them on, and which these are.
        soft: Also measure the reconstruction of training, where there is one.
        callback: Is told how far it is.
        parts: As in `metrics.evaluation.evaluate`.
    """
    drawing = DRAWINGS.get(name) if not Path(name).exists() else None
    known = drawing is not None and drawing.sprites is not None
    others, chosen_on = validation or validation_of(labelled, name, method.image_size, dev)
    follow = follower(labelled.images)
    if callback is not None:
        callback.stage("evaluate", 0, len(labelled))
    return measure_decomposer(
        lambda images: follow(method.decompose(images.to(device), by)),
        labelled.images,
        labelled.labels,
        validation=others,
        chosen_on=chosen_on,
        sprites=true_sprites(name) if known else None,
        sprite_iou=drawing.sprite_iou if drawing is not None else 0.9,
        soft=method.reconstruct_softly if soft and method.can_reconstruct_softly else None,
        batch=_at_a_time(batch, labelled),
        protocol=sentence,
        reconstructs=not method.copies_input(by),
        progress=lambda done: None if callback is None else callback.step("evaluate", done, {}),
        parts=parts,
    )


def _at_a_time(batch: int, labelled: LabelledSet) -> int:
    height, width = labelled.images.size
    return max(1, min(batch, PIXELS_AT_A_TIME // (height * width)))


class SharedParts:
    """Parts of a set that workers measure, a few handed out ahead of the one that is asked for.

    Args:
        workers: Who measures.
        model, by, device: The path or name of the model, the way of decomposing, and where.
        labelled: The images and what is known about them; parts of it are sent.
        batch: Images at a time.
        kept: What is known already, and where new parts are kept.
    """

    def __init__(
        self, workers: Pool, model: str, by: str, device: str, labelled: LabelledSet, batch: int, kept: KeptParts | None
    ) -> None:
        self.workers, self.asked, self.labelled = workers, (model, by, device), labelled
        self.batch, self.kept = batch, kept
        self.waiting = iter(part_rows(len(labelled), batch))
        self.handed_out: dict[int, Any] = {}

    def __call__(self, rows: range, plan: Plan, here: Callable[[], State]) -> State:
        while len(self.handed_out) < AHEAD * self.workers.size and (some := next(self.waiting, None)) is not None:
            known = None if self.kept is None else self.kept.get(some)
            if known is None:
                known = self.workers.submit(measure_shard, *self.asked, self.labelled.subset(some), plan, self.batch)
            self.handed_out[some.start] = known
        found = self.handed_out.pop(rows.start)
        if isinstance(found, dict):
            return found
        state: State = self.workers.result(found)
        if self.kept is not None:
            self.kept.put(rows, state)
        return state


def measure_shard(model: str, by: str, device: str, labelled: LabelledSet, plan: Plan, batch: int) -> State:
    """Measure some images in a process that keeps the model."""
    where = pick_device(device)
    method = model_here(model, where)
    rows = range(len(labelled))
    return measure_part(
        lambda images: method.decompose(images.to(where), by), labelled.images, labelled.labels, plan, rows, batch
    )


def measure_fid(method: Method, images: ImageSet, network: Path, batch: int, seed: int) -> Figures:
    """FID of as many scenes from noise as there are images, and how it was measured.

    Raises:
        ConfigError: The model paints nothing from noise.
    """
    count = len(images)
    made = (composite(layers) for layers in sample_batches(method, count, seed, "fid"))
    features = Features(network)
    real = (images.batch(range(first, min(first + batch, count))) for first in range(0, count, batch))
    said = f"fid is of {count} scenes from noise and as many images, by {network.name} (sha256 {features.digest[:16]})."
    figures: dict[str, Any] = {"fid": frechet_inception_distance(features, made, real), "protocol": said}
    return figures

"""From any collection to its layers without one setting: recognise, train, check, take apart, export; and go on again."""

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import join, quote
from typing import Any

import numpy as np

from delaminate.config import to_dict
from delaminate.data import ImageSet
from delaminate.data.reading import read_mask
from delaminate.engine.record import Callback, SilentCallback
from delaminate.errors import ConfigError, DelaminateError
from delaminate.exporters.html import PALETTE, colour_of, segmentation_picture
from delaminate.exporters.overview import Link, write_overview
from delaminate.files import json_bytes, to_pixels, write_atomic
from delaminate.methods import METHODS, load_model
from delaminate.pipelines.checks import hardly_recurs, remarks
from delaminate.pipelines.decomposition import DecomposedImages, decompose
from delaminate.pipelines.exporting import export
from delaminate.pipelines.images import Images, open_images
from delaminate.pipelines.output_folders import read_record
from delaminate.pipelines.photo_choice import Candidate, candidates
from delaminate.pipelines.recognise import Plan, Recognition, recognise
from delaminate.pipelines.spots import spot_scenes
from delaminate.pipelines.tile_maps import TileCounts, tile_scenes
from delaminate.pipelines.training import prepare_training
from delaminate.pipelines.verdict import Level
from delaminate.scene.format import SUMMARY
from delaminate.scene.loading import load_scenes
from delaminate.scene.saving import save_scenes

FOLDERS = ("training", "scenes", "exports")
RECORD, PAGE, COUNTS = "auto.json", "report.html", "objects/counts.csv"
"""What a call leaves in its folder."""
MAP_EXPORTS = "html", "atlas", "tiled"
"""What people want of maps."""
AGREED = 0.65
"""Mean IoU of the cut-outs of two methods that know nothing of one another, from which on both are believed."""
TRAINING_SHARE = 0.7
"""Of the minutes that are given; the rest is for taking images apart."""
SHOWN = 4
"""Images that the page shows."""


@dataclass(frozen=True)
class AutomaticResult:
    """What came of a collection.

    Attributes:
        recognition: What it is, and what was to be done.
        level: good, fair, poor, or nothing worth having.
        finished: Nothing is left to do; else the same call goes on.
        text: What came out, in words.
        remarks: What looks wrong, and what would help.
        commands: Each act as the equal command.
        out: The folder, or None: it was only looked at.
        page: The page about all of it.
    """

    recognition: Recognition
    level: Level
    finished: bool
    text: str
    remarks: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    out: Path | None = None
    page: Path | None = None


class OutOfTimeError(DelaminateError):
    """The minutes that were given are over."""


class _Clock(SilentCallback):
    """Passes on what is told, and ends a computation once its time is over."""

    def __init__(self, callback: Callback, minutes: float | None) -> None:
        self.callback, self.began, self.minutes = callback, time.monotonic(), minutes

    def left(self) -> float | None:
        """Minutes that are left."""
        return None if self.minutes is None else max(self.minutes - (time.monotonic() - self.began) / 60, 0.0)

    def stage(self, name: str, step: int, steps: int) -> None:
        self.callback.stage(name, step, steps)

    def step(self, name: str, step: int, figures: dict[str, float]) -> None:
        self.callback.step(name, step, figures)
        if self.left() == 0:
            raise OutOfTimeError("the time is over")

    def note(self, text: str) -> None:
        self.callback.note(text)


@dataclass
class _Work:
    """One call: what it works on, and what has come of it."""

    data: Images
    out: Path
    seed: int
    device: str
    clock: _Clock
    recognition: Recognition
    level: Level = "nothing"
    finished: bool = True
    text: str = ""
    remarks: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    pictures: list[np.ndarray] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The data, as a word of the command line."""
        return str(self.data) if isinstance(self.data, str | Path) else "DATA"

    def do(self, *words: str) -> None:
        """Note an act as a command, and say so."""
        self.commands.append(join(words))
        self.clock.note(f"$ {self.commands[-1]}")


def look(data: Images, out: str | Path = "OUT") -> AutomaticResult:
    """Only say what images are, and what `auto` would do with them."""
    found = recognise(data)
    name = str(data) if isinstance(data, str | Path) else "DATA"
    commands = [] if found.plan is None else _commands(found.plan, name, Path(out))
    level: Level = "fair" if commands or found.kind in ("maps", "blobs") else "nothing"
    return AutomaticResult(found, level, True, found.sentence, commands=tuple(commands))


def auto(
    data: Images,
    out: str | Path,
    *,
    minutes: float | None = None,
    seed: int = 0,
    device: str = "auto",
    callback: Callback | None = None,
) -> AutomaticResult:
    """Recognise a collection, train what suits it, check what came out, take it apart and write it for other programs.

        found = delaminate.auto("clip.gif", "layers")
        print(found.text)

    Args:
        data: What `open_images` takes.
        out: A folder: report.html, auto.json, training/, scenes/ and exports/. A second call goes on where one was cut off.
        minutes: Stop after so many, and keep what there is; None: as long as it takes.
        seed: Seed of every random number.
        device: "auto", "cpu", "cuda" or "cuda:N".
        callback: Is told what is done, and how far it is.

    Raises:
        DataError: The images cannot be used.
        ConfigError: `out` holds something else.
        TrainingError: Training broke off.
    """
    folder, clock = Path(out), _Clock(callback or SilentCallback(), minutes)
    recognition = recognise(data)
    for line in (*recognition.evidence, recognition.sentence):
        clock.note(line)
    _refuse_another(folder, data)
    work = _Work(data, folder, seed, device, clock, recognition)
    if recognition.kind == "blobs":
        _count_spots(work)
    elif recognition.kind == "maps":
        _lay_out(work)
    elif recognition.plan is None:
        work.text = recognition.sentence
    else:
        _take_apart(work, recognition.plan)
    return _conclude(work)


def _refuse_another(folder: Path, data: Images) -> None:
    """Make sure that a folder is empty, or of an earlier call with the same data."""
    before = read_record(folder / RECORD)
    name = str(data) if isinstance(data, str | Path) else "DATA"
    if before is None and any((folder / part).exists() for part in FOLDERS):
        raise ConfigError(f"{folder}: holds {', '.join(FOLDERS)} that `auto` has not made. Choose another --out.")
    if before is not None and before.get("data") != name:
        raise ConfigError(f"{folder}: holds what `auto` has made of {before.get('data')}. Choose another --out.")
    write_atomic(folder / RECORD, json_bytes({**(before or {}), "data": name}))


# ---- Training and taking apart ----------------------------------------------------------------------------------------


def _take_apart(work: _Work, plan: Plan) -> None:
    model: str | Path | None = None
    if work.recognition.kind == "photos-alike":
        model = _from_the_box(work)
    if model is None:
        model = _train(work, plan)
    if model is None:
        return
    try:
        found = _decompose(work, model, plan)
    except OutOfTimeError:
        work.finished = False
        found = None
    if found is None and not (work.out / "scenes" / SUMMARY).exists():
        work.text = work.text or "The time was over before an image was taken apart."
        return
    if found is not None and found.verdict is not None:
        shown = "Layers show the images themselves." if found.copies_input else ""
        said = f"{len(found)} images taken apart.", shown, found.verdict.text
        work.level, work.text = found.verdict.level, " ".join(part for part in said if part)
        if work.recognition.kind == "photos-alike":
            _judge_cut_outs(work, model)
    scenes = load_scenes(work.out / "scenes")
    work.remarks += remarks(scenes, _offered(plan))
    if hardly_recurs(scenes):
        work.level = "nothing"
        work.remarks.insert(
            0, "Hardly anything recurs: nearly every sprite is seen but once, so that it is a copy of the image."
        )
    if work.level != "nothing":
        _export(work, plan.exports)


def _from_the_box(work: _Work) -> str | None:
    """A model that comes with the library, where two methods cut the same out of these photos."""
    found = candidates(_photos(work.data))
    for each in found:
        work.clock.note(f"Without training, {each.model}: {_said_of(each)}.")
    if found and found[0].agreement >= AGREED:
        work.remarks.append(
            f"{found[0].model} was taken as it is: another method cuts out the same. {_said_of(found[0])}."
        )
        return found[0].model
    work.clock.note("The models of the box do not agree about these photos, so that none of them is believed.")
    return None


def _said_of(each: Candidate) -> str:
    return f"outlines {each.sharpness:.1f} times as sharp as the photo, IoU {each.agreement:.2f} with another method's cut-outs"


def _photos(data: Images) -> ImageSet:
    """Photos for comparing candidates, squashed to one size."""
    return open_images(data, (128, 128))


def _judge_cut_outs(work: _Work, model: str | Path) -> None:
    """Cut-outs show the photo itself, so that nothing but their outlines can be judged."""
    best = candidates(_photos(work.data), [load_model(model)])[0]
    if best.share < 0.5 or best.sharpness < 1.2 or best.sameness > 0.9:
        work.level = "poor"
        work.remarks.append(
            f"The cut-outs look wrong: outlines {best.sharpness:.1f} times as sharp as the photo (1: anywhere), "
            f"{best.share:.0%} of them of a thing's size. More photos, longer training or another seed may help."
        )


def _train(work: _Work, plan: Plan) -> Path | None:
    """Train, or go on with it; None: there is no model yet."""
    folder = work.out / "training"
    resume = (folder / "checkpoint.pt").exists()
    minutes = work.clock.left()
    work.do(*plan.words(work.name, str(folder)), *(["--resume"] if resume else []))
    training = prepare_training(
        work.data, plan.method, None if resume else plan.preset, settings={} if resume else plan.settings, out=folder,
        seed=work.seed, minutes=None if minutes is None else TRAINING_SHARE * minutes, resume=resume, overwrite=not resume,
        device=work.device, callback=work.clock.callback,
    )  # fmt: skip
    training.make_room()
    run = training.run(work.clock.callback)
    work.links.append(Link("training/report.html", "How it was trained"))
    if run.verdict is not None:
        work.level, work.text = run.verdict.level, run.verdict.text
        work.pictures += list(run.verdict.worst)
    work.finished = run.result.finished
    return folder if (folder / "model" / "config.json").exists() else None


def _decompose(work: _Work, model: str | Path, plan: Plan) -> DecomposedImages:
    """Take all images apart into scenes; those that an unfinished model has made are made again."""
    folder = work.out / "scenes"
    mark = folder / "unfinished"
    again = mark.exists()
    work.do(
        "delaminate", "decompose", str(model), work.name, "--out", str(folder), "--overwrite" if again else "--resume"
    )
    found = decompose(
        model, work.data, folder, resume=not again, overwrite=again, device=work.device, callback=work.clock, batch=16,
    )  # fmt: skip
    if work.finished:
        mark.unlink(missing_ok=True)
    else:
        write_atomic(mark, b"Made by a model whose training had not ended.\n")
    return found


def _offered(plan: Plan) -> int:
    """Sprites that a training has room for; 0: it finds the number, or there are none."""
    settings = to_dict(METHODS[plan.method].preset_config(plan.preset)) | dict(plan.settings)
    return int(settings.get("num_sprites", 0))


def _export(work: _Work, formats: Sequence[str]) -> None:
    """Write what people want of this kind of images; a format that these scenes cannot have is left out, with the reason."""
    scenes, folder = work.out / "scenes", work.out / "exports"
    for name in formats:
        try:
            export(scenes, folder, name, resume=True)
        except ConfigError as error:
            problem = f"Not written: {name}. {error}"
            work.remarks += [problem] if problem not in work.remarks else []
            continue
        work.do("delaminate", "export", str(scenes), "--to", name, "--out", str(folder))
        if name == "html":
            work.links.append(Link("exports/html/report.html", "Images, their layers and sprites"))
    loaded, shown = load_scenes(scenes), []
    for index in np.linspace(0, len(loaded) - 1, min(SHOWN, len(loaded))).round().astype(int).tolist():
        scene = loaded[index]
        which = segmentation_picture(scene)
        seen = np.where(which[..., 3:] > 128, which[..., :3], 232).astype(np.uint8)
        shown.append(np.concatenate([to_pixels(scene.composite()), seen], 1))
    work.pictures[:0] = shown


# ---- Maps -------------------------------------------------------------------------------------------------------------


def _lay_out(work: _Work) -> None:
    """Take maps apart into tiles; nothing is learned."""
    folder = work.out / "scenes"
    if not (folder / SUMMARY).exists():
        found, counts, skipped = tile_scenes(work.data)
        save_scenes(found, folder)
        work.remarks += [f"Not read: {name}: {reason}" for name, reason in skipped[:SHOWN]]
        work.remarks += [f"{name} is one layer: {reason}." for name, reason in counts.whole[:SHOWN]]
        work.text = _said_of_tiles(counts, len(found))
        work.level = "nothing" if not counts.tiles else "good" if counts.equal == len(found) else "fair"
        said = {"text": work.text, "remarks": work.remarks, "level": work.level}
        write_atomic(work.out / RECORD, json_bytes({**(read_record(work.out / RECORD) or {}), **said}))
    else:  # an earlier call's stay: a person may have edited them
        before = read_record(work.out / RECORD) or {}
        work.text, work.level = str(before.get("text", "")), before.get("level", "good")
        work.remarks += [str(each) for each in before.get("remarks", ())]
    _export(work, MAP_EXPORTS)


def _said_of_tiles(counts: TileCounts, maps: int) -> str:
    height, width = counts.size
    return (
        f"{maps} map{'s' * (maps > 1)} of {width} x {height} tiles: {counts.tiles} tiles in {counts.cells:,} cells, "
        f"{counts.once} of them in a single cell, where figures stand or something is unique. What has the commonest colour is "
        f"background. {counts.equal} of {maps} composites equal their images to the bit."
    )


# ---- Spots ------------------------------------------------------------------------------------------------------------


def _count_spots(work: _Work) -> None:
    """Count bright spots: by a threshold, in pieces, and where round ones touch by their waists; nothing is learned."""
    folder = work.out / "scenes"
    # Scenes of an earlier call stay: a person may have edited them.
    if not (folder / SUMMARY).exists():
        found, skipped = spot_scenes(work.data)
        save_scenes(found, folder)
        work.remarks += [f"Not read: {name}: {reason}" for name, reason in skipped[:SHOWN]]
    scenes = load_scenes(folder)
    work.links.append(Link(f"exports/{COUNTS}", "Counts, one line an image"))
    work.links.append(Link("exports/objects/objects.csv", "Every object: place, size, shape, brightness"))
    export(folder, work.out / "exports", "objects", resume=True)
    work.do("delaminate", "export", str(folder), "--to", "objects", "--out", str(work.out / "exports"))
    with (work.out / "exports" / COUNTS).open(newline="") as file:
        total = sum(int(row["objects"]) for row in csv.DictReader(file))
    for index in np.linspace(0, len(scenes) - 1, min(SHOWN, len(scenes))).round().astype(int).tolist():
        work.pictures.append(_marked(to_pixels(scenes[index].composite()), work.out, scenes.names[index]))
    work.level = "fair" if total else "nothing"
    work.text = f"{total:,} objects in {len(scenes)} images: exports/{COUNTS}. {work.recognition.advice}"


def _marked(picture: np.ndarray, out: Path, name: str) -> np.ndarray:
    """A picture, stretched, beside its objects in colours."""
    labels = read_mask(out / "exports" / "objects" / "labels" / f"{name}.tif")
    stretched = (picture * (255 / max(int(picture.max()), 1))).astype(np.uint8)
    colours = np.array([colour_of(number) for number in range(len(PALETTE))], np.uint8)
    marked = np.where((labels > 0)[..., None], colours[labels % len(PALETTE)], stretched).astype(np.uint8)
    return np.concatenate([stretched, marked], 1)


# ---- The end ----------------------------------------------------------------------------------------------------------


def _commands(plan: Plan, data: str, out: Path) -> list[str]:
    """What would be done, as commands."""
    training, scenes = str(out / "training"), str(out / "scenes")
    return [
        join(plan.words(data, training)),
        join(["delaminate", "decompose", training, data, "--out", scenes]),
        join(["delaminate", "export", scenes, "--to", ",".join(plan.exports), "--out", str(out / "exports")]),
    ]


def _conclude(work: _Work) -> AutomaticResult:
    """Write what came out: for machines and for people."""
    if not work.finished:
        again = f"delaminate auto {quote(work.name)} --out {quote(str(work.out))}"
        work.remarks.insert(0, f"UNFINISHED: the time was over. `{again}` goes on.")
    found = AutomaticResult(
        work.recognition, work.level, work.finished, work.text, tuple(work.remarks), tuple(work.commands), work.out,
        work.out / PAGE,
    )  # fmt: skip
    record: dict[str, Any] = {
        "data": work.name, "seed": work.seed, "level": found.level, "finished": found.finished, "text": found.text,
        "remarks": list(found.remarks), "commands": list(found.commands), "recognition": found.recognition.to_json(),
    }  # fmt: skip
    write_atomic(work.out / RECORD, json_bytes(record))
    write_overview(
        work.out / PAGE, title=Path(work.name).name or "Images", lead=found.text,
        evidence=(*found.recognition.evidence, found.recognition.sentence),
        remarks=found.remarks, commands=found.commands, links=work.links, pictures=work.pictures,
    )  # fmt: skip
    return found

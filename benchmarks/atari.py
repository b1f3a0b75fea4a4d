"""Six console games, judged class by class: what search learns from 400 frames of four plays, scored on 200 of four others.

    python benchmarks/atari.py --games pong boxing --seeds 0 1 2      # writes benchmarks/results/atari-GAME-SEED.json

Games are recorded on the spot (extra `games`); the truth is read off the screens by colour and place
(`delaminate.data.real.atari`). What shows one picture at one place in all frames is scenery: it is neither right nor wrong.
A sprite in another colour counts as another sprite, for colours are classes in some games. Beside it the strongest of
what learns nothing: groups of touching pixels that differ from the commonest colour of their place, or from the commonest
colour of all; of any colours or of one; two groups are one sprite if they are equal to the pixel.
"""

import argparse
import json
import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import label

import delaminate
from delaminate.bench.run import machine
from delaminate.data.real.atari import READERS, standing
from delaminate.data.real.recordings import RATE, record
from delaminate.data.sets import Box, ImageSet
from delaminate.data.synthetic import Split
from delaminate.metrics.boxes import BoxMatches
from delaminate.metrics.class_boxes import ClassBoxMatches
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.scenes import Scene

RESULTS = Path(__file__).parent / "results"
TEST, PLAYS = 200, 4
Found = tuple[np.ndarray, dict[int, Hashable]]


def plays_of(game: str, count: int, seed: int, split: Split) -> ImageSet:
    """Pictures of several plays, equally many of each, for one play wears its walls down in one way only."""
    plays = [record(game, count // PLAYS, PLAYS * seed + number, split).pixels for number in range(PLAYS)]
    return replace(ImageSet.from_arrays(torch.cat(plays)), rate=RATE)


def judge(frames: list[list[Box]], scenery: set[Box], found: list[Found]) -> dict[str, Any]:
    """Class-aware and class-agnostic figures; without scenery, and in `class_box_f1_all` with all that is read."""
    aware, agnostic, everything = ClassBoxMatches(), BoxMatches(), ClassBoxMatches()
    for boxes, (labels, sprites) in zip(frames, found, strict=True):
        judged, ignored = [box for box in boxes if box not in scenery], [box for box in boxes if box in scenery]
        aware.update(judged, ignored, labels, sprites)
        agnostic.update(judged, ignored, labels)
        everything.update(boxes, (), labels, sprites)
    counts = aware.by_class()
    return {
        **{name: round(value, 4) for name, value in {**aware.figures(), **agnostic.figures()}.items()},
        "class_box_f1_all": round(everything.figures()["class_box_f1"], 4),
        "class_box_f1_mean": round(float(np.mean([_f1(*count) for name, count in counts.items() if name])), 4),
        "by_class": {
            name or "none": {"f1": round(_f1(*count), 4), "matched": count[0], "true": count[1], "predicted": count[2]}
            for name, count in counts.items()
        },
    }


def _f1(matched: int, true: int, predicted: int) -> float:
    return 2 * matched / (true + predicted) if true + predicted else 1.0


def by_search(scenes: Any) -> list[Found]:
    """What a decomposition shows: labels of its placements, and their sprites, each in its colour."""
    found = []
    for scene in scenes:
        whole: Scene = scene
        labels = Decomposition.from_scene(whole).labels()[0][0].numpy()
        placements = whole.visible_placements
        first = 0 if whole.background else 1
        shown = {index + first: (each.entry, *np.round(each.colour, 2)) for index, each in enumerate(placements)}
        found.append((labels, shown))
    return found


def commonest(frames: np.ndarray) -> np.ndarray:
    """The colour that each place shows most often."""
    codes = (frames.astype(np.int64) * np.array([1, 256, 65536])).sum(-1).reshape(len(frames), -1)
    order = np.sort(codes, 0)
    changes = np.diff(order, axis=0, prepend=-1) != 0
    first = np.maximum.accumulate(np.where(changes, np.arange(len(order))[:, None], 0), 0)
    run = np.arange(len(order))[:, None] - first
    best = np.take_along_axis(order, run.argmax(0)[None], 0)[0]
    return np.stack([best % 256, best // 256 % 256, best // 65536], -1).reshape(frames.shape[1:]).astype(np.uint8)


def components(frames: np.ndarray, behind: np.ndarray, one_colour: bool) -> list[Found]:
    """Groups of touching pixels that differ from what lies behind."""
    return [_components(frame, behind, one_colour) for frame in frames]


def _components(frame: np.ndarray, behind: np.ndarray, one_colour: bool) -> Found:
    shown = (frame != behind).any(-1)
    codes = (frame.astype(np.int64) * np.array([1, 256, 65536])).sum(-1)
    labels = np.zeros(shown.shape, dtype=np.int64)
    for colour in np.unique(codes[shown]) if one_colour else [None]:
        some, _ = label(shown if colour is None else shown & (codes == colour), np.ones((3, 3)))
        labels[some > 0] = some[some > 0] + labels.max()
    sprites: dict[int, Hashable] = {}
    rows, columns = np.nonzero(labels)
    order = np.argsort(labels[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    for place in np.split(np.arange(len(rows)), np.nonzero(np.diff(labels[rows, columns]))[0] + 1):
        if len(place):
            y, x = rows[place], columns[place]
            sprites[int(labels[y[0], x[0]])] = (
                (y - y.min()).tobytes(), (x - x.min()).tobytes(), codes[y, x].tobytes(),
            )  # fmt: skip
    return labels, sprites


def nothing_learned(
    train: np.ndarray, test: np.ndarray, score: Callable[[list[Found]], dict[str, Any]]
) -> dict[str, Any]:
    """The four ways of components, each judged."""
    colours, counts = np.unique(train[::20].reshape(-1, 3), axis=0, return_counts=True)
    behind = {"commonest colour of a place": commonest(train), "one colour": colours[counts.argmax()][None, None]}
    return {
        f"components, {name}{', of one colour each' if single else ''}": score(components(test, picture, single))
        for name, picture in behind.items()
        for single in (False, True)
    }


def play(game: str, seed: int, count: int, minutes: float, out: Path, rescore: bool) -> dict[str, Any]:
    """Record, train, decompose other frames and judge."""
    train, test = plays_of(game, count, seed, "train"), plays_of(game, TEST, seed, "test")
    folder = out / f"{game}-{seed}"
    started = time.time()
    if rescore:
        seconds = json.loads((RESULTS / f"atari-{game}-{seed}.json").read_text())["train_seconds"]
        ended, model = "finished", delaminate.load_model(folder / "model")
    else:
        run = delaminate.train(train, "marionette", out=folder, seed=seed, minutes=minutes, overwrite=True)
        seconds, ended, model = round(time.time() - started, 1), run.result.reason, run.model
    started = time.time()
    scenes = delaminate.decompose(model, test)
    per_second = TEST / (time.time() - started)
    past, pixels = (each.pixels.permute(0, 2, 3, 1).numpy() for each in (train, test))
    boxes = [READERS[game](frame) for frame in pixels]
    scenery = standing(np.concatenate([past, pixels]), boxes)
    return {
        "game": game,
        "seed": seed,
        "command": f"python benchmarks/atari.py --games {game} --seeds {seed} --frames {count} --minutes {minutes:g}",
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "train_seconds": seconds,
        "train_images": count,
        "stopped_by": ended,
        "sprites_active": len(model.active_entries),
        "count": TEST,
        "psnr": round(scenes.means["psnr"], 2),
        "images_per_second": round(per_second, 2),
        "summary": scenes.summary,
        "search": judge(boxes, scenery, by_search(scenes)),
        "nothing learned": nothing_learned(past, pixels, lambda found: judge(boxes, scenery, found)),
    }


def row(result: dict[str, Any]) -> str:
    """A line of the table."""
    name, best = max(result["nothing learned"].items(), key=lambda item: item[1]["class_box_f1"])
    blind = max(each["box_f1"] for each in result["nothing learned"].values())
    mine = result["search"]
    return (
        f"| {result['game']} | {result['seed']} | {mine['class_box_f1']:.3f} | {mine['box_f1']:.3f} | "
        f"{mine['class_box_f1_mean']:.3f} | {mine['class_box_f1_all']:.3f} | {best['class_box_f1']:.3f} | {blind:.3f} | "
        f"{name} | {result['sprites_active']} | {result['psnr']:.1f} | {result['train_seconds']:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", choices=list(READERS), default=list(READERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--frames", type=int, default=400, help="to learn from")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training at most")
    parser.add_argument("--out", type=Path, default=Path("runs/atari"), help="folder of the runs")
    parser.add_argument("--rescore", action="store_true", help="judge the models of an earlier run again")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| game | seed | class-aware F1 | class-agnostic F1 | mean over classes | with scenery | nothing learned, aware | "
          "nothing learned, agnostic | by | sprites | PSNR, dB | training, s |")  # fmt: skip
    print("|" + "---|" * 12)
    for game in options.games:
        for seed in options.seeds:
            result = play(game, seed, options.frames, options.minutes, options.out, options.rescore)
            (RESULTS / f"atari-{game}-{seed}.json").write_text(json.dumps(result, indent=1) + "\n")
            print(row(result), flush=True)


if __name__ == "__main__":
    main()

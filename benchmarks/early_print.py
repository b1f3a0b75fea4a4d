"""120 drawn lines of early print, taken apart by glyphs: how many words are rebuilt right?

    python benchmarks/early_print.py                 # three seeds; writes benchmarks/results/early-print.json
    python benchmarks/early_print.py --seeds 0 --pictures pictures/

Three pages of 40 lines are set from worn metal types, several of each letter. Ink spreads and fails, letters touch, lines
are not quite straight, paper is stained and speckled, and the pages are photographed a little skewed. The three are one
training set, with `--preset text-pages` and nothing else. A word is rebuilt right if the sprites in its box, from left to
right, each called by the letter that it most often stands for, spell it. Letters name sprites here; they train nothing.
Beside it stand connected components, grouped where they are equal to the pixel but for 15 % of it: they learn nothing.
"""

import argparse
import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

import delaminate
from delaminate.bench.run import machine
from delaminate.rng import numpy_stream
from delaminate.scene.decomposition import Decomposition

RESULT = Path(__file__).parent / "results" / "early-print.json"
PAGES, LINES, SIZE, LEADING = 3, 40, (1900, 1300), 44
BODY = 30  # height of the types, in pixels
SORTS = 3  # metal types of each letter, each worn in its own way
ALIKE = 0.15
TEXT = (
    "in principio creauit deus celum et terram terra autem erat inanis et uacua et tenebre super faciem abissi et spiritus "
    "dei ferebatur super aquas dixitque deus fiat lux et facta est lux et uidit deus lucem quod esset bona et diuisit lucem "
    "a tenebris appellauitque lucem diem et tenebras noctem factumque est uespere et mane dies unus dixit quoque deus fiat "
    "firmamentum in medio aquarum et diuidat aquas ab aquis et fecit deus firmamentum diuisitque aquas que erant sub "
    "firmamento ab hiis que erant super firmamentum et factum est ita uocauitque deus firmamentum celum"
)
WORDS = TEXT.split()


@dataclass(frozen=True)
class Word:
    """A printed word and where it stands on its page: left, top, width, height in pixels."""

    text: str
    box: tuple[float, float, float, float]


# --- drawing ----------------------------------------------------------------------------------------------------------


def worn_types(rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Ink of every letter's types, (BODY + 10, w): outlines dented, a corner gone here and there."""
    font, types = ImageFont.load_default(BODY), {}
    for letter in sorted({letter for word in WORDS for letter in word}):
        left, _, right, _ = font.getbbox(letter)
        picture = Image.new("L", (int(right - left) + 2, BODY + 10))
        ImageDraw.Draw(picture).text((1 - left, 2), letter, fill=255, font=font)
        ink = np.asarray(picture, np.float64) / 255
        types[letter] = [_worn(ink, rng) for _ in range(SORTS)]
    return types


def _worn(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    dents = ndimage.gaussian_filter(rng.normal(size=ink.shape), 1.5)
    return ndimage.gaussian_filter(ink, 0.6) + 0.5 * dents / dents.std() * 0.2


def print_page(types: dict[str, list[np.ndarray]], rng: np.random.Generator) -> tuple[np.ndarray, list[Word]]:
    """A page (H, W, 3) of bytes and its words."""
    pressed = np.zeros(SIZE)
    words: list[Word] = []
    for line in range(LINES):
        left, top, drift = 70 + int(rng.integers(0, 6)), 60 + LEADING * line, rng.normal(0, 1.0)
        while True:
            text = str(rng.choice(WORDS))
            sorts = [types[letter][int(rng.integers(SORTS))] for letter in text]
            if left + sum(each.shape[1] for each in sorts) > SIZE[1] - 60:
                break
            began = left
            for each in sorts:
                down = round(drift + rng.normal(0, 0.5))
                force = rng.normal(1.0, 0.06)
                window = pressed[top + down : top + down + each.shape[0], left : left + each.shape[1]]
                np.maximum(window, force * each, out=window)
                left += each.shape[1] - int(rng.choice((1, 2, 2, 3, 4)))  # many letters touch
            words.append(Word(text, (began, top - 2, left - began, BODY + 14)))
            left += int(rng.integers(12, 20))
    spread = ndimage.gaussian_filter(pressed, 0.8) + 0.06 * ndimage.gaussian_filter(rng.normal(size=SIZE), 2) / 0.14
    ink = 1 / (1 + np.exp(-14 * (spread - 0.42)))
    ink[rng.random(SIZE) < 0.0004] = 0.9  # speckles
    stain = ndimage.zoom(rng.normal(size=(8, 6)), (SIZE[0] / 8, SIZE[1] / 6), order=3)[: SIZE[0], : SIZE[1]]
    paper = 222 + 9 * stain + rng.normal(0, 3, SIZE)
    page = np.where(ink > 0, paper * (1 - ink) + (52 + rng.normal(0, 6, SIZE)) * ink, paper)
    angle = rng.normal(0, 0.15)
    turned = ndimage.rotate(page, angle, reshape=False, mode="nearest", order=1).clip(0, 255)
    return np.round(turned).astype(np.uint8)[..., None].repeat(3, -1), [_turned(word, angle) for word in words]


def _turned(word: Word, degrees: float) -> Word:
    """The word where `ndimage.rotate` has put it, for small angles: its box is moved, not turned."""
    left, top, width, height = word.box
    x, y = left + width / 2 - SIZE[1] / 2, top + height / 2 - SIZE[0] / 2
    angle = np.deg2rad(degrees)
    x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return Word(word.text, (x + SIZE[1] / 2 - width / 2, y + SIZE[0] / 2 - height / 2, width, height))


# --- judging ----------------------------------------------------------------------------------------------------------


Glyph = tuple[int, float, float]
"""A glyph on a page: its class, and the middle of its box (x, y)."""


def in_words(words: list[Word], glyphs: list[Glyph]) -> list[list[int]]:
    """The classes of the glyphs in every word, from left to right."""
    found = []
    for word in words:
        left, top, width, height = word.box
        inside = [(x, kind) for kind, x, y in glyphs if left <= x < left + width and top <= y < top + height]
        found.append([kind for _, kind in sorted(inside)])
    return found


def rebuilt(pages: list[tuple[list[Word], list[Glyph]]]) -> dict[str, Any]:
    """The share of words that are spelled right, and how often single letters are."""
    spelled = [pair for words, glyphs in pages for pair in zip(words, in_words(words, glyphs), strict=True)]
    votes: dict[int, Counter[str]] = {}
    for word, kinds in spelled:
        if len(kinds) == len(word.text):  # only then it is plain which glyph stands for which letter
            for letter, kind in zip(word.text, kinds, strict=True):
                votes.setdefault(kind, Counter())[letter] += 1
    names = {kind: letters.most_common(1)[0][0] for kind, letters in votes.items()}
    read = ["".join(names.get(kind, "?") for kind in kinds) for _, kinds in spelled]
    right = sum(text == word.text for text, (word, _) in zip(read, spelled, strict=True))
    whole = sum(len(kinds) == len(word.text) for word, kinds in spelled)
    agree = sum(letters.most_common(1)[0][1] for letters in votes.values())
    return {
        "words": len(spelled),
        "words_right": round(right / len(spelled), 4),
        "words_of_right_length": round(whole / len(spelled), 4),
        "purity": round(agree / max(sum(sum(letters.values()) for letters in votes.values()), 1), 4),
        "classes": len({kind for _, kinds in spelled for kind in kinds}),
    }


def by_components(page: np.ndarray, classes: list[np.ndarray]) -> list[Glyph]:
    """Groups of touching dark pixels, one class where they differ in less than `ALIKE` of their ink; `classes` grows."""
    ink = page[..., 0] < 137
    labels, _ = ndimage.label(ink, np.ones((3, 3)))
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        shape = labels[rows, columns] == number
        if shape.sum() < 20:
            continue
        middle = (columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2
        found.append((_class_of(shape, classes), *middle))
    return found


def _class_of(shape: np.ndarray, classes: list[np.ndarray]) -> int:
    for kind, known in enumerate(classes):
        if max(abs(a - b) for a, b in zip(known.shape, shape.shape, strict=True)) <= 1:
            size = tuple(max(a, b) for a, b in zip(known.shape, shape.shape, strict=True))
            one, other = (
                np.pad(each, [(0, s - n) for s, n in zip(size, each.shape, strict=True)]) for each in (known, shape)
            )
            if (one ^ other).sum() < ALIKE * (one | other).sum():
                return kind
    classes.append(shape)
    return len(classes) - 1


def by_search(scene: Any) -> list[Glyph]:
    """Where sprites are seen, each by the middle of the box of its visible pixels."""
    labels = Decomposition.from_scene(scene).labels()[0][0].numpy()
    first = 0 if scene.background else 1
    entries = {index + first: placement.entry for index, placement in enumerate(scene.visible_placements)}
    found = []
    for number, slices in enumerate(ndimage.find_objects(labels), start=1):
        if slices is not None and number in entries:
            rows, columns = slices
            found.append((entries[number], (columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2))
    return found


def measure(seed: int, pictures: Path | None) -> dict[str, Any]:
    """Print, train, decompose and read three pages."""
    rng = numpy_stream("early print", seed)
    types = worn_types(rng)
    printed = [print_page(types, rng) for _ in range(PAGES)]
    began = time.monotonic()
    run = delaminate.train([page for page, _ in printed], "marionette", preset="text-pages", seed=seed)
    trained = time.monotonic() - began
    found = delaminate.decompose(run.model, [page for page, _ in printed])
    ours = rebuilt([(words, by_search(scene)) for (_, words), scene in zip(printed, found, strict=True)])
    classes: list[np.ndarray] = []
    theirs = rebuilt([(words, by_components(page, classes)) for page, words in printed])
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        for number, ((page, _), scene) in enumerate(zip(printed, found, strict=True)):
            shown = scene.composite().permute(1, 2, 0).mul(255).round().byte().numpy()
            Image.fromarray(np.concatenate([page, shown], 1)).save(pictures / f"early-print-{seed}-{number}.png")
    return {
        "seed": seed, "train_seconds": round(trained, 1), "seconds": round(time.monotonic() - began, 1),
        "sprites": len(run.model.dictionary()) - 1, "said": found.summary, "search": ours, "connected components": theirs,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pictures", type=Path, help="folder for each page beside what it was rebuilt as")
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        rows.append(measure(seed, options.pictures))
        print(json.dumps(rows[-1]), flush=True)
    if options.seeds == [0, 1, 2]:
        about = {"command": "python benchmarks/early_print.py", "date": time.strftime("%Y-%m-%d"), "machine": machine()}
        record = about | {"rows": rows}
        RESULT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

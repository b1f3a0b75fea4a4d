"""One self-contained HTML page about a decomposition: sprites, images with their layers, training, figures.

Nothing is loaded from elsewhere: pictures are data URIs, the style is inside, there is no script, and a content
security policy makes the browser hold to that. Every name is escaped.
"""

import base64
import importlib.resources
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from delaminate.errors import ShapeError
from delaminate.exporters.chart import Point, draw_curve
from delaminate.exporters.figure_texts import LAYER_STEPS, SHARES, SPRITE_STEPS, base_name, explanation
from delaminate.exporters.files import ExportResult, painted_layers
from delaminate.exporters.residuals import Residuals, heat_picture, read_residual, residual_picture
from delaminate.exporters.similarity import sprite_order
from delaminate.files import from_pixels, png_bytes, to_pixels, write_atomic
from delaminate.scene.collection import SceneSet, shared_dictionary
from delaminate.scene.decomposition import Decomposition
from delaminate.scene.placements import OWN_RASTER, Dictionary
from delaminate.scene.scenes import Scene

MOST_IMAGES = 24
MOST_LAYERS = 16
PICTURE_SIDE, LAYER_SIDE = 720, 260  # larger pictures are shrunk to this
PIXEL_ART_SIDE = 200  # smaller pictures are shown with square pixels
STACK_LAYERS = 7

# Colours of dictionary entries in segmentations; further entries darken them.
PALETTE = ("#e0623f", "#2a9d8f", "#e9b949", "#4d7fc4", "#9b5fb5", "#79a843", "#d96a94", "#3fa7c9", "#b07d4f", "#6c6fd1")
FOOTER = "<footer>Made by Delaminate. This page holds everything it shows and loads nothing.</footer>"
CONTENT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

Images = np.ndarray | Tensor | Sequence[np.ndarray]


def colour_of(number: int) -> tuple[int, int, int]:
    """Colour of label `number`, counted from 0."""
    red, green, blue = (int(PALETTE[number % len(PALETTE)][i : i + 2], 16) for i in (1, 3, 5))
    fade = 0.72 ** (number // len(PALETTE) % 4)
    return int(red * fade), int(green * fade), int(blue * fade)


def _small(pixels: np.ndarray, side: int) -> np.ndarray:
    if max(pixels.shape[:2]) <= side:
        return pixels
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.BOX)
    return np.asarray(image)


def img(pixels: np.ndarray, alt: str, side: int = PICTURE_SIDE, style: str = "") -> str:
    """Make an img element; `alt` is escaped here."""
    data = base64.b64encode(png_bytes(_small(pixels, side))).decode()
    pixel = ' class="pixel"' if max(pixels.shape[:2]) <= PIXEL_ART_SIDE else ""
    style = f' style="{style}"' if style else ""
    return f'<img{pixel}{style} alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def _rich(text: str) -> str:
    """Escape a sentence and set what stands in backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _originals(images: Images | None, count: int, chosen: Sequence[int]) -> list[UInt8[np.ndarray, "H W 3"] | None]:
    if images is None:
        return [None] * len(chosen)
    if len(images) < count:
        raise ShapeError(f"write_report: {len(images)} images for {count} scenes; expected one each.")
    pictures: list[np.ndarray | None] = []
    for index in chosen:
        image = images[index]
        picture = to_pixels(image) if isinstance(image, Tensor) else image
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ShapeError(
                f"write_report: an image is {picture.dtype} {picture.shape}; expected uint8 (H, W, 3), or a float "
                "tensor (B, 3, H, W)."
            )
        pictures.append(picture)
    return pictures


def sample(count: int, most: int = MOST_IMAGES) -> list[int]:
    """Choose positions that are spread evenly over a clip or a folder.

    >>> sample(3), sample(9, 4)
    ([0, 1, 2], [0, 3, 5, 8])
    """
    if count <= most:
        return list(range(count))
    return [round(place) for place in np.linspace(0, count - 1, most)]


def count_usage(scenes: Sequence[Scene]) -> list[int]:
    """Count how often the visible layers of scenes show each dictionary entry."""
    used = [0] * len(shared_dictionary(scenes))
    for scene in scenes if used else ():
        for layer in scene.layers:
            if layer.visible and layer.placement.entry != OWN_RASTER:
                used[layer.placement.entry] += 1
    return used


def count_tracks(scenes: Sequence[Scene]) -> list[int]:
    """Count how many tracks show each dictionary entry."""
    tracks: list[set[int]] = [set() for _ in shared_dictionary(scenes).sprites]
    for scene in scenes if tracks else ():
        for layer in scene.layers:
            placement = layer.placement
            if layer.visible and placement.entry != OWN_RASTER and placement.track is not None:
                tracks[placement.entry].add(placement.track)
    return [len(found) for found in tracks]


def segmentation_picture(scene: Scene) -> UInt8[np.ndarray, "H W 4"]:
    """Colour each pixel by the entry, or else the layer, that is seen most; the background is a grey veil."""
    found = Decomposition.from_scene(scene)
    labels = found.labels()[0][0].numpy()
    placements = found.images[0][1:] if found.background else found.images[0]
    colours = [(128, 128, 128, 44)]
    for index, placement in enumerate(placements):
        colours.append((*colour_of(index if placement.entry == OWN_RASTER else placement.entry), 255))
    return np.array(colours, dtype=np.uint8)[labels]


def _stack(scene: Scene) -> str:
    """Show the layers of one scene floating above one another."""
    shown = [picture for picture in painted_layers(scene) if picture.layer.visible and picture.pixels[..., 3].any()]
    if len(shown) < 2:
        return ""
    keep = [*shown[:1], *shown[1:][-(STACK_LAYERS - 1) :]]
    gap = 190 / len(keep)
    pictures = [
        img(picture.canvas(), "", LAYER_SIDE, f"transform:translateZ({index * gap - 60:.0f}px)")
        for index, picture in enumerate(keep)
    ]
    return f'<div class="stack" aria-hidden="true"><div class="stack-inner">{"".join(pictures)}</div></div>'


def _summary(scenes: Sequence[Scene], dictionary: Dictionary, usage: Sequence[int]) -> str:
    layers = sum(layer.visible for scene in scenes for layer in scene.layers)
    text = f"{_count(len(scenes), 'image')} came apart into {_count(layers, 'layer')}, without a single label. "
    sprites = [usage[entry] for entry in range(len(dictionary)) if entry not in dictionary.backgrounds]
    if sprites:
        used = sum(number > 0 for number in sprites)
        text += f"{_count(len(sprites), 'sprite')} {'was' if len(sprites) == 1 else 'were'} learned along the way, "
        text += "all of them in use here. " if used == len(sprites) else f"{used:,} of them in use here. "
    return text + "Each layer is a picture of its own, with the parts that others hide."


def header(title: str, summary: str, facts: Mapping[str, str], stack: str) -> str:
    rows = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in facts.items())
    return (
        f"<header{' class=' + chr(34) + 'with-stack' + chr(34) if stack else ''}>\n<div>"
        f'<p class="over">Delaminate</p><h1>{escape(title)}</h1><p class="lead">{escape(summary)}</p>'
        f"{f'<dl class={chr(34)}facts{chr(34)}>{rows}</dl>' if rows else ''}</div>\n{stack}\n</header>"
    )


def sprite_card(picture: str, title: str, said: str, more: str = "") -> str:
    """An item of a list of sprites: a picture on chequers, its title and what is said of it, all as HTML."""
    return (
        f'<li><figure class="card{more}"><div class="check">{picture}</div>'
        f"<figcaption><b>{title}</b><span>{said}</span></figcaption></figure></li>"
    )


def _sprites(dictionary: Dictionary, usage: Sequence[int], tracks: Sequence[int]) -> str:
    if not len(dictionary):
        return ""
    cards = []
    order, alike = sprite_order(dictionary, usage)
    for entry in order:
        name = dictionary.name(entry)
        dot = ""
        if entry not in dictionary.backgrounds:
            dot = '<i class="dot" style="background:rgb({},{},{})"></i>'.format(*colour_of(entry))
        used = "not used" if usage[entry] == 0 else f"used {_count(usage[entry], 'time')}"
        used += f" in {_count(tracks[entry], 'track')}" if tracks[entry] else ""
        picture = img(to_pixels(dictionary.sprites[entry]), name, LAYER_SIDE)
        cards.append(sprite_card(picture, f"{dot}{escape(name)}", used, "" if usage[entry] else " unused"))
    by = "what looks alike side by side" if alike else "most used first"
    return (
        '<section aria-labelledby="sprites"><h2 id="sprites">What it learned</h2><p class="note">The sprites that the '
        f"images share, {by}. Chequers show through where a sprite is transparent; the coloured square is "
        f'its colour in the segmentations below.</p><ul class="sprites">{"".join(cards)}</ul></section>'
    )


def _figure(picture: str, caption: str, classes: str = "", backing: str = "check") -> str:
    return f'<figure{classes}><div class="{backing}">{picture}</div><figcaption>{escape(caption)}</figcaption></figure>'


def _image_card(scene: Scene, original: np.ndarray | None, residual: np.ndarray | None) -> str:
    views = [] if original is None else [_figure(img(original, f"{scene.name}: the original"), "Image")]
    rebuilt = to_pixels(scene.composite())
    views.append(_figure(img(rebuilt, f"{scene.name}: put together from its layers"), "Rebuilt from layers"))
    regions = img(segmentation_picture(scene), f"{scene.name}: what is where")
    views.append(_figure(regions, "Segmentation", backing="regions"))
    if residual is not None:
        share = float(residual.mean()) / 255
        heat = img(heat_picture(residual), f"{scene.name}: what the layers do not explain")
        views.append(_figure(heat, f"Not explained ({share:.1%})", backing="heat"))
    layers = []
    for picture in list(painted_layers(scene))[:MOST_LAYERS]:
        layer = picture.layer
        hidden = "" if layer.visible else ' class="hidden"'
        caption = layer.name if layer.visible else f"{layer.name} (hidden)"
        layers.append(f"<li>{_figure(img(picture.canvas(), layer.name, LAYER_SIDE), caption, hidden)}</li>")
    more = len(scene.layers) - len(layers)
    note = f"Layers, back to front{f' (and {more} more)' if more > 0 else ''}"
    return (
        f'<article class="card"><h3>{escape(scene.name)}</h3><div class="views">{"".join(views)}</div>'
        f'<p class="order">{note}</p><ol class="layers">{"".join(layers)}</ol></article>'
    )


def _images(
    scenes: Sequence[Scene],
    count: int,
    originals: Sequence[np.ndarray | None],
    residuals: Sequence[np.ndarray | None],
) -> str:
    cards = [_image_card(*three) for three in zip(scenes, originals, residuals, strict=True)]
    if not cards:
        return ""
    beside = (
        "beside its reconstruction" if any(original is not None for original in originals) else "put together again"
    )
    guess = "" if any(len(scene.dictionary) for scene in scenes) else "; what is behind an object is a guess"
    some = f" These are {len(scenes)} of {count:,}, spread evenly." if count > len(scenes) else ""
    if any(residual is not None for residual in residuals):
        some = " Where something was not explained, its picture glows: by how much on average stands below." + some
    return (
        '<section aria-labelledby="images"><h2 id="images">How the images come apart</h2><p class="note">Each image '
        f"{beside}, what was found where, and every layer by itself with its hidden parts{guess}."
        f'{some}</p><div class="images">{"".join(cards)}</div></section>'
    )


def _residual(scene: Scene, original: np.ndarray | None, residuals: Residuals | None) -> np.ndarray | None:
    """What a scene does not explain, as it was measured or as it can be."""
    found = None if residuals is None else read_residual(residuals, scene.name)
    if found is None and original is not None and original.shape[:2] == scene.size:
        found = residual_picture(from_pixels(original), scene.composite().float())
    return found


def _training(curve: Sequence[Point]) -> str:
    chart = draw_curve(curve, "Training loss")
    if not chart:
        return ""
    return (
        '<section aria-labelledby="training"><h2 id="training">How it learned</h2><p class="note">The quantity that '
        "training lowers, step by step; shaded bands and names mark the stages. Values of different stages need not be "
        f'comparable.</p><div class="card chart">{chart}</div></section>'
    )


def format_figure(name: str, value: float) -> str:
    """Write a figure with as many digits as mean something.

    >>> format_figure("iou", 0.91234), format_figure("count", 320.0), format_figure("psnr", 31.337)
    ('0.912', '320', '31.34 dB')
    """
    if not math.isfinite(value):
        return "–"
    if base_name(name) in SHARES:
        return f"{value:.3f}"
    if base_name(name) == "psnr":
        return f"{value:.2f} dB"
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:.4g}"


def _figures(figures: Mapping[str, float], explanations: Mapping[str, str]) -> str:
    rows = []
    for name, value in figures.items():
        meter = ""
        if base_name(name) in SHARES and math.isfinite(value):
            meter = f'<span class="meter"><i style="width:{100 * min(max(value, 0), 1):.1f}%"></i></span>'
        meaning = explanations.get(name, explanation(name))
        rows.append(
            f'<tr><th scope="row"><code>{escape(name)}</code></th><td class="value">{format_figure(name, value)}{meter}'
            f'</td><td class="meaning">{_rich(meaning)}</td></tr>'
        )
    if not rows:
        return ""
    return (
        '<section aria-labelledby="figures"><h2 id="figures">In figures</h2><p class="note">Measured after training; '
        'where labels exist they are used for this table only.</p><div class="card scroll"><table><thead><tr>'
        '<th scope="col">Figure</th><th scope="col">Value</th><th scope="col">What it means</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _next(steps: Sequence[str]) -> str:
    if not steps:
        return ""
    items = "".join(f'<li class="card">{_rich(step)}</li>' for step in steps)
    return (
        f'<section aria-labelledby="next"><h2 id="next">What to try next</h2><ol class="steps">{items}</ol></section>'
    )


def write_report(
    path: str | Path,
    *,
    title: str,
    scenes: Sequence[Scene],
    images: Images | None = None,
    curve: Sequence[Point] = (),
    figures: Mapping[str, float] | None = None,
    explanations: Mapping[str, str] | None = None,
    usage: Sequence[int] | None = None,
    next_steps: Sequence[str] | None = None,
    facts: Mapping[str, str] | None = None,
    residuals: Residuals | None = None,
) -> ExportResult:
    """Write the page.

    Args:
        path: The HTML file.
        title: What was taken apart.
        scenes: Scenes of one decomposition; 24 at most are shown, spread evenly.
        images: Their originals, uint8 (N, H, W, 3), a list of (H, W, 3), or float (B, 3, H, W) in [0, 1].
        curve: Step, value and stage in the order of training.
        figures: Measured figures by name.
        explanations: What figures mean, before the built-in sentences.
        usage: How often each dictionary entry is used; counted in the scenes when None.
        next_steps: Advice, what stands in backticks set as code; None: what suits scenes with sprites, or without.
        facts: Short facts for the head of the page, such as the method and the training time.
        residuals: Pictures of what was not explained: a folder as `decompose` writes it, or `SceneSet.residual`; where a scene
            has none, the original is compared if there is one.

    Raises:
        ConfigError: The scenes do not share a dictionary.
        ShapeError: Images, usage and scenes do not go together.
        FormatError: A residual is no picture.
        OutputError: The file cannot be written.
    """
    dictionary = shared_dictionary(scenes)
    used = count_usage(scenes) if usage is None else list(usage)
    if len(used) != len(dictionary):
        raise ShapeError(f"write_report: usage of {len(used)} entries; expected {len(dictionary)}.")
    advice = (SPRITE_STEPS if len(dictionary) else LAYER_STEPS) if next_steps is None else next_steps
    chosen = sample(len(scenes))
    shown = scenes.only(chosen) if isinstance(scenes, SceneSet) else [scenes[index] for index in chosen]
    pictures = _originals(images, len(scenes), chosen)
    unexplained = [_residual(*pair, residuals) for pair in zip(shown, pictures, strict=True)]
    parts = [
        header(title, _summary(scenes, dictionary, used), facts or {}, _stack(scenes[0]) if scenes else ""),
        "<main>",
        _sprites(dictionary, used, count_tracks(scenes)),
        _images(shown, len(scenes), pictures, unexplained),
        _training(curve),
        _figures(figures or {}, explanations or {}),
        _next(advice),
        "</main>",
        FOOTER,
    ]
    write_atomic(Path(path), page(title, parts).encode())
    return ExportResult((Path(path),), None)


def page(title: str, parts: Sequence[str], policy: str = "") -> str:
    """The whole document; parts that are empty are left out. `policy` adds to what the browser may run."""
    style = importlib.resources.files("delaminate.exporters").joinpath("html.css").read_text("utf-8")
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(filter(None, (CONTENT_POLICY, policy)))}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} · Delaminate</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
    )
    return head + "\n".join(part for part in parts if part) + "\n</body>\n</html>\n"


def write_html(scenes: Sequence[Scene], out: str | Path, *, residuals: Residuals | None = None) -> ExportResult:
    """Write `OUT/report.html` about scenes alone, with what was not explained where a folder has it."""
    return write_report(Path(out) / "report.html", title="Layers", scenes=scenes, residuals=residuals)

"""Catalogue: every sprite with all its occurrences, to read, to cite and to count.

    OUT/catalogue.html       one page: sprites with counts, sizes and occurrences; to search, sort and print
    OUT/sprites.csv          one row a sprite: counts, size, spacing
    OUT/occurrences.csv      one row an occurrence: image, box, order, what is seen of it, how badly it fits
    OUT/annotations.json     the occurrences as W3C Web Annotations, each with a region of its image
    OUT/page/NAME.xml        the same as PAGE-XML, a region each

Boxes are whole pixels around what is seen. How badly an occurrence fits is the mean of what was not explained there, of 255,
where residuals lie beside the scenes; the best one stands for its sprite, and those far worse than the others are marked.
"""

import base64
import csv
import hashlib
import importlib.resources
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import UInt8
from scipy.spatial import KDTree

from delaminate.exporters.files import ExportResult, Seen, seen_layers
from delaminate.exporters.html import FOOTER, header, img, page
from delaminate.exporters.placements import csv_cell
from delaminate.exporters.residuals import Residuals, read_residual
from delaminate.exporters.similarity import sprite_order
from delaminate.files import json_bytes, to_pixels, write_atomic
from delaminate.scene.collection import shared_dictionary
from delaminate.scene.placements import OWN_RASTER, Dictionary
from delaminate.scene.scenes import Scene
from delaminate.version import __version__

MOST_CROPS = 48
"""Occurrences of a sprite that the page shows; the tables have all."""

CONTEXT = 3
"""Pixels around an occurrence on the page."""

FAR = 4.0
"""Median absolute deviations above the median: an occurrence that fits so badly is marked."""

SPRITE_COLUMNS = ("sprite", "name", "occurrences", "images", "most_in_one_image", "width", "height", "spacing")
OCCURRENCE_COLUMNS = (
    *("sprite", "name", "image", "order", "layer", "track", "x", "y", "width", "height", "seen", "misfit", "doubtful"),
)
PAGE_XML = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"


@dataclass(eq=False)
class Found:
    """One occurrence of a sprite.

    Attributes:
        entry: The sprite.
        image, order, layer, track: Where: the scene's name, the position from the back, the layer's id, the track.
        box: Left, top, width and height of what is seen, in pixels.
        seen: Pixels in which it is what is seen.
        misfit: Mean of what was not explained there, of 255; None: not known.
        crop: What the scene shows there, with a margin.
        doubtful: It fits far worse than the others do.
    """

    entry: int
    image: str
    order: int
    layer: str
    track: int | None
    box: tuple[int, int, int, int]
    seen: int
    misfit: float | None
    crop: UInt8[np.ndarray, "h w 3"]
    doubtful: bool = False

    @property
    def centre(self) -> tuple[float, float]:
        """Across and down."""
        left, top, width, height = self.box
        return left + width / 2, top + height / 2


Originals = Callable[[str], UInt8[np.ndarray, "_h _w _c"] | None]
"""Gives the original of the scene of a name, RGB or RGBA; None: there is none."""


def find_occurrences(
    scenes: Sequence[Scene], residuals: Residuals | None = None, originals: Originals | None = None
) -> Iterator[Found]:
    """Find what is seen of every sprite, backgrounds left out, in the order of scenes and layers.

    Args:
        scenes: Scenes of one decomposition.
        residuals: What was not explained.
        originals: What crops are cut from; None: from what the scenes rebuild.

    Raises:
        ConfigError: The scenes do not share a dictionary.
        FormatError: A residual is no picture.
    """
    dictionary = shared_dictionary(scenes)
    for scene in scenes:
        original = None if originals is None else originals(scene.name)
        fits = original is not None and original.shape[:2] == scene.size
        picture = original[..., :3] if original is not None and fits else to_pixels(scene.composite())
        residual = None if residuals is None else read_residual(residuals, scene.name)
        for seen in seen_layers(scene):
            entry = scene.layers[seen.position].placement.entry
            if entry != OWN_RASTER and entry not in dictionary.backgrounds:
                yield _found(scene, seen, picture, residual)


def _found(scene: Scene, seen: Seen, picture: np.ndarray, residual: np.ndarray | None) -> Found:
    layer = scene.layers[seen.position]
    top, bottom, left, right = (edge for side in seen.window for edge in (side.start, side.stop))
    misfit = None
    if residual is not None:
        rows, columns = np.nonzero(seen.mask)
        rows, columns = rows + top, columns + left
        down, across = residual.shape[0] / scene.size[0], residual.shape[1] / scene.size[1]
        values = residual[(rows * down).astype(np.int64), (columns * across).astype(np.int64)]
        misfit = round(float(values.mean()), 2)
    crop = picture[max(top - CONTEXT, 0) : bottom + CONTEXT, max(left - CONTEXT, 0) : right + CONTEXT]
    return Found(
        layer.placement.entry, scene.name, seen.position, layer.id, layer.placement.track,
        (left, top, right - left, bottom - top), int(seen.mask.sum()), misfit, crop.copy(),
    )  # fmt: skip


def mark_doubtful(found: Sequence[Found]) -> None:
    """Mark the occurrences of one sprite that fit far worse than the others."""
    values = np.array([each.misfit for each in found if each.misfit is not None])
    if len(values) < 4:
        return
    middle = float(np.median(values))
    limit = middle + FAR * max(float(np.median(np.abs(values - middle))), 1.0)
    for each in found:
        each.doubtful = each.misfit is not None and each.misfit > limit


def spacing(found: Sequence[Found]) -> float | None:
    """How far the nearest other one in the same image usually lies, centre to centre, in pixels; None: they are alone."""
    nearest: list[float] = []
    by_image: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for each in found:
        by_image[each.image].append(each.centre)
    for centres in by_image.values():
        if len(centres) > 1:
            nearest += KDTree(centres).query(centres, k=2)[0][:, 1].tolist()  # the first one is itself
    return round(float(np.median(nearest)), 2) if nearest else None


def write_catalogue(
    scenes: Sequence[Scene], out: str | Path, *, residuals: Residuals | None = None, originals: Originals | None = None
) -> ExportResult:
    """Write the catalogue of the sprites that scenes share.

    Args:
        scenes: Scenes of one decomposition.
        out: The folder.
        residuals: What was not explained: a folder as `decompose` writes it, or `SceneSet.residual`.
        originals: What crops are cut from; None, and where sizes differ: from what the scenes rebuild.

    Raises:
        ConfigError: The scenes do not share a dictionary.
        FormatError: A residual is no picture.
        OutputError: A file cannot be written.
    """
    out, dictionary = Path(out), shared_dictionary(scenes)
    found: dict[int, list[Found]] = {
        entry: [] for entry in range(len(dictionary)) if entry not in dictionary.backgrounds
    }
    for each in find_occurrences(scenes, residuals, originals):
        found[each.entry].append(each)
    for group in found.values():
        mark_doubtful(group)
    usage = [len(found.get(entry, ())) for entry in range(len(dictionary))]
    order = [entry for entry in sprite_order(dictionary, usage)[0] if entry in found]
    sizes = {scene.name: scene.size for scene in scenes}
    files = {
        "sprites.csv": _table(SPRITE_COLUMNS, (_sprite_row(dictionary, entry, found[entry]) for entry in order)),
        "occurrences.csv": _table(
            OCCURRENCE_COLUMNS, (_occurrence_row(dictionary, each) for entry in order for each in found[entry])
        ),
        "annotations.json": json_bytes(_annotations(dictionary, [each for entry in order for each in found[entry]])),
        "catalogue.html": _page(dictionary, order, found, len(sizes)).encode(),
    }
    by_image: dict[str, list[Found]] = {name: [] for name in sizes}
    for each in (each for group in found.values() for each in group):
        by_image[each.image].append(each)
    for name, group in by_image.items():
        files[f"page/{name}.xml"] = _page_xml(dictionary, name, sizes[name], group).encode()
    paths = []
    for name, data in files.items():
        paths.append(out / name)
        write_atomic(paths[-1], data)
    return ExportResult(tuple(paths), None)


# ---- Tables and annotations -------------------------------------------------------------------------------------------


def _table(columns: Sequence[str], rows: Iterator[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    for row in rows:
        table.writerow({key: csv_cell(value) for key, value in row.items()})
    return text.getvalue().encode()


def _sprite_row(dictionary: Dictionary, entry: int, found: Sequence[Found]) -> dict[str, Any]:
    images = Counter(each.image for each in found)
    height, width = dictionary.sprites[entry].shape[1:]
    return {
        "sprite": dictionary.name(entry), "name": dictionary.title(entry), "occurrences": len(found), "images": len(images),
        "most_in_one_image": max(images.values(), default=0), "width": width, "height": height, "spacing": spacing(found),
    }  # fmt: skip


def _occurrence_row(dictionary: Dictionary, each: Found) -> dict[str, Any]:
    box = dict(zip(("x", "y", "width", "height"), each.box, strict=True))
    return {
        "sprite": dictionary.name(each.entry), "name": dictionary.title(each.entry), "image": each.image, "order": each.order,
        "layer": each.layer, "track": each.track, **box, "seen": each.seen, "misfit": each.misfit, "doubtful": each.doubtful,
    }  # fmt: skip


def _annotations(dictionary: Dictionary, found: Sequence[Found]) -> dict[str, Any]:
    """An AnnotationPage of the W3C's Web Annotation Data Model; images by their relative addresses."""
    items = [
        {
            "id": f"#{number}",
            "type": "Annotation",
            "body": {"type": "TextualBody", "purpose": "tagging", "value": dictionary.title(each.entry)},
            "target": {
                "source": quote(each.image),
                "selector": {
                    "type": "FragmentSelector",
                    "conformsTo": "http://www.w3.org/TR/media-frags/",
                    "value": "xywh=pixel:" + ",".join(map(str, each.box)),
                },
            },
        }
        for number, each in enumerate(found)
    ]
    return {"@context": "http://www.w3.org/ns/anno.jsonld", "type": "AnnotationPage", "items": items}


def _page_xml(dictionary: Dictionary, name: str, size: tuple[int, int], found: Sequence[Found]) -> str:
    """PAGE-XML 2019-07-15 of one image: a region for each occurrence."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<PcGts xmlns="{PAGE_XML}">',
        f" <Metadata><Creator>Delaminate {__version__}</Creator>"
        "<Created>1970-01-01T00:00:00</Created><LastChange>1970-01-01T00:00:00</LastChange></Metadata>",
        f' <Page imageFilename={quoteattr(name)} imageWidth="{size[1]}" imageHeight="{size[0]}">',
    ]
    for each in sorted(found, key=lambda other: other.order):
        left, top, width, height = each.box
        corners = ((left, top), (left + width, top), (left + width, top + height), (left, top + height))
        points = " ".join(f"{x},{y}" for x, y in corners)
        about = quoteattr(f"sprite {{id:{dictionary.name(each.entry)};}}")
        lines.append(
            f'  <GraphicRegion id="r{each.order}" custom={about} comments={quoteattr(dictionary.title(each.entry))}>'
            f'<Coords points="{points}"/></GraphicRegion>'
        )
    return "\n".join([*lines, " </Page>", "</PcGts>", ""])


# ---- The page ---------------------------------------------------------------------------------------------------------


def _page(dictionary: Dictionary, order: Sequence[int], found: Mapping[int, Sequence[Found]], images: int) -> str:
    total = sum(map(len, found.values()))
    used = [entry for entry in order if found[entry]]
    heights = Counter(each.box[3] for group in found.values() for each in group)
    facts = {"Sprites": f"{len(used):,} seen of {len(order):,}", "Occurrences": f"{total:,}", "Images": f"{images:,}"}
    if heights:
        facts["Usual height"] = f"{heights.most_common(1)[0][0]} pixels"
    script = importlib.resources.files("delaminate.exporters").joinpath("catalogue.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = [
        header("Catalogue", f"Every sprite that {images:,} images share, with all its occurrences.", facts, ""),
        "<main>",
        _controls(),
        '<div id="sprites" class="catalogue">',
        *(_sprite(dictionary, number, entry, found[entry]) for number, entry in enumerate(order)),
        "</div>",
        _to_cite(total, len(used), images),
        "</main>",
        FOOTER,
        f"<script>{script}</script>",
    ]
    return page("Catalogue", parts, f"script-src 'sha256-{digest}'")


def _controls() -> str:
    return (
        '<form class="controls" role="search"><label>Search <input type="search" id="search" '
        'placeholder="name or image"></label> <label>Sort by <select id="sort">'
        '<option value="number">likeness</option><option value="count">occurrences</option>'
        '<option value="name">name</option><option value="area">size</option>'
        '<option value="doubtful">doubtful ones</option></select></label> '
        '<output id="shown" aria-live="polite"></output></form>'
    )


def _sprite(dictionary: Dictionary, number: int, entry: int, found: Sequence[Found]) -> str:
    row = _sprite_row(dictionary, entry, found)
    title, doubtful = str(row["name"]), sum(each.doubtful for each in found)
    ranked = sorted(found, key=lambda each: (not each.doubtful, -(each.misfit or 0)))
    known = [each for each in found if each.misfit is not None]
    best = min(known, key=lambda each: each.misfit or 0.0) if len({each.misfit for each in known}) > 1 else None
    crops = "".join(_crop(each, each is best) for each in ranked[:MOST_CROPS])
    more = f" The page shows {MOST_CROPS}; occurrences.csv has all." if len(found) > MOST_CROPS else ""
    spaced = f" · {row['spacing']:g} px to the next" if row["spacing"] is not None else ""
    marked = f" · {doubtful} doubtful" if doubtful else ""
    names = " ".join(sorted({each.image for each in found}))
    return (
        f'<article class="card entry" data-number="{number}" data-count="{len(found)}" data-doubtful="{doubtful}" '
        f'data-area="{int(row["width"]) * int(row["height"])}" data-name="{escape(title)}" data-images="{escape(names)}">'
        f'<div class="check">{img(to_pixels(dictionary.sprites[entry]), title, 240)}</div>'
        f"<div><h3>{escape(title)}</h3><p>{len(found):,} in {row['images']:,} images · {row['width']} x {row['height']} px"
        f"{spaced}{marked}</p><details><summary>Occurrences</summary><p>{more}</p>"
        f'<ul class="crops">{crops}</ul></details></div></article>'
    )


def _crop(each: Found, is_best: bool) -> str:
    left, top, width, height = each.box
    words = f"{each.image} at {left}, {top}"
    notes = [*(["fits best"] if is_best else []), *(["doubtful"] if each.doubtful else [])]
    where = f"{escape(each.image)}<br>{left}, {top} · {width} x {height}" + "".join(
        f" · <b>{note}</b>" for note in notes
    )
    return f"<li><figure>{img(each.crop, words, 120)}<figcaption>{where}</figcaption></figure></li>"


def _to_cite(total: int, sprites: int, images: int) -> str:
    method = (
        f"Sprites were found without labels by Delaminate {__version__} in {images:,} images. Each of the {sprites:,} sprites "
        f"stands for everything that was explained by one picture; {total:,} occurrences are what is seen of them after "
        "everything in front. They were not checked by hand unless this is said."
    )
    entry = (
        "@software{delaminate,\n  title = {Delaminate: unsupervised layered image decomposition},\n"
        f"  version = {{{__version__}}}\n}}"
    )
    return (
        '<section aria-labelledby="cite"><h2 id="cite">To cite</h2>'
        f'<p class="note">{escape(method)}</p><pre class="card">{escape(entry)}</pre></section>'
    )

"""One self-contained HTML page about a training: what went well and wrong, the signals of its health, and its pictures.

In the style of the page about a decomposition: nothing is loaded from elsewhere, and there is no script.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from delaminate.errors import FormatError, reading
from delaminate.exporters.chart import draw_curve
from delaminate.exporters.figure_texts import SIGNALS
from delaminate.exporters.files import ExportResult
from delaminate.exporters.html import FOOTER, header, img, page, sprite_card
from delaminate.files import write_atomic

MOST_PICTURES, MOST_SPRITES = 4, 200
LARGEST_PREVIEW = 2**25
"""Pixels of a preview that is shown."""


def write_history(
    path: str | Path,
    *,
    title: str,
    log: Sequence[Mapping[str, Any]],
    previews: Sequence[str | Path] = (),
    rows: str = "",
    facts: Mapping[str, str] | None = None,
    signals: Mapping[str, str] | None = None,
    verdict: str = "",
    sprites: Sequence[UInt8[np.ndarray, "h w 4"]] = (),
    worst: Sequence[UInt8[np.ndarray, "_H _W 3"]] = (),
) -> ExportResult:
    """Write the page.

    Args:
        path: The HTML file.
        title: What was trained.
        log: Lines of metrics.jsonl: figures by stage and step, and notes.
        previews: Pictures of the run, in its order; four at most are shown, the first and the last among them.
        rows: What the rows of such a picture are.
        facts: Short facts for the head of the page.
        signals: Figures of the method that was trained, with their meaning; they come before those of all methods.
        verdict: What came out, in a sentence or two.
        sprites: The sprites that there are now, RGBA.
        worst: Images that are rebuilt worst, each beside its reconstruction and the difference.

    Raises:
        FormatError: A preview is no picture.
        OutputError: The file cannot be written.
    """
    notes = [str(line["note"]) for line in log if "note" in line]
    steps = [line for line in log if "stage" in line]
    lead = "No step has been finished yet."
    if steps:
        lead = f"{len(steps):,} logged step{'s' * (len(steps) != 1)}, and {len(notes)} remark{'s' * (len(notes) != 1)}."
    lead = f"{verdict} {lead}" if verdict else lead
    parts = [
        header(title, lead, facts or {}, ""),
        "<main>",
        _sprites(sprites),
        _worst(worst),
        _notes(notes),
        _signals(steps, {**SIGNALS, **(signals or {})}),
        _pictures(previews, rows),
    ]
    write_atomic(Path(path), page(title, [*parts, "</main>", FOOTER]).encode("utf-8", "backslashreplace"))
    return ExportResult((Path(path),), None)


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<section aria-labelledby="notes"><h2 id="notes">What happened</h2><ul>{items}</ul></section>'


def _sprites(sprites: Sequence[UInt8[np.ndarray, "h w 4"]]) -> str:
    """A card for each sprite, enlarged so that it can be seen."""
    if not sprites:
        return ""
    cards = []
    for number, pixels in enumerate(sprites[:MOST_SPRITES]):
        height, width = pixels.shape[:2]
        scale = max(1, min(6, 96 // max(height, width)))
        shown = pixels.repeat(scale, 0).repeat(scale, 1)
        title = f"sprite {number}"
        cards.append(sprite_card(img(shown, title), title, f"{width} x {height} pixels"))
    more = f'<p class="note">And {len(sprites) - MOST_SPRITES} more.</p>' if len(sprites) > MOST_SPRITES else ""
    head = '<section aria-labelledby="sprites"><h2 id="sprites">Sprites</h2><ul class="sprites">'
    return f"{head}{''.join(cards)}</ul>{more}</section>"


def _worst(worst: Sequence[UInt8[np.ndarray, "_H _W 3"]]) -> str:
    if not worst:
        return ""
    shown = "".join(f"<figure>{img(pixels, 'image, reconstruction, difference')}</figure>" for pixels in worst)
    said = '<p class="note">Image, reconstruction and what differs; of a sample of the training images.</p>'
    return f'<section aria-labelledby="worst"><h2 id="worst">Rebuilt worst</h2>{said}{shown}</section>'


def _signals(steps: Sequence[Mapping[str, Any]], signals: Mapping[str, str]) -> str:
    """A curve for each signal that the log has."""
    charts = []
    for name, meaning in signals.items():
        curve = [(int(line["total_step"]) + 1, float(line[name]), str(line["stage"])) for line in steps if name in line]
        if name == "loss" and not any(value for _, value, _ in curve):
            continue  # a search has none
        if chart := draw_curve(curve, name):
            charts.append(
                f'<h3><code>{name}</code></h3><p class="note">{escape(meaning)}</p><div class="card chart">{chart}</div>'
            )
    if not charts:
        return ""
    return f'<section aria-labelledby="signals"><h2 id="signals">How it went</h2>{"".join(charts)}</section>'


def _pictures(previews: Sequence[str | Path], rows: str) -> str:
    if not previews:
        return ""
    count = min(len(previews), MOST_PICTURES)
    chosen = sorted({round(index * (len(previews) - 1) / max(count - 1, 1)) for index in range(count)})
    shown = []
    for path in (Path(previews[index]) for index in chosen):
        step = f"After {int(path.stem):,} steps" if path.stem.isdigit() else path.stem
        shown.append(f"<figure>{img(_read(path), step)}<figcaption>{escape(step)}</figcaption></figure>")
    said = f'<p class="note">Rows, from the top: {escape(rows)}.</p>' if rows else ""
    return f'<section aria-labelledby="pictures"><h2 id="pictures">What it saw</h2>{said}{"".join(shown)}</section>'


def _read(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    with reading(path, FormatError, "is no PNG that can be read"), Image.open(path, formats=("PNG",)) as image:
        if image.width * image.height > LARGEST_PREVIEW:
            raise FormatError(f"{path}: {image.width} x {image.height} pixels; expected at most {LARGEST_PREVIEW:,}.")
        return np.asarray(image.convert("RGB"))

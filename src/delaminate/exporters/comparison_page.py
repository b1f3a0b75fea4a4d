"""One self-contained HTML page about several models: settings, provenance, figures, curves, the same images side by side."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from delaminate.exporters.chart import Point, draw_curve
from delaminate.exporters.figure_texts import explanation
from delaminate.exporters.files import ExportResult
from delaminate.exporters.html import FOOTER, header, img, page, segmentation_picture
from delaminate.files import to_pixels, write_atomic
from delaminate.scene.scenes import Scene

Rows = Mapping[str, Sequence[Any]]


def write_comparison(
    path: str | Path,
    *,
    names: Sequence[str],
    settings: Rows,
    provenance: Rows,
    figures: Rows,
    curves: Sequence[Sequence[Point]],
    scenes: Sequence[Sequence[Scene]],
    originals: Sequence[UInt8[np.ndarray, "_H _W 3"]],
) -> ExportResult:
    """Write the page.

    Args:
        path: The HTML file.
        names: Of the models.
        settings: Settings that differ, one value a model.
        provenance: How each model was made.
        figures: One value a model: a number, a pair of mean and deviation, or None.
        curves: The loss of each training; empty where it is not known.
        scenes: Of each model, the same images taken apart; maybe none.
        originals: These images.

    Raises:
        OutputError: The file cannot be written.
    """
    facts = {f"Model {number}": name for number, name in enumerate(names, start=1)}
    parts = [
        header("Side by side", f"{len(names)} models, the same images.", facts, ""),
        "<main>",
        _table("settings", "What is set otherwise", names, settings, "All settings are the same."),
        _table("provenance", "How they were made", names, provenance, ""),
        _figures(names, figures),
        _curves(names, curves),
        _images(names, scenes, originals),
        "</main>",
        FOOTER,
    ]
    write_atomic(Path(path), page("Side by side", parts).encode())
    return ExportResult((Path(path),), None)


def setting_text(value: Any) -> str:
    """Write a setting for people."""
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def figure_text(value: Any) -> str:
    """Write a figure for people: a number, or mean and deviation."""
    if value is None:
        return "–"
    if isinstance(value, tuple):
        return f"{value[0]:.4g} ± {value[1]:.2g}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _section(key: str, title: str, body: str) -> str:
    return f'<section aria-labelledby="{key}"><h2 id="{key}">{escape(title)}</h2>{body}</section>'


def _table(key: str, title: str, names: Sequence[str], rows: Rows, empty: str) -> str:
    if not rows:
        return _section(key, title, f'<p class="note">{escape(empty)}</p>') if empty else ""
    return _section(key, title, _rows(names, {name: list(map(setting_text, values)) for name, values in rows.items()}))


def _rows(names: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("", *names))
    body = "".join(
        f'<tr><th scope="row">{escape(key)}</th>{"".join(f"<td>{escape(each)}</td>" for each in values)}</tr>'
        for key, values in rows.items()
    )
    return f'<div class="card scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _figures(names: Sequence[str], figures: Rows) -> str:
    if not figures:
        return ""
    told = {key: [*map(figure_text, values), explanation(key)] for key, values in figures.items()}
    note = '<p class="note">Mean and deviation over the images, where two numbers stand. Labels, if any, are only measured.</p>'
    return _section("figures", "In figures", note + _rows([*names, "What it means"], told))


def _curves(names: Sequence[str], curves: Sequence[Sequence[Point]]) -> str:
    drawn = [(name, draw_curve(curve)) for name, curve in zip(names, curves, strict=True) if len(curve) > 1]
    if not drawn:
        return ""
    return _section("curves", "How the loss fell", "".join(f"<h3>{escape(name)}</h3>{curve}" for name, curve in drawn))


def _images(
    names: Sequence[str], scenes: Sequence[Sequence[Scene]], originals: Sequence[UInt8[np.ndarray, "_H _W 3"]]
) -> str:
    count = min(map(len, scenes), default=0)
    cards = []
    for index in range(count):
        views = [_figure(originals[index], "Image")] if index < len(originals) else []
        for name, made in zip(names, scenes, strict=True):
            views.append(_figure(to_pixels(made[index].composite()), f"{name}: rebuilt"))
            views.append(_figure(segmentation_picture(made[index]), f"{name}: segmentation"))
        title = escape(scenes[0][index].name)
        cards.append(f'<article class="card"><h3>{title}</h3><div class="views">{"".join(views)}</div></article>')
    if not cards:
        return ""
    return _section("images", "The same images", f'<div class="images">{"".join(cards)}</div>')


def _figure(pixels: np.ndarray, caption: str) -> str:
    return (
        f'<figure><div class="regions">{img(pixels, caption)}</div><figcaption>{escape(caption)}</figcaption></figure>'
    )

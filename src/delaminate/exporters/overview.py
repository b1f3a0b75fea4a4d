"""One page about a collection that was taken apart by itself: what it is, what was done, what came out, where the rest lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from delaminate.exporters.files import ExportResult
from delaminate.exporters.html import FOOTER, header, img, page
from delaminate.files import write_atomic

SMALL = "display:inline-block;height:11rem;width:auto;max-width:100%;margin:0 .6rem .6rem 0;object-fit:contain"


@dataclass(frozen=True)
class Link:
    """A file beside the page.

    Attributes:
        path: Relative to the page, with `/`.
        about: What it is, in a few words.
    """

    path: str
    about: str


def write_overview(
    path: str | Path,
    *,
    title: str,
    lead: str,
    evidence: Sequence[str] = (),
    remarks: Sequence[str] = (),
    commands: Sequence[str] = (),
    links: Sequence[Link] = (),
    pictures: Sequence[UInt8[np.ndarray, "_H _W 3"]] = (),
) -> ExportResult:
    """Write the page.

    Args:
        path: The HTML file.
        title: The name of the collection.
        lead: What came out, in words.
        evidence: What the collection is, and why one thinks so.
        remarks: What looks wrong, and what would help.
        commands: What was done, as commands.
        links: Files beside the page.
        pictures: Images as rebuilt beside what was found in them; or image, reconstruction and difference.

    Raises:
        OutputError: The file cannot be written.
    """
    figures = "".join(img(pixels, "an image as rebuilt, and what was found", style=SMALL) for pixels in pictures)
    rows = "".join(f'<li><a href="{escape(link.path)}">{escape(link.about)}</a></li>' for link in links)
    parts = [
        header(title, lead, {}, ""),
        "<main>",
        _section("what", "What it is", _list(evidence)),
        _section("look", "What was found", figures),
        _section("remarks", "What to look at", _list(remarks)),
        _section("files", "More", f"<ul>{rows}</ul>" if rows else ""),
        _section("commands", "The same by hand", _list(commands, "code")),
        "</main>",
        FOOTER,
    ]
    write_atomic(Path(path), page(title, parts).encode("utf-8", "backslashreplace"))
    return ExportResult((Path(path),), None)


def _list(texts: Sequence[str], tag: str = "span") -> str:
    items = "".join(f"<li><{tag}>{escape(text)}</{tag}></li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def _section(name: str, title: str, inside: str) -> str:
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{inside}</section>' if inside else ""

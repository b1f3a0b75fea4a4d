"""OpenRaster files as Krita, MyPaint, GIMP and others save them.

OpenRaster 0.0.5: `stack.xml` lists layers front to back, in nested stacks for groups; each layer is a PNG at an offset.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from delaminate.data.reading import decode_with_alpha
from delaminate.errors import FormatError, reading
from delaminate.importers.document import (
    MAX_LAYER_PIXELS,
    Document,
    DocumentLayer,
    LayerBudget,
    check_canvas,
    plain_xml,
    with_opaque,
)

BROKEN = "no OpenRaster file"
MAX_STACK_BYTES = 32 * 2**20
MAX_PICTURE_BYTES = 256 * 2**20
MAX_DEPTH = 64
NORMAL = ("", "svg:src-over")
HIDDEN = "hidden"


@dataclass(frozen=True)
class _Group:
    """What layers have from the stacks around them."""

    opacity: float = 1.0
    visible: bool = True


def read_openraster(path: str | Path) -> Document:
    """Read the layers of an .ora file; groups are taken apart.

    Raises:
        FormatError: It is none, is damaged, or claims more than memory should hold.
    """
    where = str(path)
    with reading(Path(path), FormatError, BROKEN), zipfile.ZipFile(path) as archive:
        root = plain_xml(_member(archive, "stack.xml", MAX_STACK_BYTES), "image", f"{where}: stack.xml")
        size = check_canvas(where, _whole(root, "h", where), _whole(root, "w", where))
        budget, remarks = LayerBudget(where), dict[str, None]()
        layers = [
            _layer(archive, element, group, budget, remarks, where)
            for element, group in _elements(root, _Group(), remarks, where)
        ]
        return Document(where, size, tuple(reversed(layers)), tuple(remarks))


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Read a member, of bounded size whatever the archive claims."""
    info = archive.getinfo(name)
    with archive.open(info) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise FormatError(f"{name} has more than {most:,} bytes")
    return data


def _whole(element: ElementTree.Element, key: str, where: str, default: str | None = None) -> int:
    text = element.get(key, default)
    try:
        return round(float(text))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise FormatError(f"{where}: {element.tag} has {key} {text!r:.40}; expected a whole number.") from None


def _opacity(element: ElementTree.Element, where: str) -> float:
    text = element.get("opacity", "1")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise FormatError(f"{where}: {element.tag} has opacity {text!r:.40}; expected 0 to 1.")
    return value


def _elements(
    stack: ElementTree.Element, group: _Group, remarks: dict[str, None], where: str, depth: int = 0
) -> Iterator[tuple[ElementTree.Element, _Group]]:
    """Layers front to back, with what their groups do to them."""
    if depth > MAX_DEPTH:
        raise FormatError(f"{where}: stacks in stacks, more than {MAX_DEPTH} deep.")
    for element in stack:
        if element.tag == "layer":
            yield element, group
        elif element.tag == "stack":
            inner = group
            if depth:  # the outermost stack is the image itself
                _note_blending(element, remarks)
                visible = group.visible and element.get("visibility") != HIDDEN
                inner = _Group(group.opacity * _opacity(element, where), visible)
            yield from _elements(element, inner, remarks, where, depth + 1)


def _note_blending(element: ElementTree.Element, remarks: dict[str, None]) -> None:
    mode = element.get("composite-op", "")
    if mode not in NORMAL:
        remarks[f"{element.get('name', element.tag)[:80]!r} is blended by {mode[:40]!r}; taken as normal"] = None


def _layer(
    archive: zipfile.ZipFile,
    element: ElementTree.Element,
    group: _Group,
    budget: LayerBudget,
    remarks: dict[str, None],
    where: str,
) -> DocumentLayer:
    _note_blending(element, remarks)
    source, name = element.get("src", ""), element.get("name", "")
    data = _member(archive, source, MAX_PICTURE_BYTES)
    budget.take(*_png_size(data, source))
    return DocumentLayer(
        name=name,
        pixels=with_opaque(decode_with_alpha(data, f"{where}: {source}", MAX_LAYER_PIXELS)),
        top=_whole(element, "y", where, "0"),
        left=_whole(element, "x", where, "0"),
        opacity=group.opacity * _opacity(element, where),
        visible=group.visible and element.get("visibility") != HIDDEN,
    )


def _png_size(data: bytes, name: str) -> tuple[int, int]:
    """Height and width that a PNG claims."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < 24:
        raise FormatError(f"{name} is no PNG")
    return int.from_bytes(data[20:24]), int.from_bytes(data[16:20])

"""Who imports whom, read from the source: the graph of packages, and a drawing of it."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path

PACKAGE = "delaminate"
BOX = (132, 48)
GAP = (20, 52)
THREAD = 4
"""Width of the room that an arrow gets in a row that it only passes."""
INWARDS = 0.25
"""How much everything is drawn to the middle, so that the picture does not spread."""


@dataclass(frozen=True)
class Part:
    """A package, or a module beside the packages.

    Attributes:
        name: Below the root package.
        about: The first sentence of its docstring.
        modules, lines: How large it is.
        imports: The parts that it imports, wherever the statement stands.
    """

    name: str
    about: str
    modules: int
    lines: int
    imports: frozenset[str]


def read_parts(root: Path) -> dict[str, Part]:
    """Read every import statement below a package's folder, and what each part says of itself."""
    names = {path.stem for path in root.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    names -= {"__init__", "__main__"}
    parts = {}
    for name in sorted(names):
        folder, module = root / name, root / f"{name}.py"
        files = sorted(folder.rglob("*.py")) if folder.is_dir() else [module]
        trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in files}
        said = ast.get_docstring(trees[folder / "__init__.py" if folder.is_dir() else module]) or ""
        imported = {each for tree in trees.values() for each in imported_parts(tree)}
        lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
        parts[name] = Part(name, first_sentence(said), len(files), lines, frozenset(imported & names - {name}))
    return parts


def imported_parts(tree: ast.AST) -> Iterator[str]:
    """The parts of the package that a module names in its imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            root, _, rest = module.partition(".")
            if root == PACKAGE and rest:
                yield rest.split(".")[0]


def first_sentence(text: str) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join(text.split("\n\n")[0].split())


def ranks(graph: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Put each part above all that it imports, and as near as can be to those that import it.

    Raises:
        ValueError: Parts import one another in a circle.
    """
    found: dict[str, int] = {}

    def rank(name: str, path: tuple[str, ...] = ()) -> int:
        if name in path:
            raise ValueError(f"a circle of imports: {' -> '.join((*path, name))}")
        if name not in found:
            found[name] = 1 + max((rank(other, (*path, name)) for other in graph[name]), default=-1)
        return found[name]

    for name in graph:
        rank(name)
    importers = defaultdict(list)
    for name, others in graph.items():
        for other in others:
            importers[other].append(name)
    for name in sorted(found, key=found.__getitem__, reverse=True):
        if importers[name]:
            found[name] = min(found[other] for other in importers[name]) - 1
    return found


def reduced(graph: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Leave an arrow out where a chain of others says the same."""

    def reaches(name: str) -> set[str]:
        return {each for other in graph[name] for each in (other, *reaches(other))}

    return {
        name: {other for other in others if not any(other in reaches(each) for each in others if each != other)}
        for name, others in graph.items()
    }


@dataclass
class Drawing:
    """Where boxes and arrows lie, in pixels.

    Attributes:
        boxes: Centre of each box.
        arrows: The points that each arrow passes, from the importer down, by both names.
        width, height: Of the whole picture.
    """

    boxes: dict[str, tuple[float, float]] = field(default_factory=dict)
    arrows: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    width: float = 0
    height: float = 0


def arrange(graph: Mapping[str, Iterable[str]]) -> Drawing:
    """Place parts in rows, importers above, so that few arrows cross."""
    level, edges = ranks(graph), reduced(graph)
    rows: dict[int, list[str]] = defaultdict(list)
    for name in sorted(graph):
        rows[level[name]].append(name)
    below: dict[str, list[str]] = defaultdict(list)
    chains: dict[tuple[str, str], list[str]] = {}
    for name in sorted(edges):
        for other in sorted(edges[name]):
            chain = [name, *(f"{name}>{other}>{row}" for row in range(level[name] - 1, level[other], -1)), other]
            for row, thread in zip(range(level[name] - 1, level[other], -1), chain[1:-1], strict=True):
                rows[row].append(thread)
            for upper, lower in pairwise(chain):
                below[upper].append(lower)
            chains[name, other] = chain
    order = _uncrossed([rows[row] for row in sorted(rows, reverse=True)], below)
    x = _positions(order, below)
    drawing = Drawing(width=max(x.values()) + BOX[0] / 2 + 8, height=len(order) * (BOX[1] + GAP[1]) - GAP[1] + 16)
    y = {name: 8 + BOX[1] / 2 + row * (BOX[1] + GAP[1]) for row, names in enumerate(order) for name in names}
    drawing.boxes = {name: (x[name], y[name]) for name in graph}
    leave = _ports(x, {name: [(chains[name, other][1], other) for other in edges[name]] for name in graph})
    above = {name: [(chains[pair][-2], pair[0]) for pair in chains if pair[1] == name] for name in graph}
    enter = _ports(x, above)
    for (name, other), chain in chains.items():
        points = [(x[name] + leave[name, other], y[name] + BOX[1] / 2)]
        for thread in chain[1:-1]:  # straight through the row
            points += [(x[thread], y[thread] - BOX[1] / 2), (x[thread], y[thread] + BOX[1] / 2)]
        drawing.arrows[name, other] = [*points, (x[other] + enter[other, name], y[other] - BOX[1] / 2 - 2)]
    return drawing


def _ports(x: Mapping[str, float], ends: Mapping[str, list[tuple[str, str]]]) -> dict[tuple[str, str], float]:
    """Where the arrows at one side of each box touch it, from its middle, in the order in which they come."""
    found = {}
    for name, arrows in ends.items():
        step = min(18.0, (BOX[0] - 28) / max(len(arrows) - 1, 1))
        for index, (_, other) in enumerate(sorted(arrows, key=lambda each: x[each[0]])):
            found[name, other] = (index - (len(arrows) - 1) / 2) * step
    return found


def _uncrossed(rows: list[list[str]], below: Mapping[str, list[str]]) -> list[list[str]]:
    """Order each row by the middle of its neighbours, above and below in turn; keep the order with fewest crossings."""
    above: dict[str, list[str]] = defaultdict(list)
    for upper, lowers in below.items():
        for lower in lowers:
            above[lower].append(upper)
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for turn in range(24):
        down = turn % 2 == 0
        beside = above if down else below
        for index in range(len(rows)) if down else reversed(range(len(rows))):
            place = {name: at / max(len(row) - 1, 1) for row in rows for at, name in enumerate(row)}
            middle = {
                name: sum(place[each] for each in beside[name]) / len(beside[name]) if beside.get(name) else place[name]
                for name in rows[index]
            }
            rows[index] = sorted(rows[index], key=middle.__getitem__)
        count = _crossings(rows, below)
        if count < fewest:
            best, fewest = [list(row) for row in rows], count
    return best


def _crossings(rows: list[list[str]], below: Mapping[str, list[str]]) -> int:
    place = {name: at for row in rows for at, name in enumerate(row)}
    count = 0
    for row in rows:
        lines = [(place[upper], place[lower]) for upper in row for lower in below.get(upper, ())]
        count += sum((a - c) * (b - d) < 0 for index, (a, b) in enumerate(lines) for c, d in lines[index + 1 :])
    return count


def _positions(rows: list[list[str]], below: Mapping[str, list[str]]) -> dict[str, float]:
    """Give every box and thread its x: near its neighbours, in the order of its row, without overlap."""
    beside: dict[str, list[str]] = defaultdict(list)
    for upper, lowers in below.items():
        for lower in lowers:
            beside[upper].append(lower)
            beside[lower].append(upper)

    def width(name: str) -> float:
        return THREAD if ">" in name else BOX[0]

    def apart(left: str, right: str) -> float:
        return (width(left) + width(right)) / 2 + GAP[0]

    x: dict[str, float] = {}
    for row in rows:
        at = 0.0
        for index, name in enumerate(row):
            at += apart(row[index - 1], name) if index else width(name) / 2
            x[name] = at
    widest = max(x[row[-1]] + width(row[-1]) / 2 for row in rows)
    for row in rows:
        shift = (widest - x[row[-1]] - width(row[-1]) / 2) / 2
        x |= {name: x[name] + shift for name in row}
    for _ in range(60):
        for row in rows:
            wanted = [INWARDS * widest / 2 + (1 - INWARDS) * _pulled(name, x, beside[name]) for name in row]
            # The nearest places that keep the order: half from the left, half from the right.
            right, left = list(wanted), list(wanted)
            for index in range(1, len(row)):
                right[index] = max(right[index], right[index - 1] + apart(row[index - 1], row[index]))
            for index in reversed(range(len(row) - 1)):
                left[index] = min(left[index], left[index + 1] - apart(row[index], row[index + 1]))
            x |= {name: (a + b) / 2 for name, a, b in zip(row, left, right, strict=True)}
    start = min(at - width(name) / 2 for name, at in x.items()) - 8
    return {name: at - start for name, at in x.items()}


def _pulled(name: str, x: Mapping[str, float], beside: list[str]) -> float:
    """Where its neighbours pull a box or a thread; threads pull threads most, so that arrows run straight."""
    weights = [4.0 if ">" in name and ">" in each else 1.0 for each in beside]
    drawn = sum(weight * x[each] for weight, each in zip(weights, beside, strict=True))
    return drawn / sum(weights) if beside else x[name]


def to_svg(parts: Mapping[str, Part]) -> str:
    """Draw the graph. Colours come from the page's style sheet, so that it is readable in the light and in the dark."""
    drawing = arrange({name: part.imports for name, part in parts.items()})
    width, height = round(drawing.width), round(drawing.height)
    lines = [
        f'<svg class="import-graph" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Packages of {PACKAGE} and who imports whom">',
        '<defs><marker id="import-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0.8 L7.4 4 L0 7.2 Z"/></marker></defs>',
    ]
    for (name, other), points in sorted(drawing.arrows.items()):
        lines.append(
            f'<path class="arrow" d="{_curve(points)}" marker-end="url(#import-tip)">'
            f"<title>{escape(name)} imports {escape(other)}</title></path>"
        )
    for name, (x, y) in sorted(drawing.boxes.items()):
        part = parts[name]
        size = f"{part.modules} files, {part.lines:,} lines" if part.modules > 1 else f"{part.lines:,} lines"
        lines.append(
            f'<g class="box" transform="translate({x - BOX[0] / 2:.1f} {y - BOX[1] / 2:.1f})">'
            f"<title>{escape(part.about)}</title>"
            f'<rect width="{BOX[0]}" height="{BOX[1]}" rx="7"/>'
            f'<text class="name" x="{BOX[0] / 2}" y="21">{escape(name)}</text>'
            f'<text class="size" x="{BOX[0] / 2}" y="37">{size}</text></g>'
        )
    return "\n".join([*lines, "</svg>"])


def _curve(points: list[tuple[float, float]]) -> str:
    """A smooth line down through points; straight where one lies below the other."""
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        half = 0.55 * (to_y - y)
        path.append(f"C{x:.1f} {y + half:.1f} {to_x:.1f} {to_y - half:.1f} {to_x:.1f} {to_y:.1f}")
    return " ".join(path)

"""A training curve as inline SVG, drawn here so that the report needs nothing from outside."""

import math
from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise

Point = tuple[int, float, str]  # step, value, stage
Axis = Callable[[float], float]  # a number to a position on the page

WIDTH, HEIGHT = 960, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 34, 36
MOST_POINTS = 400
LOG_RATIO = 20.0  # a curve that spans more than this is drawn on a logarithmic axis


def _continuous(curve: Sequence[Point]) -> list[Point]:
    """Count steps on where a stage starts again at 0, and drop values that are not finite."""
    out: list[Point] = []
    base, last = 0, 0
    for step, value, stage in curve:
        if out and base + step < last:
            base = last
        last = base + step
        if math.isfinite(value):
            out.append((last, value, stage))
    return out


def _stages(curve: Sequence[Point]) -> list[list[Point]]:
    """Cut the curve where the stage changes, and thin each part by means of neighbours."""
    parts: list[list[Point]] = []
    for point in curve:
        if not parts or parts[-1][-1][2] != point[2]:
            parts.append([])
        parts[-1].append(point)
    thin = []
    for part in parts:
        size = math.ceil(len(part) * len(parts) / MOST_POINTS)
        groups = [part[start : start + size] for start in range(0, len(part), size)]
        thin.append([(group[-1][0], sum(p[1] for p in group) / len(group), group[0][2]) for group in groups])
    return thin


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Choose round numbers between two values.

    >>> ticks(0.0, 0.93)
    [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    chosen = [m * 10.0**power for power in powers for m in (1, 3) if low <= m * 10.0**power <= high]
    return chosen[:: max(1, len(chosen) // 7)]


def draw_curve(curve: Sequence[Point], label: str = "value") -> str:
    """Draw values over steps, with a band and a name for each stage.

    Args:
        curve: Step, value and stage, in the order of training. Steps may start again with each stage.
        label: What the values are, in plain words.

    Returns:
        An `svg` element, or an empty string where there are fewer than two finite values.
    """
    points = _continuous(curve)
    if len(points) < 2:
        return ""
    parts = _stages(points)
    values = [value for part in parts for _, value, _ in part]
    low, high = min(values), max(values)
    log = low > 0 and high / low > LOG_RATIO
    if not log:
        low = min(low, 0.0) if low < 0.5 * high else low
        high = high if high > low else low + 1.0
    start, end = points[0][0], max(points[-1][0], points[0][0] + 1)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - start) / (end - start)

    def y(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    lines = _axes(_log_ticks(low, high) if log else ticks(low, high), ticks(start, end, 8), x, y)
    edges = [start, *(part[0][0] for part in parts[1:]), end]
    for index, (part, (begin, finish)) in enumerate(zip(parts, pairwise(edges), strict=True)):
        lines += _stage(part, index, x(begin), x(finish), x, y)
    step, value = parts[-1][-1][0], parts[-1][-1][1]
    lines.append(f'<circle class="end" cx="{x(step):.1f}" cy="{y(value):.1f}" r="3.5"/>')
    axis = ", logarithmic" if log else ""
    title = f"{label}{axis}: from {values[0]:.4g} to {values[-1]:.4g} over {end - start:,} steps"
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    return "\n".join([head, f"<title>{escape(title)}</title>", *lines, "</svg>"])


def _axes(heights: Sequence[float], steps: Sequence[float], x: Axis, y: Axis) -> list[str]:
    lines = []
    for value in heights:
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        lines.append(f'<text x="{LEFT - 10}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    for step in steps:
        lines.append(f'<text x="{x(step):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{step:,.0f}</text>')
    return lines


def _stage(part: Sequence[Point], index: int, begin: float, finish: float, x: Axis, y: Axis) -> list[str]:
    lines = []
    if index % 2 == 0:
        lines.append(
            f'<rect class="band" x="{begin:.1f}" y="{TOP - 26}" width="{finish - begin:.1f}" '
            f'height="{HEIGHT - BOTTOM - TOP + 26}" rx="6"/>'
        )
    if finish - begin > 8 * len(part[0][2]):
        lines.append(f'<text class="stage" x="{begin + 10:.1f}" y="{TOP - 8}">{escape(part[0][2])}</text>')
    path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value, _ in part)
    lines.append(f'<polyline class="line" points="{path}"/>')
    return lines

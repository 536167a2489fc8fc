"""Points in a plane as inline SVG: each named on hover, the front joined, and in words for those who see nothing.

Comes in: `Points`. Goes out: HTML text, names escaped. Read by `eie.show.page`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from eie.show.charts import Point, Points
from eie.show.html import key, safe
from eie.show.numbers import number

# A plane in its own units, which a page scales: text of 11 is read on a telephone too.
WIDTH, HEIGHT, LEFT, BOTTOM, EDGE = 400, 280, 52, 40, 12
MOST_SAID = 8  # points of a front that a sentence names
SERIES = 6  # colours of series in the style sheet


def plane_html(chart: Points) -> str:
    """Return an SVG element with axes, and which colour is what."""
    points = [point for listed in chart.series.values() for point in listed]
    across, up = _Axis([point.x for point in points]), _Axis([point.y for point in points])
    drawn = [_axes(chart, across, up)]
    for i, (name, listed) in enumerate(chart.series.items()):
        # Those of the front last: they lie on top of the others.
        ordered = sorted(listed, key=lambda point: (point.marked, point.x))
        drawn.append(_line([point for point in ordered if point.marked], (across, up), i))
        drawn += [
            _dot(chart, name, point, place=(across.x(point.x), up.y(point.y)), look=f"s{i % SERIES}")
            for point in ordered
        ]
    names = {f"part s{i % SERIES}": f"{name}: {chart.marked}" for i, name in enumerate(chart.series)}
    names["part"] = "other points"
    return (
        f'<svg class="plane" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{safe(_plane_in_words(chart))}">'
        f"{''.join(drawn)}</svg>{key(names)}"
    )


class _Axis:
    """Where values lie between 0 and 1: by their logarithms where they span more than a decade."""

    def __init__(self, values: Sequence[float]) -> None:
        self.low, self.high = min(values), max(values)
        self.log = self.low > 0 and self.high > 10 * self.low

    def at(self, value: float) -> float:
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        # All alike: in the middle.
        return (at - low) / (high - low) if high > low else 0.5

    def x(self, value: float) -> float:
        return LEFT + EDGE + self.at(value) * (WIDTH - LEFT - 2 * EDGE)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - EDGE - self.at(value) * (HEIGHT - BOTTOM - 2 * EDGE)

    def ticks(self) -> list[float]:
        """Values worth naming: five at most, even in what the axis is even in."""
        if self.low == self.high:
            return [self.low]
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            marks = [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
        else:
            # 1, 2 or 5 times a power of ten, whichever first gives five steps or fewer.
            rough = (self.high - self.low) / 5
            power = 10.0 ** math.floor(math.log10(rough))
            step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
            marks = [step * i for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        inside = [mark for mark in marks if self.low <= mark <= self.high]
        return inside[:: -(-len(inside) // 5)] if len(inside) > 1 else [self.low, self.high]


def _axes(chart: Points, across: _Axis, up: _Axis) -> str:
    right, low = WIDTH - EDGE / 2, HEIGHT - BOTTOM
    lines = [f'<path class="frame" d="M{LEFT} {EDGE / 2}V{low}H{right}"/>']
    for tick in across.ticks():
        x = across.x(tick)
        lines.append(f'<path class="grid" d="M{x:.1f} {EDGE / 2}V{low}"/>')
        lines.append(f'<text x="{x:.1f}" y="{low + 14}" text-anchor="middle">{number(tick)}</text>')
    for tick in up.ticks():
        y = up.y(tick)
        lines.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>')
        lines.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{number(tick)}</text>')
    middle, half = (LEFT + WIDTH) / 2, low / 2
    lines.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{safe(chart.x_label)}</text>')
    lines.append(
        f'<text transform="translate(11 {half}) rotate(-90)" text-anchor="middle">{safe(chart.y_label)}</text>'
    )
    return "".join(lines)


def _line(front: Sequence[Point], axes: tuple[_Axis, _Axis], series: int) -> str:
    """Join the points of a front, where they form one: a front in three ways is no line in two."""
    front = sorted(front, key=lambda point: (point.x, -point.y))
    if len(front) < 2 or any(after.y > before.y for before, after in pairwise(front)):
        return ""
    across, up = axes
    places = " ".join(f"{across.x(point.x):.1f},{up.y(point.y):.1f}" for point in front)
    return f'<polyline class="front s{series % SERIES}" points="{places}"/>'


def _dot(chart: Points, series: str, point: Point, *, place: tuple[float, float], look: str) -> str:
    x, y = place
    title = f"{series}, {point.name}: {chart.x_label} {number(point.x)}, {chart.y_label} {number(point.y)}"
    title += f", on the {chart.marked}" * point.marked
    drawn = f'class="dot {look}" r="4.5"' if point.marked else 'class="dot" r="3.5"'
    return f'<circle {drawn} cx="{x:.1f}" cy="{y:.1f}"><title>{safe(title)}</title></circle>'


def _plane_in_words(chart: Points) -> str:
    points = [point for listed in chart.series.values() for point in listed]
    best = sorted((point for point in points if point.marked), key=lambda point: point.x)
    said = [f"{len(points)} points"]
    for label, values in ((chart.x_label, [p.x for p in points]), (chart.y_label, [p.y for p in points])):
        said.append(f"{label} {number(min(values))} to {number(max(values))}")
    named = "; ".join(f"{point.name} ({number(point.x)}, {number(point.y)})" for point in best[:MOST_SAID])
    more = f" and {len(best) - MOST_SAID} more" if len(best) > MOST_SAID else ""
    return f"{', '.join(said)}. {len(best)} on the {chart.marked}: {named}{more}"

"""Charts as SVG: where each bar and line stands. The templates draw them, with attributes and classes alone.

The drawing is stretched to the width of its place, so it holds no text: that would be stretched with it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from status.figures import Figures, Point

WIDTH, HEIGHT = 1000.0, 200.0
GAP = 0.2
"""The part of a bar's place that is left free."""
STEPS = (1.0, 2.0, 5.0, 10.0)
CLOCK_STEPS = (60.0, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400)
"""The upper edges between a minute and a day, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One outcome within a bar."""

    outcome: str
    y: str
    height: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What ended in one span, one outcome on the other."""

    point: Point
    x: str
    width: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A chart of counts."""

    top: float
    """The value at the upper edge."""
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One percentile over time; where nothing ended the line has a gap."""

    part: str
    """`p50` or `p95`."""
    runs: tuple[str, ...]
    """The points of each piece, as SVG's `points`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """A chart of durations."""

    top: float
    """The seconds at the upper edge."""
    lines: tuple[Line, ...]


def nice_top(highest: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 … that is not below.

    >>> nice_top(37), nice_top(0.3), nice_top(0)
    (50.0, 0.5, 1.0)
    """
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    # The last digit of a power of ten may be wrong.
    return next(round(power * step, 9) for step in STEPS if power * step >= highest * (1 - 1e-9))


def nice_seconds(highest: float) -> float:
    """The same for durations, of which people count sixty and not a hundred.

    >>> nice_seconds(0.3), nice_seconds(37), nice_seconds(1000), nice_seconds(100_000)
    (0.5, 60.0, 1800, 172800.0)
    """
    if highest <= 20:
        return nice_top(highest)
    if highest > CLOCK_STEPS[-1]:
        return nice_top(highest / 86_400) * 86_400
    return next(step for step in CLOCK_STEPS if step >= highest)


def throughput(figures: Figures) -> Bars:
    """What ended in each span, stacked by outcome."""
    points = figures.points
    top = nice_top(max(point.ended for point in points))
    place = WIDTH / len(points)
    bars = []
    for number, point in enumerate(points):
        if point.ended:
            x, width = place * (number + GAP / 2), place * (1 - GAP)
            bars.append(Bar(point=point, x=_text(x), width=_text(width), parts=_parts(point, top)))
    return Bars(top=top, bars=tuple(bars))


def _parts(point: Point, top: float) -> tuple[Part, ...]:
    parts, floor = [], HEIGHT
    counts = (("succeeded", point.succeeded), ("cancelled", point.cancelled), ("failed", point.failed))
    for outcome, count in counts:
        height = HEIGHT * count / top
        floor -= height
        if count:
            parts.append(Part(outcome=outcome, y=_text(floor), height=_text(height)))
    return tuple(parts)


def waiting(figures: Figures) -> Lines:
    """How long jobs waited for a worker, by the span in which they ended."""
    return _lines(figures.points, lambda point, part: point.waits.percentile(part))


def running(figures: Figures) -> Lines:
    """How long jobs ran, by the span in which they ended."""
    return _lines(figures.points, lambda point, part: point.runs.percentile(part))


def _lines(points: Sequence[Point], read: Callable[[Point, float], float | None]) -> Lines:
    values = {name: [read(point, part) for point in points] for name, part in (("p50", 0.5), ("p95", 0.95))}
    highest = max((value for line in values.values() for value in line if value is not None), default=0.0)
    top = nice_seconds(highest)
    lines = (Line(part=name, runs=tuple(_runs(line, top))) for name, line in values.items())
    return Lines(top=top, lines=tuple(lines))


def _runs(values: Sequence[float | None], top: float) -> Iterable[str]:
    """The pieces of a line between gaps; a single point is drawn as a line to itself, whose ends are round."""
    place = WIDTH / len(values)
    piece: list[str] = []
    for number, value in enumerate([*values, None]):
        if value is not None:
            piece.append(f"{_text(place * (number + 0.5))},{_text(HEIGHT * (1 - value / top))}")
        elif piece:
            yield " ".join(piece if len(piece) > 1 else piece * 2)
            piece = []


def _text(number: float) -> str:
    """A coordinate; templates would write it as people of each language do."""
    return f"{number:.1f}".removesuffix(".0")

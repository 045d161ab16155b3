"""What the page of workers and queues writes in its own way."""

from collections.abc import Iterator
from functools import lru_cache

from django import template
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from status import findings
from status.charts import Bar, Bars, Part
from status.durations import Durations
from status.figures import Figures, Point
from status.moments import written
from status.queue_lines import cell_id
from status.states import Failure
from status.templatetags.status import moment
from status.windows import Window
from status.wording import amount, shortly

register = template.Library()

FIGURE = '<td class="figure">{}</td>'

register.filter("roughly", findings.roughly)
register.filter(shortly)


@register.filter
def cell_for(name: str, kind: str) -> str:
    """An id for the figures of what has that name."""
    return cell_id(kind, name)


@register.filter
def percentile(durations: Durations, percent: int) -> str:
    """A percentile of `durations.Durations`, to two figures: "1.2 s"; "–" for none.

    >>> percentile(Durations(), 95)
    '–'
    """
    seconds = durations.percentile(percent / 100)
    if seconds is None:
        return "–"
    return _written(seconds, get_language())


@lru_cache(maxsize=2048)
def _written(seconds: float, _language: str | None) -> str:
    """A duration to two figures, the bins are no finer; a page writes hundreds, of few different ones."""
    return shortly(float(f"{seconds:.2g}"))


@register.simple_tag
def figure_rows(figures: Figures) -> SafeString:
    """The rows of the table, one for each span in which anything ended."""
    form = moment_form(figures.window)
    return format_html_join(
        "",
        '<tr class="border-t border-line"><th class="font-normal" scope="row">{}</th>' + FIGURE * 7 + "</tr>",
        ((moment(point.at, form), *_cells(point)) for point in figures.points if point.ended),
    )


@register.simple_tag
def bar_shapes(bars: Bars, window: Window) -> SafeString:
    """The bars of a chart as groups of `<rect>`, each with a `<title>` that says what it counts."""
    form = moment_form(window)
    return format_html_join(
        "",
        "<g>{}<title>{}: {} / {} / {}</title></g>",
        (
            (
                mark_safe("".join(_rect(bar, part) for part in bar.parts)),  # noqa: S308
                written(bar.point.at, form),
                *map(amount, (bar.point.succeeded, bar.point.failed, bar.point.cancelled)),
            )
            for bar in bars.bars
        ),
    )


def _rect(bar: Bar, part: Part) -> str:
    place = f'x="{bar.x}" y="{part.y}" width="{bar.width}" height="{part.height}"'
    return f'<rect class="chart-bar" data-state="{part.outcome}" {place}/>'


def _cells(point: Point) -> Iterator[str]:
    for count in (point.succeeded, point.failed, point.cancelled):
        yield amount(count)
    for durations in (point.waits, point.runs):
        yield percentile(durations, 50)
        yield percentile(durations, 95)


@register.filter
def failure(kind: str) -> str:
    """What a kind of failure is called."""
    return str(Failure(kind).label) if kind in Failure.values else _("Unknown")


@register.filter
def unlocalised(number: float) -> str:
    """A number as HTML's attributes take it, whatever the language.

    >>> unlocalised(1204)
    '1204'
    """
    return str(number)


@register.filter
def span(window: Window) -> str:
    """How long each span of a window is."""
    return shortly(window.span_seconds)


@register.filter
def moment_form(window: Window) -> str:
    """How the moments of a window are written."""
    return "H:i" if window.seconds <= 86_400 else "D H:i"


@register.simple_tag
def points(pieces: tuple[str, ...]) -> SafeString:
    """The pieces of a line as `<polyline>`s; their coordinates are numbers of our own."""
    return mark_safe("".join(f'<polyline points="{piece}"/>' for piece in pieces))  # noqa: S308

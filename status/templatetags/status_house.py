"""What the page of workers and queues writes in its own way."""

from django import template
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from status import findings
from status.queue_lines import cell_id
from status.states import Failure
from status.windows import Window

register = template.Library()

register.filter("roughly", findings.roughly)
register.filter("shortly", findings.shortly)


@register.filter
def cell_for(name: str, kind: str) -> str:
    """An id for the figures of what has that name."""
    return cell_id(kind, name)


@register.filter
def percentile(durations: object, percent: int) -> str:
    """A percentile of `durations.Durations`, to two figures: "1.2 s"; "–" for none.

    >>> percentile(Durations(), 95)
    '–'
    """
    seconds = durations.percentile(percent / 100)  # type: ignore[attr-defined]
    if seconds is None:
        return "–"
    # The bins are no finer than this.
    return findings.shortly(float(f"{seconds:.2g}"))


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
    return findings.shortly(window.span_seconds)


@register.filter
def moment_form(window: Window) -> str:
    """How the moments of a window are written."""
    return "H:i" if window.seconds <= 86_400 else "D H:i"


@register.simple_tag
def points(pieces: tuple[str, ...]) -> SafeString:
    """The pieces of a line as `<polyline>`s; their coordinates are numbers of our own."""
    return mark_safe("".join(f'<polyline points="{piece}"/>' for piece in pieces))  # noqa: S308

"""`{% live %}`, `{% cell %}`, `{% live_log %}` and `{% live_socket %}`."""

import json
import re
from datetime import timedelta
from typing import Any

from django import template
from django.middleware.csrf import get_token
from django.template.defaultfilters import filesizeformat
from django.template.loader import get_template
from django.urls import get_script_prefix
from django.utils import timezone, translation
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from status import access, conf, rendering
from status.events import Step
from status.models import Job
from status.notifications import count_unread
from status.regions import Kind, Region, Subject, View, region_id
from status.rendering import Shown
from status.routing import PAGE_PATH
from status.states import State

register = template.Library()

CARD = "status/partials/card.html"
LINES = "status/partials/log_lines.html"


@register.simple_tag(takes_context=True)
def live(
    context: template.Context,
    subject: Job | Subject | str,
    partial: str = "",
    tag: str = "div",
    id: str = "",  # noqa: A002  # The name of the HTML attribute.
    **attributes: Any,
) -> str:
    """A region: shows `subject` now, and as it changes.

    Args:
        subject: a Job, the name of a topic, or a `Subject`.
        partial: the template; gets `job`, or the keys of the topic's payload. Without one a job shows as a
            card: a panel with its title as a link, and a region inside.
        tag: the region's element; it stays, and what is inside is swapped.
        id: its id; default: made from subject and partial.
        attributes: further attributes of the element; `_` becomes `-`.

    Raises:
        TemplateSyntaxError: the tag or id is no such name, or the context has no `request`.

    Example:
        `{% live job "orders/_row.html" tag="tr" class="border-b" data_job=job.pk %}` emits
        `<tr id="live-5d41402abc4b" class="border-b" data-job="…">…</tr>`.
    """
    is_card = isinstance(subject, Job) and not partial
    if is_card:
        partial, attributes = CARD, {"class": "contents", **attributes}
    region, shown = _note(context, subject, partial, tag, id, appends=False)
    painted = rendering.element(region, rendering.render(region, shown), attributes)
    if is_card:
        return get_template("status/card.html").render({"job": subject, "region": painted})
    return painted


@register.simple_block_tag
def cell(content: str, id: str, tag: str = "span", **attributes: Any) -> str:  # noqa: A002
    """A part of a region that changes often: while nothing else of the region does, it is swapped alone.

    So a link beside it can be clicked, and what has the focus keeps it. Cells do not nest.

    Args:
        content: what stands between the tags.
        id: the element's id; letters, digits, `-` and `_`, and its own on the page.
        tag: the element.
        attributes: further attributes; `_` becomes `-`.

    Raises:
        TemplateSyntaxError: the id is none.

    Example:
        `{% cell "done-17" class="text-sm" %}{{ job.percent }}%{% endcell %}`
    """
    if not re.fullmatch(r"[A-Za-z][\w-]*", id, re.ASCII):
        raise template.TemplateSyntaxError(
            f"{{% cell %}} needs an id of letters, digits, - and _, not {id!r}."
        )
    return rendering.cell(id, content, tag, attributes)


@register.simple_tag(takes_context=True)
def live_log(
    context: template.Context,
    job: Job,
    partial: str = LINES,
    tag: str = "ol",
    id: str = "",  # noqa: A002
    **attributes: Any,
) -> str:
    """A job's log: the last lines now, and new ones as they come.

    Example:
        `{% live_log job id="job-log" %}` emits `<ol id="job-log"><li>…</li></ol>`.
    """
    region, shown = _note(context, job, partial, tag, id, appends=True)
    return rendering.element(region, rendering.render(region, shown), attributes)


@register.simple_tag(takes_context=True)
def live_socket(context: template.Context) -> str:
    """The page's one socket, for all regions above it; once, at the end of the page.

    Emits `<div hx-ext="ws" ws-connect="/ws/status/?view=…">` with the heartbeat element inside; nothing when
    no region of the page can change any more, and there is no bell.
    """
    request = _request(context)
    noted = getattr(request, "_status_regions", {})
    moving = [region for region, shown in noted.values() if not _is_over(region, shown)]
    has_bell = getattr(request, "_status_bell", False)
    is_still = getattr(request, "_status_still", False)
    if not moving and not has_bell:
        return ""
    view = View(
        user=access.user_key(request.user),
        language=translation.get_language() or "en",
        timezone=timezone.get_current_timezone_name(),
        regions=tuple(region for region, shown in noted.values()),
        bell=has_bell,
    )
    token = access.sign(view)
    return get_template("status/partials/socket.html").render(
        {
            "url": f"{get_script_prefix()}{PAGE_PATH}?view={token}",
            "vals": json.dumps({"view": token}),
            "beat": rendering.beat(),
            # For the number at the bell alone nobody's form is emptied.
            "refresh_seconds": conf.current().refresh_seconds if moving and not is_still else None,
        }
    )


@register.simple_tag(takes_context=True)
def live_bell(context: template.Context) -> str:
    """The link to the inbox with the number of what is unread, and the place for toasts; before `{% live_socket %}`.

    Emits `<a href="…"><span id="live-bell">…</span></a><ol id="toasts" role="status">…</ol>` for who is logged in,
    else nothing.
    """
    request = _request(context)
    if not request.user.is_authenticated:
        return ""
    request._status_bell = True
    return get_template("status/bell.html").render(
        {
            "bell": rendering.render_bell(count_unread(request.user)),
            "slots": range(rendering.TOAST_SLOTS),
            "headers": json.dumps({"X-CSRFToken": get_token(request)}),
            "is_current": request.resolver_match is not None
            and request.resolver_match.view_name == "status:notifications",
        }
    )


def _request(context: template.Context) -> Any:
    request = context.get("request")
    if request is None or not hasattr(request, "user"):
        raise template.TemplateSyntaxError(
            "The status tags need `request` in the context, with its user: render with render(request, …), "
            "and keep the request context processor and AuthenticationMiddleware in the settings."
        )
    return request


def _note(
    context: template.Context,
    subject: Job | Subject | str,
    partial: str,
    tag: str,
    id_: str,
    *,
    appends: bool,
) -> tuple[Region, Shown]:
    """Make the region and note it on the request, under an id of its own."""
    noted: dict[str, tuple[Region, Shown]] = _request(context).__dict__.setdefault("_status_regions", {})
    subject, shown = _resolve(context, subject)
    wanted = id_ or region_id(subject, partial)
    unique, number = wanted, 2
    while unique in noted:
        unique, number = f"{wanted}-{number}", number + 1
    try:
        region = Region(subject, partial, unique, tag, appends)
    except ValueError as error:
        raise template.TemplateSyntaxError(str(error)) from error
    noted[unique] = region, shown
    return region, shown


def _resolve(context: template.Context, subject: Job | Subject | str) -> tuple[Subject, Shown]:
    if isinstance(subject, Job):
        return Subject.job(subject.pk), Shown(job=subject)
    if isinstance(subject, str) and subject:
        subject = Subject.topic(subject)
    if not isinstance(subject, Subject):
        raise template.TemplateSyntaxError(f"{{% live %}} shows a job or a topic's name, not {subject!r}.")
    known: dict[Subject, Shown] = getattr(_request(context), "_status_shown", {})
    return subject, known.get(subject) or rendering.load([subject])[subject]


def _is_over(region: Region, shown: Shown) -> bool:
    job = shown.job
    return region.subject.kind is Kind.JOB and job is not None and not (job.is_live or job.has_live_members)


@register.filter
def duration(value: timedelta | float | None) -> str:
    """A duration in its two largest units: "2 h 5 min", "48 s", "3 s", "0.4 s", "42 ms".

    >>> duration(timedelta(seconds=125))
    '2 min 5 s'
    """
    if value is None:
        return "–"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if 0 < seconds < 0.095:
        return _("%(milliseconds)d ms") % {"milliseconds": max(round(seconds * 1000), 1)}
    if seconds < 10 and not seconds.is_integer():
        return _("%(seconds)s s") % {"seconds": number_format(round(seconds, 1), 1)}
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return _("%(days)d d %(hours)d h") % {"days": days, "hours": hours}
    if hours:
        return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}
    if minutes:
        return _("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": seconds}
    return _("%(seconds)s s") % {"seconds": seconds}


@register.filter
def amount(value: float | None) -> str:
    """A count with separators and no needless decimals: "1,204", "3.5"; "–" for None."""
    if value is None:
        return "–"
    decimals = 0 if float(value).is_integer() or abs(value) >= 100 else 1
    return number_format(round(value, decimals), decimals, use_l10n=True, force_grouping=True)


@register.filter
def rate(value: float | None) -> str:
    """A rate with two or three significant figures: "1,204", "3.5", "0.07"."""
    if value is None:
        return "–"
    decimals = 0 if value >= 100 else 1 if value >= 1 else 2
    return number_format(round(value, decimals), decimals, use_l10n=True, force_grouping=True)


@register.simple_tag
def moment(value: Any, form: str = "SHORT_DATETIME_FORMAT") -> SafeString:
    """A time as `<time datetime="…">`, in the active language and time zone."""
    if value is None:
        return SafeString("–")
    local = timezone.localtime(value)
    return format_html(
        '<time datetime="{}" class="tabular-nums">{}</time>',
        value.isoformat(),
        date_format(local, form, use_l10n=True),
    )


@register.filter
def new_jobs(count: int) -> str:
    """ "3 new jobs"; "100+ new jobs" from a hundred on."""
    if count >= rendering.MOST_COUNTED:
        return _("%d+ new jobs") % rendering.MOST_COUNTED
    return ngettext("%d new job", "%d new jobs", count) % count


@register.filter
def phase(job: Job) -> str:
    """What a job is at, in a few words: "Step 2 of 5: Profile", "Stopped at step 2 of 5: Profile"."""
    if job.canvas and job.tally and job.state not in {State.QUEUED, State.SUCCEEDED}:
        return members(job)
    if job.was_skipped:
        return _("Not run")
    if job.state == State.QUEUED:
        return _("Its turn has not come") if job.held else _("Waiting for a worker")
    if job.state == State.SUCCEEDED:
        return _("Finished")
    step, count = job.step, len(job.step_list)
    if step is None:
        begun = job.is_live or job.started_at is not None
        return job.get_state_display() if begun else _("Stopped before it began")
    name = f"{step.name} › {step.detail}" if step.detail else step.name
    if count == 1:
        return name if job.is_live else _("Stopped at %s") % name
    place = {"number": job.step_number, "count": count, "name": name}
    if job.is_live:
        return _("Step %(number)d of %(count)d: %(name)s") % place
    return _("Stopped at step %(number)d of %(count)d: %(name)s") % place


@register.filter
def members(job: Job) -> str:
    """How far the members of a canvas are: "7 of 10 done, 1 failed"."""
    done, failed = job.tally.get(State.SUCCEEDED, 0), job.tally.get(State.FAILED, 0)
    numbers = {"done": amount(done), "total": amount(sum(job.tally.values())), "failed": amount(failed)}
    if failed:
        return _("%(done)s of %(total)s done, %(failed)s failed") % numbers
    return _("%(done)s of %(total)s done") % numbers


@register.filter
def label(state: str) -> str:
    """What a state is called."""
    return str(State(state).label)


@register.filter
def counted(step: Step | None) -> str:
    """What a step has counted: "1,204 / 5,000 rows", "1,204 rows", "1.2 MB / 200.0 MB"; empty for nothing."""
    if step is None or (not step.current and step.total is None):
        return ""
    numbers = [step.current] if step.total is None else [step.current, step.total]
    if step.unit == "bytes":
        return " / ".join(filesizeformat(number) for number in numbers)
    return f"{' / '.join(amount(number) for number in numbers)} {step.unit}".rstrip()


@register.filter
def speed(job: Job) -> str:
    """How fast a job counts: "1,204 rows/s", "3.5/s", "1.2 MB/s"; empty unless it runs."""
    if not job.rate or job.state != State.RUNNING:
        return ""
    unit = job.step.unit if job.step else ""
    if unit == "bytes":
        return _("%s/s") % filesizeformat(job.rate)
    return _("%s/s") % f"{rate(job.rate)} {unit}".rstrip()

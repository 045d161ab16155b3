"""`{% live %}`, `{% cell %}`, `{% live_log %}` and `{% live_socket %}`."""

import json
from collections.abc import Mapping
from typing import Any

from django import forms, template
from django.middleware.csrf import get_token
from django.template.base import FilterExpression, Parser, Token
from django.template.library import parse_bits
from django.utils import timezone, translation
from django.utils.html import format_html
from django.utils.safestring import SafeString

from status import access, addresses, compiled, conf, live_forms, page_socket, rendering, usual, wording
from status.appearance import Appearance, chosen, offered_languages
from status.cells import CellNode
from status.memo import MemoNode
from status.models import Job
from status.moments import written
from status.notifications import count_unread
from status.regions import Kind, Region, Subject, View, region_id
from status.registry import Startable
from status.rendering import Shown
from status.timeline import timeline

register = template.Library()
for word in (
    wording.amount,
    wording.counted,
    wording.duration,
    wording.label,
    wording.members,
    wording.new_jobs,
    wording.percent,
    wording.phase,
    wording.rate,
    wording.speed,
    wording.standing,
    wording.time_left,
    wording.unread,
    wording.waits_for,
):
    register.filter(word)
register.filter(timeline)
register.filter("usually_left", usual.left)

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
    has_card = isinstance(subject, Job) and not partial
    region, shown = _note(context, subject, rendering.CARD if has_card else partial, tag, id, appends=False)
    inner = rendering.render(region, shown)
    if isinstance(subject, Job) and has_card:
        return rendering.card(subject, region, inner, attributes)
    return rendering.element(region, inner, attributes)


@register.tag
def cell(parser: Parser, token: Token) -> CellNode:
    """A part of a region that changes often: while nothing else of the region does, it is swapped alone.

    So a link beside it can be clicked, and what has the focus keeps it. Cells do not nest.

    Args:
        id: the element's id; letters, digits, `-` and `_`, and its own on the page. One that begins with `-`
            is the region's own: it comes after the id of the region.
        tag: the element; default `span`.
        attributes: further attributes; `_` becomes `-`.

    Raises:
        TemplateSyntaxError: the id is none.

    Example:
        `{% cell "-done" class="text-sm" %}{{ job.percent }}%{% endcell %}`
    """
    args, values = _arguments(parser, token, ["id", "tag"], defaults=("span",), varkw="attributes")
    values |= dict(zip(("id", "tag"), args, strict=False))
    nodelist = parser.parse(("endcell",))
    parser.delete_first_token()
    return CellNode(nodelist, values.pop("id"), values.pop("tag", "span"), values)


@register.tag
def memo(parser: Parser, token: Token) -> MemoNode:
    """A part of a partial that is rendered once for each combination of the values which it names.

    Name all that it shows; language and time zone count by themselves. What it holds serves every job with the
    same values, so a cell of the region's own inside it is no cell.

    Args:
        of: mostly `job`.
        names: attributes of it, in quotes, with spaces between.
        others: any further values.

    Example:
        `{% memo job "state is_cancelling" large %}…{% endmemo %}`
    """
    args, _values = _arguments(parser, token, ["of", "names"], varargs="others")
    names = args[1].var
    if args[1].is_var or not isinstance(names, str) or not names.split():
        raise template.TemplateSyntaxError(
            '{% memo %} takes a value, and names of its attributes in quotes: {% memo job "state percent" %}.'
        )
    nodelist = parser.parse(("endmemo",))
    parser.delete_first_token()
    return MemoNode(nodelist, args[0], names, args[2:])


def _arguments(
    parser: Parser,
    token: Token,
    names: list[str],
    *,
    defaults: tuple[str, ...] | None = None,
    varargs: str | None = None,
    varkw: str | None = None,
) -> tuple[list[FilterExpression], dict[str, Any]]:
    tag, *bits = token.split_contents()
    # The stubs lack an argument.
    return parse_bits(parser, bits, names, varargs, varkw, defaults, (), None, False, tag)  # type: ignore[call-arg,arg-type]


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
    no region of the page can change any more, and there is no bell and no form.
    """
    request = _request(context)
    noted = getattr(request, "_status_regions", {})
    moving = [region for region, shown in noted.values() if not _is_over(region, shown)]
    has_bell = getattr(request, "_status_bell", False)
    seldom = getattr(request, "_status_reloads", 1)
    forms = tuple(getattr(request, "_status_forms", ()))
    if not moving and not has_bell and not forms:
        return ""
    view = View(
        user=access.user_key(request.user),
        language=translation.get_language() or "en",
        timezone=timezone.get_current_timezone_name(),
        regions=tuple(region for region, shown in noted.values()),
        bell=has_bell,
        forms=forms,
    )
    # For the number at the bell alone, or below a form to fill in, nobody's form is emptied.
    seconds = conf.current().refresh_seconds * seldom if moving and not forms else 0
    return page_socket.element(view, refresh_seconds=seconds)


@register.simple_tag(takes_context=True)
def live_form(
    context: template.Context,
    startable: Startable | str,
    form: forms.BaseForm | None = None,
    id: str = "",  # noqa: A002
) -> str:
    """A form that starts a job without leaving the page, and shows the job below itself; before `{% live_socket %}`.

    While the page's socket is dead, and without JavaScript, it posts to the startable's own page.

    Args:
        startable: a startable or its name.
        form: an instance of its form, with initial values for example; default: a new one.
        id: the id of the form's element; default: made from the name.

    Returns:
        Nothing for who may not start it.

    Raises:
        TemplateSyntaxError: there is no such startable, its form cannot go over a socket, such as one with
            files, or the id is none.

    Example:
        `{% live_form "render-on-the-farm" %}` emits
        `<form id="start-render-on-the-farm" method="post" …>…</form><div id="start-render-on-the-farm-jobs"></div>`.
    """
    try:
        return live_forms.element(_request(context), startable, form, id)
    except ValueError as error:
        raise template.TemplateSyntaxError(f"{{% live_form %}}: {error}") from error


@register.simple_tag(takes_context=True)
def live_bell(context: template.Context) -> str:
    """The link to the inbox with the number of what is unread, and the place for toasts; before `{% live_socket %}`.

    Emits `<a href="…"><span id="live-bell">…</span></a><div id="toasts" role="status">…</div>` for who is logged in,
    else nothing.
    """
    request = _request(context)
    if not request.user.is_authenticated:
        return ""
    request._status_bell = True
    return compiled.show(
        "status/bell.html",
        {
            "bell": rendering.render_bell(count_unread(request.user)),
            "slots": range(rendering.TOAST_SLOTS),
            "headers": json.dumps({"X-CSRFToken": get_token(request)}),
            "is_current": request.resolver_match is not None
            and request.resolver_match.view_name == "status:notifications",
        },
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
        usual.tell([subject])
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


@register.simple_tag
def moment(value: Any, form: str = "j M Y, H:i") -> SafeString:
    """A time as `<time datetime="…">`, in the active language and time zone."""
    if value is None:
        return SafeString("–")
    return format_html(
        '<time datetime="{}" class="tabular-nums">{}</time>', value.isoformat(), written(value, form)
    )


@register.simple_tag(takes_context=True)
def appearance(context: template.Context) -> Appearance:
    """What the reader chose: light, dark, or as the system; that without a request in the context."""
    request = context.get("request")
    return chosen(request.COOKIES if request is not None else {})


@register.simple_tag
def places() -> Mapping[str, str]:
    """Where the header and the footer lead to: `{% places as at %}`, then `{{ at.jobs }}`; see `status.addresses`."""
    return addresses.places()


@register.simple_tag
def languages() -> list[tuple[str, str]]:
    """The languages to choose from, with what each calls itself; none where the project lets nobody choose."""
    return offered_languages()


@register.filter
def may(user: Any, what: str) -> bool:
    """Whether `user` may do something, as `access` says: `{% if user|may:"see_audit" %}`."""
    return bool(getattr(access, f"may_{what}")(user))

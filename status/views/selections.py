"""Doing something with many jobs: a page that asks, and the job that does it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from status import access
from status.bulk import ACTIONS, begin
from status.counts import Count
from status.filters import Filters
from status.listing import Listing
from status.models import Job
from status.pages import render
from status.spelling import enumerated
from status.views.actions import refused
from status.views.lists import chips
from status.wording import amount

MOST_CHOSEN = 500
SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What was chosen in a list."""

    action: str
    filters: Filters
    until: datetime
    """The moment of the list."""
    pks: list[UUID] | None
    """None: all that the filters let through."""


@require_http_methods(["GET", "POST"])
@login_required
def create(request: HttpRequest) -> HttpResponse:
    """Ask whether to do it (GET), and start the job that does (POST)."""
    selection = _read(request.GET if request.method == "GET" else request.POST)
    if isinstance(selection, str):
        return refused(request, selection)
    action = ACTIONS[selection.action]
    jobs = _chosen(request.user, selection)
    count = _count(request.user, selection, jobs)
    if not count.number:
        return refused(request, _("None of these jobs is there any more, or none is yours to see."))
    number = f"{amount(count.number)}{'+' if count.more else ''}"
    title = action.title(count.number) % {"count": number}
    if request.method == "POST":
        pks = None if selection.pks is None else [job.pk for job in jobs]
        job = begin(
            selection.action,
            request.user,
            title=title,
            chosen=pks,
            query=selection.filters.query,
            until=selection.until,
        )
        return redirect(job)
    context = {"selection": selection, "action": action, "title": title, "chips": chips(selection.filters)}
    if selection.pks is not None:
        allowed = action.allowed(request.user, jobs)
        able = [job for job in jobs if job.pk in allowed and not action.refuses(job)]
        context |= {"able": len(able), "left_out": len(jobs) - len(able), "jobs": jobs[:SHOWN]}
        context["more"] = max(len(jobs) - SHOWN, 0)
    return render(request, "status/selection.html", context)


def _read(data: QueryDict) -> Selection | str:
    """What was chosen, or what is wrong with it."""
    action = data.get("action", "")
    if action not in ACTIONS:
        return _("Choose what to do with the jobs: %s.") % enumerated(sorted(ACTIONS))
    try:
        pks = [UUID(text) for text in dict.fromkeys(data.getlist("job"))]
        until = parse_datetime(data.get("until", "")) or timezone.now()
    except ValueError:
        return _("The address names a job that is none.")
    if "all" not in data and not pks:
        return _("Choose some jobs first: tick the boxes before them.")
    if len(pks) > MOST_CHOSEN:
        text = ngettext(
            "Choose %(count)d job at most, or all that match.",
            "Choose %(count)d jobs at most, or all that match.",
            MOST_CHOSEN,
        )
        return text % {"count": MOST_CHOSEN}
    return Selection(
        action=action,
        filters=Filters.read(dict(parse_qsl(data.get("query", "")))),
        until=until if timezone.is_aware(until) else timezone.now(),
        pks=None if "all" in data else pks,
    )


def _chosen(user: Any, selection: Selection) -> list[Job]:
    if selection.pks is None:
        return []
    return list(access.visible_jobs(user).filter(pk__in=selection.pks))


def _count(user: Any, selection: Selection, jobs: list[Job]) -> Count:
    if selection.pks is not None:
        return Count(number=len(jobs))
    return Listing(access.list_scope(user), selection.filters).total()

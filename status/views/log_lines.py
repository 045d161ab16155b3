"""A job's log, page by page, by level and by words."""

import logging
import re
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from status import conf
from status.models import Job, LogLine
from status.pages import render
from status.rendering import reload_seldom
from status.views.jobs import visible_job

PAGE_SIZE = 200
LEVELS = {
    "": _("All"),
    "info": _("Info and worse"),
    "warning": _("Warnings and worse"),
    "error": _("Errors"),
}
_PLACE = re.compile(r"(\d{1,9})\.(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesPage:
    """Some lines in their order, and where those before and after them begin; empty: there are none."""

    lines: list[LogLine]
    before: str
    after: str


@require_GET
@login_required
def index(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """The last lines, live while the job is; with `?before=2.117` those before line 117 of attempt 2, or `?after=`."""
    job = visible_job(request, job_id)
    level, words = request.GET.get("level", ""), request.GET.get("q", "").strip()
    if level not in LEVELS:
        raise Http404("No such level.")
    follows = job.is_live and not (level or words or "before" in request.GET or "after" in request.GET)
    reload_seldom(request)
    # What follows the end shows what a region of the log does.
    size = min(PAGE_SIZE, conf.current().log_tail) if follows else PAGE_SIZE
    context = {
        "job": job,
        "page": _page(job, level, words, request, size),
        "follows": follows,
        "levels": LEVELS.items(),
        "level": level,
        "words": words,
        "filters": urlencode({"level": level, "q": words}),
    }
    return render(request, "status/log_lines.html", context)


def _page(job: Job, level: str, words: str, request: HttpRequest, size: int) -> LinesPage:
    lines = job.lines.all()
    if level:
        lines = lines.filter(level__gte=logging.getLevelNamesMapping()[level.upper()])
    if words:
        lines = lines.filter(text__icontains=words)
    if after := request.GET.get("after"):
        attempt, number = _place(after)
        newer = lines.filter(Q(attempt=attempt, number__gt=number) | Q(attempt__gt=attempt))
        found = list(newer.order_by("attempt", "number")[: size + 1])
        return _cut(found[:size], has_older=True, has_newer=len(found) > size)
    before = request.GET.get("before")
    if before:
        attempt, number = _place(before)
        lines = lines.filter(Q(attempt=attempt, number__lt=number) | Q(attempt__lt=attempt))
    found = list(lines.order_by("-attempt", "-number")[: size + 1])
    return _cut(found[size - 1 :: -1], has_older=len(found) > size, has_newer=bool(before))


def _place(text: str) -> tuple[int, int]:
    found = _PLACE.fullmatch(text)
    if found is None:
        raise Http404("No such place in the log.")
    return int(found[1]), int(found[2])


def _cut(lines: list[LogLine], *, has_older: bool, has_newer: bool) -> LinesPage:
    first, last = (lines[0], lines[-1]) if lines else (None, None)
    return LinesPage(
        lines=lines,
        before=f"{first.attempt}.{first.number}" if first and has_older else "",
        after=f"{last.attempt}.{last.number}" if last and has_newer else "",
    )

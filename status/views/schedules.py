"""The schedules: who sees all looks at them, who may change them does."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from status import access
from status.audit import on_page
from status.pages import render
from status.schedules import acts, listing
from status.schedules.allowed import Schedulable, all_for, find
from status.schedules.forms import ScheduleForm, TimingForm
from status.schedules.listing import Row

View = Callable[..., HttpResponse]
PREVIEW = "preview"
"""The button that shows the next runs without saving."""


def for_viewers(view: View) -> View:
    """Refuse who may not look at schedules."""

    @login_required
    @wraps(view)
    def checked(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if not access.may_see_schedules(request.user):
            raise PermissionDenied
        return view(request, **kwargs)

    return checked


def for_changers(view: View) -> View:
    """Refuse who may not change schedules."""

    @login_required
    @wraps(view)
    def checked(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if not access.may_change_schedules(request.user):
            raise PermissionDenied
        return view(request, **kwargs)

    return checked


def act(view: Callable[[HttpRequest, Row], HttpResponse]) -> View:
    """Make a view of what does something with one schedule, by POST; a GET, as after a login, leads to the list."""

    @require_http_methods(["GET", "POST"])
    @for_changers
    @wraps(view)
    def checked(request: HttpRequest, schedule_id: int) -> HttpResponse:
        row = _row(request, schedule_id)
        if row.is_own:
            raise PermissionDenied
        return redirect("status:schedules") if request.method == "GET" else view(request, row)

    return checked


@require_GET
@for_viewers
def index(request: HttpRequest) -> HttpResponse:
    """All schedules by name, those of the app itself apart."""
    return render(request, "status/schedules/index.html", _listed(request))


@require_GET
@for_viewers
def moments(request: HttpRequest) -> HttpResponse:
    """When each schedule of a page runs next and ran last, as fragments that replace these."""
    return render(request, "status/schedules/moments.html", _listed(request))


def _listed(request: HttpRequest) -> dict[str, Any]:
    rows, more = listing.page(request.user, request.GET.get("after", ""))
    may_change = access.may_change_schedules(request.user)
    allowed = {item.task for item in all_for(request.user)} if may_change else set()
    return {
        "rows": [row for row in rows if not row.is_own],
        "own": [row for row in rows if row.is_own],
        "more": rows[-1].task.name if more else "",
        "after": request.GET.get("after", ""),
        "beat": listing.beat(),
        "may_change": may_change,
        "allowed": allowed,
    }


@require_http_methods(["GET", "POST"])
@for_changers
def new(request: HttpRequest) -> HttpResponse:
    """Choose a task, then say when: `?task=<name>`."""
    name = request.GET.get("task", "")
    if not name:
        return render(request, "status/schedules/choose.html", {"items": all_for(request.user)})
    item = find(name, request.user)
    if item is None:
        raise Http404("No such task may be put on a schedule.")
    return _form(request, item, None)


@require_http_methods(["GET", "POST"])
@for_changers
def edit(request: HttpRequest, schedule_id: int) -> HttpResponse:
    """Change one schedule."""
    row = _row(request, schedule_id)
    item = find(row.task.task, request.user)
    if item is None or row.is_set:
        raise PermissionDenied
    return _form(request, item, row)


def _form(request: HttpRequest, item: Schedulable, row: Row | None) -> HttpResponse:
    task = row.task if row is not None else None
    form = ScheduleForm(item, task, request.POST if request.method == "POST" else None)
    is_preview = PREVIEW in request.POST
    if request.method == "POST" and form.is_valid() and not is_preview:
        try:
            saved = acts.save(form, item, task, on_page(request.user))
        except (IntegrityError, ValidationError):
            form.add_error("name", _("Another schedule has just got this name. Choose another one."))
        else:
            messages.success(request, _("The schedule “%s” is saved.") % saved.name, fail_silently=True)
            return redirect("status:schedules")
    timing = TimingForm(request.POST) if request.method == "POST" else TimingForm(form.initial_timing())
    context = {
        "form": form,
        "item": item,
        "row": row,
        "runs": timing.next_runs(timezone.now()) if timing.is_valid() else [],
        "zone": timing.zone_name,
    }
    return render(request, "status/schedules/form.html", context)


@require_GET
@for_changers
def preview(request: HttpRequest) -> HttpResponse:
    """The next runs of what somebody is typing; errors are told where they belong, when the form is sent."""
    timing = TimingForm(request.GET)
    is_valid = timing.is_valid()
    context = {
        "runs": timing.next_runs(timezone.now()) if is_valid else [],
        "zone": timing.zone_name,
        "problems": [] if is_valid else [text for found in timing.errors.values() for text in found],
    }
    return render(request, "status/schedules/preview.html", context)


@act
def pause(request: HttpRequest, row: Row) -> HttpResponse:
    """Have beat leave one out."""
    acts.pause(row.task, on_page(request.user))
    return redirect("status:schedules")


@act
def resume(request: HttpRequest, row: Row) -> HttpResponse:
    """Have beat run one again."""
    acts.resume(row.task, on_page(request.user))
    return redirect("status:schedules")


@act
def run(request: HttpRequest, row: Row) -> HttpResponse:
    """Run one now, as a job of who asks for it, and show that."""
    if find(row.task.task, request.user) is None:
        raise PermissionDenied
    try:
        return redirect(acts.run_now(row.task, on_page(request.user)))
    except (TypeError, ValueError) as error:
        said = _("“%(name)s” cannot be run: %(error)s") % {"name": row.task.name, "error": error}
        messages.error(request, said, fail_silently=True)
        return redirect("status:schedules")


@require_http_methods(["GET", "POST"])
@for_changers
def delete(request: HttpRequest, schedule_id: int) -> HttpResponse:
    """Ask, and delete one on POST."""
    row = _row(request, schedule_id)
    if row.is_own or row.is_set:
        raise PermissionDenied
    if request.method == "GET":
        return render(request, "status/schedules/delete.html", {"row": row})
    acts.delete(row.task, on_page(request.user))
    messages.success(request, _("The schedule “%s” is deleted.") % row.task.name, fail_silently=True)
    return redirect("status:schedules")


def _row(request: HttpRequest, schedule_id: int) -> Row:
    row = listing.find(request.user, schedule_id)
    if row is None:
        raise Http404("No such schedule.")
    return row

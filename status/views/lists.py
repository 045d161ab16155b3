"""The list of jobs: filtered, in pages, with boxes to choose some."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.http import require_GET

from status import access, conf, registry
from status.bulk import ACTIONS
from status.choices import choices
from status.cursors import Cursor
from status.filters import ALL, KINDS, TIMES, Filters
from status.listing import WINDOW, JobPage, Listing
from status.models import SavedView
from status.pages import render
from status.regions import Subject
from status.rendering import Shown, hold_still, load_for, reload_seldom
from status.states import State


@require_GET
@login_required
def index(request: HttpRequest) -> HttpResponse:
    """The jobs that I may see and the address asks for, newest first; without an address those of my default view."""
    saved = list(SavedView.of(request.user))
    default = next((view for view in saved if view.is_default), None)
    if default is not None and not request.GET:
        return redirect(f"{request.path}?{default.query}")
    # Taken before the rows are read: a job made in between is announced as new, and not missed.
    since = timezone.now()
    filters = Filters.read(request.GET)
    if "" in request.GET.values() and not filters.problems:
        # From a form, with its empty fields: addresses that people share are short.
        return redirect(f"{request.path}?{filters.address}")
    problems = list(filters.problems)
    after, before = (_cursor(request.GET, name, problems) for name in ("after", "before"))
    scope = access.list_scope(request.user)
    listing = Listing(scope, filters if access.sees_others(request.user) else filters.but(owner=""))
    filters = listing.filters
    size = conf.current().page_size
    page = listing.page(size, after=after, before=None if after else before)
    if before and not after and page.newer is None and len(page.jobs) < size:
        # The way back has come to the beginning, which is shown full.
        return redirect(f"{request.path}?{filters.address}")
    tabs = _tabs(listing)
    # None is new yet: what is made from now on is counted when the page's socket opens.
    new_jobs = Subject.new_jobs(listing.scope, since, filters.query)
    load_for(request, [tab["count"] for tab in tabs], {new_jobs: Shown(query=filters.address)})
    return render(
        request,
        "status/jobs.html",
        {
            **_facts(request, listing, page),
            "saved_views": saved,
            "saved_view": next((view for view in saved if view.query == filters.address), None),
            "problems": problems,
            "tabs": tabs,
            "since": since,
            "is_first": after is None and before is None,
            "new_jobs": new_jobs,
        },
    )


def _tabs(listing: Listing) -> list[dict[str, Any]]:
    """The states with the list that each leads to; all jobs first."""
    filters = listing.filters
    return [
        {
            "state": state,
            "address": filters.but(state="" if state == ALL else state).address,
            "is_current": (filters.state or ALL) == state,
            "count": Subject.count(listing.scope, filters.query, state),
        }
        for state in (ALL, *State.values)
    ]


def _facts(request: HttpRequest, listing: Listing, page: JobPage) -> dict[str, Any]:
    filters = listing.filters
    selected = request.GET.get("select", "")
    (hold_still if selected else reload_seldom)(request)
    return {
        "page": page,
        "filters": filters,
        "heading": State(filters.state).label if filters.state else "",
        "chips": chips(filters),
        "has_filters": bool(chips(filters)),
        "choices": _choices(listing),
        "kinds": KINDS.items(),
        "times": [(key, label) for key, (_length, label) in TIMES.items()],
        "window": WINDOW,
        "shows_owner": access.sees_others(request.user),
        "startables": registry.allowed(request.user),
        "actions": _actions(request.user, page),
        "selects_page": selected == "page",
        "selects_all": selected == "all" and bool(page.jobs),
        "total": listing.total() if selected == "all" else None,
        "place": _place(request.GET),
    }


def _actions(user: Any, page: JobPage) -> list[dict[str, Any]]:
    """What the user may do with any of these jobs."""
    return [
        {"name": name, "label": action.label, "icon": action.icon}
        for name, action in ACTIONS.items()
        if action.allowed(user, page.jobs)
    ]


def _place(data: QueryDict) -> str:
    """The page's cursor as the rest of an address."""
    return "".join(f"&{name}={data[name]}" for name in ("after", "before") if _is_cursor(data.get(name)))


def _is_cursor(text: str | None) -> bool:
    try:
        return bool(text) and Cursor.read(str(text)) is not None
    except ValueError:
        return False


def _cursor(data: QueryDict, name: str, problems: list[str]) -> Cursor | None:
    text = data.get(name)
    if not text:
        return None
    try:
        return Cursor.read(text)
    except ValueError:
        problems.append(_("The address names a page that is none. This is the first."))
        return None


def _choices(listing: Listing) -> dict[str, list[str]]:
    """The values to choose from, and with them those in the address."""
    found = choices(listing.scope)
    for name, values in found.items():
        held = getattr(listing.filters, name)
        if held and held not in values:
            values.append(held)
    return found


def chips(filters: Filters) -> list[dict[str, str]]:
    """Each filter but the state: what it is called, its value, and the address without it."""
    names = {
        "q": _("Text"),
        "task": _("Task"),
        "owner": _("Owner"),
        "queue": _("Queue"),
        "worker": _("Worker"),
        "schedule": _("Schedule"),
        "kind": _("Kind"),
        "time": pgettext("filter", "Made"),
        "since": _("Since"),
        "until": _("Until"),
    }
    found = []
    for name, label in names.items():
        value: Any = getattr(filters, name)
        if value:
            shown = (
                str(KINDS.get(value, TIMES.get(value, ("", value))[1])) if isinstance(value, str) else value
            )
            empty = None if name in {"since", "until"} else ""
            address = filters.but(**{name: empty}).address
            found.append({"name": name, "label": label, "value": shown, "address": address})
    return found

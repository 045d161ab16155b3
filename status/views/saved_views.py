"""Views of the list under a name: saved, renamed, deleted; one of them may be what the bare list shows."""

from urllib.parse import parse_qsl

from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from status.filters import Filters
from status.models import SavedView
from status.views.actions import refused

MOST_VIEWS = 30
LARGEST_ID = 2**63 - 1


@require_http_methods(["GET", "POST"])
@login_required
def create(request: HttpRequest) -> HttpResponse:
    """Save the filters of a list under a name; a GET, after a login in between, only leads to the list."""
    if request.method == "GET":
        return redirect("status:jobs")
    if SavedView.of(request.user).count() >= MOST_VIEWS:
        text = ngettext(
            "You have %(count)d view. Delete it first.",
            "You have %(count)d views. Delete one first.",
            MOST_VIEWS,
        )
        return refused(request, text % {"count": MOST_VIEWS})
    filters = Filters.read(dict(parse_qsl(request.POST.get("query", ""))))
    view = SavedView(user_id=request.user.pk, query=filters.address)  # type: ignore[misc]  # Logged in.
    return _save(request, view)


@require_http_methods(["GET", "POST"])
@login_required
def update(request: HttpRequest, view_id: int) -> HttpResponse:
    """Rename a view of mine, and make it the default or not."""
    view = _mine(request, view_id)
    return _to(view) if request.method == "GET" else _save(request, view)


@require_http_methods(["GET", "POST"])
@login_required
def delete(request: HttpRequest, view_id: int) -> HttpResponse:
    """Delete a view of mine; its jobs stay, and so does the list."""
    view = _mine(request, view_id)
    if request.method == "POST":
        view.delete()
    return _to(view)


def _mine(request: HttpRequest, view_id: int) -> SavedView:
    return get_object_or_404(SavedView.of(request.user), pk=min(view_id, LARGEST_ID))


def _save(request: HttpRequest, view: SavedView) -> HttpResponse:
    name = " ".join(request.POST.get("name", "").replace("\0", "").split())
    longest = SavedView._meta.get_field("name").max_length or 0
    if not name or len(name) > longest:
        text = ngettext(
            "Give the view a name of %(count)d character at most.",
            "Give the view a name of %(count)d characters at most.",
            longest,
        )
        return refused(request, text % {"count": longest})
    view.name, view.is_default = name, "default" in request.POST
    try:
        with transaction.atomic():
            view.save()
    except IntegrityError:
        return refused(request, _("You have a view of the name “%s” already.") % name)
    return _to(view)


def _to(view: SavedView) -> HttpResponse:
    return redirect(f"{reverse('status:jobs')}?{view.query}")

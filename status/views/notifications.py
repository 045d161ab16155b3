"""The inbox: what the user was told, and marking it as read."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from status import conf
from status.models import Notification
from status.notifications import count_unread, mark_read
from status.pages import render
from status.telling import note_seen
from status.views.jobs import visible_job

LARGEST_ID = 2**63 - 1


@require_GET
@login_required
def index(request: HttpRequest) -> HttpResponse:
    """My notifications, newest first, from `?until=` on; the addresses of pages stay right as new ones come."""
    mine = Notification.objects.of(request.user)
    until = _number(request.GET.get("until"))
    size = conf.current().page_size
    rows = list((mine if until is None else mine.filter(pk__lte=until)).order_by("-pk")[: size + 1])
    shown, more = rows[:size], rows[size:]
    first = shown[0].pk if shown else 0
    context = {
        "notifications": shown,
        "first": first,
        "next": more[0].pk if more else None,
        "is_first": until is None,
        "has_newer": until is not None and mine.filter(pk__gt=until).exists(),
        "unread": count_unread(request.user),
    }
    return render(request, "status/notifications.html", context)


@require_GET
@login_required
def detail(request: HttpRequest, notification_id: int) -> HttpResponse:
    """Open one: it is read by that, and leads to its job or its address."""
    row = _mine(request, notification_id)
    mark_read(request.user, Notification.objects.filter(pk=row.pk))
    return redirect(row.target or "status:notifications")


@require_http_methods(["GET", "POST"])
@login_required
def read(request: HttpRequest, notification_id: int) -> HttpResponse:
    """Mark one as read by POST; a GET, after a login in between, only leads to the inbox."""
    row = _mine(request, notification_id)
    if request.method == "POST":
        mark_read(request.user, Notification.objects.filter(pk=row.pk))
    return _to_inbox(request)


@require_http_methods(["GET", "POST"])
@login_required
def read_all(request: HttpRequest) -> HttpResponse:
    """Mark as read all that were there when the page was made: `until` is the newest of them."""
    if request.method == "POST":
        until = _number(request.POST.get("until")) or 0
        mark_read(request.user, Notification.objects.filter(pk__lte=until))
    return _to_inbox(request)


@require_POST
@login_required
def seen(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """The page of a job has shown its end on the screen: who looked at it need not be told."""
    note_seen(request.user, visible_job(request, job_id))
    return HttpResponse(status=204)


def _mine(request: HttpRequest, notification_id: int) -> Notification:
    if notification_id > LARGEST_ID:
        notification_id = 0
    return get_object_or_404(Notification.objects.of(request.user), pk=notification_id)


def _to_inbox(request: HttpRequest) -> HttpResponse:
    """Back to the inbox; a toast wants no page, it is taken away whatever comes."""
    htmx = getattr(request, "htmx", None)
    if htmx and htmx.target != "inbox":
        return HttpResponse()
    return redirect("status:notifications")


def _number(text: str | None) -> int | None:
    """The id in an address; None for none, or for what is no id."""
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return min(int(text[:20]), LARGEST_ID)

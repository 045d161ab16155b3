"""The page of workers and queues, and pausing a queue."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from status import access, house, queues
from status.audit import Target, Verb, on_page, record
from status.computed import HOUSE
from status.pages import render
from status.queue_lines import QueueLine
from status.windows import WINDOWS

DEFAULT_WINDOW = "24h"
LONGEST_TASK = 255


@require_GET
@login_required
@never_cache
def index(request: HttpRequest) -> HttpResponse:
    """Workers, queues and figures, for who may see everything; for others there is no such page."""
    _check(request.user)
    window = WINDOWS.get(request.GET.get("window", DEFAULT_WINDOW))
    task = request.GET.get("task", "")
    if window is None or len(task) > LONGEST_TASK or not task.isprintable():
        raise Http404("No such figures.")
    # What cannot be read now is an error of this page; of an open one it would only be late.
    house.current()
    context = {
        "topic": HOUSE,
        "figures_topic": house.figures_topic(window.key, task),
        "window": window,
        "windows": WINDOWS.values(),
        "task": task,
        "may_pause": access.may_pause(request.user),
    }
    return render(request, "status/house.html", context)


@require_GET
@login_required
@never_cache
def queue(request: HttpRequest, name: str) -> HttpResponse:
    """One queue with its button; where the button on the page of all cannot post by itself it leads here."""
    context = {"queue": _queue(request.user, name), "may_pause": access.may_pause(request.user)}
    return render(request, "status/queue.html", context)


@require_http_methods(["GET", "POST"])
@login_required
def pause(request: HttpRequest, name: str) -> HttpResponse:
    """Pause a queue (`paused=1`) or resume it (`paused=0`); a GET, after a login in between, only leads to it."""
    _queue(request.user, name)
    if request.method == "GET":
        return redirect("status:queue", name)
    if not access.may_pause(request.user):
        raise PermissionDenied
    wanted = request.POST.get("paused")
    if wanted not in {"0", "1"}:
        return HttpResponse("Send paused=1 or paused=0.\n", status=400, content_type="text/plain")
    with transaction.atomic():
        changed = queues.pause(name, by=request.user) if wanted == "1" else queues.resume(name)
        if changed:
            verb = Verb.PAUSE if wanted == "1" else Verb.RESUME
            record(on_page(request.user), verb, Target("queue", name, name))
    if getattr(request, "htmx", False):
        return HttpResponse(status=204)
    return redirect("status:house")


def _check(user: Any) -> None:
    if not access.may_see_house(user):
        raise Http404("No such page.")


def _queue(user: Any, name: str) -> QueueLine:
    _check(user)
    for line in house.current().queues:
        if line.name == name:
            return line
    raise Http404("No such queue.")

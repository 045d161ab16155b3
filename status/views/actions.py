"""What the views that do something with one job have in common."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseClientRefresh

from status.models import Job
from status.pages import render
from status.views.jobs import visible_job

Action = Callable[[HttpRequest, Job], HttpResponse]


def on_job(
    may: Callable[[Any, Job], bool],
) -> Callable[[Action], Callable[[HttpRequest, UUID], HttpResponse]]:
    """Make a view of what does something with one job, by POST.

    A GET does nothing and leads to the job: a login in between comes back here by GET. For who may not watch
    the job it does not exist.

    Args:
        may: whether a user may do it, from `status.access`.

    Example:
        >>> @on_job(access.may_act)
        ... def create(request, job):
        ...     jobs.cancel(job, actor=on_page(request.user))
        ...     return done(request, job)
    """

    def decorate(act: Action) -> Callable[[HttpRequest, UUID], HttpResponse]:
        @require_http_methods(["GET", "POST"])
        @login_required
        @wraps(act)
        def view(request: HttpRequest, job_id: UUID) -> HttpResponse:
            job = visible_job(request, job_id)
            if request.method == "GET":
                return redirect(job)
            if not may(request.user, job):
                raise PermissionDenied
            return act(request, job)

        return view

    return decorate


def done(request: HttpRequest, job: Job, *, load_again: bool = False) -> HttpResponse:
    """The answer when it was done: the page learns of it over its socket; without htmx it is loaded again.

    Args:
        request: the POST.
        job: its page.
        load_again: also with htmx, for the page may offer something else now.
    """
    if not getattr(request, "htmx", False):
        return redirect(job)
    if load_again:
        return HttpResponseClientRefresh()  # type: ignore[no-any-return]
    return HttpResponse(status=204)


def refused(request: HttpRequest, reason: str) -> HttpResponse:
    """The answer when it cannot be done now: 409, with the reason for people."""
    return render(request, "status/conflict.html", {"reason": reason}, status=409)

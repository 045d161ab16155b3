"""Cancelling a job."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from status import access, jobs
from status.views.jobs import visible_job


@require_http_methods(["GET", "POST"])
@login_required
def create(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Cancel one job. The page learns of it over its socket; without htmx it is loaded again.

    A GET cancels nothing and leads to the job: a login in between comes back here by GET.
    """
    job = visible_job(request, job_id)
    if request.method == "GET":
        return redirect(job)
    if not access.may_act(request.user, job):
        raise PermissionDenied
    jobs.cancel(job)
    if getattr(request, "htmx", False):
        return HttpResponse(status=204)
    return redirect(job)

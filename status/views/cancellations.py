"""Cancelling a job."""

from django.http import HttpRequest, HttpResponse

from status import access, jobs
from status.audit import on_page
from status.models import Job
from status.views.actions import done, on_job


@on_job(access.may_act)
def create(request: HttpRequest, job: Job) -> HttpResponse:
    """Cancel one job."""
    jobs.cancel(job, actor=on_page(request.user))
    return done(request, job)

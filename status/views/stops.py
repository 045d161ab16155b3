"""Stopping a running job at once."""

from django.http import HttpRequest, HttpResponse

from status import access
from status.audit import on_page
from status.models import Job
from status.stop import NotStopped, stop
from status.views.actions import done, on_job, refused


@on_job(access.may_stop)
def create(request: HttpRequest, job: Job) -> HttpResponse:
    """End the process of one job."""
    try:
        stop(job, actor=on_page(request.user))
    except NotStopped as error:
        return refused(request, str(error))
    return done(request, job)

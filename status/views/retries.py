"""Running a failed or cancelled job again."""

from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from status import access, jobs
from status.audit import on_page
from status.models import Job
from status.views.actions import done, on_job, refused


@on_job(access.may_act)
def create(request: HttpRequest, job: Job) -> HttpResponse:
    """Retry one job; its page is loaded again, as it can be cancelled now and not retried."""
    try:
        jobs.retry(job, actor=on_page(request.user))
    except IntegrityError:
        reason = _("Another job with the same key is under way. Retry when it has ended.")
        return refused(request, reason)
    return done(request, job, load_again=True)

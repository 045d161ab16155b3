"""Running a failed or cancelled job again."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseClientRefresh

from status import access, jobs
from status.views.jobs import visible_job


@require_http_methods(["GET", "POST"])
@login_required
def create(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Retry one job; its page is loaded again, as it can be cancelled now and not retried.

    A GET retries nothing and leads to the job: a login in between comes back here by GET.
    """
    job = visible_job(request, job_id)
    if request.method == "GET":
        return redirect(job)
    if not access.may_act(request.user, job):
        raise PermissionDenied
    try:
        jobs.retry(job)
    except IntegrityError:
        reason = _("Another job with the same key is under way. Retry when it has ended.")
        return render(request, "status/conflict.html", {"reason": reason}, status=409)
    if getattr(request, "htmx", False):
        return HttpResponseClientRefresh()  # type: ignore[no-any-return]
    return redirect(job)

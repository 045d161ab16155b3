"""The members of a workflow, all of them."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from status import access, conf
from status.pages import render
from status.states import State
from status.views.jobs import visible_job


@require_GET
@login_required
def index(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """The members of one job in their order; with `?state=failed` those that are in that state."""
    job = visible_job(request, job_id)
    members = job.members.select_related("owner").defer("traceback", "signature", "result", "given", "output")
    state = request.GET.get("state", "")
    if state and state not in State.values:
        raise Http404("No such state.")
    if state:
        members = members.filter(state=state)
    page = Paginator(members.order_by("position", "created_at", "pk"), conf.current().page_size)
    context = {
        "job": job,
        "state": state,
        "page": page.get_page(request.GET.get("page")),
        "shows_owner": access.sees_others(request.user),
    }
    return render(request, "status/members.html", context)

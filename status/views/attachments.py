"""Downloading a job's files."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import FileResponse, Http404, HttpRequest
from django.views.decorators.http import require_GET

from status.models import Attachment
from status.views.jobs import visible_job


@require_GET
@login_required
def detail(request: HttpRequest, job_id: UUID, attachment_id: UUID) -> FileResponse:
    """One file."""
    job = visible_job(request, job_id)
    attachment = Attachment.objects.filter(pk=attachment_id, job=job).first()
    if attachment is None:
        raise Http404("No such file.")
    response = download(attachment)
    if response is None:
        raise Http404("The file is no longer kept.")
    return response


def download(attachment: Attachment) -> FileResponse | None:
    """The file as a download whatever its type: it came from a task or a stranger. None if it is no longer kept."""
    try:
        opened = attachment.file.open("rb")
    except (FileNotFoundError, ValueError):
        return None
    response = FileResponse(
        opened, as_attachment=True, filename=attachment.name, content_type="application/octet-stream"
    )
    response["X-Content-Type-Options"] = "nosniff"
    return response

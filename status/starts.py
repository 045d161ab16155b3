"""Starting what is registered as startable, with the data of its form."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID, uuid4

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.db import models, transaction
from django.http import QueryDict
from django.utils.translation import ngettext

from status import audit, files, jobs
from status.audit import Actor, Verb
from status.models import Attachment, Job
from status.registry import Startable
from status.spelling import enumerated

KEY_FIELD = "start_key"
"""The hidden field of a form with the key of the job that it starts."""

KEY_COLUMN_LENGTH = 200
"""As the column of the job."""

NAMES_IN_TITLE = 3
"""So many names of files stand in a job's title."""


def key_of(source: str, user: Any, key: str) -> str:
    """What `start_from_form` takes: `key` is kept apart for each person and each way to start a job; empty stays so.

    >>> key_of("form", alice, "may")
    'form:1:may'
    """
    return f"{source}:{user.pk}:{key}"[:KEY_COLUMN_LENGTH] if key else ""


def started_with(source: str, user: Any, key: str) -> Job | None:
    """The job that `user` has started with this key, also when it has ended; None if there is none.

    Args:
        source: as for `key_of`.
        user: the job's owner.
        key: not empty.
    """
    return Job.objects.filter(key=key_of(source, user, key)).order_by("-created_at").first()


def start_from_form(
    entry: Startable,
    form: forms.Form,
    user: Any,
    key: str,
    *,
    actor: Actor | None = None,
    again: Job | None = None,
) -> Job:
    """Start `entry` with the data of a valid form; its files become input attachments.

    Args:
        entry: what to start.
        form: a valid one.
        user: becomes the job's owner.
        key: names what is started among all that lives, so that a double click starts one job; empty for none.
        actor: who starts it, for the audit trail. None: a program does.
        again: the job of which this is a repetition.

    Raises:
        ValidationError: the startable's function refused what the form let pass; nothing is left behind.

    Example:
        >>> start_from_form(startables["profile-csv"], form, request.user, key="").title
        'Profile a CSV: people.csv'
    """
    job_id = uuid4()
    data = cast(QueryDict, form.data)
    uploads = {name: found for name, value in form.cleaned_data.items() if (found := _uploads(value))}
    attachments: list[Attachment] = []
    with _deleted_on_error(attachments):
        for name, upload in ((name, upload) for name, found in uploads.items() for upload in found):
            attachments.append(_attachment(job_id, name, upload))
    arguments = {name: argument_of(value) for name, value in form.cleaned_data.items()}
    for name in uploads:
        ids = [str(attachment.pk) for attachment in attachments if attachment.field == name]
        arguments[name] = ids if isinstance(form.cleaned_data[name], list) else ids[0]
    with transaction.atomic(), _deleted_on_error(attachments):
        # Before the job's own row, which the database asks for only at the commit: a function that makes a
        # canvas reads them.
        Attachment.objects.bulk_create(attachments)
        job = jobs.start(
            entry.signature(arguments),
            owner=user,
            title=_title(entry, [upload for found in uploads.values() for upload in found]),
            key=key or None,
            startable=entry.name,
            params={name: data.getlist(name) for name in form.fields if name in data},
            job_id=job_id,
        )
        if job.pk == job_id:
            _note(actor, job, again)
        else:
            Attachment.objects.filter(job_id=job_id).delete()
    if job.pk != job_id:
        files.delete(attachments)
    return job


def _note(actor: Actor | None, job: Job, again: Job | None) -> None:
    if again is None:
        audit.record(actor, Verb.START, job)
    else:
        audit.record(actor, Verb.START_AGAIN, job, of=str(again.pk))


def _uploads(value: Any) -> "list[UploadedFile[Any]]":
    """The uploads in the cleaned value of a field."""
    values = value if isinstance(value, list) else [value]
    return values if values and all(isinstance(item, UploadedFile) for item in values) else []


def _title(entry: Startable, uploads: "Sequence[UploadedFile[Any]]") -> str:
    if not uploads:
        return str(entry.title)
    names = enumerated(str(upload.name) for upload in uploads[:NAMES_IN_TITLE])
    more = len(uploads) - NAMES_IN_TITLE
    if more > 0:
        names = ngettext("%(names)s and %(count)d more", "%(names)s and %(count)d more", more) % {
            "names": names,
            "count": more,
        }
    return f"{entry.title}: {names}"


@contextmanager
def _deleted_on_error(attachments: Iterable[Attachment]) -> Iterator[None]:
    """Delete the files if this fails; not around a COMMIT, which may have been done though it raises."""
    try:
        yield
    except Exception:
        files.delete(attachments)
        raise


def _attachment(job_id: UUID, field: str, upload: "UploadedFile[Any]") -> Attachment:
    """The upload as an attachment, its content stored, its row not yet."""
    name = str(upload.name)
    attachment = Attachment(
        job_id=job_id, field=field, role=Attachment.Role.INPUT, name=name, size=upload.size or 0
    )
    attachment.file.save(name, upload, save=False)
    return attachment


def argument_of(value: Any) -> Any:
    """A field's cleaned value as the task gets it: of a row its primary key."""
    if isinstance(value, models.Model):
        return value.pk
    if isinstance(value, models.QuerySet):
        return [item.pk for item in value]
    return value

"""Starting a job from words: `name=value` pairs go through the startable's form, as those of its page do."""

import mimetypes
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils import timezone
from django.utils.datastructures import MultiValueDict

from status.audit import at_command_line
from status.models import Job
from status.registry import Startable
from status.starts import key_of, start_from_form


class Unusable(Exception):
    """The pairs cannot be used; the text tells which and why."""


def start_as_asked(
    entry: Startable, pairs: Iterable[tuple[str, str]], user: Any, key: str
) -> tuple[Job, bool]:
    """Start `entry` with `pairs` as its form's data.

    Args:
        entry: what to start.
        pairs: names of fields and their values; of a file field `@` and a path. A name may come again.
        user: becomes the job's owner.
        key: while a job lives that this user started with it, no other is started; empty: none.

    Returns:
        The job, and whether it is a new one.

    Raises:
        Unusable: a name is unknown, a file cannot be read, or the form refuses a value.

    Example:
        >>> start_as_asked(startables["profile-csv"], [("file", "@people.csv")], user, "")[1]
        True
    """
    began = timezone.now()
    with ExitStack() as opened:
        form = _form(entry, pairs, opened)
        if not form.is_valid():
            raise Unusable(_told(form.errors))
        try:
            job = start_from_form(entry, form, user, key_of("asked", user, key), actor=at_command_line())
        except ValidationError as error:
            raise Unusable(" ".join(error.messages)) from error
    return job, job.created_at >= began


def _form(entry: Startable, pairs: Iterable[tuple[str, str]], opened: ExitStack) -> forms.Form:
    data = QueryDict(mutable=True)
    files: MultiValueDict[str, UploadedFile[Any]] = MultiValueDict()
    fields = entry.form.base_fields
    for name, value in pairs:
        if name not in fields:
            known = ", ".join(fields) or "none"
            raise Unusable(f"{entry.name} has no parameter {name!r}. Known: {known}.")
        if isinstance(fields[name], forms.FileField):
            files.appendlist(name, _upload(name, value, opened))
        else:
            data.appendlist(name, value)
    return entry.form(data, files)


def _upload(name: str, value: str, opened: ExitStack) -> "UploadedFile[Any]":
    if not value.startswith("@"):
        raise Unusable(f"{name} is a file: write {name}=@PATH.")
    path = Path(value[1:])
    try:
        file = opened.enter_context(path.open("rb"))
        size = path.stat().st_size
    except OSError as error:
        raise Unusable(f"{name}: {path} cannot be read: {error.strerror}.") from error
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return UploadedFile(file=file, name=path.name, content_type=kind, size=size)


def _told(errors: Any) -> str:
    """What a form says is wrong, a line for each field."""
    lines = []
    for name, messages in errors.items():
        text = " ".join(str(message) for message in messages)
        lines.append(text if name == NON_FIELD_ERRORS else f"{name}: {text}")
    return "\n".join(lines)

"""What programs may ask for, over HTTP and over the socket alike; each reads or writes the database."""

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _

from status import access, jobs, registry
from status.cursors import Cursor
from status.models import Job
from status.programs.callers import Caller
from status.programs.refusals import Refused
from status.programs.wire import FieldError, JobList, describe
from status.registry import Startable
from status.spelling import enumerated
from status.starts import key_of, start_from_form
from status.states import State

MOST_LISTED = 100
LONGEST_KEY = 100


def find(caller: Caller, job_id: UUID) -> Job:
    """The job of that id.

    Raises:
        Refused: there is none that the caller may watch.
    """
    job = Job.objects.defer("traceback", "signature").find(job_id)
    if job is None or not access.may_watch_job(caller.user, job):
        raise Refused("not-found", _("There is no such job."))
    return job


def listed(caller: Caller, states: Iterable[str] = (), after: str | None = None, limit: int = 25) -> JobList:
    """The jobs that the caller may watch, newest first; members of workflows are not among them.

    Args:
        caller: who asks.
        states: only those in one of these; none: all.
        after: `next` of the page before.
        limit: so many at most; 1 to `MOST_LISTED`.

    Raises:
        Refused: `after` is no cursor, a state is unknown, or the limit too large.
    """
    if not 1 <= limit <= MOST_LISTED:
        raise Refused.because_of(
            "limit", _("A number from %(least)d to %(most)d.") % {"least": 1, "most": MOST_LISTED}
        )
    found = access.visible_jobs(caller.user).defer("traceback", "signature")
    chosen = list(states)
    if chosen:
        if set(chosen) - set(State.values):
            raise Refused.because_of("state", _("One of %s.") % enumerated(State.values))
        found = found.filter(state__in=chosen)
    if after is not None:
        try:
            cursor = Cursor.read(after)
        except ValueError as error:
            raise Refused.because_of("after", _("Not the `next` of a page of jobs.")) from error
        found = found.filter(cursor.older)
    rows = list(found.order_by("-created_at", "-id")[: limit + 1])
    last = rows[limit - 1] if len(rows) > limit else None
    following = None if last is None else Cursor(last.created_at, last.pk).text
    return JobList(jobs=[describe(job) for job in rows[:limit]], next=following)


def start(
    caller: Caller,
    name: str,
    params: Mapping[str, Any],
    key: str = "",
    files: "MultiValueDict[str, Any] | None" = None,
) -> Job:
    """Start a startable.

    Args:
        caller: becomes the job's owner.
        name: of the startable.
        params: the data of its form, by field.
        key: while a live job of the caller's has it, that job is returned and none is started.
        files: uploads by field.

    Raises:
        Refused: there is no such startable for the caller, or the form refused the data.
    """
    caller.must_act()
    entry = registry.startables.get(name)
    if entry is None or not registry.may_start(caller.user, entry):
        names = enumerated(sorted(found.name for found in registry.allowed(caller.user)))
        text = _("You may start: %s.") % names if names else _("You may start nothing.")
        raise Refused.because_of("job", text)
    unknown = sorted({*params, *(files or ())} - set(entry.form.base_fields))
    if unknown:
        known = enumerated(entry.form.base_fields)
        text = _("There is no such parameter. Known: %s.") % known if known else _("It takes no parameters.")
        raise _bad_params([(name, text) for name in unknown])
    form = entry.form(_form_data(entry, params), files)
    if not form.is_valid():
        raise _bad_form(form)
    try:
        held_by = key_of("api", caller.user, key[:LONGEST_KEY])
        return start_from_form(entry, form, caller.user, held_by, actor=caller.actor)
    except ValidationError as error:
        form.add_error(None, error)
        raise _bad_form(form) from error


def _form_data(entry: Startable, params: Mapping[str, Any]) -> QueryDict:
    """JSON as a form's data: null is a field left out, a list several values of one field."""
    data = QueryDict(mutable=True)
    for name, value in params.items():
        if isinstance(entry.form.base_fields[name], forms.JSONField):
            data[name] = json.dumps(value)
        elif isinstance(value, list):
            data.setlist(name, [_form_value(name, item) for item in value])
        elif value is not None:
            data[name] = _form_value(name, value)
    return data


def _form_value(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise _bad_params([(name, _("A text, a number, true, false, null, or a list of these."))])


def _bad_form(form: forms.Form) -> Refused:
    return _bad_params(
        ("" if name == "__all__" else name, str(message))
        for name, messages in form.errors.items()
        for message in messages
    )


def _bad_params(errors: Iterable[tuple[str, str]]) -> Refused:
    found = [
        FieldError(field=f"params.{name}" if name else "params", detail=detail) for name, detail in errors
    ]
    return Refused("invalid", " ".join(f"{error.field}: {error.detail}" for error in found), found)


def cancel(caller: Caller, job_id: UUID) -> Job:
    """Cancel a job; one that has ended stays as it is.

    Raises:
        Refused: there is none that the caller may watch, or the caller may not act on it.
    """
    return jobs.cancel(_to_act_on(caller, job_id), actor=caller.actor)


def retry(caller: Caller, job_id: UUID) -> Job:
    """Run a failed or cancelled job again.

    Raises:
        Refused: as for `cancel`; or the job has neither failed nor was cancelled, or another has its key.
    """
    job = _to_act_on(caller, job_id)
    if job.state not in {State.FAILED, State.CANCELLED}:
        text = _("The state of this job is: %s. A job can be retried when it has failed or was cancelled.")
        raise Refused("conflict", text % job.get_state_display())
    try:
        return jobs.retry(job, actor=caller.actor)
    except IntegrityError as error:
        text = _("Another job with the same key is under way. Retry when it has ended.")
        raise Refused("conflict", text) from error


def _to_act_on(caller: Caller, job_id: UUID) -> Job:
    caller.must_act()
    job = find(caller, job_id)
    if not access.may_act(caller.user, job):
        raise Refused("forbidden", _("You may watch this job, and not act on it."))
    return job

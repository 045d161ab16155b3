"""What people do with schedules. An act and its entry in the audit trail are one transaction; then beat hears of it."""

import json
from typing import Any

from celery import current_app
from django.db import transaction
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from kombu.utils.json import dumps, loads

from status import jobs
from status.audit import Actor, Target, Verb, record
from status.models import Job
from status.outbox import JOB_HEADER
from status.schedules.allowed import Schedulable
from status.schedules.forms import ScheduleForm
from status.schedules.words import in_words, zone_of


def pause(task: PeriodicTask, actor: Actor) -> bool:
    """Have beat leave a schedule out; whether it was not paused before.

    >>> pause(task, on_page(request.user))
    True
    """
    return _switch(task, actor, enabled=False)


def resume(task: PeriodicTask, actor: Actor) -> bool:
    """Have beat run a paused schedule again, from its next time on; whether it was paused."""
    return _switch(task, actor, enabled=True)


def _switch(task: PeriodicTask, actor: Actor, *, enabled: bool) -> bool:
    with transaction.atomic():
        held = PeriodicTask.objects.select_for_update().filter(pk=task.pk).first()
        if held is None or held.enabled is enabled:
            return False
        held.enabled = enabled
        # Of a paused one it forgets the last run, so that what came due meanwhile is not made up for.
        held.save(update_fields=["enabled", "last_run_at", "date_changed"])
        record(actor, Verb.RESUME if enabled else Verb.PAUSE, _target(held))
    return True


def run_now(task: PeriodicTask, actor: Actor) -> Job:
    """Start a run beside the schedule's own, as a job of whoever asks for it.

    Raises:
        ValueError: the schedule's arguments are no JSON.
        TypeError: the task does not take them.
    """
    options = {name: getattr(task, name) for name in ("queue", "exchange", "routing_key", "priority")}
    signature = current_app.signature(
        task.task,
        args=loads(task.args or "[]"),
        kwargs=loads(task.kwargs or "{}"),
        options={name: value for name, value in options.items() if value is not None},
    )
    with transaction.atomic():
        job = jobs.start(
            signature,
            owner=actor.user,
            title=task.name,
            schedule=task.name,
            startable=startable_of(task),
        )
        record(actor, Verb.RUN, _target(task), job=str(job.pk))
    return job


def startable_of(task: PeriodicTask) -> str:
    """The name of the startable whose runs these are; empty for none."""
    try:
        return str((json.loads(task.headers or "{}") or {}).get(JOB_HEADER) or "")
    except (ValueError, AttributeError):
        return ""


def save(form: ScheduleForm, item: Schedulable, task: PeriodicTask | None, actor: Actor) -> PeriodicTask:
    """Make a schedule, or change `task`, to what a valid form says.

    Its runs are jobs, whatever `STATUS["TRACK"]` says.
    """
    with transaction.atomic():
        held = (
            PeriodicTask(task=item.task)
            if task is None
            else PeriodicTask.objects.select_for_update().get(pk=task.pk)
        )
        before = {} if task is None else _facts(held)
        timing = _saved(form.timing)
        held.name = form.cleaned_data["name"]
        held.interval = timing if isinstance(timing, IntervalSchedule) else None
        held.crontab = timing if isinstance(timing, CrontabSchedule) else None
        held.solar = held.clocked = None
        args, kwargs = form.call
        held.args, held.kwargs = dumps(args), dumps(kwargs)
        headers = json.loads(held.headers or "{}") or {}
        held.headers = json.dumps(headers | {JOB_HEADER: item.entry.name if item.entry else ""})
        held.save()
        changed = {name: said for name, said in _facts(held).items() if before.get(name) != said}
        record(actor, Verb.MAKE if task is None else Verb.EDIT, _target(held), **changed)
    return held


def delete(task: PeriodicTask, actor: Actor) -> None:
    """Delete a schedule; the jobs it made stay."""
    with transaction.atomic():
        record(actor, Verb.DELETE, _target(task), **_facts(task))
        task.delete()


def _saved(timing: Any) -> Any:
    """The row of a timing: that which is there, for schedules share them, or a new one."""
    fields = {
        field.name: getattr(timing, field.name)
        for field in timing._meta.concrete_fields
        if not field.primary_key
    }
    held = type(timing).objects.filter(**fields).first()
    if held is None:
        timing.save()
    return held or timing


def _facts(task: PeriodicTask) -> dict[str, str]:
    """What the audit trail tells of a schedule; not its arguments, which may hold what is secret."""
    schedule = task.schedule
    return {"name": task.name, "task": task.task, "when": f"{in_words(schedule)} {zone_of(schedule)}".strip()}


def _target(task: PeriodicTask) -> Target:
    return Target("schedule", str(task.pk), task.name)

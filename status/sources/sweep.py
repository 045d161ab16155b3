"""What beat does for what nobody looks after any more: lost workers, messages that were never sent."""

import logging
from datetime import datetime, timedelta
from uuid import UUID

from celery import shared_task
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from status import conf, jobs, languages, outbox, queues, searching, telling, workers, workflow
from status.broadcast import retain
from status.models import Job, Topic
from status.sources import delivering
from status.sources.counting import count_ended
from status.sources.timetable import every
from status.states import State

logger = logging.getLogger(__name__)

NAME = "status.sweep"
PULSE = "status.sweep"
UNSENT_SECONDS = 10.0
HELD_UP_SECONDS = 900.0
OVERDUE_SECONDS = 60.0
QUIET_SECONDS = 15.0
MOST_HEALED = 100
MOST_AT_ONCE = 500


def connect() -> None:
    """Put the sweep on beat's schedule, unless the project has an entry of that name."""
    every(NAME, conf.current().sweep_seconds)


@shared_task(name=NAME, ignore_result=True)
def sweep() -> None:
    """Send what was not sent, and end or repeat what lost its worker. Any number may run at once."""
    send_unsent()
    send_held_up()
    send_overdue()
    telling.tell_missed()
    delivering.send_due()
    quiet = timezone.now() - timedelta(seconds=QUIET_SECONDS)
    cancel_again(quiet)
    workflow.heal(quiet, MOST_HEALED)
    if _is_regular():
        expire_leases()
    queues.sample_depths(workers.consumed())
    count_ended()
    searching.catch_up()


@shared_task(name=outbox.SEND_TASK, ignore_result=True)
def send_members(root: str) -> None:
    """Send the messages of the members of a large group, which the process that began it has left to a worker."""
    outbox.send_unsent(UUID(root))


def send_unsent() -> int:
    """Send the message of each queued job that has none; returns how many the broker took.

    The message of a job is sent within milliseconds of the commit, so an older one without was interrupted.
    """
    before = timezone.now() - timedelta(seconds=UNSENT_SECONDS)
    unsent = Job.objects.filter(sent_at=None, held=False, state=State.QUEUED, created_at__lt=before)
    sent = 0
    for job in unsent.order_by("created_at")[:MOST_AT_ONCE]:
        if not outbox.send(job, job.attempt):
            break
        sent += 1
    outbox.note_sent()
    return sent


def send_held_up() -> int:
    """Send again for each job that has been queued for a quarter of an hour since its message went out.

    Mostly the queue is long, and the second message finds the job begun or ended. But a worker that is killed takes
    the messages with it that it had fetched and not begun; Redis gives them back after its visibility timeout, an
    hour or more.
    """
    late = timezone.now() - timedelta(seconds=HELD_UP_SECONDS)
    queued = Job.objects.filter(state=State.QUEUED, created_at__lt=late, held=False, canvas="")
    sent = 0
    for job in queued.filter(sent_at__lt=late).order_by("created_at")[:MOST_AT_ONCE]:
        if not outbox.deliver(job, job.attempt):
            break
        Job.objects.filter(pk=job.pk, state=State.QUEUED).update(sent_at=timezone.now())
        sent += 1
    return sent


def send_overdue() -> int:
    """Send again for each waiting job whose time passed a minute ago: its message is lost or held up."""
    now = timezone.now()
    late = now - timedelta(seconds=OVERDUE_SECONDS)
    overdue = Job.objects.filter(state=State.WAITING, next_at__lt=late, poll_at=None)
    sent = 0
    for job in overdue.order_by("next_at")[:MOST_AT_ONCE]:
        mine = Job.objects.filter(pk=job.pk, state=State.WAITING, next_at=job.next_at).update(next_at=now)
        if mine and outbox.send(job, job.attempt + 1):
            sent += 1
    return sent


def cancel_again(before: datetime) -> None:
    """Cancel what is in quiet canvases that were asked to end, where the process that did so ended midway."""
    unasked = Job.objects.live().filter(cancel_requested_at=None)
    unasked = unasked.filter(Q(parent=OuterRef("pk")) | Q(root=OuterRef("pk")))
    asked = Job.objects.filter(refreshed_at__lt=before, cancel_requested_at__isnull=False).exclude(canvas="")
    for job in asked.filter(Exists(unasked)).order_by("refreshed_at")[:MOST_HEALED]:
        jobs.cancel(job)


def expire_leases() -> int:
    """End or repeat each running job whose worker has written nothing for `LEASE_SECONDS`."""
    lease = timedelta(seconds=conf.current().lease_seconds)
    silent = Job.objects.filter(state=State.RUNNING, heartbeat_at__lt=timezone.now() - lease)
    lost = 0
    for job in silent.order_by("heartbeat_at")[:MOST_AT_ONCE]:
        facts = {"worker": job.worker, "at": f"{job.heartbeat_at:%H:%M:%S} UTC"}
        with languages.of_job(job):
            reason = _("The worker %(worker)s was lost: nothing was heard of it since %(at)s.") % facts
        if jobs.lose(job, reason):
            logger.warning("Job %s, attempt %d: worker %s is lost", job.pk, job.attempt, job.worker)
            lost += 1
    return lost


def _is_regular() -> bool:
    """Whether the sweep before this one was not long ago.

    After a pause (the database or beat was down) the workers first get the time to write their rows: they
    may all be alive.
    """
    last = Topic.objects.filter(pk=PULSE).values_list("updated_at", flat=True).first()
    retain(PULSE, {})
    return last is not None and timezone.now() - last < timedelta(seconds=conf.current().lease_seconds)

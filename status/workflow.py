"""Workflows: what a canvas's rows do as its members begin, move and end.

A canvas has no message and no worker. Its row is what its members make it: state, progress and counts are
computed from theirs, never added up from events, so a doubled message or a retry cannot make them wrong. Each step
here may be taken by any process, any number of times; what a crash leaves undone the sweep takes up again.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, F, FloatField, Q, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from status import channel, outbox
from status.events import JobEvent, MembersEvent
from status.models import Job
from status.models.queries import JobQuerySet
from status.states import LIVE, TERMINAL, Canvas, Failure, State

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 0.5
"""A canvas is computed anew at most this often while its members move, by all processes together."""

ENDED = (State.FAILED, State.CANCELLED)

Parents = set[UUID]


def ended(parent_id: UUID) -> Parents:
    """A member of `parent_id` has ended, and its row says so: whatever follows begins.

    Returns:
        Those whose figures have to be computed anew, soon: the parent, or what it is a member of itself.

    Example:
        >>> reporter().refresh_soon(ended(job.parent_id))
    """
    parent = Job.objects.only("canvas").find(parent_id)
    if parent is None:
        return set()
    if not parent.canvas:
        return {parent_id}
    if parent.canvas == Canvas.CHAIN:
        go_on(parent)
    if parent.members.filter(state__in=sorted(LIVE)).exists():
        return {parent_id}
    return refresh(parent_id)


def go_on(chain: Job) -> None:
    """Begin the link of a chain whose turn has come; after a failure, say that the rest is not run."""
    rows = chain.members.filter(position__isnull=False).order_by("position")
    before: UUID | None = None
    for pk, state, may_fail, held in rows.values_list("pk", "state", "may_fail", "held"):
        if is_done(state, may_fail):
            before = pk
            continue
        if state in ENDED:
            cancel_held(chain.members.all(), _("Not run: what came before it did not succeed."))
        elif state == State.QUEUED and held and before is not None:
            output = Job.objects.values_list("output", flat=True).get(pk=before)
            begin(Job.objects.filter(pk=pk), given=output or [None])
        return


def is_done(state: str, may_fail: bool) -> bool:
    """Whether a member that is in `state` lets what follows begin."""
    return state == State.SUCCEEDED or (state == State.FAILED and may_fail)


def begin(members: JobQuerySet, given: list[Any] | None) -> None:
    """The turn of `members` has come: mark them, and the first tasks of canvases among them, and send those.

    Args:
        members: held back until now; of one whole.
        given: the first argument that comes from before them, in a list; None for none.
    """
    for root_id in _begin(members, given):
        _send(root_id)


def _begin(members: JobQuerySet, given: list[Any] | None) -> set[UUID]:
    """Mark them; returns the wholes in which there is something to send now."""
    due = members.filter(state=State.QUEUED, held=True)
    found = list(due.values_list("pk", "canvas", "root_id"))
    due.filter(canvas="").update(held=False, given=given)
    roots = {root for _pk, _canvas, root in found if root is not None}
    for batch in _batches([pk for pk, canvas, _root in found if canvas]):
        now = timezone.now()
        Job.objects.filter(pk__in=batch).update(held=False, given=given, sent_at=now, refreshed_at=now)
        roots |= _begin(_first_of(batch), given)
    return roots


def _first_of(canvases: Sequence[UUID]) -> JobQuerySet:
    """The members of these canvases that run first."""
    is_first = Q(parent__canvas=Canvas.GROUP) | Q(parent__canvas=Canvas.CHAIN, position=0)
    return Job.objects.filter(is_first, parent__in=canvases)


def _send(root_id: UUID) -> None:
    jobs = list(
        outbox.unsent(root_id).only(*outbox.COLUMNS).order_by("position", "pk")[: outbox.MOST_IN_LINE + 1]
    )
    outbox.dispatch(jobs)


def _batches(pks: Sequence[UUID]) -> Iterable[Sequence[UUID]]:
    return (pks[at : at + outbox.BATCH] for at in range(0, len(pks), outbox.BATCH))


def cancel_held(members: JobQuerySet, reason: str = "") -> None:
    """Cancel the members among these whose turn has not come, and what is in them; `reason` is for their owner."""
    waiting = members.filter(state=State.QUEUED, held=True)
    found = list(waiting.values_list("pk", "canvas"))
    # From within: who finds the outer ones still held back goes on where this process perhaps ends.
    for batch in _batches([pk for pk, canvas in found if canvas]):
        cancel_held(Job.objects.filter(parent__in=batch), reason)
    for batch in _batches([pk for pk, _canvas in found]):
        Job.objects.filter(pk__in=batch).skip(reason)


def refresh_in_turn(parent_id: UUID, since: datetime) -> tuple[float, Parents]:
    """Compute a canvas anew, unless another process has just done so.

    Args:
        parent_id: a canvas, or a task that has started others.
        since: when its members were last seen to move; who has computed it later has seen that.

    Returns:
        Seconds after which to come again, 0 for never; and those that have to be computed in their turn.
    """
    now = timezone.now()
    pause = timedelta(seconds=REFRESH_SECONDS)
    if Job.objects.filter(pk=parent_id, refreshed_at__lte=now - pause).update(refreshed_at=now):
        return 0.0, refresh(parent_id)
    row = Job.objects.filter(pk=parent_id).values_list("canvas", "refreshed_at").first()
    if row is None:
        return 0.0, set()
    canvas, refreshed_at = row
    if not canvas:
        channel.publish(MembersEvent(job=parent_id))
        return 0.0, set()
    if refreshed_at is None:
        return 0.0, refresh(parent_id)
    if refreshed_at > since:
        return 0.0, set()
    return max((refreshed_at + pause - now).total_seconds(), 0.01), set()


def refresh(parent_id: UUID) -> Parents:
    """Compute the state, the progress and the counts of a canvas from its members.

    Returns:
        Those which that changes in turn.
    """
    with transaction.atomic():
        # One at a time: else a figure that was read earlier might be written later.
        job = Job.objects.select_for_update().exclude(canvas="").find(parent_id)
        if job is None:
            return set()
        before = _essence(job.event())
        was_live = job.is_live
        # What moves from now on has perhaps not been read.
        columns = _figures(job, timezone.now())
        state = columns.pop("state")
        if was_live and (state in TERMINAL or not job.held):
            Job.objects.advance(parent_id, state, attempt=job.attempt, seq=job.seq + 1, **columns)
        else:
            # It has ended, or not begun; its members may move all the same, when people retry or cancel one.
            Job.objects.filter(pk=parent_id).update(seq=F("seq") + 1, tally=columns["tally"])
        job.refresh_from_db()
    if _essence(job.event()) == before:
        return set()
    channel.publish(job.event())
    if job.parent_id is None:
        return set()
    return ended(job.parent_id) if was_live and not job.is_live else {job.parent_id}


def _essence(event: JobEvent) -> tuple[Any, ...]:
    return event.attempt, event.state, event.progress, event.tally


@dataclass(slots=True)
class _Count:
    """Members of a canvas, added up."""

    live: int = 0
    begun: int = 0
    weight: float = 0.0
    done: float = 0.0
    failed: int = 0
    cancelled: int = 0


def _figures(job: Job, now: datetime) -> dict[str, Any]:
    """The columns of a canvas that its members say."""
    weight = Coalesce(Sum("weight"), 0.0)
    done = Coalesce(Sum(F("weight") * Coalesce(F("progress"), 0.0), output_field=FloatField()), 0.0)
    states = job.members.order_by().values_list("state", "may_fail")
    rows = states.annotate(number=Count("pk"), weighs=weight, weighs_done=done)
    count, tally = _Count(), dict[str, int]()
    for state, may_fail, number, weighs, weighs_done in rows:
        tally[state] = tally.get(state, 0) + number
        count.weight += weighs
        count.done += weighs if is_done(state, may_fail) else weighs_done
        count.live += number if state in LIVE else 0
        count.begun += number if state != State.QUEUED else 0
        count.failed += number if state == State.FAILED and not may_fail else 0
        count.cancelled += number if state == State.CANCELLED else 0
    columns: dict[str, Any] = {
        "tally": tally,
        "progress": min(count.done / count.weight, 1.0) if count.weight else None,
    }
    if count.live:
        return columns | _while_live(job, count, columns["progress"], now)
    return columns | _at_the_end(job, count)


def _while_live(job: Job, count: _Count, progress: float | None, now: datetime) -> dict[str, Any]:
    if not count.begun:
        return {"state": job.state, "refreshed_at": now}
    started_at = job.started_at or now
    ran = (now - started_at).total_seconds()
    # Of an attempt that goes on with what was done before it, nothing is known about its pace.
    left = ran * (1 - progress) / progress if progress and job.attempt == 1 and ran > 1 else None
    return {
        "state": State.RUNNING,
        "started_at": started_at,
        "refreshed_at": now,
        "time_left_seconds": left,
    }


def _at_the_end(job: Job, count: _Count) -> dict[str, Any]:
    columns: dict[str, Any] = {"refreshed_at": None, "time_left_seconds": None}
    if count.failed:
        return columns | {"state": State.FAILED} | _failure(job, count.failed)
    if count.cancelled:
        return columns | {"state": State.CANCELLED}
    columns |= {"state": State.SUCCEEDED, "started_at": job.started_at or timezone.now()}
    planned = job.members.filter(position__isnull=False)
    if job.canvas == Canvas.CHAIN:
        # What comes last is what the whole was for.
        last = planned.order_by("-position").only("result", "file_count", "output").first()
        if last is not None:
            columns |= {"result": last.result, "file_count": last.file_count}
            columns["output"] = last.output if job.passes else None
    elif job.passes:
        outputs = planned.order_by("position").values_list("output", flat=True)
        columns["output"] = [[output[0] if output else None for output in outputs.iterator()]]
    return columns


def _failure(job: Job, failed: int) -> dict[str, Any]:
    """What the whole says about the members that failed."""
    rows = job.members.filter(state=State.FAILED, may_fail=False)
    first = rows.order_by("position").only("title", "error", "failure").first()
    assert first is not None
    said = f"{first.title}: {first.error}" if first.error else first.title
    if failed == 1:
        return {"failure": first.failure, "error": said}
    total = job.members.count()
    text = ngettext("%(failed)d of %(total)d failed.", "%(failed)d of %(total)d failed.", failed)
    return {"failure": Failure.ERROR, "error": text % {"failed": failed, "total": total} + "\n" + said}


def reopen(job: Job) -> bool:
    """Let a failed or cancelled job run again, as its next attempt; of a canvas the members that did not succeed.

    What it is a member of, and has ended without success, goes on as well, with what was not run after it, and
    with what had failed before it. A member whose turn had not come waits for that again.
    Within a transaction; the messages are to be sent after it, see `send_reopened`.

    Returns:
        Whether anything runs again.
    """
    if not _reopen_below(Job.objects.select_for_update().filter(pk=job.pk), held=job.was_skipped):
        return False
    inside = job
    while inside.parent_id is not None:
        parent = Job.objects.select_for_update().get(pk=inside.parent_id)
        if not parent.canvas or parent.state == State.SUCCEEDED:
            break
        if parent.canvas == Canvas.CHAIN:
            _reopen_links(parent.pk, held=parent.was_skipped)
        _reopen(Job.objects.filter(pk=parent.pk), held=parent.was_skipped)
        inside = parent
    return True


def _reopen_below(jobs: JobQuerySet, *, held: bool) -> int:
    """Reopen those of `jobs` that did not succeed, and what is in them; returns how many of `jobs` that were."""
    found = list(jobs.filter(state__in=ENDED).values_list("pk", "canvas"))
    for pk, canvas in found:
        if canvas == Canvas.GROUP:
            _reopen_below(Job.objects.filter(parent=pk), held=held)
        elif canvas == Canvas.CHAIN:
            _reopen_links(pk, held=held)
    for batch in _batches([pk for pk, _canvas in found]):
        _reopen(Job.objects.filter(pk__in=batch), held=held)
    return len(found)


def _reopen(jobs: JobQuerySet, *, held: bool) -> None:
    """Reopen these and nothing in them; a canvas has no message that might be sent."""
    canvases = list(jobs.exclude(canvas="").values_list("pk", flat=True))
    jobs.filter(state__in=ENDED).reopen(held=held)
    if canvases and not held:
        now = timezone.now()
        Job.objects.filter(pk__in=canvases, state=State.QUEUED).update(sent_at=now, refreshed_at=now)


def _reopen_links(chain: UUID, *, held: bool) -> None:
    """The first link that did not succeed runs again, the later ones wait for it."""
    links = Job.objects.filter(parent=chain, position__isnull=False)
    for position, state, may_fail in links.order_by("position").values_list("position", "state", "may_fail"):
        if not is_done(state, may_fail):
            _reopen_below(links.filter(position=position), held=held)
            _reopen_below(links.filter(position__gt=position), held=True)
            return


def send_reopened(job: Job) -> Parents:
    """Send what `reopen` let run again, after its commit; returns whose figures have changed."""
    around: list[Job] = []
    inside = job
    while inside.parent_id is not None:
        inside = Job.objects.get(pk=inside.parent_id)
        around.append(inside)
    for canvas in reversed(around):
        # The turn of what was not run has perhaps come.
        if canvas.canvas and not canvas.held:
            _take_up(canvas)
    if job.canvas or job.root_id is not None:
        _send(job.root_id or job.pk)
    else:
        outbox.send(job, job.attempt)
    return {job.pk} if job.canvas else ({job.parent_id} if job.parent_id is not None else set())


def family(job: Job) -> Iterable[list[UUID]]:
    """The ids of all that is in a job, at any depth, in batches: the members of its members as well."""
    inside = Job.objects.filter(root_id=job.root_id or job.pk, parent__isnull=False)
    parents = set(inside.order_by().values_list("parent_id", flat=True).distinct())
    level = {job.pk} & parents
    while level:
        members: list[UUID] = []
        for batch in _batches(sorted(level)):
            found = list(Job.objects.filter(parent__in=batch).values_list("pk", flat=True))
            for part in _batches(found):
                yield list(part)
            members += found
        level = set(members) & parents


def heal(before: datetime, most: int) -> int:
    """Take up canvases of which nobody has seen anything since `before`; returns how many.

    A process that ended between two steps leaves a canvas behind; most of those found are only quiet.
    """
    quiet = Job.objects.filter(refreshed_at__lt=before).exclude(canvas="").order_by("refreshed_at")
    found = list(quiet.filter(held=False).only("canvas", "given")[:most])
    parents: Parents = set()
    for job in found:
        Job.objects.filter(pk=job.pk).update(refreshed_at=timezone.now())
        _take_up(job)
        parents |= refresh(job.pk)
    for parent in parents:
        refresh(parent)
    return len(found)


def _take_up(canvas: Job) -> None:
    """Begin what is to begin in a canvas that is not held back."""
    # It was marked as begun, and then perhaps not what is in it.
    begin(_first_of([canvas.pk]), canvas.given)
    if canvas.canvas == Canvas.CHAIN:
        go_on(canvas)

"""Finds out what is wrong from what is known of workers, queues, beat and tasks."""

from collections.abc import Iterable
from datetime import datetime

from status import conf
from status.figures import Failing, read_failing
from status.findings import Finding, Kind, ordered
from status.models import Topic
from status.queue_lines import QueueLine
from status.queues import queue_of
from status.sources.sweep import NAME as SWEEP
from status.workers import Standing, Worker

UNSERVED_SECONDS = 15.0
"""A worker that starts has so long before its queue counts as left alone."""
SLOW_SECONDS = 300.0
LOST_SECONDS = 3600.0
"""A worker that was lost longer ago is no news."""
FAILING_SECONDS, FAILING_LEAST, FAILING_PART = 900, 5, 0.5


def diagnose(
    *,
    workers: list[Worker],
    lines: list[QueueLine],
    pulse: Topic | None,
    broker: BaseException | None,
    layer: BaseException | None,
    now: datetime,
) -> list[Finding]:
    """What is wrong, the worst first; one query, for the tasks that fail.

    Args:
        workers: all of the last day.
        lines: all queues.
        pulse: the topic that the sweep touches each time.
        broker: what the broker raised when it was asked; None: it answers, or nothing is known.
        layer: what the channel layer raised.
        now: the moment of all this.
    """
    failing = read_failing(now, seconds=FAILING_SECONDS, least=FAILING_LEAST, part=FAILING_PART)
    return ordered(
        [
            *_outages(broker, layer),
            *_of_workers(workers, now),
            *_of_queues(lines, now),
            *_of_beat(pulse, now),
            *_of_tasks(failing),
        ]
    )


def _outages(broker: BaseException | None, layer: BaseException | None) -> Iterable[Finding]:
    if broker is not None:
        yield Finding(kind=Kind.BROKER)
    if layer is not None:
        yield Finding(kind=Kind.CHANNEL_LAYER)


def _of_workers(workers: list[Worker], now: datetime) -> Iterable[Finding]:
    if not any(worker.is_up for worker in workers):
        yield Finding(kind=Kind.NO_WORKER)
    for worker in workers:
        ago = (now - worker.since).total_seconds()
        if worker.standing is Standing.LOST and ago <= LOST_SECONDS:
            yield Finding(kind=Kind.LOST, name=worker.name, count=worker.told.active, seconds=ago)


def _of_queues(lines: list[QueueLine], now: datetime) -> Iterable[Finding]:
    for line in lines:
        waited = line.oldest_seconds
        if line.paused_at is not None:
            since = (now - line.paused_at).total_seconds()
            yield _of_queue(Kind.PAUSED, line, since)
        elif not (line.waiting or line.jobs):
            continue
        elif not line.workers and (waited is None or waited >= UNSERVED_SECONDS):
            yield _of_queue(Kind.UNSERVED, line, waited)
        elif line.workers and waited is not None and waited >= SLOW_SECONDS:
            yield _of_queue(Kind.SLOW, line, waited)


def _of_queue(kind: Kind, line: QueueLine, seconds: float | None) -> Finding:
    count = max(line.waiting, line.jobs)
    return Finding(kind=kind, name=line.name, count=count, seconds=seconds, who=line.paused_by)


def _of_beat(pulse: Topic | None, now: datetime) -> Iterable[Finding]:
    """The sweep is on beat's schedule; who hears nothing of it hears nothing of beat."""
    silent = None if pulse is None else (now - pulse.updated_at).total_seconds()
    if silent is None or silent > max(6 * conf.current().sweep_seconds, 30.0):
        yield Finding(kind=Kind.BEAT, seconds=silent, who=queue_of(SWEEP))


def _of_tasks(failing: Iterable[Failing]) -> Iterable[Finding]:
    for each in failing:
        yield Finding(
            kind=Kind.FAILING, name=each.task, count=each.failed, of=each.ended, seconds=FAILING_SECONDS
        )

"""What jobs cost a worker and who starts them: the reporter's CPU, tracked tasks a second, queries, `start()`."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import psutil
import redis

from benchmarks.figures import Figure
from benchmarks.stack import Stack, alone

BUSY_SECONDS = 8.0
TASKS = 300
STARTS = 200
ROUNDS = 7


def measure(stack: Stack) -> list[Figure]:
    """As shipped."""
    return [_reporter(stack), *_throughput(stack), _start(stack)]


def _reporter(stack: Stack) -> Figure:
    from benchmarks import tasks
    from tests.conftest import ended, reached

    queue, gate = stack.shipped(), stack.gate()
    [worker] = stack.workers[queue]
    [child] = worker.children()
    job = stack.start(tasks.busy.s(BUSY_SECONDS + 2, str(gate)), queue)
    reached(job, "running")
    gate.touch()
    time.sleep(1)
    began, before = time.monotonic(), _beside_main(child)
    time.sleep(BUSY_SECONDS)
    part = (_beside_main(child) - before) / (time.monotonic() - began)
    ended(job)
    return Figure(
        name="worker CPU of reporter and sender, one job updating without pause",
        measured=f"{part:.1%} of a core",
        bound="≤ 2 %",
        holds=part <= 0.02,
        limit="a third is sending ten events a second, each a write and an answer; the rest making them, and one write "
        "of the row a second",
    )


def _beside_main(process: psutil.Process) -> float:
    """Seconds of CPU of all threads but the one that runs tasks."""
    return sum(t.user_time + t.system_time for t in process.threads() if t.id != process.pid)


def _throughput(stack: Stack) -> list[Figure]:
    """Both kinds in turn: queued while the worker is held by a task, then let go."""
    from benchmarks import tasks
    from status.jobs import start
    from tests.processes import wait_until

    queue = stack.shipped()

    def send_tracked(task: Any = tasks.nothing) -> None:
        start(task.s().set(queue=queue), owner=stack.user)

    ratio, rates = _side_by_side(stack, queue, tasks.nothing, send_tracked)
    ratio_kept, rates_kept = _side_by_side(stack, queue, tasks.nothing_kept, send_tracked)
    begun = _queries(stack, queue)
    for _ in range(TASKS):
        send_tracked()
    _drain(stack, queue)
    wait_until(lambda: not _untold(), 30, "the last notification")
    inside = (_queries(stack, queue) - begun) / TASKS
    outside = _queries_here(send_tracked)
    return [
        Figure(
            name="trivial jobs a second, beside the same tasks untracked; one process, results ignored",
            measured=f"{rates}: {ratio:.2f}; the two writes of the row with nothing else take "
            f"{_writes_alone(stack):.2f} ms",
            bound="≥ 0.7",
            holds=ratio >= 0.7,
            limit="two fifths are SQLite: two writes of the row, each a transaction that changes some eight pages of "
            "indexes; the rest preparing their values, handing the event over, and Celery's signals (cProfile)",
        ),
        Figure(
            name="the same, results kept by django-celery-results",
            measured=f"{rates_kept}: {ratio_kept:.2f}",
            bound="–",
            holds=True,
            limit="a third transaction between the two of the row",
        ),
        Figure(
            name="queries of a trivial job",
            measured=f"{outside:.2f} where it is started, {inside:.2f} in the worker; {TASKS} jobs of a user in a row",
            bound="≤ 3",
            holds=round(outside + inside, 1) <= 3,
            limit="the insert, begun, ended; the notifications of all that ended within a fifth of a second are one "
            "statement, so that a job that comes alone costs its own",
        ),
    ]


def _side_by_side(
    stack: Stack, queue: str, task: Any, send_tracked: Callable[[Any], None]
) -> tuple[float, str]:
    """The ratio of the rates, tracked to plain, of a task in turn; and the rates as text.

    A first round of each does not count: it opens connections, and the database's log grows to its size.
    """
    plain, tracked = [], []
    for _ in range(1 + ROUNDS):
        plain.append(_rate(stack, queue, lambda: task.apply_async(queue=queue)))
        tracked.append(_rate(stack, queue, lambda: send_tracked(task)))
    with_job, without = statistics.median(tracked[1:]), statistics.median(plain[1:])
    return with_job / without, f"{with_job:.0f}/s, untracked {without:.0f}/s"


def _writes_alone(stack: Stack) -> float:
    """Milliseconds of what a job of the user's writes into its row, copied from one and executed for others."""
    from django.db import connection

    from benchmarks import tasks
    from status.models import Job
    from status.outbox import ATTEMPT_HEADER

    written: list[tuple[str, tuple[Any, ...]]] = []

    def note(execute: Any, sql: str, params: Any, *rest: Any) -> Any:
        if sql.startswith(("UPDATE", "INSERT")):
            written.append((sql, tuple(params)))
        return execute(sql, params, *rest)

    def made() -> Any:
        task = tasks.nothing.name
        return Job.objects.create(task=task, title="Nothing", owner=stack.user, signature={"task": task})

    first, others = made(), [made() for _ in range(TASKS)]
    with connection.execute_wrapper(note):
        tasks.nothing.apply(task_id=str(first.pk), headers={ATTEMPT_HEADER: 1})
    # What comes after these is told later, and together.
    claim, end = written[:2]
    field = Job._meta.pk
    old = field.get_db_prep_save(first.pk, connection)
    keys = [field.get_db_prep_save(job.pk, connection) for job in others]
    began = time.perf_counter()
    with connection.cursor() as cursor:
        for key in keys:
            for sql, params in (claim, end):
                cursor.execute(sql, [key if value == old else value for value in params])
            cursor.fetchall()
    took = time.perf_counter() - began
    assert not Job.objects.filter(pk__in=[job.pk for job in others]).exclude(state="succeeded").exists()
    return took / TASKS * 1000


def _untold() -> bool:
    """Whether a job has ended of which nobody is told yet."""
    from status.models import Job

    return Job.objects.filter(finished_at__isnull=False, owner__isnull=False, notifications=None).exists()


def _rate(stack: Stack, queue: str, send: Callable[[], None]) -> float:
    from benchmarks import tasks
    from tests.processes import wait_until

    gate, done = stack.gate(), stack.gate()
    tasks.hold.apply_async((str(gate),), queue=queue)
    for _ in range(TASKS):
        send()
    tasks.touch.apply_async((str(done),), queue=queue)
    began = time.perf_counter()
    gate.touch()
    wait_until(done.exists, 120, "the last of the tasks")
    return TASKS / (time.perf_counter() - began)


def _drain(stack: Stack, queue: str) -> None:
    from tests.processes import wait_until

    client = redis.Redis.from_url(stack.valkey.url)
    wait_until(lambda: client.llen(queue) == 0, 120, "the empty queue")


def _queries(stack: Stack, queue: str) -> int:
    from benchmarks import tasks

    return tasks.query_count.apply_async(queue=queue).get(timeout=60)


def _queries_here(send: Callable[[], None]) -> float:
    from benchmarks import queries

    queries.count_them()
    before = queries.count()
    for _ in range(20):
        send()
    return (queries.count() - before) / 20


def _start(stack: Stack) -> Figure:
    from benchmarks import tasks
    from status.jobs import start

    queue = stack.shipped()
    started, delayed = [], []
    for _ in range(STARTS):
        delayed.append(_milliseconds(lambda: tasks.nothing.apply_async(queue=queue)))
        started.append(_milliseconds(lambda: start(tasks.nothing.s().set(queue=queue), owner=stack.user)))
    _drain(stack, queue)
    more = statistics.median(started) - statistics.median(delayed)
    return Figure(
        name="`start()` beside `delay()`",
        measured=f"{statistics.median(started):.1f} ms beside {statistics.median(delayed):.1f} ms: {more:.1f} ms more",
        bound="≤ 2 ms more",
        holds=more <= 2,
        limit="the insert of 50 columns and its commit; the message is made of what is in the row",
    )


def _milliseconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    alone(measure)

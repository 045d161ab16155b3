"""The first paint of every page before a long history, in server time: all middleware, without a network.

`benchmarks.lists` measures it as well; `RUN_DIR=… python -m benchmarks.paints` does in a database that has a history.
"""

import itertools
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from benchmarks.figures import Figure
from config.valkey import Valkey

RUNS = 5
LINES = 100_000
MEMBERS = 10_000
TOLD = 10_000
BOUND_MS = 100


@dataclass(frozen=True)
class Paint:
    """What one page cost; the median of some."""

    name: str
    milliseconds: float
    processor_ms: float
    queries: int


def figure_of(found: list[Paint], jobs: int) -> Figure:
    """The slowest of all pages."""
    slow = max(found, key=lambda paint: paint.milliseconds)
    return Figure(
        name=f"first paint before {jobs:,} jobs, server time, the slowest of {len(found)} pages",
        measured=f"{slow.milliseconds:.0f} ms, {slow.queries} queries ({slow.name})",
        bound=f"≤ {BOUND_MS} ms",
        holds=slow.milliseconds <= BOUND_MS,
    )


def paints() -> list[Paint]:
    """Each page, as somebody opens it who may do everything."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    from status.sources.counting import count_ended

    remove()
    while count_ended():
        pass
    people = get_user_model()._default_manager
    staff = people.filter(username="paints").first() or people.create_superuser("paints")
    client = Client()
    client.force_login(staff)
    return [_paint(client, name, path) for name, path in _addresses(staff).items()]


def remove() -> None:
    """Delete what was made for it."""
    from status.models import AuditEntry, Job, LogLine, Notification, SearchText

    mine = Job.objects.filter(task="paints")
    for rows in (
        LogLine.objects.filter(job__in=mine),
        SearchText.objects.filter(job__in=mine),
        mine.exclude(parent=None),
        mine,
        AuditEntry.objects.filter(source="paints"),
        Notification.objects.filter(owner__username="paints"),
    ):
        rows._raw_delete(rows.db)


def _paint(client: Any, name: str, path: str) -> Paint:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    assert client.get(path).status_code == 200, path
    took, worked = [], []
    for _ in itertools.repeat(None, RUNS):
        began, busy = time.perf_counter(), time.process_time()
        with CaptureQueriesContext(connection) as queries:
            client.get(path)
        took.append((time.perf_counter() - began) * 1000)
        worked.append((time.process_time() - busy) * 1000)
    return Paint(name, statistics.median(took), statistics.median(worked), len(queries))


def _addresses(staff: Any) -> dict[str, str]:
    from status.models import Job
    from status.states import State

    found = {
        "list": "/jobs/?state=all",
        "list, failed": "/jobs/?state=failed",
        "list, filtered": "/jobs/?state=failed&task=orders.tasks.import_orders&time=7d",
        "list, searched": "/jobs/?state=all&q=payment+provider",
        "tasks to start": "/jobs/new/",
        "form of a task": "/jobs/new/profile-csv/",
        "tokens": "/jobs/tokens/",
        "workers and queues": "/jobs/house/",
        "workers and queues, 7 days": "/jobs/house/?window=7d",
        "a queue": "/jobs/house/queues/default/",
        "schedules": "/jobs/schedules/",
        "tasks to schedule": "/jobs/schedules/new/",
        "form of a schedule": "/jobs/schedules/new/?task=demo.renders.render_on_the_farm",
        "preferences": "/jobs/notifications/preferences/",
        "a choice of all": "/jobs/selection/?action=retry&all=1&query=state%3Dfailed&until=2100-01-01T00:00Z",
    }
    for state in State:
        job = Job.objects.filter(parent=None, state=state).order_by("-created_at").first()
        if job is not None:
            found[f"job, {state}"] = job.get_absolute_url()
    return found | _long_log() | _workflow() | _audit(staff) | _inbox(staff)


def _long_log() -> dict[str, str]:
    from django.utils import timezone

    from status.models import Job, LogLine
    from status.states import State

    now = timezone.now()
    job = Job.objects.create(
        task="paints", title="Long log", state=State.FAILED, finished_at=now, error="No."
    )
    common = {"job": job, "attempt": 1, "at": now, "level": 20}
    lines = (LogLine(number=number, text=f"Row {number} read", **common) for number in range(1, LINES + 1))
    while batch := list(itertools.islice(lines, 10_000)):
        LogLine.objects.bulk_create(batch)
    path = job.get_absolute_url()
    return {
        f"job, {LINES:,} lines": path,
        "log, the end": f"{path}lines/",
        "log, the middle": f"{path}lines/?before=1.{LINES // 2}",
        "log, a rare word": f"{path}lines/?q=row+17+read",
    }


def _workflow() -> dict[str, str]:
    from django.utils import timezone

    from status.models import Job
    from status.states import State

    tally = {State.SUCCEEDED: MEMBERS - 9, State.FAILED: 9}
    whole = Job.objects.create(task="paints", title="Wide", canvas="group", tally=tally, state=State.FAILED)
    common: dict[str, Any] = {"task": "paints", "parent": whole, "root": whole, "started_at": timezone.now()}
    Job.objects.bulk_create(
        [
            Job(title=f"Member {n}", position=n, state=State.FAILED if n < 9 else State.SUCCEEDED, **common)
            for n in range(MEMBERS)
        ],
        batch_size=1000,
    )
    path = whole.get_absolute_url()
    return {
        f"workflow, {MEMBERS:,} members": path,
        "members, the first": f"{path}members/",
        "members, far": f"{path}members/?page={MEMBERS // 25 - 1}",
    }


def _audit(staff: Any) -> dict[str, str]:
    from status.models import AuditEntry

    AuditEntry.objects.bulk_create(
        [
            AuditEntry(name="olga", verb="cancel", source="paints", kind="job", subject=str(UUID(int=n)))
            for n in range(TOLD)
        ],
        batch_size=1000,
    )
    middle = AuditEntry.objects.order_by("-pk")[TOLD // 2].pk
    return {"audit": "/jobs/audit/", "audit, far": f"/jobs/audit/?before={middle}&name=olga"}


def _inbox(staff: Any) -> dict[str, str]:
    from status.models import Notification

    Notification.objects.bulk_create(
        [Notification(owner=staff, title=f"Job {n} failed", kind="failed") for n in range(TOLD)],
        batch_size=1000,
    )
    middle = Notification.objects.filter(owner=staff).order_by("-pk")[TOLD // 2].pk
    inbox = "/jobs/notifications/"
    return {"notifications": inbox, "notifications, far": f"{inbox}?until={middle}"}


def _print() -> None:
    with TemporaryDirectory() as folder, Valkey(Path(folder)) as valkey:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DEBUG": "0",
            "SECRET_KEY": "for the benchmarks",
            "ALLOWED_HOSTS": "testserver",
            "REDIS_URL": valkey.url,
        }
        import django

        django.setup()
        found = paints()
        remove()
    for paint in sorted(found, key=lambda paint: -paint.milliseconds):
        sys.stdout.write(
            f"{paint.milliseconds:6.1f} ms, {paint.processor_ms:6.1f} ms of processor time, "
            f"{paint.queries:2} queries  {paint.name}\n"
        )


if __name__ == "__main__":
    _print()

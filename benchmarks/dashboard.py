"""The page of workers and queues: what running jobs cost a web process that shows it, and its first paint."""

import contextlib
import re
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from typing import Any

from benchmarks import flows
from benchmarks.figures import Figure
from benchmarks.many import JOBS, RATE, running
from benchmarks.stack import Server, Stack, alone
from benchmarks.viewers import Viewers
from config.supervisor import PROJECT

VIEWERS = 50
SECONDS = 10
STARTED_A_SECOND = 100
ENDED, TASKS = 100_000, 20
PAINTS = 20
TOKEN = "of the benchmarks"
PAGE = "/jobs/house/"


def measure(stack: Stack) -> list[Figure]:
    """As shipped, under daphne; the events of jobs come straight from the channel layer."""
    with _boss(stack):
        return [_events(stack), _paint(stack)]


@contextlib.contextmanager
def _boss(stack: Stack) -> Iterator[None]:
    """The user of the stack sees everything meanwhile."""
    from django.contrib.auth import get_user_model

    before = stack.user
    stack.user = get_user_model().objects.create_superuser(stack.name("boss"))
    try:
        yield
    finally:
        stack.user = before


def _events(stack: Stack) -> Figure:
    from django.utils import timezone

    from status.regions import Subject

    jobs = running(stack, JOBS)
    new = Subject.new_jobs("all", timezone.now())
    counts = stack.socket_path('{% live new "status/partials/new_jobs.html" %}', new=new)
    with stack.web(environment={"METRICS_TOKEN": TOKEN}) as server:
        addresses = [server.address(path, stack.cookie()) for path in (_house_path(stack), counts)]
        with Viewers(addresses, VIEWERS) as viewers:
            before = _received(server)
            found = _flow(server, viewers, jobs)
            received = _received(server) - before
    rate = received / SECONDS / JOBS
    return Figure(
        name=f"dashboard topics, {JOBS:,} running jobs × {RATE} updates/s and {STARTED_A_SECOND} new jobs/s, "
        f"{VIEWERS} viewers of workers and queues and of the list's count, daphne",
        measured=f"{received:,} events reached the web process in {SECONDS} s, {rate:.3f}/s per job; "
        f"{found['busy']:.0%} of a core",
        bound="≤ 1 event/s per job",
        holds=rate <= 1,
        limit="no event of a running job: each web process reads the house every three seconds, for all who look; "
        "a new job is one event for the lists",
    )


def _house_path(stack: Stack) -> str:
    """The signed address of the page's socket."""
    from django.test import Client

    client = Client()
    client.force_login(stack.user)
    html = client.get(PAGE).content.decode()
    return unescape(html.partition('ws-connect="')[2].partition('"')[0])


def _received(server: Server) -> int:
    """How many messages of the channel layer the web process has got."""
    request = urllib.request.Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read().decode()
    return int(float(re.search(r"^status_events_received_total (\S+)", text, re.MULTILINE)[1]))  # type: ignore[index]


def _flow(server: Server, viewers: Viewers, jobs: list[Any]) -> dict[str, Any]:
    """What it costs while jobs report and others are started."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.publish", str(RATE), str(SECONDS)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        text=True,
    ) as publisher:
        assert publisher.stdin
        publisher.stdin.write(" ".join(job.pk.hex for job in jobs))
        publisher.stdin.close()
        starts = threading.Thread(target=_tell_of_new_jobs)
        starts.start()
        found = flows.window(server, viewers, SECONDS)
        starts.join()
    return found


def _tell_of_new_jobs() -> None:
    from status import channel
    from status.events import ListEvent

    due = time.monotonic()
    for _number in range(SECONDS * STARTED_A_SECOND):
        channel.publish(ListEvent(scope="all"))
        due += 1 / STARTED_A_SECOND
        time.sleep(max(due - time.monotonic(), 0.0))


def _paint(stack: Stack) -> Figure:
    """Milliseconds from request to response, all middleware included, without a network; nothing is kept."""
    from django.test import Client

    from status import computed
    from status.sources.counting import count_ended

    _history(stack)
    while count_ended():
        pass
    client = Client()
    client.force_login(stack.user)
    took, worked = [], []
    for _time in range(PAINTS):
        computed.forget(computed.HOUSE)
        began, processor = time.perf_counter(), time.process_time()
        response = client.get(PAGE)
        took.append((time.perf_counter() - began) * 1000)
        worked.append((time.process_time() - processor) * 1000)
        assert response.status_code == 200, response
    return Figure(
        name=f"first paint of workers and queues with {ENDED:,} jobs, server time",
        measured=f"{statistics.median(took):.1f} ms, {statistics.median(worked):.1f} ms of the processor",
        bound="≤ 100 ms",
        holds=statistics.median(took) <= 100,
        limit="adding up the bins of twenty tasks over a day, and three charts",
    )


def _history(stack: Stack) -> None:
    """Jobs of many tasks that ended in the last week."""
    from django.utils import timezone

    from status.models import Job
    from status.states import State

    now = timezone.now()
    jobs = []
    for number in range(ENDED):
        finished = now - timedelta(seconds=10 + number * 6)
        started = finished - timedelta(seconds=0.1 + number % 100)
        failed = number % 20 == 0
        jobs.append(
            Job(
                task=f"bench.tasks.number_{number % TASKS}",
                title=f"Job {number}",
                owner=stack.user,
                state=State.FAILED if failed else State.SUCCEEDED,
                failure="error" if failed else "",
                created_at=started - timedelta(seconds=number % 7),
                started_at=started,
                finished_at=finished,
            )
        )
    Job.objects.bulk_create(jobs, batch_size=2000)


if __name__ == "__main__":
    alone(measure)

"""Many jobs at once: 1,000 with a viewer each, and a page of 50 live rows before 200 viewers."""

import subprocess
import sys
import time
from typing import Any

from benchmarks import flows
from benchmarks.figures import Figure
from benchmarks.stack import Server, Stack, alone
from benchmarks.viewers import Viewers
from config.supervisor import PROJECT

JOBS, RATE = 1000, 5
ROWS, ROW_RATE, ROW_VIEWERS = 50, 10, 200
SECONDS = 10
MARGIN_SECONDS = 1


def measure(stack: Stack) -> list[Figure]:
    """As shipped, under daphne; the events come straight from the channel layer."""
    return [_one_viewer_each(stack), _rows(stack)]


def _one_viewer_each(stack: Stack) -> Figure:
    jobs = running(stack, JOBS)
    cookie = stack.cookie()
    with stack.web() as server:
        addresses = [server.address(stack.socket_path("{% live job %}", job=job), cookie) for job in jobs]
        with Viewers(addresses, JOBS, stamps=True) as viewers:
            found, seen = _flow(server, viewers, jobs, RATE)
    sent = JOBS * RATE * SECONDS
    late = found["delays"][990]
    return Figure(
        name=f"{JOBS:,} jobs × {RATE} updates/s, one viewer each, daphne",
        measured=f"{seen:,} of {sent:,} updates seen, p99 {late:,.0f} ms, {found['busy']:.0%} of a core",
        bound="none lost, p99 ≤ 300 ms, ≤ 1 core",
        holds=seen == sent and late <= 300 and found["busy"] <= 1,
        limit="half is rendering the cells and comparing them, a quarter reading events and keeping the newest, the "
        "rest the sockets and the loop",
    )


def _rows(stack: Stack) -> Figure:
    jobs = running(stack, ROWS)
    template = '{% for job in jobs %}{% live job "status/partials/row.html" class="contents" %}{% endfor %}'
    with stack.web() as server:
        address = server.address(stack.socket_path(template, jobs=jobs), stack.cookie())
        with Viewers([address], ROW_VIEWERS) as viewers:
            found, _seen = _flow(server, viewers, jobs, ROW_RATE)
    frames = found["rate"] / ROW_VIEWERS
    return Figure(
        name=f"a page of {ROWS} live rows, {ROWS} jobs × {ROW_RATE} updates/s, {ROW_VIEWERS} viewers, daphne",
        measured=f"{frames:.1f} frames/s per viewer of {found['bytes'] / 1000:.0f} KB, {found['busy']:.0%} of a core",
        bound="≤ 10 frames/s, ≤ 1 core",
        holds=frames <= 10.05 and found["busy"] <= 1,
        limit="rendering of 500 rows a second",
    )


def running(stack: Stack, count: int) -> list[Any]:
    """Rows of so many jobs that run."""
    from status.models import Job
    from status.states import State

    jobs = [Job(task="bench", title=f"Job {n}", owner=stack.user, state=State.RUNNING) for n in range(count)]
    return Job.objects.bulk_create(jobs)


def _flow(server: Server, viewers: Viewers, jobs: list[Any], rate: float) -> tuple[dict[str, Any], int]:
    """What it cost while events came, and how many updates the viewers saw in all."""
    viewers.report()
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.publish", str(rate), str(SECONDS)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as publisher:
        assert publisher.stdin
        publisher.stdin.write(" ".join(job.pk.hex for job in jobs))
        publisher.stdin.close()
        seen = flows.wait_for_frames(viewers)
        # The first update of each job begins its step, which waits for no pace.
        time.sleep(MARGIN_SECONDS)
        found = flows.window(server, viewers, SECONDS - 2 * MARGIN_SECONDS)
        publisher.wait()
    return found, seen + found["before"] + found["updates"] + flows.rest(viewers)


if __name__ == "__main__":
    alone(measure)

"""The list of jobs before a long history: what a page costs, wherever it is and however it is narrowed."""

import itertools
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from benchmarks import paints
from benchmarks.figures import Figure
from benchmarks.stack import Stack, alone

JOBS = 100_000
RUNS = 7
PAGE = 25
FAR = 1_000
QUERIES = (
    "",
    "state=failed",
    "task=orders.tasks.import_orders",
    "owner=bruno",
    "queue=mail",
    "worker=celery@node-3",
    "schedule=nightly-backup",
    "kind=workflow",
    "time=7d&state=failed",
    "task=orders.tasks.import_orders&worker=celery@node-3&state=failed",
    "q=invoice",
    "q=i",
    "q=payment+provider",
    "q=invoice&state=failed&owner=amelia",
    "q=invoice&state=waiting",
    "q=nosuchword",
)


@dataclass(frozen=True)
class Cost:
    """Of one page."""

    query: str
    milliseconds: float
    queries: int


def measure(stack: Stack) -> list[Figure]:
    """Seeds a history and lists it."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    began = time.perf_counter()
    call_command("seed_jobs", JOBS, yes=True, verbosity=0)
    seeding = time.perf_counter() - began
    first, far = pages("all", 0), pages("all", FAR)
    slow, slow_far = (max(costs, key=lambda cost: cost.milliseconds) for costs in (first, far))
    staff = get_user_model()._default_manager.create_superuser("lists-bench")
    paint, painted = _paint(staff)
    painted_pages = paints.paints()
    call_command("seed_jobs", remove=True, verbosity=0)
    paints.remove()
    return [
        Figure(
            name=f"a history of {JOBS:,} jobs is seeded",
            measured=f"{seeding:.0f} s",
            bound="≤ 60 s",
            holds=seeding <= 60,
        ),
        Figure(
            name=f"page 1 of {JOBS:,} jobs, the slowest of {len(QUERIES)} filters and searches",
            measured=f"{slow.milliseconds:.1f} ms, {slow.queries} queries ({slow.query})",
            bound="≤ 50 ms",
            holds=slow.milliseconds <= 50,
        ),
        Figure(
            name=f"page {FAR:,}, the same",
            measured=f"{slow_far.milliseconds:.1f} ms, {slow_far.queries} queries ({slow_far.query})",
            bound="≤ 50 ms",
            holds=slow_far.milliseconds <= 50,
        ),
        Figure(
            name=f"first paint of the list before {JOBS:,} jobs, server time, of {len(QUERIES)} the slowest",
            measured=f"{paint:.0f} ms ({painted})",
            bound="≤ 100 ms",
            holds=paint <= 100,
        ),
        paints.figure_of(painted_pages, JOBS),
    ]


def pages(scope: str, number: int) -> list[Cost]:
    """What the page after `number` pages costs, for each of `QUERIES` that has so many."""
    return [cost for query in QUERIES if (cost := _page(scope, query, number)) is not None]


def _page(scope: str, query: str, number: int) -> Cost | None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from status.filters import Filters
    from status.listing import Listing

    filters = Filters.read(dict(parse_qsl(query)))
    after = None
    for _ in range(number // 40):
        # Forty pages at once; what lies between does not matter.
        page = Listing(scope, filters).page(PAGE * 40, after=after)
        after = page.older
        if after is None:
            return None
    took = []
    for _ in range(RUNS):
        with CaptureQueriesContext(connection) as queries:
            began = time.perf_counter()
            Listing(scope, filters).page(PAGE, after=after)
            took.append((time.perf_counter() - began) * 1000)
    return Cost(query or "all", statistics.median(took), len(queries))


def _paint(user: Any) -> tuple[float, str]:
    """The slowest first paint, all middleware included."""
    from django.test import Client

    client = Client()
    client.force_login(user)
    found = []
    for query in QUERIES:
        took = []
        for _ in itertools.repeat(None, RUNS):
            began = time.perf_counter()
            response = client.get(f"/jobs/?{query}")
            took.append((time.perf_counter() - began) * 1000)
            assert response.status_code == 200, response
        found.append((statistics.median(took), query or "all"))
    return max(found)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        JOBS = int(sys.argv[1].replace("_", ""))
    alone(measure)

"""Lists of jobs: what they hold, in which order, and at what cost."""

import re
from datetime import timedelta
from urllib.parse import parse_qsl

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from status import listing as module
from status.choices import choices
from status.cursors import Cursor
from status.filters import ALL, Filters
from status.listing import Listing
from status.models import Job
from status.models.search import split, words_of
from status.states import State

JOBS = 1500
QUERIES = [
    "",
    "state=failed",
    "state=running",
    "task=orders.tasks.import_orders",
    "owner=bruno",
    "owner=bruno&state=failed",
    "queue=mail",
    "worker=celery@node-3",
    "schedule=clear-sessions",
    "kind=workflow",
    "kind=single&state=failed",
    "time=7d",
    "time=24h&state=succeeded",
    "task=orders.tasks.send_invoice&worker=celery@node-3",
    "task=orders.tasks.send_invoice&owner=amelia&queue=mail&state=failed",
    "q=invoice",
    "q=inv",
    "q=invoice&state=failed",
    "q=invoice&owner=amelia&worker=celery@node-2",
    "q=payment+provider",
    "q=backup&task=ops.tasks.backup&time=7d",
    "q=orders&kind=single",
    "q=nothing+like+this",
    "owner=nobody",
    "owner=nobody&q=invoice",
]


@pytest.fixture(scope="module")
def seeded(django_db_setup, django_db_blocker):
    """A history that all tests of this module read."""
    with django_db_blocker.unblock():
        call_command("seed_jobs", JOBS, days=20, yes=True, verbosity=0)
        yield list(Job.objects.filter(parent=None).select_related("owner").order_by("-created_at", "-pk"))
        call_command("seed_jobs", remove=True, verbosity=0)


@pytest.fixture
def window(monkeypatch):
    """So small that the history does not fit."""
    monkeypatch.setattr(module, "WINDOW", 60)


def filters_of(query):
    found = Filters.read(dict(parse_qsl(query)))
    assert not found.problems
    return found


def fits(job, filters):
    """By the plainest reading of what the filters mean."""
    words = words_of(job).split()
    return (
        (not filters.state or job.state == filters.state)
        and (not filters.task or job.task == filters.task)
        and (not filters.queue or job.queue == filters.queue)
        and (not filters.worker or job.worker == filters.worker)
        and (not filters.schedule or job.schedule == filters.schedule)
        and (not filters.owner or (job.owner is not None and job.owner.get_username() == filters.owner))
        and (not filters.kind or (filters.kind == "workflow") == bool(job.canvas))
        and (filters.begins_at is None or job.created_at >= filters.begins_at)
        and (filters.until is None or job.created_at < filters.until)
        and all(any(word.startswith(part) for word in words) for part in filters.words)
    )


def walk(listing, size, most=400):
    """All pages, from the first on."""
    pages, after = [], None
    while True:
        page = listing.page(size, after=after)
        pages.append(page)
        assert len(pages) < most
        if page.older is None:
            return pages
        after = page.older


@pytest.mark.django_db
@pytest.mark.parametrize("query", QUERIES)
def test_pages_hold_what_fits_once_and_in_order(seeded, window, query):
    filters = filters_of(query)
    expected = [job.pk for job in seeded if fits(job, filters)]
    pages = walk(Listing("all", filters), 25)
    assert [job.pk for page in pages for job in page.jobs] == expected


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query", ["", "state=failed", "kind=workflow&time=7d", "q=invoice", "q=invoice&worker=celery@node-2"]
)
def test_the_way_back_shows_the_same_pages(seeded, query):
    listing = Listing("all", filters_of(query))
    pages = [page.jobs for page in walk(listing, 20)[:4] if page.jobs]
    back = listing.page(20, after=Cursor(pages[-2][-1].created_at, pages[-2][-1].pk)).newer
    for jobs in reversed(pages[:-1]):
        page = listing.page(20, before=back)
        assert page.jobs == jobs
        back = page.newer
    assert back is None


@pytest.mark.django_db
def test_an_owner_sees_no_one_elses(seeded):
    owner = next(job.owner for job in seeded if job.owner)
    for query in ("", "q=invoice", "q=invoice&state=succeeded", "owner=jonas"):
        jobs = [job for page in walk(Listing(str(owner.pk), filters_of(query)), 100) for job in page.jobs]
        assert jobs
        assert {job.owner_id for job in jobs} == {owner.pk}


@pytest.mark.django_db
@pytest.mark.parametrize("query", QUERIES)
def test_counts_are_exact_as_long_as_all_is_looked_at(seeded, query):
    filters = filters_of(query)
    fitting = [job for job in seeded if fits(job, filters.without_state)]
    counts = Listing("all", filters).counts()
    for state in State.values:
        count = counts[state]
        real = sum(job.state == state for job in fitting)
        assert count.number == real if not count.more else count.number <= real
    assert counts[ALL].number <= len(fitting)
    if not counts[ALL].more:
        assert counts[ALL].number == len(fitting)
    # By an index alone, all are counted.
    assert not counts[ALL].more or filters.kind or filters.words


@pytest.mark.django_db
def test_large_counts_are_bounded(seeded, monkeypatch):
    monkeypatch.setattr(module, "MOST_COUNTED", 100)
    counts = Listing("all", Filters()).counts()
    assert (counts[ALL].number, counts[ALL].more) == (100, True)
    running = sum(job.state == State.RUNNING for job in seeded)
    assert (counts[State.RUNNING].number, counts[State.RUNNING].more) == (running, False)


@pytest.mark.django_db
def test_a_page_says_how_far_it_has_looked(seeded, window):
    page = Listing("all", filters_of("q=invoice&worker=none@node")).page(25)
    assert page.jobs == []
    assert page.looked_until is not None
    assert page.older is not None
    assert Listing("all", filters_of("state=waiting")).page(25).looked_until is None


@pytest.mark.django_db
@pytest.mark.parametrize("query", QUERIES)
def test_a_page_far_behind_costs_as_many_queries_as_the_second(seeded, window, query):
    listing = Listing("all", filters_of(query))
    places = [page.older for page in walk(listing, 10) if page.older is not None]

    def cost(after):
        with CaptureQueriesContext(connection) as queries:
            Listing("all", filters_of(query)).page(10, after=after)
        return len(queries)

    if len(places) > 2:
        assert cost(places[-2]) <= cost(places[0]) + 2
        assert cost(places[-2]) <= 8


@pytest.mark.django_db
@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL reads a small table whole")
@pytest.mark.parametrize("scope", ["all", "one"])
@pytest.mark.parametrize("query", QUERIES)
def test_every_query_uses_an_index_of_the_lists(seeded, query, scope):
    """SQLite without statistics plans alike for a thousand rows and a million."""
    owner = next(job.owner for job in seeded if job.owner)
    listing = Listing("all" if scope == "all" else str(owner.pk), filters_of(query))
    middle = seeded[JOBS // 2]
    with CaptureQueriesContext(connection) as captured:
        listing.page(25, after=Cursor(middle.created_at, middle.pk))
        listing.page(25, before=Cursor(middle.created_at, middle.pk))
        Listing(listing.scope, listing.filters).counts()
        listing.newer_than(timezone.now() - timedelta(minutes=1), 100)
        choices(listing.scope)
    for each in captured.captured_queries:
        check_plan(each["sql"])


def check_plan(sql):
    if sql.startswith(("SAVEPOINT", "RELEASE", "BEGIN")) or "auth_user" in sql:
        return
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN QUERY PLAN " + sql.replace("%", "%%"))
        plan = [row[3] for row in cursor.fetchall()]
    for line in plan:
        # What a search has found, a window at most, is put in order once more.
        assert "ORDER BY" not in line or "found.place" in sql, (line, sql)
        if re.search(r"\b(status_job|j)\b", line) and line.startswith(("SCAN", "SEARCH")):
            held = r"INDEX (status_list_\w+|status_job_unindexed|sqlite_autoindex_status_job_1)"
            assert re.search(held, line), (plan, sql)
        if re.match(r"SCAN (status_searchtext|t)\b", line):
            assert "VIRTUAL TABLE" in line, (plan, sql)


@pytest.mark.django_db
def test_new_jobs_are_counted_by_the_filters(seeded, alice):
    since = timezone.now()
    Job.objects.create(task="t", title="Orders of May", owner=alice, state=State.FAILED)
    Job.objects.create(task="t", title="Orders of June", owner=alice)
    found = {
        query: Listing("all", filters_of(query)).newer_than(since, 100)
        for query in ("", "state=failed", "q=june", "q=orders&state=failed", "task=other", "kind=workflow")
    }
    assert list(found.values()) == [2, 1, 1, 1, 0, 0]


@pytest.mark.django_db
def test_choices_are_the_values_that_jobs_have(seeded):
    found = choices("all")
    assert found["queue"] == sorted({job.queue for job in seeded if job.queue})
    assert found["schedule"] == ["charge-cards", "clear-sessions", "nightly-backup"]
    assert "amelia" in found["owner"]
    owner = next(job.owner for job in seeded if job.owner)
    theirs = {job.task for job in seeded if job.owner == owner}
    assert set(choices(str(owner.pk))["task"]) == theirs


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("state=done", "state is one of"),
        ("time=1y", "time is one of"),
        ("since=yesterday", "since is a day or a moment"),
        ("q=%21%21", "Search for letters or digits"),
        ("task=" + "x" * 300, "255 characters"),
        ("&".join(f"{name}={'ä' * 200}" for name in ("q", "task", "queue")), "too long for an address"),
    ],
)
def test_what_is_not_understood_is_told_and_narrows_nothing(query, problem):
    filters = Filters.read(dict(parse_qsl(query)))
    assert problem in filters.problems[0]
    assert filters.query == ""


def test_a_query_string_comes_back_as_it_went():
    text = (
        "state=failed&q=a+b&task=t&kind=single&since=2026-05-01T00%3A00%3A00Z&until=2026-06-01T00%3A00%3A00Z"
    )
    assert filters_of(text).query == text
    assert filters_of("until=2026-05-31").until == filters_of("until=2026-06-01T00:00Z").until
    assert filters_of("state=all").query == ""
    assert filters_of("").address == "state=all"


def test_words_are_plain():
    assert split("Möbel_2.csv, MÖBEL straße") == ["mobel", "2", "csv", "strasse"]

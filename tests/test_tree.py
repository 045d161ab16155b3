"""The page of a workflow, and the pages of all its members."""

import re
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from status.models import Job
from status.models.tree import MOST, ORDER, load
from status.states import LIVE, State

pytestmark = pytest.mark.django_db

SOME = {State.RUNNING: 3, State.FAILED: 4, State.WAITING: 2, State.QUEUED: 5, State.CANCELLED: 6}
PAGE_QUERIES = 11
MEMBERS_QUERIES = 12
LARGEST_PAGE = 100_000
LARGEST_LIST = 150_000


def make(owner, canvas="group", **fields):
    return Job.objects.create(
        task=f"celery.{canvas}", title="Whole", canvas=canvas, owner=owner, state=State.RUNNING, **fields
    )


def fill(parent, count, *, some=SOME, canvas="", **fields):
    """So many members, those that succeeded first; of the other states a few at the end."""
    states = [State.SUCCEEDED] * (count - sum(some.values()))
    states += [state for state, number in some.items() for _ in range(number)]
    now = timezone.now()
    rows = [
        Job(
            id=uuid4(),
            task="t",
            title=f"Part {place} {state}",
            owner=parent.owner,
            root=parent.root or parent,
            parent=parent,
            canvas=canvas,
            position=place,
            state=state,
            started_at=None if state == State.QUEUED else now,
            finished_at=None if state in LIVE else now,
            progress=0.25 if state == State.RUNNING else None,
            error="no luck " * 100 if state == State.FAILED else "",
            traceback="x" * 5_000 if state == State.FAILED else "",
            **fields,
        )
        for place, state in enumerate(states)
    ]
    return Job.objects.bulk_create(rows, batch_size=500)


def page(client, job, url="status:job", query=""):
    response = client.get(reverse(url, args=[job.pk]) + query)
    assert response.status_code == 200
    return response.content.decode()


def section(html):
    """The members on a job's page."""
    return re.search(r"<h2[^>]*>Members</h2>(.*?)</section>", html, re.S)[1]


def rows(html):
    """The titles of the members that are shown, in order."""
    return re.findall(r'<a class="link-plain[^>]*><bdi>(Part [^<]*)</bdi></a>', html)


def text(html):
    return " ".join(re.sub("<[^>]*>", " ", html).split())


@pytest.fixture
def signed_in(client, alice):
    client.force_login(alice)
    return client


@pytest.mark.parametrize("count", [100, 10_000])
def test_the_page_of_a_whole_costs_the_same_however_many_members_it_has(
    signed_in, alice, count, django_assert_num_queries
):
    job = make(alice)
    fill(job, count)
    page(signed_in, job)
    with django_assert_num_queries(PAGE_QUERIES):
        html = page(signed_in, job)
    assert len(html) < LARGEST_PAGE
    assert len(rows(section(html))) == MOST[0]


def test_what_runs_and_what_failed_comes_first_and_the_rest_is_counted(signed_in, alice):
    job = make(alice)
    fill(job, 10_000)
    shown = section(page(signed_in, job))
    states = [title.split()[-1] for title in rows(shown)]
    first = [str(state) for state in ORDER for _ in range(SOME.get(state, 0))]
    assert states == first + ["succeeded"] * (MOST[0] - len(first))
    # Within a state in the order of the whole.
    assert rows(shown)[:3] == ["Part 9980 running", "Part 9981 running", "Part 9982 running"]
    assert rows(shown)[-1] == f"Part {MOST[0] - len(first) - 1} succeeded"
    assert "All members · 9,975 more" in text(shown)
    tallies = "Running 3 Failed 4 Waiting 2 Queued 5 Cancelled 6 Succeeded 9,980"
    assert text(shown).startswith(tallies)
    members = reverse("status:members", args=[job.pk])
    assert f'href="{members}"' in shown
    assert [f'href="{members}?state={state}"' in shown for state in ORDER] == [True] * 6
    assert shown.count("no luck") <= 4 * 200 / len("no luck")
    assert "25%" in shown


def test_few_members_are_all_shown_without_a_word_about_more(signed_in, alice):
    job = make(alice)
    fill(job, 25)
    shown = section(page(signed_in, job))
    assert len(rows(shown)) == 25
    assert "more" not in text(shown)
    Job.objects.create(task="t", title="Part 25 last", owner=alice, root=job, parent=job, position=25)
    assert "1 more" in text(section(page(signed_in, job)))


def test_the_links_of_a_chain_are_shown_in_their_order(signed_in, alice):
    job = make(alice, "chain")
    fill(job, 6, some={State.FAILED: 1, State.CANCELLED: 2})
    titles = rows(section(page(signed_in, job)))
    assert [title.split()[1] for title in titles] == ["0", "1", "2", "3", "4", "5"]


def test_large_groups_inside_cost_the_same_and_are_folded(signed_in, alice, django_assert_num_queries):
    job = make(alice)
    inner = fill(job, 30, some={State.RUNNING: 20}, canvas="group")
    for group in inner[:12]:
        fill(group, 100, some={State.RUNNING: 1})
    for group in inner[12:]:
        fill(fill(group, 2, some={}, canvas="group")[0], 50, some={State.FAILED: 1})
    page(signed_in, job)
    with django_assert_num_queries(PAGE_QUERIES + 5):
        html = page(signed_in, job)
    shown = section(html)
    assert "92 more (Running 1, Succeeded 99)" in text(shown)
    assert "45 more (Failed 1, Succeeded 49)" in text(shown)
    assert len(rows(shown)) <= MOST[0] + MOST[0] * MOST[1] + MOST[0] * MOST[1] * MOST[2]
    assert len(html) < 4 * LARGEST_PAGE


def test_members_are_read_at_most_nine_times_however_deep_it_goes(alice, django_assert_num_queries):
    job = parent = make(alice)
    for _ in range(5):
        parent = fill(parent, 3, some={State.RUNNING: 1}, canvas="group")[0]
    with django_assert_num_queries(9):
        found = load(job)
    depth, branch = 0, found
    while branch.twigs:
        branch, depth = next(twig.branch for twig in branch.twigs if twig.job.position == 0), depth + 1
    assert depth == len(MOST)


def test_a_task_without_members_shows_none_and_asks_once(signed_in, alice, django_assert_num_queries):
    job = make(alice, "")
    with django_assert_num_queries(1):
        assert not load(job).tallies
    assert ">Members</h2>" not in page(signed_in, job)


def test_what_was_not_run_is_said(signed_in, alice):
    job = make(alice, "chain")
    fill(job, 2, some={State.CANCELLED: 1}, held=True)
    assert text(section(page(signed_in, job))).count("Not run") == 1


def test_titles_are_escaped(signed_in, alice):
    job = make(alice)
    Job.objects.create(task="t", title="<b>x</b>", owner=alice, root=job, parent=job, position=0, error="<i>")
    Job.objects.update(state=State.FAILED)
    html = page(signed_in, job)
    assert "<b>x</b>" not in html
    assert "&lt;b&gt;x&lt;/b&gt;" in section(html)
    assert "&lt;i&gt;" in section(html)


# -- all members -------------------------------------------------------------------------------------------


def listed(html):
    return re.findall(r">(Part \d+ \w+)</a>", html)


@pytest.mark.parametrize("count", [100, 10_000])
@pytest.mark.parametrize("query", ["?page=3", "?state=succeeded&page=3"])
def test_a_page_of_members_costs_the_same_however_many_there_are(
    signed_in, alice, count, query, django_assert_num_queries
):
    job = make(alice)
    fill(job, count)
    page(signed_in, job, "status:members", query)
    with django_assert_num_queries(MEMBERS_QUERIES):
        html = page(signed_in, job, "status:members", query)
    assert len(listed(html)) == 25
    assert len(html) < LARGEST_LIST


def test_who_sees_the_owners_asks_no_more_for_each_of_them(
    client, operator, alice, django_assert_num_queries
):
    job = make(alice)
    fill(job, 60)
    client.force_login(operator)
    with django_assert_num_queries(MEMBERS_QUERIES):
        html = page(client, job, "status:members")
    assert text(html).count("alice") == 25


def test_the_pages_hold_every_member_once_and_in_order(signed_in, alice):
    job = make(alice)
    fill(job, 60, some={State.FAILED: 30})
    for query, numbers in (("?", range(60)), ("?state=failed", range(30, 60))):
        found, wanted = [], query
        while wanted:
            html = page(signed_in, job, "status:members", wanted)
            found += listed(html)
            older = re.search(r'href="(\?[^"]*)" rel="next"', html)
            wanted = older and older[1].replace("&amp;", "&")
        assert [int(title.split()[1]) for title in found] == list(numbers)


def test_a_page_of_one_state_says_so_and_leads_to_all(signed_in, alice):
    job = make(alice)
    fill(job, 60, some={State.FAILED: 30})
    html = page(signed_in, job, "status:members", "?state=failed")
    assert "Those which were in this state when the page was loaded: Failed." in text(html)
    assert 'href="?">Show all' in html
    assert 'href="?state=failed&amp;page=2"' in html


def test_a_state_that_no_member_is_in_shows_none(signed_in, alice):
    job = make(alice)
    fill(job, 3, some={})
    assert "There is none." in page(signed_in, job, "status:members", "?state=waiting")


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("?page=0", "Part 50 failed"),
        ("?page=-1", "Part 50 failed"),
        ("?page=99999999999999999999", "Part 50 failed"),
        ("?page=x", "Part 0 succeeded"),
        ("?page=", "Part 0 succeeded"),
        ("?page=2%00", "Part 0 succeeded"),
        ("?state=", "Part 0 succeeded"),
    ],
)
def test_a_page_that_there_is_not_is_the_nearest(signed_in, alice, query, first):
    job = make(alice)
    fill(job, 60, some={State.FAILED: 30})
    assert listed(page(signed_in, job, "status:members", query))[0] == first


@pytest.mark.parametrize("state", ["bogus", "FAILED", "failed'", "%00", "<b>"])
def test_a_state_that_there_is_not_is_no_page(signed_in, alice, state):
    job = make(alice)
    fill(job, 3, some={})
    response = signed_in.get(reverse("status:members", args=[job.pk]) + f"?state={state}")
    assert response.status_code == 404


def test_only_who_may_watch_the_whole_sees_its_members(client, alice, bob, operator):
    job = make(alice)
    fill(job, 3, some={})
    url = reverse("status:members", args=[job.pk])
    answer = client.get(url)
    assert (answer.status_code, answer.url.partition("?")[0]) == (302, reverse("login"))
    client.force_login(bob)
    assert client.get(url).status_code == 404
    assert client.get(reverse("status:members", args=[uuid4()])).status_code == 404
    bob.user_permissions.add(Permission.objects.get(codename="change_job"))
    assert client.get(url).status_code == 404
    for user in (alice, operator):
        client.force_login(user)
        assert len(listed(client.get(url).content.decode())) == 3
    assert client.post(url).status_code == 405

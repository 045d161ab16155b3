"""A rule of the project's own: what it leaves out does not exist, wherever somebody looks."""

import asyncio
import runpy
from datetime import timedelta
from urllib.parse import parse_qsl
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, Group
from django.core.checks import run_checks
from django.core.files.base import ContentFile
from django.test import Client
from django.utils import timezone

from status import access, jobs, rendering, rules
from status.choices import choices
from status.filters import Filters
from status.listing import Listing
from status.models import Attachment, Job, Token
from status.regions import Region, Subject, View
from status.rules import OwnerRule, Rule
from tests.processes import PROJECT
from tests.tasks import add


class Team(Rule):
    """One sees the jobs of whoever is in a group of one's own, and acts on one's own alone."""

    def visible(self, user, jobs):
        return jobs.filter(
            owner__in=Group.user_set.rel.related_model.objects.filter(groups__in=user.groups.all())
        )

    def may_act(self, user, job):
        return job.owner_id == user.pk


class Stranger:
    pass


class Narrowed(OwnerRule):
    pass


@pytest.fixture
def teams(settings, alice, bob, operator, django_user_model):
    """Alice and Carol are in one team, Bob in another; Olga may see everything, by default, and is in neither."""
    settings.STATUS = {**settings.STATUS, "ACCESS": "tests.test_rules.Team"}
    carol = django_user_model.objects.create_user("carol")
    red, blue = Group.objects.create(name="red"), Group.objects.create(name="blue")
    red.user_set.add(alice, carol)
    blue.user_set.add(bob)
    return {"alice": alice, "bob": bob, "carol": carol, "olga": operator}


@pytest.fixture
def job(teams):
    return Job.objects.create(task="t", title="Orders of May", owner=teams["alice"])


def seen_by(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_colleagues_see_it_everywhere_and_others_nowhere(teams, job):
    file = Attachment(job=job, name="a.csv", size=1)
    file.file.save("a.csv", ContentFile(b"x"))
    pages = [f"/jobs/{job.pk}/{part}" for part in ("", "log/", "members/", f"files/{file.pk}/")]
    pages += [f"/api/jobs/{job.pk}{part}" for part in ("", "/log", "/files")]
    for name, status in (("alice", 200), ("carol", 200), ("bob", 404), ("olga", 404)):
        client = seen_by(teams[name])
        for page in pages:
            assert client.get(page).status_code == status, (name, page)
        listed = status == 200
        assert (str(job.pk) in client.get("/jobs/").content.decode()) is listed
        assert (str(job.pk) in client.get("/api/jobs/").content.decode()) is listed


def test_a_token_sees_what_its_person_sees(teams, job):
    for name, status in (("carol", 200), ("bob", 404)):
        secret = Token.make(teams[name], "t", Token.Scope.ACT)[1]
        client = Client(headers={"Authorization": f"Bearer {secret}"})
        assert client.get(f"/api/jobs/{job.pk}").status_code == status


def test_who_sees_it_and_may_not_act_is_refused_and_offered_nothing(teams, job):
    carol, bob = seen_by(teams["carol"]), seen_by(teams["bob"])
    assert b"cancellation" not in carol.get(f"/jobs/{job.pk}/").content
    assert b"cancellation" in seen_by(teams["alice"]).get(f"/jobs/{job.pk}/").content
    assert carol.post(f"/jobs/{job.pk}/cancellation/").status_code == 403
    assert carol.post(f"/api/jobs/{job.pk}/cancellation").status_code == 403
    assert bob.post(f"/jobs/{job.pk}/cancellation/").status_code == 404
    job.refresh_from_db()
    assert job.is_live


def test_a_page_of_many_jobs_asks_the_rule_once(teams, job, django_assert_num_queries):
    rows = Job.objects.bulk_create(Job(task="t", title=str(n), owner=teams["carol"]) for n in range(20))
    subjects = {Subject.job(row.pk): row for row in rows}
    with django_assert_num_queries(1):
        access.check(teams["alice"], frozenset(subjects), subjects)
    with pytest.raises(access.Denied):
        access.check(teams["bob"], frozenset(subjects), subjects)
    with pytest.raises(access.NotLoggedIn):
        access.check(AnonymousUser(), frozenset(subjects), subjects)


def test_a_list_counts_what_the_rule_shows(teams):
    since = timezone.now() - timedelta(minutes=1)
    for name in ("alice", "carol", "bob"):
        Job.objects.create(task="t", title="T", owner=teams[name])
    counts = {name: count(Subject.new_jobs(access.list_scope(user), since)) for name, user in teams.items()}
    assert counts == {"alice": 2, "carol": 2, "bob": 1, "olga": 0}
    mine = Subject.new_jobs(access.list_scope(teams["alice"]), since)
    with pytest.raises(access.Denied):
        access.check(teams["carol"], frozenset([mine]), {})
    teams["alice"].delete()
    assert count(mine) == 0


def count(subject):
    return rendering.load([subject])[subject].count


@pytest.mark.parametrize(
    "query", ["", "state=failed", "state=failed&task=t", "q=sums", "q=sums&state=failed", "kind=single"]
)
def test_filters_searches_and_counts_show_what_the_rule_shows(teams, query):
    for name in ("alice", "carol", "bob"):
        Job.objects.create(task="t", title="Sums", owner=teams[name], state="failed")
    filters = Filters.read(dict(parse_qsl(query)))
    for name, expected in {"alice": 2, "carol": 2, "bob": 1, "olga": 0}.items():
        listing = Listing(access.list_scope(teams[name]), filters)
        assert len(listing.page(25).jobs) == expected
        assert listing.total().number == expected
        assert {state: found.number for state, found in listing.counts().items() if found.number} == (
            {"all": expected, "failed": expected} if expected else {}
        )
        assert (choices(listing.scope)["owner"] != []) == bool(expected)
    first = Listing(access.list_scope(teams["alice"]), filters)
    assert len(first.page(1, after=first.page(1).older).jobs) == 1


def test_the_list_and_what_is_done_with_many_follow_the_rule(teams, client, monkeypatch):
    jobs = {
        name: Job.objects.create(
            task="t", title=f"Of {name}", owner=teams[name], state="failed", finished_at=timezone.now()
        )
        for name in ("alice", "carol", "bob")
    }
    client.force_login(teams["alice"])
    text = client.get("/jobs/?q=of").content.decode()
    assert ("Of carol" in text, "Of bob" in text) == (True, False)
    assert {job.pk for job in jobs.values() if access.may_watch_job(teams["alice"], job)} == {
        jobs["alice"].pk,
        jobs["carol"].pk,
    }
    assert access.deletable(teams["alice"], jobs.values()) == {jobs["alice"].pk}
    assert access.actable(teams["alice"], jobs.values()) == {
        job.pk for job in jobs.values() if access.may_act(teams["alice"], job)
    }
    data = {"action": "delete", "all": "1", "query": "state=failed"}
    assert "Delete 2 jobs?" in client.get("/jobs/selection/", data).content.decode()


@pytest.mark.django_db(transaction=True)
async def test_an_open_list_is_told_of_a_colleagues_new_job(teams, settings):
    from status.hub import Connection
    from status.hub.core import Hub

    frames: asyncio.Queue[str] = asyncio.Queue()

    async def close(*args):
        """Nothing closes it."""

    # Beats count lists anew as well; this is about the message.
    settings.STATUS = {**settings.STATUS, "BEAT_SECONDS": 600}
    subject = Subject.new_jobs(access.list_scope(teams["alice"]), timezone.now())
    region = Region(subject, "status/partials/new_jobs.html", "live-news")
    key = access.user_key(teams["alice"])
    view = View(user=key, language="en", timezone="UTC", regions=(region,))
    hub = Hub()
    connection = Connection(send=frames.put, close=close, user=key, session="s")
    await hub.attach(connection, view, teams["alice"])
    try:
        async with asyncio.timeout(20):
            assert "new job" not in await frames.get()
            await sync_to_async(jobs.start)(add.s(1, 2), owner=teams["bob"], title="Bob's")
            await sync_to_async(jobs.start)(add.s(1, 2), owner=teams["carol"], title="Carol's")
            while "1 new job" not in (frame := await frames.get()):
                assert "new job" not in frame
    finally:
        await hub.detach(connection, view)
        await hub.stop()


def test_the_default_says_it_without_a_query(alice, bob, operator, django_assert_num_queries):
    job = Job.objects.create(task="t", title="T", owner=alice)
    access.sees_all(operator)
    access.sees_all(bob)
    with django_assert_num_queries(0):
        assert [access.may_watch_job(user, job) for user in (alice, bob, operator)] == [True, False, True]


def test_who_may_change_but_not_watch_may_not_act(alice, bob):
    from django.contrib.auth.models import Permission

    job = Job.objects.create(task="t", title="T", owner=alice)
    bob.user_permissions.add(Permission.objects.get(codename="change_job"))
    assert not access.may_act(type(bob).objects.get(pk=bob.pk), job)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("tests.test_rules.Missing", 'does not define a "Missing"'),
        ("nowhere.Rule", "No module named 'nowhere'"),
        ("tests.test_rules.Stranger", "no subclass of status.rules.Rule"),
        ("tests.test_rules.Narrowed", "is a subclass of OwnerRule"),
        ("tests.test_rules.seen_by", "no subclass of status.rules.Rule"),
    ],
)
def test_a_rule_that_cannot_be_used_is_told_and_lets_nobody_in(settings, alice, path, said):
    settings.STATUS = {"ACCESS": path}
    (problem,) = [found for found in run_checks() if found.id == "status.E004"]
    assert said in problem.msg
    with pytest.raises((ImportError, TypeError)):
        access.visible_jobs(alice)


def test_a_rule_must_say_what_is_visible(alice):
    with pytest.raises(NotImplementedError, match=r"Rule, which STATUS\[\"ACCESS\"\] names, has no visible"):
        rules.Rule().seen(alice, [Job(pk=UUID(int=1))])


def test_the_rule_of_the_documents_does_what_they_say(alice, bob, operator):
    rule = runpy.run_path(str(PROJECT / "tests/packaged/shop/tenants.py"))["TenantRule"]()
    red = Group.objects.create(name="red")
    red.user_set.add(alice, operator)
    for owner in (alice, bob, None):
        Job.objects.create(task="t", title=str(owner), owner=owner)
    seen = {
        user: {str(job.owner) for job in rule.visible(user, Job.objects.all())}
        for user in (alice, bob, operator)
    }
    assert seen == {alice: {"alice"}, bob: {"bob"}, operator: {"alice"}}
    assert not rule.sees_all(operator)

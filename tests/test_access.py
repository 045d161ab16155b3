from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core import signing

from status import access
from status.models import Job
from status.regions import Region, Subject, View

CARD = "status/partials/card.html"
ANYBODY = AnonymousUser()


def view_of(user, *subjects) -> View:
    regions = tuple(Region(s, CARD, f"live-{n}") for n, s in enumerate(subjects))
    return View(user=access.user_key(user), language="en", timezone="UTC", regions=regions)


@pytest.fixture
def job(alice):
    return Job.objects.create(task="t", title="T", owner=alice)


@pytest.mark.parametrize(
    ("who", "watches", "acts"),
    [("alice", True, True), ("bob", False, False), ("operator", True, True), (None, False, False)],
)
def test_who_may_watch_and_act(request, job, who, watches, acts):
    user = request.getfixturevalue(who) if who else ANYBODY
    assert access.may_watch_job(user, job) is watches
    assert access.may_act(user, job) is acts
    assert access.visible_jobs(user).filter(pk=job.pk).exists() is watches


def test_a_viewer_watches_and_does_not_act(job, django_user_model):
    viewer = django_user_model.objects.create_user("vera")
    viewer.user_permissions.add(
        *access.Job._meta.apps.get_model("auth", "Permission").objects.filter(codename="view_job")
    )
    viewer = django_user_model.objects.get(pk=viewer.pk)
    assert access.may_watch_job(viewer, job)
    assert not access.may_act(viewer, job)
    assert not access.may_see_traceback(viewer)


def test_a_job_without_owner_is_for_those_who_see_all(db, alice, operator):
    job = Job.objects.create(task="t", title="T")
    assert not access.may_watch_job(alice, job)
    assert access.may_watch_job(operator, job)


def test_a_signed_view_comes_back_whole(alice):
    view = view_of(alice, Subject.job(uuid4()), Subject.topic("site-status"))
    assert access.unsign(access.sign(view), alice) == view


def test_a_view_is_bound_to_its_user(alice, bob):
    token = access.sign(view_of(alice, Subject.topic("news")))
    with pytest.raises(access.Denied):
        access.unsign(token, bob)
    with pytest.raises(access.NotLoggedIn):
        access.unsign(token, ANYBODY)


def test_a_visitors_view_is_not_a_users(alice):
    with pytest.raises(access.Denied):
        access.unsign(access.sign(view_of(ANYBODY, Subject.topic("news"))), alice)


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1] + ("A" if t[-1] != "A" else "B"), lambda t: "", lambda t: "x:y"]
)
def test_a_forged_view_is_denied(alice, change):
    token = access.sign(view_of(alice, Subject.topic("news")))
    with pytest.raises(access.Denied):
        access.unsign(change(token), alice)


def test_another_signature_of_the_same_secret_is_denied(alice):
    token = signing.dumps({"u": str(alice.pk), "l": "en", "z": "UTC", "t": [], "r": []}, salt="other")
    with pytest.raises(access.Denied):
        access.unsign(token, alice)


def test_check_lets_the_owner_in_and_nobody_else(job, alice, bob, operator):
    subject = Subject.job(job.pk)
    for user in (alice, operator):
        access.check(user, frozenset([subject]), {subject: job})
    with pytest.raises(access.Denied):
        access.check(bob, frozenset([subject]), {subject: job})
    with pytest.raises(access.NotLoggedIn):
        access.check(ANYBODY, frozenset([subject]), {subject: job})
    with pytest.raises(access.Denied):
        access.check(alice, frozenset([subject]), {subject: None})


def test_a_right_that_was_taken_away_counts_at_the_next_connect(job, alice, bob):
    subject = Subject.job(job.pk)
    job.owner = bob
    with pytest.raises(access.Denied):
        access.check(alice, frozenset([subject]), {subject: job})


def test_visitors_watch_public_topics_only(db, alice):
    public, private = Subject.topic("site-status"), Subject.topic("news")
    access.check(ANYBODY, frozenset([public]), {})
    access.check(alice, frozenset([public, private]), {})
    with pytest.raises(access.NotLoggedIn):
        access.check(ANYBODY, frozenset([public, private]), {})


def test_lists_are_ones_own(db, alice, bob, operator):
    since = datetime(2026, 1, 1, tzinfo=UTC)
    mine = Subject.new_jobs(str(alice.pk), since)
    access.check(alice, frozenset([mine]), {})
    for user, subject in [(bob, mine), (alice, Subject.new_jobs("all", since))]:
        with pytest.raises(access.Denied):
            access.check(user, frozenset([subject]), {})
    access.check(operator, frozenset([Subject.new_jobs("all", since)]), {})
    assert (mine.scope, mine.since) == (str(alice.pk), since)


def test_a_page_with_too_many_regions_is_told_so(alice):
    view = view_of(alice, *[Subject.job(uuid4()) for _ in range(300)])
    with pytest.raises(ValueError, match="300 live regions take more"):
        access.sign(view)
    assert access.sign(replace(view, regions=view.regions[:150]))


@pytest.mark.parametrize(
    ("tag", "id_"), [("div onclick", "x"), ("", "x"), ("div", "a b"), ("div", '"><script>'), ("div", "1")]
)
def test_a_region_takes_no_markup(tag, id_):
    with pytest.raises(ValueError, match="must"):
        Region(Subject.topic("t"), CARD, id_, tag)


def test_superusers_see_all(db):
    root = get_user_model().objects.create_superuser("root")
    assert access.sees_all(root)
    assert access.list_scope(root) == "all"

"""`manage.py seed_jobs`."""

from collections import Counter
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.utils import timezone

from status.models import Job, LogLine, SearchText
from status.seeding import FIRST_ID, LAST_ID
from status.sources.sweep import sweep
from status.states import LIVE, State

pytestmark = pytest.mark.django_db


def seed(*args, **options):
    call_command("seed_jobs", *args, verbosity=0, **options)


def test_a_history_is_believable():
    seed(2000)
    jobs = list(Job.objects.filter(parent=None))
    states = Counter(job.state for job in jobs)
    assert len(jobs) == 2000
    assert 0.85 < states[State.SUCCEEDED] / 2000 < 0.97
    assert 0.02 < states[State.FAILED] / 2000 < 0.1
    assert all(states[state] for state in State.values)
    assert SearchText.objects.count() == 2000
    now = timezone.now()
    for job in jobs:
        assert now - timedelta(days=28, hours=1) < job.created_at <= now
        assert (job.finished_at is None) == (job.state in LIVE)
        assert bool(job.error) >= (job.state == State.FAILED)
        if job.finished_at:
            assert job.created_at <= (job.started_at or job.created_at) <= job.finished_at <= now
    by_night = sum(job.created_at.hour < 6 for job in jobs)
    by_day = sum(8 <= job.created_at.hour < 14 for job in jobs)
    assert by_night * 5 < by_day
    workflow = next(job for job in jobs if job.canvas and job.started_at)
    assert sum(workflow.tally.values()) == workflow.members.count() > 0
    lines = LogLine.objects.first()
    assert lines.job.line_count == lines.job.lines.count()
    assert {job.failure for job in jobs} == {"", "error", "timeout", "worker lost"}


def test_the_same_seed_makes_the_same_history():
    def titles(seed_number):
        seed(200, seed=seed_number)
        found = list(Job.objects.order_by("pk").values_list("pk", "title", "state", "worker"))
        seed(remove=True)
        return found

    first = titles(7)
    assert titles(7) == first
    assert titles(8) != first


def test_real_jobs_are_not_mixed_with_unless_one_says_so(alice):
    real = Job.objects.create(task="t", title="Real", owner=alice)
    with pytest.raises(CommandError, match="has jobs already"):
        seed(10)
    seed(10, yes=True)
    assert Job.objects.filter(pk__gte=FIRST_ID, pk__lte=LAST_ID, parent=None).count() == 10
    seed(remove=True)
    assert list(Job.objects.all()) == [real]
    assert list(get_user_model().objects.all()) == [alice]
    assert not SearchText.objects.exists()
    assert not LogLine.objects.exists()


def test_a_user_can_own_most_of_it(alice):
    seed(300, owner="alice")
    owners = Counter(Job.objects.filter(parent=None).values_list("owner__username", flat=True))
    assert owners["alice"] == max(count for name, count in owners.items() if name)
    with pytest.raises(CommandError, match="no user nobody"):
        seed(1, owner="nobody", yes=True)


@pytest.mark.parametrize("args", [[], [0], [-3]])
def test_a_count_is_asked_for(args):
    with pytest.raises(CommandError, match="how many"):
        seed(*args)


def test_no_sweep_takes_the_live_ones_for_lost(monkeypatch):
    monkeypatch.setattr("celery.canvas.Signature.apply_async", lambda *args, **options: pytest.fail("sent"))
    seed(400)
    before = Counter(Job.objects.values_list("state", flat=True))
    sweep()
    sweep()
    assert Counter(Job.objects.values_list("state", flat=True)) == before

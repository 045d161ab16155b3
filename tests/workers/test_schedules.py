"""A schedule made on the page, sent as beat sends it, and run by a real worker."""

import pytest
from celery import current_app
from django.contrib.auth.models import Permission
from django.test import Client
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from status.models import Job
from status.schedules import listing
from status.states import State
from tests.conftest import ended
from tests.processes import wait_until
from tests.tasks import add

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def boss(operator, settings):
    settings.STATUS = {**settings.STATUS, "TRACK": ["tests.tasks.*"]}
    operator.user_permissions.add(Permission.objects.get(codename="change_schedule"))
    return operator


def test_its_runs_are_jobs_though_the_worker_tracks_nothing(worker, boss):
    page = Client()
    page.force_login(boss)
    form = {"name": "Sums", "arguments": "[3, 4]", "kind": "interval", "every": "1", "period": "days"}
    page.post(f"/jobs/schedules/new/?task={add.name}", form)
    made = PeriodicTask.objects.get(name="Sums")
    app = current_app._get_current_object()
    DatabaseScheduler(app=app, lazy=True).apply_async(ModelEntry(made, app=app), advance=False)
    job = ended(
        wait_until(lambda: Job.objects.filter(schedule="Sums").first(), 60, "the job of the schedule")
    )
    assert (job.state, job.result, job.owner) == (State.SUCCEEDED, {"sum": 7}, None)
    assert listing.find(boss, made.pk).job == job
    by_hand = page.post(f"/jobs/schedules/{made.pk}/run/")
    mine = ended(Job.objects.get(owner=boss))
    assert by_hand.url == mine.get_absolute_url()
    assert (mine.state, mine.result, mine.schedule) == (State.SUCCEEDED, {"sum": 7}, "Sums")
    assert listing.find(boss, made.pk).job == mine

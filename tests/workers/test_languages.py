"""The language of who started a job, in a real worker."""

import pytest
from celery import chain
from django.utils import translation

from status import jobs
from status.canvas import member
from status.models import Job
from tests import tasks
from tests.conftest import ended

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


def test_a_task_runs_in_the_language_of_who_started_it(pool, alice):
    with translation.override("de"):
        job = pool.start(tasks.language.s(), owner=alice)
    assert ended(job).result == "de"
    assert ended(pool.start(tasks.language.s(), owner=alice)).result == "en"


def test_its_next_attempt_and_what_it_sends_do_too(worker, alice):
    with translation.override("de"):
        job = jobs.start(tasks.language.s(passes_on=True), owner=alice)
    assert (ended(job).attempt, job.result) == (2, "de")
    members = list(job.members.all())
    assert len(members) == 2
    assert {ended(one).result for one in members} == {"de"}


def test_each_member_of_a_workflow_and_what_is_retried_do(worker, alice):
    with translation.override("de"):
        job = jobs.start(chain(tasks.language.s(), member(tasks.fail.si("no"))), owner=alice)
    assert ended(job).members.get(position=0).result == "de"
    with translation.override("fr"):
        jobs.retry(job)
    assert ended(job).members.get(position=0).result == "de"


def test_a_language_that_the_worker_does_not_know_is_left_alone(worker, alice):
    with translation.override("tlh"):
        job = jobs.start(tasks.language.s(), owner=alice)
    assert ended(job).result == "en"
    assert Job.objects.get(pk=job.pk).signature["options"]["headers"] == {"status_language": "tlh"}

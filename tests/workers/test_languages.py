"""The language of who started a job, in a real worker, and that of who looks, over real sockets."""

from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from celery import chain
from django.utils import translation
from django.utils.dates import MONTHS_3
from websockets.exceptions import ConnectionClosed

from status import jobs, rendering
from status.canvas import member
from status.models import Job
from status.states import State
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


def test_what_the_workers_main_process_says_of_it_does_too(worker, alice):
    with translation.override("de"):
        job = jobs.start(tasks.much_too_slow.s(), owner=alice)
        text = translation.gettext("The job took longer than its time limit of %s s.") % 1
    assert ended(job).error == text


def said(language, text):
    """A lazy text in a language."""
    with translation.override(language):
        return str(text)


def read_until(socket, text):
    """All that came up to the frame that holds `text`."""
    frames = ""
    while text not in frames:
        frames += socket.recv(timeout=20)
    return frames


def test_two_who_look_at_one_job_are_each_told_in_their_own_language(open_page, alice):
    job = Job.objects.create(task="t", title="T", owner=alice, state=State.RUNNING, seq=1)
    Job.objects.update(created_at=datetime(2026, 5, 4, 12, tzinfo=UTC))
    # Django's own translations, so that this proves it whatever ours say.
    months = {language: said(language, MONTHS_3[5]) for language in ("de", "ar")}
    assert months["de"] != months["ar"]
    with ExitStack() as opened:
        sockets = {}
        for language, month in months.items():
            page = open_page(f"/jobs/{job.pk}/", alice, language)
            assert f'<html lang="{language}"' in page.html
            # Whatever the socket itself would ask for: the page is in its language.
            sockets[language] = opened.enter_context(page.socket(language="en"))
            assert month in read_until(sockets[language], "job-badge")
        jobs.cancel(job)
        for language, other in (("de", "ar"), ("ar", "de")):
            frame = read_until(sockets[language], "data-cancelling")
            while months[language] not in frame:
                frame += sockets[language].recv(timeout=20)
            assert months[other] not in frame


@pytest.mark.parametrize("language", ["de", "ar"])
def test_who_is_refused_is_told_so_in_the_language_of_the_browser(open_page, alice, language):
    job = Job.objects.create(task="t", title="T", owner=alice)
    page = open_page(f"/jobs/{job.pk}/", alice, language)
    with page.socket(cookie="", language=language) as socket, translation.override(language):
        assert socket.recv(timeout=20) == rendering.last_beat("refused")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=20)

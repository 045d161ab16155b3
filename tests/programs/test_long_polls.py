"""Waiting over HTTP, at a real web server."""

import http.client
import json
import threading
import time

import psutil
import pytest

from status import jobs
from status.models import Job
from status.states import State
from tests import tasks
from tests.conftest import reached
from tests.processes import wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]

MANY = 20


class Poll(threading.Thread):
    """One GET under way."""

    def __init__(self, web, secret, path, **headers):
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=70)
        self.connection.connect()
        shown = {"Authorization": f"Bearer {secret}", **headers}
        self.connection.request("GET", path, headers=shown)
        self.began = time.monotonic()
        self.start()

    def run(self):
        try:
            response = self.connection.getresponse()
        except (OSError, http.client.HTTPException):
            return
        self.status, self.etag, text = response.status, response.headers.get("ETag"), response.read()
        self.seconds = time.monotonic() - self.began
        self.body = json.loads(text) if text else None

    def answer(self):
        self.join(60)
        assert not self.is_alive()
        return self


def get(web, secret, path, **headers):
    return Poll(web, secret, path, **headers).answer()


@pytest.fixture
def job(alice):
    return Job.objects.create(task="t", title="T", owner=alice, state=State.RUNNING)


def test_a_poll_is_answered_when_the_job_has_ended_with_its_result(
    program_web, worker, secret, alice, tmp_path
):
    gate = tmp_path / "gate"
    job = jobs.start(tasks.import_rows.s(10, gate=str(gate)), owner=alice)
    poll = Poll(program_web, secret, f"/api/jobs/{job.pk}?wait=50")
    reached(job, State.RUNNING)
    assert poll.is_alive()
    gate.touch()
    body = poll.answer().body
    assert (body["state"], body["result"]["label"]) == ("succeeded", "See the orders")


def test_a_poll_is_answered_when_the_job_is_another_than_is_known(
    program_web, worker, secret, alice, tmp_path
):
    gate = tmp_path / "gate"
    job = jobs.start(tasks.import_rows.s(10, gate=str(gate)), owner=alice)
    path, seen, etag = f"/api/jobs/{job.pk}?wait=50", [], '"none"'
    while not (seen and seen[-1]["over"]):
        answer = get(program_web, secret, path, **{"If-None-Match": etag})
        assert answer.status == 200
        assert answer.etag != etag
        etag = answer.etag
        seen.append(answer.body)
        if seen[-1]["line_count"] >= 2:
            gate.touch()
    assert seen[-1]["state"] == "succeeded"
    done = [body["progress"] or 0 for body in seen]
    assert done == sorted(done)


def test_a_poll_ends_when_its_time_is_up(program_web, secret, job):
    answer = get(program_web, secret, f"/api/jobs/{job.pk}?wait=1")
    assert (answer.status, answer.body["over"]) == (200, False)
    assert 0.9 < answer.seconds < 10
    same = get(program_web, secret, f"/api/jobs/{job.pk}?wait=1", **{"If-None-Match": answer.etag})
    assert (same.status, same.body, same.etag) == (304, None, answer.etag)
    assert same.seconds > 0.9


def test_a_poll_for_a_job_that_is_deleted_is_told(program_web, secret, job):
    poll = Poll(program_web, secret, f"/api/jobs/{job.pk}?wait=50")
    get(program_web, secret, f"/api/jobs/{job.pk}?wait=1")
    assert poll.is_alive()
    job.delete()
    assert poll.answer().status == 404


def test_many_polls_hold_no_thread_and_no_connection_to_the_database(program_web, secret, job):
    web = psutil.Process(program_web.child.pid)
    get(program_web, secret, f"/api/jobs/{job.pk}?wait=1")

    def threads():
        return web.num_threads()

    def databases():
        # Of the other files SQLite keeps what it has opened for the next connection.
        return sum(file.path.endswith("-wal") for file in web.open_files())

    before = threads(), databases()
    polls = [Poll(program_web, secret, f"/api/jobs/{job.pk}?wait=50") for _ in range(MANY)]
    # Each has been taken up when one that came after all of them is answered.
    assert get(program_web, secret, f"/api/jobs/{job.pk}?wait=1").status == 200
    wait_until(lambda: threads() <= before[0] + 3, 10, f"{before[0]} threads again")
    # The threads that are left have one each.
    wait_until(lambda: databases() <= before[1] + 3, 10, f"{before[1]} connections again")
    assert all(poll.is_alive() for poll in polls)
    Job.objects.update(state=State.SUCCEEDED, seq=5, result={"sum": 3})
    answers = [poll.answer() for poll in polls]
    assert {answer.status for answer in answers} == {200}
    assert all(answer.body["result"] == {"sum": 3} for answer in answers)


def test_who_goes_away_is_forgotten(program_web, secret, job):
    polls = [Poll(program_web, secret, f"/api/jobs/{job.pk}?wait=50") for _ in range(3)]
    get(program_web, secret, f"/api/jobs/{job.pk}?wait=1")
    for poll in polls:
        poll.connection.sock.shutdown(2)
    assert get(program_web, secret, f"/api/jobs/{job.pk}?wait=1").status == 200
    assert "Traceback" not in program_web.output()

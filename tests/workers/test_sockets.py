"""Pages' sockets at a real web server, with a real worker behind."""

import re
import threading
from contextlib import ExitStack

import pytest
from django.test import Client
from websockets.exceptions import ConnectionClosed, InvalidStatus

from status.broadcast import broadcast
from status.jobs import cancel, start
from status.models import Job
from status.states import State
from tests import tasks
from tests.conftest import ended, reached

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


def read_until(socket, text, seconds=20):
    """Frames up to the one that holds `text`."""
    frames = []
    while not frames or text not in frames[-1]:
        frames.append(socket.recv(timeout=seconds))
    return frames


def close_code(socket):
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            socket.recv(timeout=20)
    return closed.value.rcvd.code


def test_a_page_is_told_of_a_job_from_queue_to_end(worker, open_page, alice, tmp_path):
    gate = tmp_path / "gate"
    job = start(tasks.import_rows.s(200, str(gate)), owner=alice)
    page = open_page(f"/jobs/{job.pk}/", alice)
    with page.socket() as socket:
        read_until(socket, "careful now")
        gate.touch()
        # In whichever frames: what only the row knows may come one frame after the state.
        missing = {'data-job-state="succeeded"', "See the orders", "rows.txt"}
        while missing:
            frame = socket.recv(timeout=20)
            missing = {text for text in missing if text not in frame}


def test_a_thousand_updates_end_at_the_final_state(worker, open_page, alice, tmp_path):
    gate = tmp_path / "gate"
    job = start(tasks.flood.s(1000, str(gate)), owner=alice)
    page = open_page(f"/jobs/{job.pk}/", alice)
    with ExitStack() as stack:
        sockets = [stack.enter_context(page.socket()) for _ in range(10)]
        for socket in sockets:
            socket.recv(timeout=20)
        gate.touch()
        for socket in sockets:
            frames = read_until(socket, 'data-job-state="succeeded"')
            assert len(frames) < 20


def test_log_lines_neither_double_nor_miss_over_reconnects(worker, open_page, alice, tmp_path):
    gate = tmp_path / "gate"
    job = start(tasks.chatter.s(150, str(gate)), owner=alice)
    page = open_page(f"/jobs/{job.pk}/", alice)
    seen, connects = [], 0
    while len(seen) < 150:
        connects += 1
        with page.socket() as socket:
            for _frame in range(3):
                frame = socket.recv(timeout=20)
                gate.touch()
                block = re.search(r'<ol id="job-log" hx-swap-oob="innerHTML">(.*?)</ol>', frame, re.S)
                if block:
                    seen = re.findall(r"\bline \d+\b", block[1])
                for appended in re.findall(r'<ol hx-swap-oob="beforeend:#job-log">(.*?)</ol>', frame, re.S):
                    seen += re.findall(r"\bline \d+\b", appended)
                assert seen == [f"line {n}" for n in range(1, len(seen) + 1)]
                if len(seen) == 150:
                    break
    assert connects >= 1


def test_one_page_shows_many_jobs_over_one_socket(worker, open_page, alice, tmp_path):
    gate = tmp_path / "gate"
    jobs = [start(tasks.deaf.s(str(gate)), owner=alice, title=f"Job {n}") for n in range(4)]
    page = open_page("/", alice)
    assert page.html.count("ws-connect") == 1
    with page.socket() as socket:
        first = socket.recv(timeout=20)
        assert first.count("data-job-state=") == len(jobs)
        gate.touch()
        done = set()
        while len(done) < len(jobs):
            frame = socket.recv(timeout=20)
            done |= set(
                re.findall(
                    r'id="(live-\w+)"[^>]*>(?:(?!<div id="live).)*?data-job-state="succeeded"', frame, re.S
                )
            )
        extra = start(tasks.add.s(1, 2), owner=alice)
        read_until(socket, "1 new job")
    ended(extra)


def test_cancelling_shows_at_once(worker, open_page, alice, tmp_path):
    job = reached(start(tasks.until_cancelled.s(str(tmp_path / "cleaned")), owner=alice), State.RUNNING)
    page = open_page(f"/jobs/{job.pk}/", alice)
    with page.socket() as socket:
        socket.recv(timeout=20)
        cancel(job)
        read_until(socket, "data-cancelling")
        read_until(socket, 'data-job-state="cancelled"')


def test_the_status_page_needs_no_login(open_page, db):
    broadcast("site-status", {"status": "IDLE"})
    page = open_page("/status/")
    with page.socket() as socket:
        assert "IDLE" in socket.recv(timeout=20)
        broadcast("site-status", {"status": "RUNNING"})
        assert "RUNNING" in read_until(socket, "RUNNING")[-1]


@pytest.fixture
def page_of_alice(open_page, alice):
    job = Job.objects.create(task="t", title="T", owner=alice)
    return open_page(f"/jobs/{job.pk}/", alice)


def test_without_login_the_socket_closes_4401(page_of_alice):
    with page_of_alice.socket(cookie="") as socket:
        assert close_code(socket) == 4401


def test_another_users_view_closes_4403(page_of_alice, bob):
    client = Client()
    client.force_login(bob)
    with page_of_alice.socket(cookie=f"sessionid={client.cookies['sessionid'].value}") as socket:
        assert close_code(socket) == 4403


@pytest.mark.parametrize("change", ["forged", "missing", "garbage"])
def test_a_forged_view_closes_4403(page_of_alice, change):
    replacement = {"forged": r"view=X\1", "missing": "", "garbage": "view=%FF%00"}[change]
    page_of_alice.html = re.sub(r"view=([^\"]{20,})", replacement, page_of_alice.html, count=1)
    with page_of_alice.socket() as socket:
        assert close_code(socket) == 4403


def test_a_job_that_became_someone_elses_closes_4403(page_of_alice, bob):
    Job.objects.update(owner=bob)
    with page_of_alice.socket() as socket:
        assert close_code(socket) == 4403


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
def test_a_wrong_origin_is_refused(page_of_alice, origin):
    with pytest.raises(InvalidStatus) as refused:
        page_of_alice.socket(origin=origin)
    assert refused.value.response.status_code == 403


def test_logging_out_closes_the_socket(page_of_alice, web, alice):
    client = Client()
    client.cookies["sessionid"] = page_of_alice.cookie.partition("=")[2]
    with page_of_alice.socket() as socket:
        socket.recv(timeout=20)
        client.post("/logout/")
        assert close_code(socket) == 4401


def test_what_a_page_sends_is_dropped_and_harms_nothing(page_of_alice):
    with page_of_alice.socket() as socket:
        socket.recv(timeout=20)
        for nonsense in ("", "{", '{"type": "status.job"}', "x" * 100_000, b"\x00\xff"):
            socket.send(nonsense)
        Job.objects.get().delete()
        assert socket.ping().wait(10)


def test_an_idle_socket_stays_open(page_of_alice):
    with page_of_alice.socket() as socket:
        socket.recv(timeout=20)
        # Longer than the five seconds of redis-py's socket timeout, at which other layers lose idle sockets.
        assert 'id="live-beat"' in read_until(socket, 'id="live-beat"', seconds=25)[-1]


def test_many_pages_open_and_close_at_once(page_of_alice):
    failures = []

    def visit():
        try:
            for _ in range(5):
                with page_of_alice.socket() as socket:
                    assert 'data-job-state="queued"' in socket.recv(timeout=20)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=visit) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []

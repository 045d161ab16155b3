"""Those who listen to the hub and are no page."""

import asyncio
import contextlib

import pytest
from django.db import DatabaseError

from status.events import LogoutEvent
from status.hub import Connection
from status.models import Job
from status.programs.watches import Watches
from status.programs.wire import is_older
from status.regions import Region, Subject
from status.states import State
from tests.test_hub import at, badge, event, hub, job, open_socket, until

__all__ = ["hub", "job"]

pytestmark = pytest.mark.django_db(transaction=True)


class Heard:
    """What one heard, in a task of its own."""

    def __init__(self, hub, job_id):
        self.jobs, self.listening = [], asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.task = asyncio.ensure_future(self.listen(hub, job_id))

    async def listen(self, hub, job_id):
        async with hub.listen(job_id) as listener:
            self.listening.set()
            async for found in listener.jobs():
                self.jobs.append(found)
                await self.gate.wait()

    async def stop(self):
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def test_it_hears_the_job_now_then_as_it_moves_then_that_it_is_over_with_its_result(hub, job):
    heard = Heard(hub, job.pk)
    await until(lambda: heard.jobs)
    assert heard.jobs[0].state == State.RUNNING
    hub._accept_job(at(job, 2, 10))
    await until(lambda: heard.jobs[-1].step is not None)
    await Job.objects.filter(pk=job.pk).aupdate(state=State.SUCCEEDED, seq=3, result={"sum": 3})
    hub._accept_job(event(job, 3, state=State.SUCCEEDED))
    await asyncio.wait_for(heard.task, 10)
    assert (heard.jobs[-1].state, heard.jobs[-1].result) == (State.SUCCEEDED, {"sum": 3})
    assert [found.is_live for found in heard.jobs[:-1]] == [True] * (len(heard.jobs) - 1)


async def test_one_subscription_serves_pages_and_listeners_and_ends_with_the_last(hub, alice, job):
    joined = []
    real = hub._layer.group_add

    async def group_add(group, channel):
        joined.append(group)
        await real(group, channel)

    hub._layer.group_add = group_add
    try:
        heard = Heard(hub, job.pk)
        await heard.listening.wait()
        socket = await open_socket(hub, alice, badge(job))
        second = Heard(hub, job.pk)
        await second.listening.wait()
    finally:
        del hub._layer.group_add
    assert joined.count(Subject.job(job.pk).group) == 1
    assert len(hub._entries) == 1
    await heard.stop()
    await second.stop()
    assert len(hub._entries) == 1, "the page is still there"
    hub._accept_job(at(job, 2, 10))
    await hub.detach(socket.connection, socket.view)
    assert hub._entries == {}


async def test_when_the_last_has_gone_nothing_is_left(hub, job):
    heard = Heard(hub, job.pk)
    await heard.listening.wait()
    await heard.stop()
    assert hub._entries == {}


async def test_who_is_slow_hears_the_newest_and_holds_nobody(hub, job):
    slow, quick = Heard(hub, job.pk), Heard(hub, job.pk)
    slow.gate.clear()
    await until(lambda: slow.jobs and quick.jobs)
    for seq in range(2, 12):
        hub._accept_job(at(job, seq, seq))
    await until(lambda: quick.jobs[-1].seq == 11)
    assert len(slow.jobs) == 1
    slow.gate.set()
    await until(lambda: slow.jobs[-1].seq == 11)
    assert len(slow.jobs) <= 3
    await slow.stop()
    await quick.stop()


async def test_a_flood_is_heard_in_frames_and_a_change_of_state_at_once(hub, job, settings):
    settings.STATUS = {"FRAME_SECONDS": 30.0, "REPAIR_SECONDS": 60.0}
    heard = Heard(hub, job.pk)
    await until(lambda: heard.jobs)
    hub._accept_job(event(job, 2, progress=0.1))
    hub._accept_job(event(job, 3, progress=0.2))
    await asyncio.sleep(0)
    hub._accept_job(event(job, 4, state=State.WAITING))
    await until(lambda: heard.jobs[-1].state == State.WAITING)
    await heard.stop()


async def test_an_ending_waits_for_its_result_while_the_database_is_down(hub, job, monkeypatch):
    heard = Heard(hub, job.pk)
    await until(lambda: heard.jobs)
    await Job.objects.filter(pk=job.pk).aupdate(state=State.SUCCEEDED, seq=3, result={"sum": 3})
    tried = asyncio.Event()

    async def broken(entries):
        tried.set()
        raise DatabaseError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(hub, "_read", broken)
        hub._accept_job(event(job, 3, state=State.SUCCEEDED))
        await asyncio.wait_for(tried.wait(), 10)
        assert not heard.task.done()
    # The repair comes by itself, every three seconds.
    await asyncio.wait_for(heard.task, 10)
    assert heard.jobs[-1].result == {"sum": 3}
    assert [found.state for found in heard.jobs].count(State.SUCCEEDED) == 1


async def test_one_who_goes_while_the_row_is_read_leaves_it_to_be_read(hub, alice, job, monkeypatch):
    region = Region(Subject.job(job.pk), "status/partials/result.html", "result")
    socket = await open_socket(hub, alice, badge(job), region)
    heard = Heard(hub, job.pk)
    await until(lambda: heard.jobs)
    reading = asyncio.Event()

    async def slow_read(entries):
        reading.set()
        await asyncio.Event().wait()

    await Job.objects.filter(pk=job.pk).aupdate(
        state=State.SUCCEEDED, seq=3, result={"url": "/orders/", "label": "See the orders"}
    )
    entry = hub._entries[Subject.job(job.pk)]
    with monkeypatch.context() as patch:
        patch.setattr(hub, "_read", slow_read)
        listening = asyncio.ensure_future(hub._settle([entry]))
        entry.stale = True
        await asyncio.wait_for(reading.wait(), 10)
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
    assert entry.stale
    hub._accept_job(event(job, 3, state=State.SUCCEEDED))
    await until(lambda: "See the orders" in socket.text)
    await asyncio.wait_for(heard.task, 10)


async def test_a_job_that_is_not_there_is_heard_of_once_and_left(hub, job):
    heard = Heard(hub, Job().pk)
    await asyncio.wait_for(heard.task, 10)
    assert heard.jobs == []
    assert hub._entries == {}


async def test_the_socket_of_a_program_is_closed_with_its_session_and_no_other(hub):
    closed = []

    def program(user, session):
        async def send(text):
            raise AssertionError(text)

        async def close(code):
            closed.append((user, session, code))

        return Connection(send=send, close=close, user=user, session=session)

    programs = [program("1", "a"), program("1", "b"), program("2", "a")]
    for one in programs:
        await hub.admit(one)
    await hub._accept(LogoutEvent(user="1", session="a"))
    assert closed == [("1", "a", 4401)]
    for one in programs:
        await hub.dismiss(one)
        await hub.dismiss(one)
    assert (hub._users, hub._programs) == ({}, set())


async def test_a_watch_that_breaks_is_told_and_forgotten(job, monkeypatch, caplog):
    def no_hub():
        raise ConnectionError("no Redis")

    told = []

    async def send(message):
        told.append(message)

    monkeypatch.setattr("status.programs.watches.get_hub", no_hub)
    watches = Watches(send)
    watches.add(job.pk)
    await until(lambda: told)
    assert (told[0].code, told[0].id) == ("failed", job.pk)
    await until(lambda: watches._tasks == {})
    assert watches._told == {}
    assert "no Redis" in caplog.text


def test_versions_are_in_order_as_far_as_that_is_known():
    assert is_older("1.1.9-aa", "1.1.10-aa")
    assert is_older("1.3.99-aa", "2.0.0-aa")
    assert not is_older("1.1.9-aa", "1.1.9-bb")
    for nonsense in ("", "x", "1.1", "1.1.1", "9.9.9-", "٣.١.١-aa", "1.1.1-aa\n"):
        assert not is_older("1.0.0-aa", nonsense), nonsense

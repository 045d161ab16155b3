"""What a process counts, with real Redis and a real database."""

import pytest
from asgiref.sync import sync_to_async

from status import channel
from status.counters import Counters
from status.hub import core, slots
from status.models import Job
from status.states import State
from tests import test_hub
from tests.test_hub import at, badge, event, open_socket, progress, until

pytestmark = pytest.mark.django_db(transaction=True)

hub, job = test_hub.hub, test_hub.job


@pytest.fixture(autouse=True)
def counted(monkeypatch) -> Counters:
    """Counters that begin at nothing."""
    fresh = Counters()
    for module in (channel, core, slots):
        monkeypatch.setattr(module, "counters", fresh)
    return fresh


async def test_events_are_counted_out_and_in_with_their_delay_and_frames(hub, alice, job, counted):
    socket = await open_socket(hub, alice, progress(job))
    first = sum(counted.frame_bytes.counts)
    assert first == 1
    channel.publish(at(job, 2, 100))
    await until(lambda: len(socket.frames) > 1)
    # The sender counts when it is told that the message has gone, which may be after its arrival.
    await until(lambda: counted.sent >= 1)
    assert counted.received == 1
    assert sum(counted.delay_seconds.counts) == 1
    assert 0 <= counted.delay_seconds.sum < 5
    await until(lambda: sum(counted.frame_bytes.counts) == 2)
    assert counted.frame_bytes.sum == sum(len(frame.encode()) for frame in socket.frames)
    assert (counted.repaired, counted.outdated, counted.conflated, counted.refused) == (0, 0, 0, 0)


async def test_an_event_that_comes_late_is_counted_as_outdated(hub, alice, job, counted):
    await open_socket(hub, alice, badge(job))
    channel.publish(event(job, 0))
    await until(lambda: counted.received == 1)
    assert counted.outdated == 1


async def test_changes_that_wait_for_the_same_frame_are_counted_as_conflated(hub, alice, job, counted):
    socket = await open_socket(hub, alice, progress(job))
    for seq in range(2, 12):
        hub._accept_job(at(job, seq, seq))
    await until(lambda: "11 / 1,000" in socket.text)
    assert 1 <= counted.conflated <= 9


async def test_a_change_that_no_event_told_is_counted_as_repaired(hub, alice, job, counted, settings):
    settings.STATUS = {"REPAIR_SECONDS": 0.1}
    socket = await open_socket(hub, alice, badge(job))
    await sync_to_async(Job.objects.advance)(job.pk, State.FAILED, attempt=1)
    await until(lambda: "Failed" in socket.text)
    assert counted.repaired == 1


async def test_a_frame_that_a_slow_socket_never_took_is_counted_as_replaced(hub, alice, job, counted):
    socket = await open_socket(hub, alice, progress(job), slow=True)
    for seq in range(2, 6):
        before = counted.frames_replaced
        hub._accept_job(at(job, seq, seq * 100))
        if seq > 2:
            await until(lambda before=before: counted.frames_replaced > before)
        else:
            await until(lambda: socket.connection._pending is not None)
    assert sum(counted.frame_bytes.counts) == 0
    socket.gate.set()
    await until(lambda: "500 / 1,000" in socket.text)
    assert sum(counted.frame_bytes.counts) == 2


async def test_a_probe_comes_back_and_is_no_event(hub, counted, caplog):
    await hub.probe.send()
    assert counted.received == 0
    assert not caplog.records


async def test_a_probe_that_nobody_waits_for_any_more_does_no_harm(hub, alice, job, counted):
    socket = await open_socket(hub, alice, badge(job))
    await channel.send_probe(hub._channel, "long gone")
    channel.publish(event(job, 2, state=State.SUCCEEDED))
    await until(lambda: "Succeeded" in socket.text)

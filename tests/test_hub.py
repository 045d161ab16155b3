"""The hub in this process, with real Redis and a real database; the sockets are stand-ins that can be slow."""

import asyncio
import re
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from status import access, channel
from status.broadcast import broadcast
from status.call_off import add_postscript
from status.events import JobEvent, Line, ListEvent, LogoutEvent, Step
from status.hub import Connection, core, painting, people, subscription
from status.hub.core import Hub
from status.hub.painting import paint
from status.hub.slots import Frame, packed
from status.models import Job, LogLine
from status.regions import Region, Subject, View
from status.rendering import load
from status.states import State

pytestmark = pytest.mark.django_db(transaction=True)

BADGE = "status/partials/badge.html"
PROGRESS = "status/partials/progress.html"
LINES = "status/partials/log_lines.html"
CURRENT = "status/partials/current_status.html"
NEW = "status/partials/new_jobs.html"


@dataclass(eq=False)
class Socket:
    """What a browser would have received."""

    user: object
    view: View
    frames: list[str] = field(default_factory=list)
    closed: int | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, text):
        await self.gate.wait()
        self.frames.append(text)

    async def close(self, code):
        self.closed = code

    @property
    def text(self):
        # The digits of a moment are no news of a job.
        return re.sub(r"told=[\d.]+", "", "".join(self.frames))

    def last(self, region_id):
        """What a region's element holds after all frames."""
        found = re.findall(
            rf'<(\w+) id="{region_id}" hx-swap-oob="innerHTML">(.*?)</\1>(?=<|$)', self.text, re.S
        )
        return found[-1][1] if found else None

    def log(self):
        """The log's lines, as htmx would put them together."""
        lines = []
        for frame in self.frames:
            for block, appended in re.findall(
                r'<ol id="log" hx-swap-oob="innerHTML">(.*?)</ol>|<ol hx-swap-oob="beforeend:#log">(.*?)</ol>',
                frame,
                re.S,
            ):
                lines = lines if appended else []
                lines += re.findall(r"\bline \d+", block or appended)
        return lines


async def until(condition, seconds=10.0):
    """Await `condition` becoming true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def job(alice):
    return Job.objects.create(task="t", title="T", owner=alice, state=State.RUNNING, seq=1)


@pytest.fixture
async def hub():
    hub = Hub()
    yield hub
    await hub.stop()
    await channel.get_layer().flush()


def view_of(user, *regions, language="en", bell=False):
    return View(user=access.user_key(user), language=language, timezone="UTC", regions=regions, bell=bell)


async def open_socket(hub, user, *regions, slow=False, **look):
    socket = Socket(user, view_of(user, *regions, **look))
    if not slow:
        socket.gate.set()
    connection = Connection(
        send=socket.send, close=socket.close, user=socket.view.user, session=f"session of {socket.view.user}"
    )
    socket.connection = connection
    await hub.attach(connection, socket.view, user)
    if not slow:
        await until(lambda: socket.frames)
    return socket


def badge(job, id_="badge"):
    return Region(Subject.job(job.pk), BADGE, id_, "span")


def progress(job, id_="progress"):
    return Region(Subject.job(job.pk), PROGRESS, id_)


def log_region(job):
    return Region(Subject.job(job.pk), LINES, "log", "ol", True)


def event(job, seq, **changes):
    return replace(job.event(), seq=seq, **changes)


def at(job, seq, current, total=1000):
    step = Step(name="Import", state="running", current=current, total=total)
    return event(job, seq, steps=(step,), progress=current / total)


def lines(first, last):
    now = timezone.now()
    return tuple(
        Line(number=n, attempt=1, at=now, level=20, text=f"line {n}") for n in range(first, last + 1)
    )


async def save_lines(job, first, last):
    rows = [
        LogLine(job=job, attempt=1, number=line.number, at=line.at, level=20, text=line.text)
        for line in lines(first, last)
    ]
    await LogLine.objects.abulk_create(rows)


async def test_connecting_sends_one_frame_with_every_region(hub, alice, job):
    socket = await open_socket(hub, alice, badge(job), progress(job), badge(job, "badge-2"))
    [frame] = socket.frames
    for region in ("badge", "progress", "badge-2"):
        assert f'id="{region}" hx-swap-oob="innerHTML"' in frame
    assert 'id="live-beat"' in frame
    assert 'data-job-state="running"' in frame


async def test_an_event_changes_what_it_touches_and_nothing_else(hub, alice, job):
    socket = await open_socket(hub, alice, badge(job), progress(job))
    channel.publish(at(job, 2, 430))
    await until(lambda: len(socket.frames) == 2)
    assert 'value="0.43"' in socket.frames[1] or "43" in socket.frames[1]
    assert 'id="progress"' in socket.frames[1]
    assert 'id="badge"' not in socket.frames[1]


async def test_a_flood_is_conflated_and_ends_at_the_newest(hub, alice, job):
    socket = await open_socket(hub, alice, progress(job))
    for seq in range(2, 1002):
        hub._accept_job(at(job, seq, seq - 1))
        if seq % 100 == 0:
            await asyncio.sleep(0)
    await until(lambda: "1,000 / 1,000" in socket.text)
    assert len(socket.frames) <= 6


async def test_the_heartbeat_goes_with_a_frame_that_is_due_anyway(hub, alice, job, settings):
    settings.STATUS = {"BEAT_SECONDS": 0.1}
    socket = await open_socket(hub, alice, progress(job))
    began = time.monotonic()
    hub._accept_job(at(job, 2, 1))
    for seq in range(3, 63):
        hub._accept_job(at(job, seq, seq))
        await asyncio.sleep(0.02)
    later = socket.frames[2:]
    assert len(later) <= 10 * (time.monotonic() - began) + 2
    beats = [frame for frame in later if 'id="live-beat"' in frame]
    assert len(beats) >= 3
    assert all("progress" in frame for frame in beats)


async def test_a_heartbeat_with_nothing_to_go_with_goes_alone(hub, alice, job, settings):
    settings.STATUS = {"BEAT_SECONDS": 0.05, "FRAME_SECONDS": 30}
    socket = await open_socket(hub, alice, progress(job))
    await until(lambda: len(socket.frames) >= 3)
    assert all(re.match('<div id="live-beat"', frame) for frame in socket.frames[1:])


async def test_a_partial_that_breaks_takes_no_heartbeat_along(hub, alice, job, settings, monkeypatch):
    settings.STATUS = {"BEAT_SECONDS": 0.05}
    socket = await open_socket(hub, alice, progress(job))
    live = next(iter(hub._lives.values()))
    monkeypatch.setattr(core, "paint_at_once", lambda *args: 1 / 0)
    live.beat = "<p>alive</p>"
    hub._accept_job(at(job, 2, 1))
    await until(lambda: "<p>alive</p>" in socket.text)
    assert "Import" not in socket.text


async def test_an_older_event_is_ignored(hub, alice, job):
    socket = await open_socket(hub, alice, progress(job))
    hub._accept_job(at(job, 9, 900))
    hub._accept_job(at(job, 3, 3000))
    hub._accept_job(at(job, 10, 910))
    await until(lambda: "910 / " in socket.text)
    assert "3,000 / " not in socket.text


async def test_a_state_change_waits_for_nobody(hub, alice, job, settings):
    settings.STATUS = {"FRAME_SECONDS": 30}
    socket = await open_socket(hub, alice, badge(job), progress(job))
    hub._accept_job(at(job, 2, 10))
    await until(lambda: len(socket.frames) == 2)
    hub._accept_job(at(job, 3, 20))
    await Job.objects.filter(pk=job.pk).aupdate(state=State.SUCCEEDED, seq=4)
    hub._accept_job(event(job, 4, state=State.SUCCEEDED))
    await until(lambda: 'data-job-state="succeeded"' in socket.text)


async def test_equal_html_is_not_sent_again(hub, alice, job):
    socket = await open_socket(hub, alice, badge(job))
    hub._accept_job(at(job, 2, 10))
    hub._accept_job(event(job, 3, cancel_requested_at=timezone.now()))
    await until(lambda: "data-cancelling" in socket.text)
    assert len(socket.frames) == 2


async def test_many_who_watch_share_one_rendering(hub, alice, operator, job, monkeypatch):

    rendered = []
    real = painting.render
    monkeypatch.setattr(
        painting, "render", lambda region, *what: rendered.append(region.id) or real(region, *what)
    )
    sockets = [await open_socket(hub, user, progress(job)) for user in (alice, operator) for _ in range(5)]
    assert len(hub._lives) == 1
    rendered.clear()
    hub._accept_job(at(job, 2, 10))
    for socket in sockets:
        await until(lambda socket=socket: len(socket.frames) == 2)
    assert rendered == ["progress"]


async def test_languages_are_kept_apart(hub, alice, job):
    await open_socket(hub, alice, badge(job))
    await open_socket(hub, alice, badge(job), language="de")
    assert len(hub._lives) == 2


async def test_a_stalled_reader_holds_nobody_and_gets_the_newest(hub, alice, job):
    stalled = await open_socket(hub, alice, progress(job), slow=True)
    quick = await open_socket(hub, alice, progress(job))
    for seq in range(2, 60):
        hub._accept_job(at(job, seq, seq))
        await asyncio.sleep(0.005)
    await until(lambda: "59 / 1,000" in quick.text)
    assert stalled.frames == []
    stalled.gate.set()
    await until(lambda: "59 / 1,000" in stalled.text)
    assert len(stalled.frames) <= 2


async def test_a_stalled_reader_gets_every_cell_that_has_changed_meanwhile(hub, alice, job):
    """First one cell changes, then another; the frame that waits has both."""
    card = Region(Subject.job(job.pk), "status/partials/card.html", "card")
    first = at(job, 2, 100)
    hub_job = await open_socket(hub, alice, card)
    hub._accept_job(first)
    await until(lambda: "100 / 1,000" in hub_job.text)
    stalled = await open_socket(hub, alice, card)
    stalled.gate.clear()
    # What is being sent now is held; the two after it wait together.
    for changed, shown in [
        (replace(first, seq=3, rate=7.0), "7.0/s"),
        (at(job, 4, 300), "300 / 1,000"),
        (replace(at(job, 5, 300), rate=9.0), "9.0/s"),
        (replace(at(job, 6, 300), rate=9.0, time_left_seconds=60.0), "1 min"),
    ]:
        hub._accept_job(changed)
        await until(lambda shown=shown: shown in hub_job.text)
    stalled.gate.set()
    await until(lambda: "1 min" in stalled.text)
    for name in ("percent", "bar", "counted", "speed", "clock"):
        assert stalled.last(f"card-{name}") == hub_job.last(f"card-{name}")
    assert "30%" in stalled.last("card-percent")


async def test_a_partial_that_reads_rows_is_painted_in_the_thread(
    hub, alice, job, settings, tmp_path, monkeypatch
):
    """Also where it stands in for one of ours that reads none."""

    folder = tmp_path / "status" / "partials"
    folder.mkdir(parents=True)
    (folder / "badge.html").write_text("{{ job.state }}, {{ job.owner.username }}: {{ job.step.current }}")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path, *settings.TEMPLATES[0]["DIRS"]]}]
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE", raising=False)
    monkeypatch.setattr(painting, "_QUICK", set(painting._QUICK))
    socket = await open_socket(hub, alice, badge(job))
    for seq in (2, 3):
        hub._accept_job(at(job, seq, seq))
        await until(lambda seq=seq: socket.last("badge") == f"running, alice: {seq}")
    assert BADGE not in painting._QUICK


async def test_many_pages_are_painted_by_turns_and_the_first_need_not_wait_for_the_last(
    hub, alice, monkeypatch
):
    jobs = [Job(task="t", title="T", owner=alice, state=State.RUNNING, seq=1) for _ in range(120)]
    await Job.objects.abulk_create(jobs)
    sockets = [await open_socket(hub, alice, progress(job)) for job in jobs]
    turns = []
    monkeypatch.setattr(core, "hand_out", lambda frame, connections: turns[-1].append(frame))
    monkeypatch.setattr(
        core, "paint_at_once", lambda *args: turns.append([]) or painting.paint_at_once(*args)
    )
    for number, job in enumerate(jobs):
        hub._accept_job(at(job, 2, 100 + number))
    await until(lambda: sum(map(len, turns)) == len(sockets))
    assert [len(frames) for frames in turns] == [50, 50, 20]
    # Who came first is painted first.
    shown = [re.search(r"(\d+) / ", frame.text)[1] for frames in turns for frame in frames]
    assert shown == [str(100 + number) for number in range(120)]


async def test_a_page_of_more_than_a_turn_is_painted_whole(hub, alice, job):
    regions = [Region(Subject.job(job.pk), PROGRESS, f"part-{number}") for number in range(60)]
    socket = await open_socket(hub, alice, *regions)
    hub._accept_job(at(job, 2, 444))
    await until(lambda: socket.text.count("444 / ") == 60)
    assert len(socket.frames) == 2


async def test_what_is_painted_at_once_overtakes_nothing_that_the_thread_paints(hub, alice, job, monkeypatch):
    regions = progress(job), Region(Subject.topic("news"), CURRENT, "now", "span")
    await open_socket(hub, alice, *regions)
    hub._accept_job(at(job, 2, 100))
    held, hold = threading.Event(), threading.Event()

    def slow(*args):
        held.set()
        hold.wait(10)
        return paint(*args)

    monkeypatch.setattr(core, "paint", slow)
    joining = asyncio.create_task(open_socket(hub, alice, *regions))
    await until(held.is_set)
    hub._accept_job(at(job, 3, 300))
    await asyncio.sleep(0.05)
    hold.set()
    late = await joining
    await until(lambda: "300 / 1,000" in late.text)


async def test_a_lost_message_is_repaired_from_the_rows(hub, alice, job, settings):
    settings.STATUS = {"REPAIR_SECONDS": 0.05}
    socket = await open_socket(hub, alice, badge(job))
    await Job.objects.filter(pk=job.pk).aupdate(state=State.FAILED, seq=2, error="boom")
    await until(lambda: 'data-job-state="failed"' in socket.text)


async def test_how_long_a_silent_job_has_been_cancelling_goes_on(hub, alice, job, settings):
    settings.STATUS = {"REPAIR_SECONDS": 0.2}
    asked = timezone.now() - timedelta(minutes=1)
    await sync_to_async(Job.objects.filter(pk=job.pk).update)(cancel_requested_at=asked)
    clock = Region(Subject.job(job.pk), "status/partials/cancelling.html", "clock", "span")
    socket = await open_socket(hub, alice, clock, badge(job), log_region(job))
    await until(lambda: "1 min 2 s ago" in (socket.last("clock") or ""))
    assert all("badge" not in frame for frame in socket.frames[1:])
    await sync_to_async(Job.objects.advance)(job.pk, State.CANCELLED, attempt=1)
    await until(lambda: "cancelled" in socket.last("badge"))
    assert socket.last("clock").strip() == ""


async def test_what_is_usually_left_of_a_silent_job_goes_on(hub, alice, job, settings):
    settings.STATUS = {"REPAIR_SECONDS": 0.2}
    began = timezone.now() - timedelta(seconds=9)
    ended = {"state": State.SUCCEEDED, "started_at": began, "finished_at": began + timedelta(seconds=21)}
    for _ in range(3):
        await Job.objects.acreate(task=job.task, title="Earlier", owner=alice, **ended)
    await sync_to_async(Job.objects.filter(pk=job.pk).update)(progress=None, started_at=began)
    socket = await open_socket(hub, alice, badge(job), Region(Subject.job(job.pk), PROGRESS, "progress"))
    assert "about 20 s left" in socket.text
    await until(lambda: "about 10 s left" in socket.text)
    assert all("badge" not in frame for frame in socket.frames[1:])


async def test_lines_that_a_killed_worker_has_shown_give_way_to_what_is_in_the_table(hub, alice, job):
    await save_lines(job, 1, 2)
    await sync_to_async(Job.objects.filter(pk=job.pk).update)(line_count=2)
    socket = await open_socket(hub, alice, log_region(job))
    channel.publish(event(job, 2, line_count=4, lines=lines(3, 4)))
    await until(lambda: socket.log() == [f"line {n}" for n in range(1, 5)])
    await sync_to_async(Job.objects.advance)(job.pk, State.CANCELLED, attempt=1)
    await sync_to_async(add_postscript)(job.pk, 30, "line 5", leave=10)
    await until(lambda: socket.log() == ["line 1", "line 2", "line 5"])


def test_repair_is_one_query_for_all_jobs_and_one_for_those_that_are_newer(db, django_assert_num_queries):
    from status.hub.painting import read_events

    jobs = [Job.objects.create(task="t", title=str(n)) for n in range(20)]
    held = {job.pk: job.event() for job in jobs}
    with django_assert_num_queries(1):
        assert read_events(held, []) == ([], set())
    Job.objects.filter(pk=jobs[3].pk).update(seq=5)
    Job.objects.filter(pk=jobs[4].pk).update(state=State.FAILED)
    Job.objects.filter(pk=jobs[5].pk).update(attempt=2)
    # An older row, but nobody has told that it shall end.
    held[jobs[6].pk] = replace(held[jobs[6].pk], seq=9)
    Job.objects.filter(pk=jobs[6].pk).update(cancel_requested_at=timezone.now())
    held[jobs[7].pk] = None
    held[jobs[8].pk] = replace(held[jobs[8].pk], seq=9)
    gone = Job.objects.create(task="t", title="gone")
    held[gone.pk] = gone.event()
    gone_id = gone.pk
    gone.delete()
    with django_assert_num_queries(2):
        events, missing = read_events(held, [])
    assert {event.job for event in events} == {job.pk for job in jobs[3:8]}
    assert missing == {gone_id}


async def test_what_happens_between_join_and_read_is_not_missed(hub, alice, job, monkeypatch):
    """An event that comes while the row is being read is newer than the row."""
    real = hub._read

    async def slow_read(entries):
        await real(entries)
        channel.publish(at(job, 5, 550))
        await until(lambda: entries[0].event.seq == 5)

    monkeypatch.setattr(hub, "_read", slow_read)
    socket = await open_socket(hub, alice, progress(job))
    assert "550" in socket.frames[0]


async def test_a_result_is_read_with_the_ending(hub, alice, job):
    region = Region(Subject.job(job.pk), "status/partials/result.html", "result")
    socket = await open_socket(hub, alice, region)
    await Job.objects.filter(pk=job.pk).aupdate(
        state=State.SUCCEEDED, seq=2, result={"url": "/orders/", "label": "See the orders"}
    )
    hub._accept_job(event(job, 2, state=State.SUCCEEDED))
    await until(lambda: "See the orders" in socket.text)


@pytest.mark.parametrize("moment", ["while the row is read", "before it is painted"])
async def test_no_frame_shows_an_ending_without_its_result(hub, alice, job, monkeypatch, moment):
    region = Region(Subject.job(job.pk), "status/partials/result.html", "result")
    socket = await open_socket(hub, alice, badge(job), region)
    loop, work_of = asyncio.get_running_loop(), load if moment == "while the row is read" else paint

    def end_first(*args):
        monkeypatch.undo()
        found = load(*args) if work_of is load else None
        result = {"url": "/orders/", "label": "See the orders"}
        Job.objects.filter(pk=job.pk).update(state=State.SUCCEEDED, seq=3, result=result)

        async def accept():
            hub._accept_job(event(job, 3, state=State.SUCCEEDED))

        asyncio.run_coroutine_threadsafe(accept(), loop).result()
        return found if work_of is load else paint(*args)

    monkeypatch.setattr(subscription if work_of is load else core, work_of.__name__, end_first)
    hub._accept_job(event(job, 2, file_count=1))
    await until(lambda: "See the orders" in socket.text)
    assert "succeeded" not in "".join(frame for frame in socket.frames if "See the orders" not in frame)


async def test_topics_show_their_retained_value_and_change(hub, alice):
    await sync_to_async(broadcast)("site-status", {"status": "RUNNING"})
    socket = await open_socket(hub, alice, Region(Subject.topic("site-status"), CURRENT, "now", "span"))
    assert "RUNNING" in socket.frames[0]
    await sync_to_async(broadcast)("site-status", {"status": "IDLE"})
    await until(lambda: "IDLE" in socket.text)


async def test_a_lost_broadcast_is_repaired(hub, alice, settings, monkeypatch):
    settings.STATUS = {"REPAIR_SECONDS": 0.05}
    socket = await open_socket(hub, alice, Region(Subject.topic("site-status"), CURRENT, "now", "span"))
    with monkeypatch.context() as patch:
        patch.setattr(channel, "publish", lambda *events: None)
        await sync_to_async(broadcast)("site-status", {"status": "IDLE"})
    await until(lambda: "IDLE" in socket.text)


async def test_new_jobs_are_announced(hub, alice, bob):
    since = timezone.now() - timedelta(seconds=1)
    region = Region(Subject.new_jobs(str(alice.pk), since), NEW, "new")
    socket = await open_socket(hub, alice, region)
    for owner in (alice, bob, alice):
        await Job.objects.acreate(task="t", title="T", owner=owner)
    channel.publish(ListEvent(scope=str(alice.pk)))
    await until(lambda: "2 new jobs" in socket.text)


def count(owner, state="all", query=""):
    """A tab's number."""
    subject = Subject.count(str(owner.pk), query, state)
    return Region(subject, "status/partials/count.html", f"count-{state}", "span")


async def test_tabs_follow_what_starts_and_what_moves_on_the_page(hub, alice, bob, job):
    regions = [count(alice, state, "q=sums") for state in ("all", "queued", "running")]
    socket = await open_socket(hub, alice, *regions, badge(job))

    def shown(state):
        return socket.last(f"count-{state}").strip()

    assert shown("all") == "0"
    for owner in (alice, bob):
        await Job.objects.acreate(task="t", title="Sums", owner=owner)
    channel.publish(ListEvent(scope=str(alice.pk)))
    await until(lambda: shown("queued") == "1")
    await Job.objects.filter(title="Sums").aupdate(state=State.RUNNING)
    # A job beside them moves.
    hub._accept_job(event(job, 1, state=State.SUCCEEDED, finished_at=timezone.now()))
    await until(lambda: (shown("queued"), shown("running")) == ("0", "1"))
    assert shown("all") == "1"


async def test_a_list_is_counted_at_most_once_a_second(hub, alice, monkeypatch):
    monkeypatch.setattr("status.hub.core.COUNT_SECONDS", 0.4)
    reads = []
    load = subscription.load
    monkeypatch.setattr(subscription, "load", lambda subjects: reads.append(subjects) or load(subjects))
    socket = await open_socket(hub, alice, count(alice))
    began = time.monotonic()
    reads.clear()
    for _ in range(20):
        await Job.objects.acreate(task="t", title="T", owner=alice)
        channel.publish(ListEvent(scope=str(alice.pk)))
    await until(lambda: socket.last("count-all").strip() == "20")
    assert len(reads) <= 2 + (time.monotonic() - began) / 0.4


async def test_counts_of_others_are_refused(hub, alice, bob):
    with pytest.raises(access.Denied):
        await open_socket(hub, alice, count(bob))


async def test_log_lines_are_appended_once_and_in_order(hub, alice, job):
    await save_lines(job, 1, 3)
    await Job.objects.filter(pk=job.pk).aupdate(line_count=3)
    socket = await open_socket(hub, alice, log_region(job))
    assert socket.log() == ["line 1", "line 2", "line 3"]
    hub._accept_job(event(job, 2, line_count=5, lines=lines(4, 5)))
    hub._accept_job(event(job, 2, line_count=5, lines=lines(4, 5)))
    hub._accept_job(event(job, 3, line_count=6, lines=lines(6, 6)))
    await until(lambda: len(socket.log()) >= 6)
    assert socket.log() == [f"line {n}" for n in range(1, 7)]
    assert 'hx-swap-oob="beforeend:#log"' in socket.frames[-1]


async def test_a_gap_in_the_log_is_filled_from_the_table(hub, alice, job):
    socket = await open_socket(hub, alice, log_region(job))
    await save_lines(job, 1, 8)
    hub._accept_job(event(job, 3, line_count=8, lines=lines(7, 8)))
    await until(lambda: len(socket.log()) == 8)
    assert socket.log() == [f"line {n}" for n in range(1, 9)]


async def test_lines_not_yet_in_the_table_come_with_a_repair(hub, alice, job, settings):
    settings.STATUS = {"REPAIR_SECONDS": 0.05}
    socket = await open_socket(hub, alice, log_region(job))
    hub._accept_job(event(job, 3, line_count=4, lines=()))
    await save_lines(job, 1, 4)
    await until(lambda: len(socket.log()) == 4)
    assert socket.log() == [f"line {n}" for n in range(1, 5)]


async def test_a_stalled_reader_misses_no_line(hub, alice, job):
    stalled = await open_socket(hub, alice, log_region(job), slow=True)
    other = await open_socket(hub, alice, log_region(job))
    for number in range(1, 41):
        hub._accept_job(event(job, number + 1, line_count=number, lines=lines(number, number)))
        if number % 5 == 0:
            await until(lambda number=number: len(other.log()) == number)
    stalled.gate.set()
    await until(lambda: len(stalled.log()) == 40)
    assert stalled.log() == other.log() == [f"line {n}" for n in range(1, 41)]


async def test_a_second_page_of_the_same_job_gets_the_whole_tail(hub, alice, job):
    first = await open_socket(hub, alice, log_region(job))
    hub._accept_job(event(job, 2, line_count=2, lines=lines(1, 2)))
    await until(lambda: len(first.log()) == 2)
    second = await open_socket(hub, alice, log_region(job), badge(job))
    assert second.log() == ["line 1", "line 2"]
    hub._accept_job(event(job, 3, line_count=3, lines=lines(3, 3)))
    await until(lambda: len(second.log()) == 3 == len(first.log()))


async def test_a_long_log_is_trimmed_on_the_page(hub, alice, job, settings):
    settings.STATUS = {"LOG_TAIL": 5}
    socket = await open_socket(hub, alice, log_region(job))
    for number in range(1, 41):
        hub._accept_job(event(job, number + 1, line_count=number, lines=lines(number, number)))
        await asyncio.sleep(0.003)
    await until(lambda: socket.log() and socket.log()[-1] == "line 40")
    assert len(socket.log()) <= 20
    assert socket.log() == [f"line {n}" for n in range(41 - len(socket.log()), 41)]


async def test_someone_elses_job_is_denied_and_nothing_stays_behind(hub, bob, job):
    with pytest.raises(access.Denied):
        await open_socket(hub, bob, badge(job))
    assert hub._lives == {}
    assert hub._entries == {}
    assert hub._people._pages == {}


async def test_leaving_frees_everything(hub, alice, job):
    sockets = [await open_socket(hub, alice, badge(job)) for _ in range(3)]
    for socket in sockets:
        await hub.detach(socket.connection, socket.view)
    assert (hub._lives, hub._entries, hub._people._pages) == ({}, {}, {})
    again = await open_socket(hub, alice, badge(job))
    channel.publish(event(job, 7, cancel_requested_at=timezone.now()))
    await until(lambda: "data-cancelling" in again.text)


async def test_the_beat_goes_on(hub, alice, job, settings):
    settings.STATUS = {"BEAT_SECONDS": 0.05}
    socket = await open_socket(hub, alice, badge(job))
    await until(lambda: socket.text.count('id="live-beat"') >= 3)


async def test_a_page_whose_jobs_have_all_ended_is_let_go(hub, alice, job, settings):
    settings.STATUS = {"REPAIR_SECONDS": 0.02, "LINGER_SECONDS": 0.05}
    socket = await open_socket(hub, alice, badge(job))
    await Job.objects.filter(pk=job.pk).aupdate(state=State.SUCCEEDED, seq=2)
    await until(lambda: socket.closed)
    assert socket.closed == 1000
    assert 'data-job-state="succeeded"' in socket.text
    assert "hx-trigger" not in socket.frames[-1]


async def test_logging_out_closes_that_sessions_sockets(hub, alice, operator, job):
    mine = await open_socket(hub, alice, badge(job))
    other = await open_socket(hub, operator, badge(job))
    await hub._accept(LogoutEvent(user=str(alice.pk), session="another session"))
    assert mine.closed is None
    channel.publish(LogoutEvent(user=str(alice.pk), session=f"session of {alice.pk}"))
    await until(lambda: mine.closed)
    assert (mine.closed, other.closed) == (4401, None)


async def test_a_job_whose_row_is_gone_is_let_go(hub, alice, job, settings):
    settings.STATUS = {"REPAIR_SECONDS": 0.02, "LINGER_SECONDS": 0.05}
    socket = await open_socket(hub, alice, badge(job))
    await Job.objects.filter(pk=job.pk).adelete()
    await until(lambda: socket.closed)
    assert socket.closed == 1000


async def test_garbage_on_the_channel_is_dropped(hub, alice, job, caplog):
    socket = await open_socket(hub, alice, badge(job))
    layer = channel.get_layer()
    await layer.group_send(channel.job_group(job.pk), {"type": "nonsense"})
    await layer.group_send(
        channel.job_group(job.pk), event(job, 2, cancel_requested_at=timezone.now()).to_wire()
    )
    await until(lambda: "data-cancelling" in socket.text)
    assert "no event was dropped" in caplog.text


async def test_a_database_that_is_down_does_not_stop_progress(hub, alice, job, monkeypatch, caplog, settings):
    settings.STATUS = {"REPAIR_SECONDS": 0.05}
    from django.db import DatabaseError

    socket = await open_socket(hub, alice, badge(job), progress(job))

    def broken(*args):
        raise DatabaseError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(subscription, "load", broken)
        patch.setattr(core, "read_events", broken)
        hub._accept_job(at(job, 2, 77))
        await until(lambda: "77" in (socket.last("progress") or ""))
        hub._accept_job(event(job, 3, state=State.FAILED))
        await until(lambda: 'data-job-state="failed"' in socket.text)
    assert "Rows not read" in caplog.text


def test_events_of_jobs_nobody_watches_cost_nothing():
    entry = JobEvent(job=Job().pk, attempt=1, seq=1, state=State.RUNNING)

    async def accept():
        hub = Hub()
        hub._accept_job(entry)
        assert not hub._kick.is_set()

    asyncio.run(accept())


async def test_a_jobs_files_are_read_once_and_not_with_every_event(hub, alice, job, tmp_path):
    from django.core.files.base import ContentFile
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from status.models import Attachment

    region = Region(Subject.job(job.pk), "status/partials/files.html", "files")
    socket = await open_socket(hub, alice, region, progress(job))
    await Attachment.objects.acreate(job=job, name="report.csv", size=3, file=ContentFile(b"a,b", "x"))
    await Job.objects.filter(pk=job.pk).aupdate(file_count=1)
    hub._accept_job(event(job, 2, file_count=1))
    await until(lambda: "report.csv" in socket.text)
    [live] = hub._lives.values()

    def paint_again(seq):
        hub._entries[Subject.job(job.pk)].offer(replace(at(job, seq, seq), file_count=1))
        with CaptureQueriesContext(connection) as queries:
            entry = hub._entries[Subject.job(job.pk)]
            painting.paint([(live, set(live.view.regions))], {entry.subject: (entry.version, entry.shown)})
        return len(queries)

    await hub._in_thread(paint_again, 3)
    assert await hub._in_thread(paint_again, 4) == 0


async def test_a_stalled_reader_gets_every_region_that_changed(hub, alice, job):
    stalled = await open_socket(hub, alice, badge(job), progress(job), slow=True)
    quick = await open_socket(hub, alice, badge(job), progress(job))
    await until(lambda: stalled.connection._pending is None)
    hub._accept_job(event(job, 2, cancel_requested_at=timezone.now()))
    await until(lambda: "data-cancelling" in quick.text)
    hub._accept_job(at(job, 3, 77))
    await until(lambda: "77" in (quick.last("progress") or ""))
    stalled.gate.set()
    await until(lambda: len(stalled.frames) == 2)
    assert "data-cancelling" in stalled.frames[1]
    assert "77" in stalled.frames[1]


async def test_a_server_that_takes_packed_frames_is_given_them_at_once():
    taken = []
    connection = Connection(
        send=None, close=None, write=lambda frame: not taken.append(frame), user="", session=""
    )
    connection.put(Frame(parts={"badge": "new"}))
    assert taken == [b"\x81\x03new"]


async def test_what_a_full_socket_does_not_take_waits_and_is_replaced():
    sent, gate = [], asyncio.Event()

    async def send(text):
        await gate.wait()
        sent.append(text)

    connection = Connection(send=send, close=None, write=lambda frame: False, user="", session="")
    connection.put(Frame(parts={"badge": "first"}))
    await asyncio.sleep(0)
    connection.put(Frame(parts={"badge": "second"}))
    connection.put(Frame(parts={"badge": "third"}))
    gate.set()
    await until(lambda: len(sent) == 2)
    assert sent == ["first", "third"]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_packed_frames_are_what_a_client_reads(size):
    reader = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN)
    reader.receive_data(packed("x" * size))
    [frame] = reader.events_received()
    assert (frame.opcode, frame.fin, len(frame.data)) == (Opcode.TEXT, True, size)


async def test_what_is_repaired_does_not_delay_what_is_reported(hub, job, alice):
    socket = await open_socket(hub, alice, Region(Subject.job(job.pk), PROGRESS, "progress"))
    [live] = hub._lives.values()
    await until(lambda: live.pace.wait(time.monotonic(), 0.1) == 0)
    due = live.pace._due
    await hub._repair()
    await until(lambda: not live.dirty)
    assert live.pace._due == due
    assert socket.closed is None


async def test_who_waits_for_a_group_gets_it_though_the_first_who_asked_went_away(
    hub, alice, job, monkeypatch
):
    hold, asked = asyncio.Event(), asyncio.Event()
    add = hub._layer.group_add

    async def slow_add(group, own):
        asked.set()
        await hold.wait()
        await add(group, own)

    monkeypatch.setattr(hub._layer, "group_add", slow_add)
    monkeypatch.setattr(hub._people, "_join_user", nobody)
    first = asyncio.create_task(open_socket(hub, alice, badge(job)))
    await asked.wait()
    second = asyncio.create_task(open_socket(hub, alice, badge(job)))
    await until(lambda: sum(len(live.connections) for live in hub._lives.values()) == 2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    hold.set()
    socket = await second
    channel.publish(replace(job.event(), seq=2, state=State.SUCCEEDED))
    await until(lambda: "Succeeded" in socket.text)


async def test_a_group_that_all_have_left_before_it_was_joined_is_left(hub, alice, job, monkeypatch):
    hold, asked = asyncio.Event(), asyncio.Event()
    add = hub._layer.group_add

    async def slow_add(group, own):
        asked.set()
        await hold.wait()
        await add(group, own)

    monkeypatch.setattr(hub._layer, "group_add", slow_add)
    monkeypatch.setattr(hub._people, "_join_user", nobody)
    monkeypatch.setattr(hub._people, "_leave_user", nobody)
    left = []
    monkeypatch.setattr(hub, "_leave_group", lambda group: nobody(left.append(group)))
    only = asyncio.create_task(open_socket(hub, alice, badge(job)))
    await asked.wait()
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    assert left == []
    hold.set()
    await until(lambda: left == [Subject.job(job.pk).group])
    assert not hub._entries
    assert not hub._lives


async def nobody(*args):
    """Does nothing."""


async def test_what_is_painted_for_a_newcomer_reaches_those_who_are_there(hub, alice, job, settings):
    settings.STATUS = {"FRAME_SECONDS": 3600}
    early = await open_socket(hub, alice, progress(job))
    for seq, done in ((2, 300), (3, 450)):
        await hub._accept(at(job, seq, done))
        await until(lambda done=done: f"{done // 10}%" in early.text)
    await hub._accept(at(job, 4, 600))
    [live] = hub._lives.values()
    assert live.timer is not None
    late = await open_socket(hub, alice, progress(job))
    assert "60%" in late.text
    await until(lambda: "60%" in early.text)


async def test_those_who_come_together_share_what_is_read(hub, alice, job, monkeypatch):
    reads = {"rows": 0, "inboxes": 0}
    for module, name, key in ((subscription, "load", "rows"), (people, "read_inboxes", "inboxes")):
        counted(monkeypatch, module, name, reads, key)
    await hub._start()
    sockets = await asyncio.gather(*(open_socket(hub, alice, badge(job), bell=True) for _ in range(20)))
    assert all("Running" in socket.text and "live-bell" in socket.text for socket in sockets)
    assert reads == {"rows": 1, "inboxes": 1}


def counted(monkeypatch, module, name, reads, key):
    """Count the calls of a function."""
    work = getattr(module, name)

    def counting(*args):
        reads[key] += 1
        return work(*args)

    monkeypatch.setattr(module, name, counting)


async def test_one_who_may_not_see_it_takes_nothing_from_those_who_come_with_him(hub, alice, bob, job):
    mine, his = await asyncio.gather(
        open_socket(hub, alice, badge(job)), open_socket(hub, bob, badge(job)), return_exceptions=True
    )
    assert "Running" in mine.text
    assert isinstance(his, access.Denied)

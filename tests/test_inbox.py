"""The inbox and the bell, through Django's test client, and what the hub sends of them."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.utils import timezone

from status import access, channel, notifications, wording
from status.events import InboxEvent, LogoutEvent
from status.hub import Connection, people
from status.hub.core import Hub
from status.models import Job, Notification
from status.notifications import mark_read, notify, read_inboxes
from status.regions import Region, Subject, View
from status.sources.prune import prune_messages
from status.states import State
from status.told import Told

pytestmark = pytest.mark.django_db(transaction=True)

INBOX = "/jobs/notifications/"


@pytest.fixture
def signed_in(client, alice):
    client.force_login(alice)
    return client


def ids(response):
    return [int(pk) for pk in re.findall(r'data-notification="(\d+)"', response.content.decode())]


def tell(user, count):
    rows = [Notification(owner=user, title=f"Note {n}") for n in range(count)]
    return [row.pk for row in Notification.objects.bulk_create(rows)][::-1]


def test_the_pages_of_the_inbox_hold_each_notification_once_though_new_ones_come(signed_in, alice):
    told = tell(alice, 60)
    first = signed_in.get(INBOX)
    tell(alice, 3)
    older = re.search(r'href="([^"]+)" rel="next"', first.content.decode())[1]
    second = signed_in.get(older)
    third = signed_in.get(re.search(r'href="([^"]+)" rel="next"', second.content.decode())[1])
    assert ids(first) + ids(second) + ids(third) == told
    assert b'rel="next"' not in third.content
    assert b"Newer notifications" in second.content


@pytest.mark.parametrize("page", ["", "?until={}"])
def test_the_inbox_costs_the_same_however_much_is_in_it(
    signed_in, alice, page, django_assert_max_num_queries
):
    told = tell(alice, 300)
    signed_in.get(INBOX)
    with django_assert_max_num_queries(8):
        assert len(ids(signed_in.get(INBOX + page.format(told[100])))) == 25


@pytest.mark.parametrize("until", ["x", "-1", "²", "9" * 40, ""])
def test_an_address_that_is_none_of_ours_shows_what_there_is(signed_in, alice, until):
    tell(alice, 2)
    assert signed_in.get(INBOX, {"until": until}).status_code == 200


def test_opening_one_reads_it_and_leads_to_its_place(signed_in, alice):
    told = notify(alice, "Report ready", url="/reports/7/")
    response = signed_in.get(told.get_absolute_url())
    assert (response.status_code, response.url) == (302, "/reports/7/")
    told.refresh_from_db()
    assert told.is_read


def test_one_without_a_place_leads_to_the_inbox(signed_in, alice):
    assert signed_in.get(notify(alice, "Hello").get_absolute_url()).url == INBOX


@pytest.mark.parametrize("path", ["", "read/"])
def test_someone_elses_does_not_exist(client, alice, bob, path):
    told = notify(alice, "Report ready")
    client.force_login(bob)
    response = (client.post if path else client.get)(f"{INBOX}{told.pk}/{path}")
    assert response.status_code == 404
    assert client.get(f"{INBOX}{10**30}/").status_code == 404
    told.refresh_from_db()
    assert not told.is_read


@pytest.mark.parametrize("path", [INBOX, f"{INBOX}read/", f"{INBOX}1/", f"{INBOX}1/read/"])
def test_a_visitor_is_sent_to_the_login(client, db, path):
    assert client.get(path).url == f"/login/?next={path}"


def test_reading_all_leaves_what_came_after_the_page_was_made(signed_in, alice, bob):
    tell(bob, 2)
    shown = tell(alice, 2)
    tell(alice, 1)
    response = signed_in.post(f"{INBOX}read/", {"until": shown[0]})
    assert response.url == INBOX
    assert Notification.objects.filter(owner=alice, read_at=None).count() == 1
    assert Notification.objects.filter(owner=bob, read_at=None).count() == 2


def test_a_get_marks_nothing(signed_in, alice):
    told = notify(alice, "Hello")
    for path in (f"{INBOX}read/", f"{INBOX}{told.pk}/read/"):
        assert signed_in.get(path).status_code == 302
    assert Notification.objects.filter(read_at=None).count() == 1


def test_the_page_of_an_ended_job_reads_what_was_told_of_it(signed_in, alice):
    job = Job.objects.create(task="t", title="T", owner=alice)
    signed_in.get(job.get_absolute_url())
    Job.objects.advance(job.pk, State.SUCCEEDED, attempt=1)
    assert Notification.objects.filter(read_at=None).count() == 1
    signed_in.get(job.get_absolute_url())
    assert Notification.objects.filter(read_at=None).count() == 0


def test_another_who_looks_at_the_job_reads_nothing_for_its_owner(client, alice, operator):
    job = Job.objects.create(task="t", title="T", owner=alice)
    Job.objects.advance(job.pk, State.SUCCEEDED, attempt=1)
    client.force_login(operator)
    client.get(job.get_absolute_url())
    assert client.post(f"/jobs/{job.pk}/seen/").status_code == 204
    assert Notification.objects.filter(read_at=None).count() == 1


def test_a_visitors_page_has_no_bell(client, db):
    assert b'id="live-bell"' not in client.get("/status/").content


def test_the_frame_over_http_holds_the_bell(signed_in, alice, open_page):
    page = open_page("/jobs/new/", alice)
    tell(alice, 3)
    text = signed_in.get("/jobs/frame/", {"view": page.view}).content.decode()
    assert '<span id="live-bell" hx-swap-oob="innerHTML">' in text
    assert "3 unread notifications" in text


def polled(client, page, told, turn=0):
    """The toasts of a polled frame, and where its heartbeat element asks next."""
    query = {"view": page.view, "told": told.timestamp(), "turn": turn}
    text = client.get("/jobs/frame/", query).content.decode()
    asked = parse_qs(urlsplit(unescape(re.search(r'hx-get="([^"]+)"', text)[1])).query)
    toasts = dict(re.findall(r'<div id="(toast-\d)" hx-swap-oob="innerHTML">(.*?)</div>', text, re.S))
    return toasts, datetime.fromtimestamp(float(asked["told"][0]), UTC), int(asked["turn"][0])


def test_a_page_that_polls_is_told_of_each_notification_once(signed_in, alice, open_page):
    page = open_page("/jobs/new/", alice)
    began = timezone.now()
    notify(alice, "First")
    toasts, told, turn = polled(signed_in, page, began)
    assert list(toasts) == ["toast-0"]
    assert "First" in toasts["toast-0"]
    assert polled(signed_in, page, told, turn) == ({}, told, turn)
    notify(alice, "Second")
    toasts, told, turn = polled(signed_in, page, told, turn)
    assert list(toasts) == ["toast-1"]
    assert "Second" in toasts["toast-1"]


def test_a_toast_that_was_polled_does_not_come_again_with_the_socket(signed_in, alice, open_page):
    page = open_page("/jobs/new/", alice)
    notify(alice, "Polled")
    polled(signed_in, page, timezone.now() - timedelta(seconds=30))
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in signed_in.cookies.items())
    assert "status_told=" in cookies
    notify(alice, "Not polled")
    with page.socket(cookie=cookies) as socket:
        frame = socket.recv(timeout=20)
    assert "Not polled" in frame
    assert ">Polled<" not in frame


@pytest.mark.parametrize("told", ["", "nan", "-1e300", "inf", "x", "1" * 400])
@pytest.mark.parametrize("turn", ["", "-1", "7", "x", "²"])
def test_an_address_that_was_tampered_with_is_answered_all_the_same(told, turn):
    found = Told.of_query({"told": told, "turn": turn}, 3)
    assert timezone.now() - found.until < timedelta(seconds=5)
    assert found.turn in {0, 1}


def test_what_the_page_shows_itself_and_what_is_old_makes_no_toast_when_it_polls(signed_in, alice, open_page):
    job = Job.objects.create(task="t", title="T", owner=alice)
    page = open_page(f"/jobs/{job.pk}/", alice)
    began = timezone.now() - timedelta(days=1)
    notify(alice, "Old")
    Notification.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    Job.objects.advance(job.pk, State.SUCCEEDED, attempt=1)
    assert polled(signed_in, page, began)[0] == {}


def test_what_is_nasty_is_escaped(signed_in, alice):
    notify(alice, "<script>alert(1)</script>", url='/"onmouseover="x')
    text = signed_in.get(INBOX).content.decode()
    assert "<script>alert" not in text
    assert '"onmouseover' not in text


def test_messages_are_pruned_by_age_and_those_of_jobs_go_with_them(alice):
    old = timezone.now() - timedelta(days=40)
    job = Job.objects.create(task="t", title="T", owner=alice)
    Job.objects.advance(job.pk, State.SUCCEEDED, attempt=1)
    tell(alice, 2)
    Notification.objects.update(created_at=old)
    notify(alice, "New")
    assert prune_messages(0) == prune_messages(None) == 0
    assert prune_messages(30) == 2
    with pytest.raises(ValueError, match="to keep"):
        prune_messages(-1)
    assert set(Notification.objects.values_list("title", flat=True)) == {"New", "T"}


@pytest.mark.parametrize(
    ("rows", "index"),
    [
        (lambda user: Notification.objects.of(user).order_by("-pk")[:26], "status_note_owner"),
        (lambda user: Notification.objects.of(user).unread().order_by(), "status_note_unread"),
    ],
)
def test_the_inbox_is_read_by_its_index(alice, rows, index):
    assert index in rows(alice).explain()


def test_no_more_are_counted_than_the_bell_says(alice, bob, monkeypatch, client):
    monkeypatch.setattr(notifications, "MOST_UNREAD", 3)
    monkeypatch.setattr(wording, "MOST_UNREAD", 3)
    tell(alice, 2)
    client.force_login(alice)
    assert "2 unread notifications" in client.get("/jobs/notifications/").content.decode()
    tell(alice, 2)
    page = client.get("/jobs/notifications/").content.decode()
    assert page.count("3+ unread") == 2
    found = read_inboxes([str(alice.pk), str(bob.pk)], 60)
    assert (found[str(alice.pk)].count, found[str(bob.pk)].count) == (3, 0)


def test_inboxes_of_many_users_are_read_by_the_hundred(alice, django_assert_num_queries):
    model = type(alice)
    users = model.objects.bulk_create([model(username=f"user {number}") for number in range(150)])
    tell(users[0], 1)
    tell(users[149], 2)
    with django_assert_num_queries(3):
        found = read_inboxes([str(user.pk) for user in users], 60)
    assert [found[str(user.pk)].count for user in (users[0], users[1], users[149])] == [1, 0, 2]
    assert read_inboxes([], 60) == {}


def test_inboxes_are_read_in_two_queries_for_all(alice, bob, django_assert_num_queries):
    tell(alice, 3)
    Notification.objects.update(created_at=timezone.now() - timedelta(minutes=5))
    tell(alice, 1)
    with django_assert_num_queries(2):
        found = read_inboxes([str(alice.pk), str(bob.pk)], 60)
    assert (found[str(alice.pk)].count, len(found[str(alice.pk)].fresh)) == (4, 1)
    assert (found[str(bob.pk)].count, found[str(bob.pk)].fresh) == (0, ())


# -- the hub


@pytest.fixture
async def hub():
    hub = Hub()
    yield hub
    await hub.stop()
    # That of the thread in which these tests write.
    await sync_to_async(connections.close_all)()


class Tab:
    """A page as the hub knows it; `html` is what its elements hold after all frames."""

    def __init__(self, user, *regions, bell=True, language="en"):
        self.user = user
        self.frames = []
        self.closed = None
        self.view = View(
            user=access.user_key(user), language=language, timezone="UTC", regions=regions, bell=bell
        )
        self.connection = Connection(
            send=self.send, close=self.close, user=self.view.user, session=f"session of {user}"
        )

    async def send(self, text):
        self.frames.append(text)

    async def close(self, code):
        self.closed = code

    def holds(self, id_):
        found = re.findall(
            rf'<(\w+) id="{id_}" hx-swap-oob="innerHTML">(.*?)</\1>(?=<|$)', "".join(self.frames), re.S
        )
        return found[-1][1] if found else None

    @property
    def bell(self):
        return re.sub("<[^>]+>", " ", self.holds("live-bell") or "").split()[:2]

    @property
    def toasts(self):
        held = [self.holds(f"toast-{slot}") or "" for slot in range(3)]
        return sorted(title for text in held for title in re.findall(r"(Note \d+|Job \d+)</", text))


async def open_tab(hub, user, *regions, **look):
    tab = Tab(user, *regions, **look)
    await hub.attach(tab.connection, tab.view, user)
    await until(lambda: tab.frames)
    return tab


async def until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_every_tab_of_the_user_is_told_and_nobody_else(hub, alice, bob):
    tabs = [await open_tab(hub, alice) for _ in range(2)]
    other = await open_tab(hub, bob)
    await sync_to_async(notify)(alice, "Note 1")
    for tab in tabs:
        await until(lambda tab=tab: tab.toasts == ["Note 1"] and tab.bell[0] == "1")
    await sync_to_async(mark_read)(alice, Notification.objects.all())
    for tab in tabs:
        await until(lambda tab=tab: tab.toasts == [] and tab.bell == ["Notifications"])
    assert (other.toasts, other.bell) == ([], ["Notifications"])


async def test_a_page_makes_no_toast_of_the_job_it_shows(hub, alice):
    job = await Job.objects.acreate(task="t", title="Job 1", owner=alice)
    watching = await open_tab(
        hub, alice, Region(Subject.job(job.pk), "status/partials/badge.html", "b", "span")
    )
    elsewhere = await open_tab(hub, alice)
    await sync_to_async(Job.objects.advance)(job.pk, State.SUCCEEDED, attempt=1)
    await until(lambda: elsewhere.toasts == ["Job 1"])
    await until(lambda: watching.bell[0] == "1")
    assert watching.toasts == []


async def test_toasts_have_three_places_and_the_newest_have_them(hub, alice):
    tab = await open_tab(hub, alice)
    for number in range(1, 6):
        await sync_to_async(notify)(alice, f"Note {number}")
        await until(lambda number=number: f"Note {number}" in tab.toasts)
    assert tab.toasts == ["Note 3", "Note 4", "Note 5"]
    assert tab.bell[0] == "5"


async def test_the_next_page_shows_what_the_last_one_has_only_just_shown_and_nothing_older(hub, alice):
    await sync_to_async(notify)(alice, "Note 1")
    await Notification.objects.aupdate(created_at=timezone.now() - timedelta(seconds=30))
    await sync_to_async(notify)(alice, "Note 2")
    tab = await open_tab(hub, alice)
    assert (tab.toasts, tab.bell[0]) == (["Note 2"], "2")


async def test_a_lost_message_is_made_good_by_the_beat(hub, alice, settings, monkeypatch):
    settings.STATUS = {"BEAT_SECONDS": 0.2}
    tab = await open_tab(hub, alice)
    with monkeypatch.context() as lossy:
        lossy.setattr(channel, "publish", lambda *events: None)
        await sync_to_async(notify)(alice, "Note 1")
    await until(lambda: tab.toasts == ["Note 1"] and tab.bell[0] == "1")


async def test_what_comes_while_a_page_opens_is_not_lost(hub, alice, monkeypatch, settings):
    # The beat would make it good.
    settings.STATUS = {"BEAT_SECONDS": 100}
    await hub._start()
    paint = people._paint
    told = []

    def slow(asked, seconds):
        found = paint(asked, seconds)
        if not told:
            told.append(Notification.objects.create(owner=alice, title="Note 1"))
            asyncio.run_coroutine_threadsafe(mark(), loop).result()
        return found

    async def mark():
        hub._people.mark([str(alice.pk)])
        await until(lambda: not hub._people._stale)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(people, "_paint", slow)
    tab = await open_tab(hub, alice)
    await until(lambda: tab.toasts == ["Note 1"])


async def test_pages_without_a_bell_are_not_read_for(hub, alice, bob, monkeypatch):
    tab = await open_tab(hub, alice, bell=False)
    monkeypatch.setattr(people, "_paint", lambda *args: pytest.fail("read"))
    channel.publish(InboxEvent(user=str(alice.pk)))
    other = await open_tab(hub, bob, bell=False)
    channel.publish(LogoutEvent(user=str(bob.pk), session=other.connection.session))
    # What was published before it has been taken in by then.
    await until(lambda: other.closed == 4401 and not hub._people._stale)
    assert tab.holds("live-bell") is None


async def test_a_page_with_a_bell_keeps_its_socket(hub, alice, settings):
    settings.STATUS = {"REPAIR_SECONDS": 0.05, "LINGER_SECONDS": 0.1}
    job = await Job.objects.acreate(task="t", title="Job 1", owner=alice, state=State.SUCCEEDED)
    region = Region(Subject.job(job.pk), "status/partials/badge.html", "b", "span")
    without = await open_tab(hub, alice, region, bell=False)
    tab = await open_tab(hub, alice, region)
    await until(lambda: without.closed == 1000)
    assert tab.closed is None
    await sync_to_async(notify)(alice, "Note 1")
    await until(lambda: tab.bell[0] == "1")


async def test_pages_of_different_people_share_what_both_see(hub, alice, operator):
    job = await Job.objects.acreate(task="t", title="Job 1", owner=alice)
    region = Region(Subject.job(job.pk), "status/partials/badge.html", "b", "span")
    await open_tab(hub, alice, region)
    await open_tab(hub, operator, region)
    assert len(hub._lives) == 1

"""The page of workers and queues: who may see it, what it says, what is wrong, and what that costs."""

import asyncio
import re
from datetime import timedelta
from html import unescape

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, Permission
from django.db import DatabaseError, connection
from django.test import Client
from django.test.html import parse_html
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from status import access, computed, conf, house, metrics, queues
from status.answers import Aside, Kept
from status.computed import HOUSE
from status.findings import Finding, Kind, ordered, roughly, shortly
from status.models import Bucket, Job, Process, Queue, Topic
from status.models.queries import JobQuerySet
from status.regions import Region, Subject
from status.sources.counting import count_ended
from status.sources.sweep import PULSE
from status.states import State
from status.windows import floor
from tests.processes import wait_until
from tests.test_hub import hub, open_socket, until  # noqa: F401  # A fixture among them.

pytestmark = pytest.mark.django_db

PAGE = "/jobs/house/"
TASK = "orders.tasks.load"


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing is kept from the test before."""
    monkeypatch.setattr(house, "_kept", Kept())
    monkeypatch.setattr(house, "_depths", Aside("test depths", 0.0))
    monkeypatch.setattr(house, "_layer", Aside("test layer", 0.0))
    house.connect()


@pytest.fixture
def pauser(operator):
    operator.user_permissions.add(Permission.objects.get(codename="change_queue"))
    return operator


def up(name="w1@here", *, queues=("default", "broadcast", "poll"), ago=0.0, kind="worker", **fields):
    """A process that told of itself `ago` seconds ago."""
    now = timezone.now()
    said = {
        "pool": "prefork",
        "concurrency": 2,
        "queues": list(queues),
        "memory_bytes": 90_000_000,
        "rates": {},
    }
    said |= fields.pop("said", {})
    columns = {"kind": kind, "started_at": now - timedelta(hours=1), "seen_at": now - timedelta(seconds=ago)}
    return Process.objects.create(name=name, said=said, **columns | fields)


def beat(ago=0.0):
    Topic.objects.update_or_create(pk=PULSE, defaults={"updated_at": timezone.now() - timedelta(seconds=ago)})


def queued(count=1, *, ago=60.0, queue="poll", **fields):
    then = timezone.now() - timedelta(seconds=ago)
    columns = {"task": TASK, "title": "t", "queue": queue, "created_at": then, "sent_at": then} | fields
    Job.objects.bulk_create([Job(**columns) for _number in range(count)])


def wrong() -> list[Finding]:
    return list(house.read_house().findings)


def kinds() -> list[Kind]:
    return [finding.kind for finding in wrong()]


# -- who may see it ------------------------------------------------------------------------------------------


def test_for_who_may_not_see_everything_there_is_no_such_page(client, alice):
    assert client.get(PAGE).status_code == 302
    client.force_login(alice)
    assert "/jobs/house/" not in client.get("/jobs/").content.decode()
    for path in (PAGE, f"{PAGE}queues/default/", f"{PAGE}queues/default/pause/"):
        assert client.get(path).status_code == 404
    assert client.post(f"{PAGE}queues/default/pause/", {"paused": "1"}).status_code == 404
    assert not queues.paused()


def test_who_may_see_but_not_pause_has_no_button_and_is_refused(client, operator):
    client.force_login(operator)
    assert "/jobs/house/" in client.get("/jobs/").content.decode()
    html = client.get(PAGE).content.decode()
    assert "default" in html
    assert "Pause" not in html
    assert (
        "<button"
        not in client.get(f"{PAGE}queues/default/")
        .content.decode()
        .partition("<main")[2]
        .partition("</main")[0]
    )
    assert client.post(f"{PAGE}queues/default/pause/", {"paused": "1"}).status_code == 403
    assert not queues.paused()


def test_who_may_only_pause_may_not_see_it(client, alice):
    alice.user_permissions.add(Permission.objects.get(codename="change_queue"))
    client.force_login(alice)
    assert client.post(f"{PAGE}queues/default/pause/", {"paused": "1"}).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_pauses_and_resumes_without_javascript(client, pauser):
    client.force_login(pauser)
    assert 'action="/jobs/house/queues/default/"' in client.get(PAGE).content.decode()
    form = client.get(f"{PAGE}queues/default/", {"paused": "1"}).content.decode()
    assert "csrfmiddlewaretoken" in form
    assert not queues.paused()
    assert client.post(f"{PAGE}queues/default/pause/", {"paused": "1"}).url == PAGE
    row = Queue.objects.get(pk="default")
    assert (row.paused_at is not None, row.paused_by) == (True, pauser)
    html = client.get(PAGE).content.decode()
    assert "Paused" in html
    assert "by olga" in html
    assert client.get(f"{PAGE}queues/default/pause/").url == f"{PAGE}queues/default/"
    client.post(f"{PAGE}queues/default/pause/", {"paused": "0"})
    assert not queues.paused()


def test_what_makes_no_sense_is_said(client, pauser):
    client.force_login(pauser)
    assert client.post(f"{PAGE}queues/default/pause/").status_code == 400
    assert client.post(f"{PAGE}queues/no-such/pause/", {"paused": "1"}).status_code == 404
    assert client.get(PAGE, {"window": "2h"}).status_code == 404
    assert client.get(PAGE, {"task": "x" * 300}).status_code == 404
    assert client.get(PAGE, {"task": "\x00"}).status_code == 404
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(pauser)
    assert strict.post(f"{PAGE}queues/default/pause/", {"paused": "1"}).status_code == 403
    assert not queues.paused()


def test_a_queue_may_have_any_name(client, pauser):
    Queue.objects.create(name="Ü/berall & <nirgends>")
    client.force_login(pauser)
    html = client.get(PAGE).content.decode()
    assert "<nirgends>" not in html
    path = unescape(re.search(r'hx-post="(/jobs/house/queues/%C3[^"]+)"', html)[1])
    assert client.post(path, {"paused": "1"}).status_code == 302, path
    assert queues.paused() == {"Ü/berall & <nirgends>"}


# -- what it says --------------------------------------------------------------------------------------------


def test_an_empty_house_says_what_to_do(client, operator):
    client.force_login(operator)
    html = client.get(PAGE).content.decode()
    parse_html(html)
    for text in ("No worker is up", "No worker has been heard of", "Nothing has ended", "Nothing has failed"):
        assert text in html


def test_a_worker_is_shown_with_what_it_runs(client, operator):
    others = [{"id": "1", "task": "other.task", "since": 1.0}]
    up(said={"others": others, "active": 8, "children": 2, "children_bytes": 10_000_000, "celery": "5.7.0"})
    up("gone@here", stopped_at=timezone.now())
    columns, now = {"task": TASK, "state": State.RUNNING, "worker": "w1@here"}, timezone.now()
    Job.objects.bulk_create(
        [Job(title=f"Orders <{n}>", started_at=now + timedelta(seconds=n), **columns) for n in range(7)]
    )
    beat()
    client.force_login(operator)
    html = client.get(PAGE).content.decode()
    for text in ("w1@here", "prefork × 2", "95.4", "Orders &lt;0&gt;", "2 more", "other.task", "3 processes"):
        assert text in html, text
    assert html.count("Orders &lt;") == 5
    assert "Stopped" in html
    assert html.index("w1@here") < html.index("gone@here")


def test_a_web_server_is_shown_while_it_is_there(client, operator):
    delays = {"delay_bounds": [0.01, 0.1], "delay_counts": [90, 10, 0]}
    up("web@a:1", kind="web", said={"sockets": 1234, "received": 5, "frames": 6, "repaired": 7} | delays)
    up("web@a:2", kind="web", ago=100)
    client.force_login(operator)
    html = client.get(PAGE).content.decode()
    assert "web@a:2" not in html
    figures = html[html.index("web@a:1") :]
    for text in ("1,234", "0.1 s", "85.8", "MB"):
        assert text in figures, text


@pytest.mark.parametrize("language", ["en", "de", "ar"])
def test_charts_can_be_read_by_everybody(client, operator, language):
    when = timezone.now() - timedelta(seconds=60)
    ended = {"finished_at": when, "started_at": when - timedelta(seconds=1.5), "created_at": when}
    Job.objects.create(task=TASK, title="t", state=State.FAILED, failure="timeout", **ended)
    Bucket.objects.create(
        span_seconds=900,
        at=floor(timezone.now(), 900),
        task="",
        ended=1200,
        failed=1100,
        failures={"error": 1100},
    )
    count_ended()
    client.force_login(operator)
    with translation.override(language):
        html = client.get(PAGE, headers={"Accept-Language": language}).content.decode()
    figures = html[html.index('id="figures"') : html.index("</main>")]
    ids = set(re.findall(r'\sid="([^"]+)"', figures))
    charts = re.findall(r'<svg class="chart-plot[^>]*aria-labelledby="([^"]+)"[^>]*>', figures)
    assert len(charts) == 3
    for names in charts:
        assert set(names.split()) <= ids
    assert figures.count('role="img"') == 3
    assert "<table" in figures
    assert " style=" not in html
    for number in re.findall(r'\s(?:x|y|width|height|max|value|points)="([^"]*)"', figures):
        assert re.fullmatch(r"[\d. ,]*", number), number
    assert len(re.findall(r'\sid="([^"]+)"', html)) == len(set(re.findall(r'\sid="([^"]+)"', html)))


# -- what is wrong -------------------------------------------------------------------------------------------


def test_all_is_well_with_a_worker_and_beat():
    up()
    beat()
    assert wrong() == []


def test_a_queue_that_nobody_consumes_is_worst_but_for_no_worker_at_all():
    beat()
    queued(3, ago=250, queue="poll")
    assert kinds() == [Kind.NO_WORKER, Kind.UNSERVED]
    up(queues=["default", "broadcast"])
    (finding,) = wrong()
    assert finding.text == "Queue poll has waited 4 min, no worker consumes it"
    assert finding.advice.endswith("-Q poll")
    assert finding.count == 3


def test_a_worker_that_is_just_starting_is_given_time():
    up(queues=["default"])
    beat()
    queued(ago=3)
    assert wrong() == []


def test_a_queue_that_waits_long_although_it_is_consumed_is_slow():
    up()
    beat()
    queued(12, ago=400)
    (finding,) = wrong()
    assert finding.text == "Queue poll: the oldest of those that wait has waited 6 min, 12 wait"


def test_a_long_wait_counts_from_the_beginning_though_its_message_was_sent_again():
    up()
    beat()
    queued(ago=1000, sent_at=timezone.now())
    assert kinds() == [Kind.SLOW]


def test_a_paused_queue_is_said_to_be_paused_and_not_slow(pauser):
    up()
    beat()
    queued(2, ago=1000)
    queues.pause("poll", by=pauser)
    (finding,) = wrong()
    assert finding.text == "Queue poll has been paused for 0 s, 2 wait"
    assert "olga" in finding.advice


def test_members_whose_turn_has_not_come_wait_for_nobody():
    up(queues=["default", "broadcast"])
    beat()
    queued(5, ago=1000, held=True)
    queued(1, ago=1000, canvas="group")
    assert wrong() == []


def test_a_lost_worker_is_news_for_an_hour():
    up()
    beat()
    lost = up("w2@here", ago=200, said={"active": 2})
    (finding,) = wrong()
    assert finding.text == "Worker w2@here was lost 3 min ago"
    Process.objects.filter(pk=lost.pk).update(seen_at=timezone.now() - timedelta(hours=2))
    assert wrong() == []
    assert [worker.name for worker in house.read_house().workers] == ["w1@here", "w2@here"]
    Process.objects.filter(pk=lost.pk).update(seen_at=timezone.now() - timedelta(days=2))
    assert [worker.name for worker in house.read_house().workers] == ["w1@here"]


def test_silence_of_beat_is_heard():
    up()
    assert wrong()[0].text == "Beat has not been heard of yet"
    beat(ago=185)
    (finding,) = wrong()
    assert finding.text == "Beat has not been heard of for 3 min"
    assert "broadcast" in finding.advice
    beat(ago=20)
    assert wrong() == []


@pytest.mark.parametrize(("failed", "ended", "is_wrong"), [(4, 4, False), (6, 20, False), (12, 14, True)])
def test_a_task_that_mostly_fails_is_found(failed, ended, is_wrong):
    up()
    beat()
    at = floor(timezone.now() - timedelta(minutes=5), 60)
    Bucket.objects.create(span_seconds=60, at=at, task=TASK, ended=ended, failed=failed)
    Bucket.objects.create(span_seconds=60, at=at, task="", ended=ended, failed=failed)
    Bucket.objects.create(span_seconds=60, at=at - timedelta(hours=1), task="old", ended=99, failed=99)
    texts = [finding.text for finding in wrong()]
    assert texts == ([f"Task {TASK} failed 12 of 14 times in the last 15 min"] if is_wrong else [])


def test_a_broker_that_does_not_answer_is_the_worst(monkeypatch, client, operator):
    def refuse(names):
        raise ConnectionError("refused")

    monkeypatch.setattr(house, "read_depths", refuse)
    found = house.read_house()
    assert found.findings[0].kind is Kind.BROKER
    assert {line.depth for line in found.queues} == {None}
    client.force_login(operator)
    assert "not known" in client.get(PAGE).content.decode()


def test_a_broker_that_hangs_holds_up_nobody(monkeypatch):
    gate = asyncio.Event()
    hung = []

    def hang(names):
        hung.append(names)
        while not gate.is_set():
            asyncio.run(asyncio.sleep(0.01))
        return {}

    monkeypatch.setattr(house, "read_depths", hang)
    monkeypatch.setattr(house.health, "CHECK_SECONDS", 0.5)
    try:
        assert Kind.BROKER not in kinds()
        wait_until(lambda: Kind.BROKER in kinds(), 10, "it is noticed")
        # And it is not asked a second time.
        assert len(hung) == 1
    finally:
        gate.set()


def test_a_broker_that_cannot_say_how_much_waits_leaves_that_open(monkeypatch):
    up()
    beat()
    monkeypatch.setattr(house, "read_depths", lambda names: dict.fromkeys(names))
    queued(3, ago=20)
    found = house.read_house()
    line = next(line for line in found.queues if line.name == "poll")
    assert (line.depth, line.jobs, line.waiting, line.rate_in) == (None, 3, 3, None)
    assert found.findings == ()


def test_what_comes_is_what_goes_and_what_there_is_more_of(monkeypatch):
    up(said={"rates": {"poll": 2.0}})
    up("w2@here", said={"rates": {"poll": 1.0}})
    up("lost@here", ago=500, said={"rates": {"poll": 50.0}})
    monkeypatch.setattr(house, "read_depths", lambda names: {"poll": 130})
    samples = {"samples": [[timezone.now().timestamp() - 20, {"poll": 30}]]}
    Topic.objects.create(pk=queues.SAMPLES, updated_at=timezone.now(), payload=samples)
    line = next(line for line in house.read_house().queues if line.name == "poll")
    assert line.rate_out == 3.0
    assert line.rate_in == pytest.approx(8.0, rel=0.1)


def test_the_worst_comes_first():
    some = [Finding(kind=Kind.PAUSED, name="a", count=1), Finding(kind=Kind.PAUSED, name="b", count=5)]
    some += [Finding(kind=Kind.BROKER), Finding(kind=Kind.BEAT)]
    assert [(f.kind, f.name) for f in ordered(some)] == [
        (Kind.BROKER, ""),
        (Kind.BEAT, ""),
        (Kind.PAUSED, "b"),
        (Kind.PAUSED, "a"),
    ]


@pytest.mark.parametrize("kind", Kind)
def test_each_finding_says_what_to_do(kind):
    for seconds in (None, 5.0, 250.0):
        finding = Finding(kind=kind, name="x", count=3, of=4, seconds=seconds, who="y")
        assert finding.text
        assert not finding.text.endswith(".")
        assert finding.advice


def test_rough_durations():
    assert [roughly(s) for s in (0, 47, 61, 250, 3600, 7500)] == [
        *("0 s", "40 s", "1 min", "4 min", "1 h", "2 h 5 min")
    ]
    assert [shortly(s) for s in (0.3, 7, 60, 100, 900, 7200, 86_400)] == [
        *("0.3 s", "7 s", "1 min", "1 min 40 s", "15 min", "2 h", "1 d")
    ]


# -- live, and what it costs ---------------------------------------------------------------------------------


def test_the_house_is_seven_queries_however_many_jobs_there_are(django_assert_num_queries):
    up()
    beat()
    with django_assert_num_queries(7):
        house.read_house()
    ended = {"finished_at": timezone.now(), "started_at": timezone.now(), "state": State.SUCCEEDED}
    Job.objects.bulk_create([Job(task=TASK, title="t", **ended) for _number in range(2000)])
    Job.objects.bulk_create(
        [Job(task=TASK, title="t", state=State.RUNNING, worker="w1@here") for _ in range(800)]
    )
    queued(500)
    for number in range(5):
        up(f"v{number}@here")
    with django_assert_num_queries(7):
        found = house.read_house()
    assert next(w for w in found.workers if w.name == "w1@here").job_count == 800


@pytest.mark.parametrize("statement", ["ANALYZE", "SELECT 1"])
def test_live_jobs_are_found_by_an_index(statement, monkeypatch):
    explained = []
    original = JobQuerySet.values_list

    def noted(self, *fields, **options):
        explained.append(self)
        return original(self, *fields, **options)

    ended = {"finished_at": timezone.now(), "state": State.SUCCEEDED}
    Job.objects.bulk_create([Job(task=TASK, title="t", **ended) for _number in range(2000)])
    queued(20)
    with connection.cursor() as cursor:
        cursor.execute(statement)
    monkeypatch.setattr(JobQuerySet, "values_list", noted)
    house.read_house()
    assert len(explained) == 2
    for query in explained:
        assert re.search("status_job_(state|lease)", query.explain()), query.explain()


def test_who_asks_again_at_once_costs_nothing(client, operator, django_assert_num_queries):
    house.current()
    with django_assert_num_queries(0):
        assert house.current() is house.current()
    client.force_login(operator)
    client.get(PAGE)
    with CaptureQueriesContext(connection) as queries:
        client.get(PAGE)
    assert not [query for query in queries.captured_queries if "status_job" in query["sql"]]


async def aside(work, *args):
    """Call `work` in a thread, and leave no connection behind there."""

    def run():
        try:
            work(*args)
        finally:
            connection.close()

    await sync_to_async(run)()


@pytest.mark.django_db(transaction=True)
async def test_a_pause_is_on_every_page_at_once(hub, operator, settings):  # noqa: F811
    settings.STATUS = {"REPAIR_SECONDS": 600}
    region = Region(Subject.topic(HOUSE), "status/house/queues.html", "queues")
    socket = await open_socket(hub, operator, region)
    assert "Paused" not in socket.text
    await aside(queues.pause, "default")
    await until(lambda: "Paused" in socket.text)
    # Only what has changed.
    assert 'id="queues"' not in socket.frames[-1]


@pytest.mark.django_db(transaction=True)
async def test_what_changes_by_itself_comes_with_a_repair(hub, operator, settings):  # noqa: F811
    settings.STATUS = {"REPAIR_SECONDS": 0.2}
    region = Region(Subject.topic(HOUSE), "status/house/workers.html", "workers")
    socket = await open_socket(hub, operator, region)
    await aside(up, "late@here")
    await until(lambda: "late@here" in socket.text)


@pytest.mark.django_db(transaction=True)
async def test_a_page_is_not_opened_for_who_may_not_see_it(hub, alice):  # noqa: F811
    region = Region(Subject.topic(HOUSE), "status/house/queues.html", "queues")
    with pytest.raises(access.Denied):
        await open_socket(hub, alice, region)


def test_what_is_computed_is_never_public(settings):
    settings.STATUS = {"PUBLIC_TOPICS": [HOUSE]}
    with pytest.raises(access.NotLoggedIn):
        access.check(AnonymousUser(), frozenset([Subject.topic(HOUSE)]), {})


def test_a_broadcast_under_that_name_changes_nothing():
    Topic.objects.create(pk=HOUSE, version=2**62, payload={"house": "forged"}, updated_at=timezone.now())
    (event,) = computed.read([HOUSE, "no-such"])
    assert isinstance(event.payload["house"], house.House)


def test_what_cannot_be_computed_is_left_out_and_logged(monkeypatch, caplog):
    def fail(now):
        raise DatabaseError("gone")

    monkeypatch.setattr(house, "read_processes", fail)
    assert computed.read([HOUSE]) == []
    assert "cannot be computed" in caplog.text


def test_metrics_tell_it_to_machines(settings):
    up()
    up("w2@here", ago=100)
    queues.pause("poll")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics._of_house()
        for sample in family.samples
    }
    assert found["status_workers", "up"] == found["status_workers", "lost"] == 1
    assert found["status_workers", "stopped"] == 0
    assert (found["status_queue_paused", "poll"], found["status_queue_paused", "default"]) == (1, 0)
    assert found["status_findings", "lost"] == found["status_findings", "paused"] == 1
    assert found["status_findings", "no worker"] == 0


def test_late_is_three_times_the_pace(settings):
    settings.STATUS = {"WORKER_SECONDS": 4}
    assert conf.current().worker_seconds == 4
    up("in time@here", ago=10)
    up("late@here", ago=14)
    standings = {worker.name: worker.standing for worker in house.read_house().workers}
    assert standings == {"in time@here": "up", "late@here": "lost"}

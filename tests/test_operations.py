"""`/healthz`, `/readyz` and `/metrics`, of a real web process and of what they read."""

import json
import socket
import time
import urllib.error
import urllib.request
from datetime import timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest
from django.db import connection
from django.test import AsyncClient
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from config.valkey import Valkey
from status import jobs, metrics
from status.counters import Counters, Histogram
from status.metrics import Endings, StatusCollector
from status.models import Delivery, Job, Notification
from status.models.queries import JobQuerySet
from status.states import State
from status.views import operations
from tests import tasks
from tests.conftest import ended
from tests.processes import Web, free_port, wait_until

TOKEN = "a secret of the scraper's"


def get(url: str, **headers: str) -> SimpleNamespace:
    """GET, whatever the status."""
    request = urllib.request.Request(url, headers=headers)
    began = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            status, body, told = answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        status, body, told = error.code, error.read(), error.headers
    return SimpleNamespace(status=status, text=body.decode(), headers=told, seconds=time.monotonic() - began)


def samples(text: str) -> dict[tuple, float]:
    """The samples of a scrape by name and labels, as Prometheus reads them."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(web: Web) -> dict[tuple, float]:
    answer = get(f"{web.url}/metrics", Authorization=f"Bearer {TOKEN}")
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return samples(answer.text)


# -- alive and ready -----------------------------------------------------------------------------------------


def test_alive_asks_no_database(client, db, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")
    assert "no-cache" in response["Cache-Control"]


@pytest.mark.workers
def test_a_web_process_with_everything_is_ready(web):
    answer = get(f"{web.url}/readyz")
    assert answer.status == 200, answer.text
    checks = {"database": "ok", "channel layer": "ok", "broker": "ok", "hub": "ok"}
    assert json.loads(answer.text) == {"status": "ready", "checks": checks}


@pytest.mark.workers
def test_with_redis_down_it_is_alive_and_not_ready_and_then_ready_again(tmp_path, transactional_db):
    valkey = Valkey(tmp_path / "valkey")
    valkey.start()
    server = Web(tmp_path / "log", REDIS_URL=valkey.url)
    try:
        assert get(f"{server.url}/readyz").status == 200
        valkey.stop()
        assert get(f"{server.url}/healthz").status == 200
        answer = get(f"{server.url}/readyz")
        assert answer.status == 503
        assert answer.seconds < 5
        said = json.loads(answer.text)
        assert said["status"] == "not ready"
        assert said["checks"].pop("database") == "ok"
        assert set(said["checks"]) == {"channel layer", "broker", "hub"}
        assert "ok" not in said["checks"].values()
        assert str(valkey.port) not in answer.text
        valkey.start()
        wait_until(lambda: get(f"{server.url}/readyz").status == 200, 30, "ready")
    finally:
        valkey.stop()
        server.stop()


@pytest.mark.workers
def test_a_redis_that_takes_connections_and_says_nothing_is_told_in_time(tmp_path, transactional_db):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = Web(tmp_path / "log", REDIS_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}")
        try:
            for _time in range(3):
                answer = get(f"{server.url}/readyz")
                assert (answer.status, answer.seconds < 5) == (503, True), answer
            assert get(f"{server.url}/healthz").seconds < 1
        finally:
            server.kill()


@pytest.mark.workers
def test_without_its_tables_the_database_is_not_ready(tmp_path, transactional_db):
    server = Web(tmp_path / "log")
    server.kill()
    server.environment["DATABASE_URL"] = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    server.start()
    server.wait_until_serving()
    try:
        answer = get(f"{server.url}/readyz")
        assert answer.status == 503
        assert json.loads(answer.text)["checks"]["database"] == "does not work (OperationalError)"
    finally:
        server.stop()


# -- who may read the metrics --------------------------------------------------------------------------------


def test_metrics_are_for_staff(client, alice, operator):
    response = client.get("/metrics")
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    client.force_login(alice)
    assert client.get("/metrics").status_code == 403
    client.force_login(operator)
    assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize(
    ("setting", "header", "status"),
    [
        (TOKEN, f"Bearer {TOKEN}", 200),
        (TOKEN, f"bearer {TOKEN} ", 200),
        (TOKEN, f"Bearer {TOKEN}x", 401),
        (TOKEN, "Bearer é", 401),
        (TOKEN, TOKEN, 401),
        (TOKEN, "Bearer ", 401),
        ("", "Bearer ", 401),
        ("", "Bearer", 401),
    ],
)
def test_metrics_are_for_who_has_the_token(client, db, settings, setting, header, status):
    settings.STATUS = {"METRICS_TOKEN": setting}
    assert client.get("/metrics", headers={"Authorization": header}).status_code == status


def test_without_prometheus_client_it_is_said_what_to_install(client, operator, monkeypatch):
    monkeypatch.setattr(operations.importlib.util, "find_spec", lambda name: None)
    client.force_login(operator)
    response = client.get("/metrics")
    assert response.status_code == 501
    assert b"pip install prometheus-client" in response.content


def test_metrics_can_only_be_read(client, operator):
    client.force_login(operator)
    assert client.post("/metrics").status_code == 405
    assert client.post("/readyz").status_code == 405


# -- what the metrics say ------------------------------------------------------------------------------------


@pytest.mark.workers
def test_a_scrape_tells_of_jobs_sockets_events_and_frames(
    tmp_path, alice, worker, open_page, transactional_db
):
    server = Web(tmp_path / "log", METRICS_TOKEN=TOKEN)
    try:
        before = scrape(server)
        assert before["status_up", ("part", "database")] == before["status_up", ("part", "broker")] == 1
        gate = tmp_path / "gate"
        job = jobs.start(tasks.import_rows.s(1000, str(gate)), owner=alice)
        page = open_page(job.get_absolute_url(), alice)
        page.web = server
        with page.socket() as socket_of_page:
            assert socket_of_page.recv(timeout=10)

            def runs() -> bool:
                found = scrape(server)
                labels = ("state", "running"), ("task", "tests.tasks.import_rows")
                return found.get(("status_jobs", *labels)) == 1 and found["status_sockets",] == 1

            wait_until(runs, 20, "a running job and its page's socket")
            gate.touch()
            ended(job)
            wait_until(lambda: "Succeeded" in socket_of_page.recv(timeout=10), 20, "the end")
        labels = ("state", "succeeded"), ("task", "tests.tasks.import_rows")
        found = wait_until(
            lambda: (now := scrape(server)).get(("status_jobs_ended_total", *labels)) == 1 and now,
            30,
            "the end",
        )
        assert found["status_job_duration_seconds_count", labels[1]] == 1
        assert found["status_events_received_total",] > 0
        assert found["status_event_delay_seconds_count",] > 0
        assert found["status_frame_bytes_count",] >= 2
        assert found["status_frame_bytes_sum",] > 100
        assert found["status_queue_messages", ("queue", "default")] == 0
        assert 0 <= found["status_reporter_lag_seconds",] < 60
        wait_until(lambda: scrape(server)["status_sockets",] == 0, 10, "the socket's end")
    finally:
        server.stop()


@pytest.mark.workers
def test_without_a_broker_the_rest_is_told(tmp_path, transactional_db):
    server = Web(tmp_path / "log", METRICS_TOKEN=TOKEN, REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    try:
        found = scrape(server)
    finally:
        server.stop()
    assert found["status_up", ("part", "broker")] == 0
    assert found["status_up", ("part", "database")] == 1


def make(count: int, owner=None, **fields) -> None:
    now = timezone.now()
    fields = {"task": "orders.tasks.load", "title": "t", "owner": owner, "created_at": now} | fields
    Job.objects.bulk_create([Job(**fields) for _number in range(count)], batch_size=1000)


def collected(endings: Endings) -> dict[tuple, float]:
    collector = StatusCollector(Counters(), endings)
    families = list(collector._of_database())
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def test_what_waits_is_told_by_queue_with_the_age_of_the_oldest(db):
    now = timezone.now()
    make(3, queue="heavy", sent_at=now - timedelta(seconds=40))
    make(1, queue="heavy", sent_at=now - timedelta(seconds=90))
    make(2, sent_at=now)
    make(5, held=True, sent_at=now - timedelta(hours=3))
    make(1, state=State.RUNNING, heartbeat_at=now - timedelta(seconds=7))
    found = collected(Endings(now))
    assert found["status_queue_jobs", ("queue", "heavy")] == 4
    assert found["status_queue_jobs", ("queue", "default")] == 2
    assert found["status_queue_oldest_seconds", ("queue", "heavy")] == pytest.approx(90, abs=5)
    assert found["status_jobs", ("state", "held"), ("task", "orders.tasks.load")] == 5
    assert found["status_reporter_lag_seconds",] == pytest.approx(7, abs=5)


def test_however_many_jobs_have_ended_a_scrape_is_three_queries(db, alice, django_assert_num_queries):
    begin = timezone.now()
    endings = Endings(begin - timedelta(seconds=600))
    make(20, state=State.RUNNING, heartbeat_at=begin)
    make(
        4_000,
        state=State.SUCCEEDED,
        finished_at=begin - timedelta(days=1),
        started_at=begin - timedelta(days=2),
    )
    make(
        30,
        state=State.FAILED,
        finished_at=begin - timedelta(seconds=60),
        started_at=begin - timedelta(seconds=80),
    )
    with django_assert_num_queries(3):
        found = collected(endings)
    task = ("task", "orders.tasks.load")
    assert found["status_jobs", ("state", "running"), task] == 20
    assert found["status_jobs_ended_total", ("state", "failed"), task] == 30
    assert ("status_jobs_ended_total", ("state", "succeeded"), task) not in found
    assert found["status_job_duration_seconds_bucket", ("le", "15.0"), task] == 0
    assert found["status_job_duration_seconds_bucket", ("le", "60.0"), task] == 30
    assert found["status_job_duration_seconds_sum", task] == pytest.approx(600)
    with django_assert_num_queries(3):
        assert collected(endings) == pytest.approx(found, abs=10)


def test_what_goes_out_is_told_by_channel_and_whether_a_try_has_failed(db, alice):
    now = timezone.now()
    told = [Notification(owner=alice, title="t", kind=Notification.Kind.MESSAGE) for _number in range(6)]
    Notification.objects.bulk_create(told)
    webhook, email = Delivery.Channel.WEBHOOK, Delivery.Channel.EMAIL
    sending = Delivery.State.SENDING
    for notification, fields in zip(
        told,
        [
            {"channel": webhook},
            {"channel": webhook, "tries": 2, "created_at": now - timedelta(seconds=50)},
            {"channel": webhook, "tries": 1, "state": sending},
            {"channel": email, "tries": 1},
            {"channel": email, "tries": 2, "state": sending},
            {"channel": email, "tries": 1, "state": Delivery.State.SENT, "due_at": None},
        ],
        strict=True,
    ):
        Delivery.objects.create(notification=notification, user=alice, **({"due_at": now} | fields))
    found = collected(Endings(now))
    counts = {key[1:]: value for key, value in found.items() if key[0] == "status_deliveries"}
    webhooks, emails = ("channel", "webhook"), ("channel", "email")
    assert counts == {
        (("again", "no"), webhooks): 2,
        (("again", "yes"), webhooks): 1,
        (("again", "yes"), emails): 2,
    }
    assert found["status_delivery_oldest_seconds",] == pytest.approx(50, abs=5)


def test_endings_are_read_in_batches_each_once_and_the_youngest_later(db, monkeypatch):
    monkeypatch.setattr(metrics, "BATCH", 10)
    now = timezone.now()
    endings = Endings(now - timedelta(seconds=100))
    # Equal times are told apart by the id.
    make(55, state=State.SUCCEEDED, finished_at=now - timedelta(seconds=50))
    make(5, state=State.SUCCEEDED, finished_at=now)
    until = now - timedelta(seconds=5)
    for expected in (40, 55, 55):
        endings.read(until)
        assert endings.ended == {("orders.tasks.load", "succeeded"): expected}
    endings.read(now)
    assert endings.ended == {("orders.tasks.load", "succeeded"): 60}


@pytest.mark.parametrize("statement", ["ANALYZE", "SELECT 1"])
def test_a_scrape_uses_indexes(db, monkeypatch, statement):
    queries = []
    original = JobQuerySet.values_list

    def noted(self, *fields):
        queries.append(self)
        return original(self, *fields)

    now = timezone.now()
    make(100, state=State.RUNNING, heartbeat_at=now)
    for age in range(200):
        make(10, state=State.SUCCEEDED, finished_at=now - timedelta(minutes=age))
    with connection.cursor() as cursor:
        cursor.execute(statement)
    monkeypatch.setattr(JobQuerySet, "values_list", noted)
    collected(Endings(now - timedelta(minutes=2)))
    live, endings = (query.explain() for query in queries)
    assert "status_job_state" in live
    assert "status_job_ended" in endings


def test_counting_costs_nanoseconds():
    counters, sizes = Counters(), Histogram(*range(10))
    began = time.perf_counter()
    for _time in range(100_000):
        counters.merged += 1
        sizes.observe(5)
    assert (time.perf_counter() - began) / 100_000 < 5e-6
    assert sizes.counts[5] == 100_000


def test_a_histogram_counts_what_equals_a_bound_below_it():
    sizes = Histogram(100, 1000)
    for value in (100, 101, 1000, 1001):
        sizes.observe(value)
    assert sizes.counts == [1, 2, 1]


async def test_over_asgi_the_hub_is_asked(transactional_db, monkeypatch):
    from status import health

    asked = []

    async def readiness(*, with_hub):
        asked.append(with_hub)
        return {"database": "ok"}

    monkeypatch.setattr(health, "readiness", readiness)
    assert (await AsyncClient().get("/readyz")).status_code == 200
    assert asked == [True]


def test_over_wsgi_there_is_no_hub_to_ask(client, db, monkeypatch):
    from status import health

    async def readiness(*, with_hub):
        return {"hub": str(with_hub)}

    monkeypatch.setattr(health, "readiness", readiness)
    assert client.get("/readyz").json()["checks"] == {"hub": "False"}


def test_nothing_of_a_job_that_is_private_is_told(client, operator, alice, db):
    make(1, owner=alice, title="Salaries of May", state=State.RUNNING)
    client.force_login(operator)
    text = client.get("/metrics").content.decode()
    assert "Salaries" not in text
    assert "alice" not in text
    assert not [word for word in text.split('"') if _is_uuid(word)]


def _is_uuid(word: str) -> bool:
    try:
        return bool(UUID(word))
    except ValueError:
        return False

"""Fixtures: people, workers, web servers, pages."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html import unescape
from typing import Any

import pytest
from celery.canvas import Signature
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import AbstractUser, Permission
from django.test import Client
from django.utils import translation
from websockets.sync.client import ClientConnection, connect

from status import channel, jobs, usual
from status.events import Event
from status.models import Job
from tests.processes import Process, Web, start_worker, wait_until


@cache
def hashed(password: str) -> str:
    """A password as the database has it; that costs a quarter of a second, which most tests need not spend."""
    return make_password(password)


def person(name: str, **columns: Any) -> AbstractUser:
    """A user whose password is the name."""
    return get_user_model().objects.create(username=name, password=hashed(name), **columns)


@pytest.fixture(autouse=True)
def _nothing_is_usual():
    """What runs of a task took is kept by the process: here each test has jobs of its own."""
    usual.forget()


@pytest.fixture(autouse=True)
def _no_language_is_left_over():
    """A request by the test client leaves its language active, and jobs take that along to the worker."""
    translation.deactivate()


@pytest.fixture
def published(monkeypatch) -> list[Event]:
    """The events that would have gone to the channel layer."""
    events: list[Event] = []
    monkeypatch.setattr(channel, "publish", lambda *new: events.extend(new))
    return events


@pytest.fixture
def alice(db):
    return person("alice")


@pytest.fixture
def bob(db):
    return person("bob")


@pytest.fixture
def operator(db):
    user = person("olga", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=["view_job", "change_job"]))
    return user


@pytest.fixture(scope="session")
def worker(tmp_path_factory, django_db_setup) -> Iterator[Process]:
    """A prefork worker for the whole session."""
    process = start_worker(tmp_path_factory.mktemp("worker") / "log", "-c", "2")
    yield process
    process.kill()


@dataclass(frozen=True)
class Pool:
    """A worker as a test wants it, whatever its pool."""

    process: Process
    queue: str
    worker: str

    def start(self, signature: Signature, **options: Any) -> Job:
        """Start a job there."""
        return jobs.start(signature.clone().set(queue=self.queue), **options)


@pytest.fixture(scope="session")
def mortal(tmp_path_factory, django_db_setup) -> Iterator[Pool]:
    """A prefork worker whose processes may be killed: what goes wrong by that meets no other test."""
    process = start_worker(
        tmp_path_factory.mktemp("mortal") / "log", "-c", "2", queues="mortal", name="mortal"
    )
    yield Pool(process, "mortal", "mortals@test")
    process.kill()


@pytest.fixture(scope="session")
def green_worker(tmp_path_factory, django_db_setup) -> Iterator[Process]:
    """A gevent worker for the whole session, with a queue of its own, `green`."""
    log = tmp_path_factory.mktemp("green") / "log"
    # A name to look up: that is no matter of course in an event loop among greenlets.
    redis = os.environ["REDIS_URL"].replace("127.0.0.1", "localhost")
    process = start_worker(log, "-P", "gevent", "-c", "50", queues="green", name="green", REDIS_URL=redis)
    yield process
    process.kill()


@pytest.fixture(params=["prefork", "gevent"])
def pool(request) -> Pool:
    """Each of the pools in which everything works that Celery itself can do there."""
    if request.param == "prefork":
        return Pool(request.getfixturevalue("worker"), "default", "w1@test")
    return Pool(request.getfixturevalue("green_worker"), "green", "green@test")


@pytest.fixture(scope="session")
def web(tmp_path_factory, django_db_setup) -> Iterator[Web]:
    """A daphne for the whole session."""
    process = Web(tmp_path_factory.mktemp("web") / "log")
    yield process
    process.kill()


def ended(job: Job, seconds: float = 30.0) -> Job:
    """Wait until `job` has ended, and return it as it is then."""

    def look() -> bool:
        job.refresh_from_db()
        return not job.is_live

    wait_until(look, seconds, f"end of {job.title}, which is {job.state}")
    return job


def reached(job: Job, state: str, seconds: float = 30.0) -> Job:
    """Wait until `job` is in `state`."""

    def look() -> bool:
        job.refresh_from_db()
        return job.state == state

    wait_until(look, seconds, f"{state} of {job.title}")
    return job


@dataclass
class Page:
    """A page as its HTML says it: its text and the address of its socket."""

    html: str
    web: Web
    cookie: str

    @property
    def socket_path(self) -> str:
        return unescape(re.search(r'ws-connect="([^"]+)"', self.html)[1])

    @property
    def view(self) -> str:
        return json.loads(unescape(re.search(r"""hx-vals=(["'])(.+?)\1""", self.html)[2]))["view"]

    def socket(
        self, *, origin: str | None = None, cookie: str | None = None, language: str = "en"
    ) -> ClientConnection:
        """Open the page's socket as a browser would."""
        return connect(
            self.web.url.replace("http", "ws") + self.socket_path,
            origin=origin or self.web.url,
            additional_headers={
                "Cookie": self.cookie if cookie is None else cookie,
                "Accept-Language": language,
            },
            max_size=None,
            proxy=None,
        )


@pytest.fixture
def open_page(web):
    """Load a page through Django's test client; its socket is served by the real web server."""

    def load(path: str, user=None, language: str = "en") -> Page:
        client = Client()
        cookie = ""
        if user is not None:
            client.force_login(user)
            cookie = f"sessionid={client.cookies['sessionid'].value}"
        response = client.get(path, headers={"Accept-Language": language})
        assert response.status_code == 200, response
        return Page(response.content.decode(), web, cookie)

    return load

"""The real thing for the benchmarks: Valkey, a database, workers, web servers; all on the loopback."""

import contextlib
import itertools
import json
import os
import resource
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarks.viewers import Address
from config.services import all_services
from config.valkey import Valkey

OPENED = {"PUBLISH_SECONDS": 0.0, "FRAME_SECONDS": 0.0}
"""The settings with which ten frames a second are not the ceiling."""


class Server:
    """A web server under measurement."""

    def __init__(self, process: Any, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.process = psutil.Process(process.child.pid)

    def cpu_seconds(self) -> float:
        """The processor time it and its child processes have taken since they began."""
        times = [process.cpu_times() for process in (self.process, *self.process.children(recursive=True))]
        return sum(each.user + each.system for each in times)

    def memory_bytes(self) -> int:
        """What it holds for itself; its child processes not counted."""
        return self.process.memory_full_info().uss

    def address(self, path: str, cookie: str = "") -> Address:
        """A socket of this server, as a browser would open it."""
        headers = {"Origin": self.url} | ({"Cookie": cookie} if cookie else {})
        return Address(url=self.url.replace("http", "ws") + path, headers=headers)


class Stack:
    """Set up on entering, gone on leaving; `user` may log in."""

    def __enter__(self) -> Self:
        self._resources = contextlib.ExitStack()
        self.folder = Path(self._resources.enter_context(tempfile.TemporaryDirectory(prefix="status-bench-")))
        self.valkey = self._resources.enter_context(Valkey(self.folder / "valkey"))
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            "RUN_DIR": str(self.folder),
            "REDIS_URL": self.valkey.url,
            "DEBUG": "0",
            "SECRET_KEY": "for the benchmarks",
            "ALLOWED_HOSTS": "127.0.0.1,testserver",
        }
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        import django

        django.setup()
        from django.contrib.auth import get_user_model
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        self.user = get_user_model().objects.create_user("bench")
        self.numbers = itertools.count(1)
        self.workers: dict[str, list[psutil.Process]] = {}
        return self

    def __exit__(self, *error: object) -> None:
        self._resources.close()

    def name(self, what: str) -> str:
        """A name that nothing else in this run has."""
        return f"{what}-{next(self.numbers)}"

    @contextlib.contextmanager
    def web(
        self,
        server: str = "daphne",
        application: str = "config.asgi:application",
        environment: dict[str, str] | None = None,
        processes: int = 1,
        **settings: Any,
    ) -> Iterator[Server]:
        """A web server, by the command of `make run`; `settings` are keys of `STATUS`.

        More than one process behind the port are uvicorn's: they share its socket.
        """
        from tests.processes import Process, free_port, wait_until

        port = free_port()
        command = all_services(server, port, 0)[0].command[2:-1]
        process = Process(
            *command,
            application,
            *(("--workers", str(processes)) if processes > 1 else ()),
            log=self.folder / f"{self.name(server)}.log",
            DJANGO_SETTINGS_MODULE="benchmarks.settings",
            BENCH_STATUS=json.dumps(settings),
            **(environment or {}),
        )
        try:
            wait_until(lambda: _listens(process, port), 60, server)
            yield Server(process, port)
        finally:
            process.stop()

    @contextlib.contextmanager
    def bare(self, size: int) -> Iterator[Server]:
        """The bare socket loop, with frames of `size` bytes."""
        from tests.processes import Process, free_port, wait_until

        port = free_port()
        process = Process("benchmarks.bare", str(port), str(size), log=self.folder / "bare.log")
        try:
            wait_until(lambda: _listens(process, port), 60, "the bare loop")
            yield Server(process, port)
        finally:
            process.stop()

    def queue(
        self,
        name: str,
        environment: dict[str, str] | None = None,
        settings: dict[str, Any] | None = None,
        workers: int = 1,
    ) -> str:
        """The queue of that name, and prefork workers with one process each for it, started the first time.

        `settings` are keys of `STATUS`.
        """
        from tests.processes import start_worker

        if name in self.workers:
            return name
        for number in range(workers):
            process = start_worker(
                self.folder / f"{name}-{number}.log",
                *("-I", "tests.tasks,benchmarks.tasks", "-c", "1"),
                queues=name,
                name=f"{name}-{number}",
                DJANGO_SETTINGS_MODULE="benchmarks.settings",
                BENCH_STATUS=json.dumps(settings or {}),
                **(environment or {}),
            )
            self._resources.callback(process.stop)
            self.workers.setdefault(name, []).append(psutil.Process(process.child.pid))
        return name

    def shipped(self) -> str:
        """The queue of a worker with the settings as shipped; it is started when first asked for."""
        return self.queue("shipped")

    def opened(self) -> str:
        """The queue of a worker without limit of pace."""
        return self.queue("opened", settings=OPENED)

    def start(self, signature: Any, queue: str) -> Any:
        """Start a job of the user there."""
        from status.jobs import start

        return start(signature.set(queue=queue), owner=self.user)

    def gate(self) -> Path:
        """A file that is not there yet."""
        return self.folder / self.name("gate")

    def cookie(self) -> str:
        """A session of the user."""
        from django.test import Client

        client = Client()
        client.force_login(self.user)
        return f"sessionid={client.cookies['sessionid'].value}"

    def socket_path(self, template: str, **context: Any) -> str:
        """The signed address of the socket of a page that is made from `template`, for the user."""
        from html import unescape

        from django.template import engines
        from django.test import RequestFactory

        request = RequestFactory().get("/")
        request.user = self.user
        page = engines["django"].from_string("{% load status %}" + template + "{% live_socket %}")
        return unescape(page.render(context, request).partition('ws-connect="')[2].partition('"')[0])

    def cards(self, server: Server, job: Any, count: int) -> list[Address]:
        """The page with the card of `job` for as many people, each with a session of their own; they may see all."""
        from dataclasses import replace

        from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
        from django.contrib.sessions.backends.db import SessionStore
        from django.db import transaction

        from status import access

        path, _, token = self.socket_path("{% live job %}", job=job).partition("view=")
        view = access.unsign(token, self.user)
        people = get_user_model().objects.bulk_create(
            [get_user_model()(username=self.name("viewer"), is_superuser=True) for _ in range(count)]
        )
        found = []
        with transaction.atomic():
            for person in people:
                session = SessionStore()
                session[SESSION_KEY] = str(person.pk)
                session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
                session[HASH_SESSION_KEY] = person.get_session_auth_hash()
                session.create()
                signed = access.sign(replace(view, user=str(person.pk)))
                found.append(server.address(f"{path}view={signed}", f"sessionid={session.session_key}"))
        return found

    def card(self, server: Server, job: Any) -> Address:
        """The page with the card of `job`."""
        return server.address(self.socket_path("{% live job %}", job=job), self.cookie())


def _listens(process: Any, port: int) -> bool:
    assert process.child.poll() is None, process.output()[-4000:]
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def alone(measure: Any) -> None:
    """Run one script by itself and print its figures."""
    with Stack() as stack:
        for figure in measure(stack):
            sys.stdout.write(f"{figure.name}: {figure.measured} (wanted: {figure.bound})\n")

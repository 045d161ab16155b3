"""Real processes for the tests: workers, web servers."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import connection

PROJECT = Path(__file__).resolve().parent.parent


def wait_until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """Call `condition` until it returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"Not within {seconds} s: {what or condition}")
        time.sleep(0.02)


def free_port() -> int:
    """A port on the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _host_of(database: dict[str, Any]) -> str:
    return f"{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}"


def environment(**more: str) -> dict[str, str]:
    """That of a child which shares the tests' database, Redis and run folder."""
    database = connection.settings_dict
    scheme, host = ("sqlite", "") if connection.vendor == "sqlite" else ("postgres", _host_of(database))
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": str(PROJECT),
        "DATABASE_URL": f"{scheme}://{host}/{database['NAME']}",
        **more,
    }


class Process:
    """A child that shares the tests' database, Redis and run folder; its output goes to a file."""

    def __init__(self, *command: str, log: Path, **more: str) -> None:
        self.log = log
        self.environment = environment(**more)
        self.command = [sys.executable, "-m", *command]
        self.start()

    def start(self) -> None:
        """Start it, again if it had ended."""
        with self.log.open("ab") as output:
            self.child = subprocess.Popen(
                self.command,
                cwd=PROJECT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def output(self) -> str:
        """All it has written."""
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        """Wait until its output holds `text`."""

        def found() -> bool:
            assert self.child.poll() is None, f"{self.command} ended:\n{self.output()[-4000:]}"
            return text in self.output()

        wait_until(found, seconds, f"{text!r} from {self.command}")

    def kill(self) -> None:
        """SIGKILL, to it and its children."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def stop(self) -> None:
        """SIGTERM; after ten seconds SIGKILL."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                pass
        self.kill()


def start_worker(log: Path, *options: str, queues: str = "default", name: str = "w1", **env: str) -> Process:
    """A Celery worker that knows the sample tasks; returns when it is ready."""
    process = Process(
        *("celery", "-A", "config", "worker", "-I", "tests.tasks", "-Q", queues, "-n", f"{name}@test"),
        *("--without-gossip", "--without-mingle", "--loglevel", "INFO", *options),
        log=log,
        **env,
    )
    process.wait_for(" ready.")
    return process


class Web(Process):
    """A daphne that serves the project."""

    def __init__(self, log: Path, application: str = "config.asgi:application", **environment: str) -> None:
        self.port = free_port()
        super().__init__(
            *("config.web", "-b", "127.0.0.1", "-p", str(self.port), "--websocket_timeout", "-1"),
            application,
            log=log,
            **environment,
        )
        self.wait_until_serving()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def wait_until_serving(self) -> None:
        """Wait until its port answers."""

        def answers() -> bool:
            assert self.child.poll() is None, self.output()[-4000:]
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        wait_until(answers, 60, "daphne")

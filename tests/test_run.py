import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from celery import Celery

from tests.processes import PROJECT, free_port, wait_until

pytestmark = pytest.mark.workers


class Run:
    """One `python -m config.run`, with what it printed so far."""

    def __init__(self, run_dir: Path, **environment: str) -> None:
        self.port = free_port()
        outside = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "config.run"],
            cwd=PROJECT,
            env={**outside, "PORT": str(self.port), "RUN_DIR": str(run_dir), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=lines.extend, args=(stream,))
            for lines, stream in ((self.lines, self.process.stdout), (self.errors, self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str, seconds: float = 60) -> None:
        def shown() -> bool:
            assert self.process.poll() is None or text in self.output, (self.output, self.errors)
            return text in self.output

        wait_until(shown, seconds, text)

    def healthy(self) -> bool:
        address = f"http://127.0.0.1:{self.port}/healthz"
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
        return False

    def tree(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, *words: str) -> psutil.Process:
        return next(child for child in self.tree() if set(words) <= set(child.cmdline()))

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Signal it and return its exit code, which must come within ten seconds."""
        self.process.send_signal(number)
        try:
            return self.process.wait(10)
        finally:
            self.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for reader, stream in zip(self._readers, (self.process.stdout, self.process.stderr), strict=True):
            reader.join(20)
            stream.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    run = Run(tmp_path_factory.mktemp("run"))
    try:
        run.wait_for("ready: http")
        yield run
    finally:
        run.close()


def test_serves_pages_and_names_the_login(running: Run) -> None:
    assert f"http://127.0.0.1:{running.port}/, login demo / demo" in running.output
    assert running.healthy()


def test_every_process_has_its_prefix_on_the_terminal_and_in_the_file(running: Run) -> None:
    run_dir = Path(running.child("config.web").environ()["RUN_DIR"])
    kept = (run_dir / "log" / "run.log").read_text()
    for prefix in ("run   |", "web   |", "work  |", "poll  |", "bcast |", "beat  |", "farm  |"):
        assert f"\n{prefix}" in f"\n{running.output}"
        assert f"\n{prefix}" in f"\n{kept}"


def test_a_second_run_on_the_same_data_is_refused(running: Run) -> None:
    run_dir = Path(running.child("config.web").environ()["RUN_DIR"])
    assert_refused(Run(run_dir), "it runs already")


def test_starts_a_killed_process_again(running: Run) -> None:
    running.child("config.web").kill()
    running.wait_for("web ended by itself (signal 9) and is started again")
    wait_until(running.healthy, 30, "web answers again")


def test_starts_a_killed_valkey_again_with_what_it_held(running: Run) -> None:
    import redis

    url = running.child("config.web").environ()["REDIS_URL"]
    with redis.Redis.from_url(url) as client:
        client.set("kept", "yes")
        wait_until(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0, 10, "written down")
        valkey = next(child for child in running.tree() if child.name().startswith("valkey"))
        valkey.kill()
        running.wait_for("Valkey ended by itself")

        def kept() -> bool:
            with contextlib.suppress(redis.RedisError):
                return client.get("kept") == b"yes"
            return False

        wait_until(kept, 20, "the value is there again")


def test_ctrl_c_leaves_nothing(running: Run) -> None:
    tree = running.tree()
    assert running.end(signal.SIGINT) == 0
    assert [process for process in tree if process.is_running()] == []


def test_a_task_that_never_ends_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    run = Run(tmp_path, DJANGO_SETTINGS_MODULE="tests.run_settings")
    try:
        run.wait_for("ready: http")
        url = run.child("config.web").environ()["REDIS_URL"]
        with Celery(broker=url, set_as_current=False) as sender:
            sender.send_task("tests.run_settings.never_ends", queue="default")
        run.wait_for("never_ends has begun")
        tree = run.tree()
        assert run.end(signal.SIGTERM) == 0
        assert [process for process in tree if process.is_running()] == []
    finally:
        run.close()


def test_a_killed_run_leaves_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path)
    try:
        run.wait_for("ready: http")
        tree = run.tree()
        run.process.kill()
        _, left = psutil.wait_procs(tree, timeout=20)
        assert left == []
    finally:
        run.close()


def test_a_busy_port_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert_refused(Run(tmp_path, PORT=str(port)), f"port {port}: address already in use")
    assert not (tmp_path / "valkey").exists()


def test_a_redis_that_does_not_answer_is_said_in_one_line(tmp_path: Path) -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    assert_refused(Run(tmp_path, REDIS_URL=url), "REDIS_URL does not answer")
    assert not (tmp_path / "valkey").exists()


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PORT": "http"}, "PORT=http is no port"),
        ({"SERVER": "gunicorn"}, "SERVER=gunicorn is unknown"),
        ({"DEBUG": "0"}, "SECRET_KEY"),
    ],
)
def test_a_wrong_environment_is_said_in_one_line(
    tmp_path: Path, environment: dict[str, str], words: str
) -> None:
    assert_refused(Run(tmp_path, **environment), words)


def assert_refused(run: Run, words: str) -> None:
    try:
        assert run.process.wait(20) == 1
    finally:
        run.close()
    assert run.output == ""
    assert len(run.errors) == 1
    assert words in run.errors[0]
    assert "secret" not in run.errors[0]

"""The wheel, in a project that knows nothing of this repository: `tests/packaged`, which is what the README says."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.processes import PROJECT, free_port, wait_until

pytestmark = pytest.mark.workers

SAMPLE = PROJECT / "tests" / "packaged"


def build(source: Path, target: str, into: Path) -> Path:
    """Build a wheel or an sdist without a network, as `pip install` would with one."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return next(into.iterdir())


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build(PROJECT, "wheel", tmp_path_factory.mktemp("wheel"))


class Shop:
    """The sample project in a folder of its own, beside the unpacked wheel."""

    def __init__(self, folder: Path, packages: Path) -> None:
        self.folder = folder
        redis, _slash, _database = os.environ["REDIS_URL"].rpartition("/")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(packages),
            "PYTHONUNBUFFERED": "1",
            # A database beside that of the other tests, whose workers know nothing of these tasks.
            "REDIS_URL": f"{redis}/1",
            "DJANGO_SETTINGS_MODULE": "shop.settings",
        }

    def run(self, *arguments: str) -> str:
        """Run Python to its end and return what it wrote."""
        process = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    @contextmanager
    def running(self, *arguments: str, name: str) -> Iterator[Path]:
        """Keep a Python module running; yields its log."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield log
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def shop(wheel, tmp_path_factory) -> Shop:
    packages = tmp_path_factory.mktemp("packages")
    zipfile.ZipFile(wheel).extractall(packages)
    folder = tmp_path_factory.mktemp("shop") / "site"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return Shop(folder, packages)


def test_the_wheel_holds_the_app_and_nothing_else(wheel):
    found = names(wheel)
    templates = {
        f"status/templates/{path.relative_to(PROJECT / 'templates')}"
        for path in [PROJECT / "templates/_base.html", *(PROJECT / "templates/status").rglob("*.html")]
    }
    modules = {str(path.relative_to(PROJECT)) for path in (PROJECT / "status").rglob("*.py")}
    files = {"status/static/status/status.css", "status/static/favicon.svg"}
    assert templates | modules | files <= found
    rest = {name for name in found - templates - modules - files if not name.startswith("django_status-")}
    assert {name for name in rest if not name.startswith("status/")} == set()
    assert {name.partition("/")[0] for name in found if ".dist-info" not in name} == {"status"}


def test_the_stylesheet_is_that_of_the_templates(wheel):
    css = zipfile.ZipFile(wheel).read("status/static/status/status.css").decode()
    assert ".bar-large" in css
    assert ".min-h-11" in css


def test_a_wheel_made_from_the_sdist_is_the_same(wheel, tmp_path):
    with tarfile.open(build(PROJECT, "sdist", tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    again = build(next((tmp_path / "source").iterdir()), "wheel", tmp_path / "wheel")
    assert names(again) == names(wheel)


def test_a_project_that_installs_it_works(shop):
    assert "no issues" in shop.run("manage.py", "check", "--fail-level", "WARNING")
    shop.run("manage.py", "makemigrations", "--check", "--dry-run")
    shop.run("manage.py", "migrate", "--verbosity", "0")
    seen = json.loads(shop.run("visit.py"))
    assert seen["app"] == str(Path(shop.environment["PYTHONPATH"], "status"))
    assert seen["codes"] == dict.fromkeys(seen["codes"], 200)
    assert seen["upload"] == 302
    assert seen["files"].keys() >= {"status/status.css"}
    assert None not in seen["files"].values(), seen["files"]
    for path in ("/jobs/", "/jobs/new/import-upload/"):
        assert "<h1>The shop</h1>" in seen["html"][path], "its own templates/_base.html was not used"
    watch_it_finish(shop, seen)


def watch_it_finish(shop: Shop, seen: dict) -> None:
    """The page of the README: its socket is open before a worker comes, and then shows how the job ends."""
    port = free_port()
    path = unescape(re.search(r'ws-connect="([^"]+)"', seen["html"]["/orders/"])[1])
    address, origin = f"ws://127.0.0.1:{port}{path}", f"http://127.0.0.1:{port}"
    daphne = ("daphne", "-b", "127.0.0.1", "-p", str(port), "--websocket_timeout", "-1")
    with shop.running(*daphne, "shop.asgi:application", name="web") as web:
        wait_until(lambda: "Listening on" in web.read_text(), 60, web.read_text())
        headers = {"Cookie": seen["cookie"]}
        with connect(address, origin=origin, additional_headers=headers, max_size=None, proxy=None) as socket:
            assert 'data-job-state="queued"' in socket.recv(timeout=20)
            worker = (
                "celery",
                "-A",
                "shop",
                "worker",
                "-c",
                "4",
                "--without-gossip",
                "--without-mingle",
                "-l",
                "INFO",
            )
            with shop.running(*worker, name="worker") as log:
                while "See the orders" not in (frame := socket.recv(timeout=60)):
                    assert 'data-job-state="failed"' not in frame, log.read_text()
                wait_until(
                    lambda: "0 live" in shop.run("-c", STATES), 60, f"the end of all jobs: {log.read_text()}"
                )
    assert "'succeeded': 7" in shop.run("-c", STATES), log.read_text()


STATES = """
import django
django.setup()
from collections import Counter
from status.models import Job
print(dict(Counter(Job.objects.values_list("state", flat=True))), Job.objects.live().count(), "live")
for job in Job.objects.all(): print(job.task, job.state, job.error, job.file_count, job.line_count)
"""

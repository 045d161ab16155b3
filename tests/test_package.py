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
        wait_until(lambda: "Listening on" in web.read_text(), 60, "daphne")
        headers = {"Cookie": seen["cookie"]}
        with connect(address, origin=origin, additional_headers=headers, max_size=None, proxy=None) as socket:
            assert 'data-job-state="queued"' in socket.recv(timeout=20)
            options = ("-c", "4", "--without-gossip", "--without-mingle", "--beat", "--schedule", "beat")
            with shop.running("celery", "-A", "shop", "worker", *options, name="worker") as log:
                while "See the orders" not in (frame := socket.recv(timeout=60)):
                    assert 'data-job-state="failed"' not in frame, log.read_text()
                wait_until(lambda: not report(shop)["live"], 30, "end of all jobs")
                wait_until(
                    lambda: "status.sweep" in report(shop)["topics"], 30, "the sweep, which beat sends"
                )
    assert report(shop)["jobs"] == ALL_DONE, log.read_text()
    assert report(shop)["topics"]["import"] == {"state": "running"}


# State, steps, log lines, files.
ALL_DONE = {
    "import_orders": ["succeeded", ["Read file", "Import"], 1, 0],
    "import_in_steps": ["succeeded", ["Read", "Import", "Report"], 0, 1],
    "import_upload": ["succeeded", ["Import"], 0, 0],
    "nightly": ["succeeded", ["Orders"], 0, 0],
    "fetch_all": ["succeeded", ["Fetch"], 3, 0],
    "fetch_all_async": ["succeeded", ["Fetch"], 3, 0],
    "tell": ["succeeded", [], 1, 0],
    "chain": ["succeeded", [], 0, 0],
    "group": ["succeeded", [], 0, 0],
    "export": ["cancelled", [], 0, 0],
}


def report(shop: Shop) -> dict:
    """How its jobs and topics stand."""
    return json.loads(shop.run("report.py"))

"""Finds a browser for the tests; `python -m tests.chromium` prints its path and installs one if need be."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "chrome")
APPLICATIONS = ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",)
# A browser without any font draws no text.
DEBIAN_PACKAGES = ("chromium", "fonts-dejavu-core")


class NoBrowser(Exception):
    """None is here; the message says how to get one."""


def find() -> str:
    """Return the path of a browser that starts: STATUS_BROWSER, one on PATH, or Playwright's own.

    Raises `NoBrowser`.
    """
    if chosen := os.environ.get("STATUS_BROWSER"):
        if _starts(chosen):
            return chosen
        raise NoBrowser(f"STATUS_BROWSER={chosen} does not start.")
    for path in _candidates():
        if _starts(path):
            return path
    raise NoBrowser("No browser found. Install Chromium or Chrome, or name one in STATUS_BROWSER.")


def find_or_install() -> str:
    """Return what `find` does, having installed a browser where there was none. Raises `NoBrowser`."""
    for install in (_install_playwrights, _install_debians):
        try:
            return find()
        except NoBrowser:
            if os.environ.get("STATUS_BROWSER"):
                raise
            install()
    return find()


def _candidates() -> Iterator[str]:
    for name in NAMES:
        if path := shutil.which(name):
            yield path
    yield from APPLICATIONS
    yield _playwrights()


def _playwrights() -> str:
    # In a process of its own: within a running Playwright a second one cannot be asked.
    ask = (
        "from playwright.sync_api import sync_playwright\n"
        "with sync_playwright() as p: print(p.chromium.executable_path)"
    )
    return subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True).stdout.strip()


def _starts(path: str) -> bool:
    # Asking for the version is enough to miss a library, as Playwright's browser does on a bare machine.
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _install_playwrights() -> None:
    _run(sys.executable, "-m", "playwright", "install", "--no-shell", "chromium")


def _install_debians() -> None:
    if shutil.which("apt-get") and os.geteuid() == 0:
        _run("apt-get", "update")
        _run("apt-get", "install", "--yes", "--no-install-recommends", *DEBIAN_PACKAGES)


def _run(*command: str) -> None:
    # A failure shows itself: no browser is found afterwards. Standard output is kept for the path.
    sys.stderr.write(f"No browser yet: {' '.join(command)}\n")
    subprocess.run(command, stdout=sys.stderr, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find_or_install()}\n")
    except NoBrowser as problem:
        sys.exit(str(problem))

"""A real browser, and people who use it."""

import os
from collections.abc import Iterator

import pytest
from django.test import Client
from playwright.sync_api import Browser, Page, sync_playwright

from tests import chromium
from tests.processes import Web

QUICK = {"DJANGO_SETTINGS_MODULE": "tests.quick_settings"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; one per module, since Playwright keeps an event loop in its thread."""
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        yield browser
        browser.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def quick_web(tmp_path_factory, django_db_setup) -> Iterator[Web]:
    """A web server whose heartbeat is quick."""
    process = Web(tmp_path_factory.mktemp("quick") / "log", **QUICK)
    yield process
    process.kill()


@pytest.fixture
def visit(browser, web) -> Iterator[object]:
    """Open a page as somebody; at the end, no page may have broken the security policy or thrown."""
    contexts, complaints = [], []

    def listen(page: Page) -> None:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text) if "Content Security Policy" in message.text else None
            ),
        )

    def visit(path: str, user=None, *, at: Web = web, **options) -> Page:
        context = browser.new_context(base_url=at.url, **options)
        contexts.append(context)
        context.set_default_timeout(20_000)
        if user is not None:
            client = Client()
            client.force_login(user)
            cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": at.url}
            context.add_cookies([cookie])
        page = context.new_page()
        listen(page)
        page.received = received = []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(frame)))
        page.goto(path)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []

"""What people do with tokens."""

import pytest
from playwright.sync_api import expect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

pytestmark = [pytest.mark.browser, pytest.mark.workers, pytest.mark.django_db(transaction=True)]


def test_makes_a_token_uses_it_and_revokes_it(visit, web, alice):
    page = visit("/jobs/", alice)
    page.get_by_role("link", name="Tokens").click()
    page.get_by_label("Name").fill("nightly import")
    page.get_by_role("button", name="Make it").click()
    secret = page.locator("#secret").inner_text()
    expect(page.get_by_text("Copy it now. It is not shown again.")).to_be_visible()
    page.get_by_role("link", name="Tokens").click()
    expect(page.get_by_role("heading", name="nightly import")).to_be_visible()
    assert secret not in page.content()
    with connect(
        web.url.replace("http", "ws") + "/ws/jobs/",
        additional_headers={"Authorization": f"Bearer {secret}"},
        proxy=None,
    ) as program:
        assert '"hello"' in program.recv(timeout=20)
        page.reload()
        expect(page.get_by_text("not used yet")).to_have_count(0)
        page.get_by_role("button", name="Revoke nightly import").click()
        expect(page.get_by_role("heading", name="nightly import")).to_have_count(0)
        with pytest.raises(ConnectionClosed):
            program.recv(timeout=20)
        assert program.close_code == 4401


def test_the_page_of_tokens_fits_a_phone(visit, alice):
    page = visit("/jobs/tokens/", alice, viewport={"width": 390, "height": 844})
    page.get_by_label("Name").fill("a-name-without-any-blank-" * 4)
    page.get_by_role("button", name="Make it").click()
    expect(page.locator("#secret")).to_be_visible()
    # With its stylesheet.
    page.wait_for_load_state()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

"""What people choose to be told, in a real browser."""

import pytest
from playwright.sync_api import expect

from status.models import Delivery, Notification, Preferences

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

expect.set_options(timeout=20_000)


def choice(page, kind, channel):
    return page.get_by_role("checkbox", name=f"{kind}: {channel}")


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
def test_chooses_how_to_be_told_and_sees_it_saved(visit, alice, javascript):
    alice.email = "alice@example.org"
    alice.save()
    page = visit("/jobs/notifications/", alice, java_script_enabled=javascript)
    page.get_by_role("link", name="Preferences").click()
    expect(choice(page, "A job of yours failed", "On the page")).to_be_checked()
    choice(page, "A job of yours succeeded", "On the page").uncheck()
    choice(page, "A job of yours failed", "E-mail").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    page.goto("/jobs/notifications/preferences/")
    expect(choice(page, "A job of yours succeeded", "On the page")).not_to_be_checked()
    expect(choice(page, "A job of yours failed", "E-mail")).to_be_checked()
    expect(choice(page, "A job of yours waits for someone", "E-mail")).not_to_be_checked()
    held = Preferences.objects.get(user=alice)
    assert held.chosen["email"] == ["failed"]
    assert "succeeded" not in held.chosen["page"]


def test_sets_a_webhook_up_sees_its_secret_once_and_how_a_test_went(visit, alice):
    page = visit("/jobs/notifications/preferences/", alice, viewport={"width": 390, "height": 844})
    choice(page, "A job of yours failed", "Webhook").check()
    page.get_by_label("Webhook address").fill("https://hooks.example.org/" + "a-long-way/" * 10)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#secret")).to_contain_text("whsec_")
    secret = page.locator("#secret").inner_text()
    page.get_by_role("button", name="Send a test: Webhook").click()
    expect(page.locator("[data-channel=webhook]")).to_contain_text("On its way")
    assert secret not in page.content()
    # Until the style sheet has come the page is as wide as its longest word.
    page.wait_for_load_state()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    # A worker has tried.
    Delivery.objects.update(state="failed", tries=8, error="The receiver answered 500 Internal Server Error.")
    expect(page.locator("[data-channel=webhook]")).to_contain_text(
        "The last delivery failed and is given up:"
    )
    expect(page.locator("[data-channel=webhook]")).to_contain_text("500 Internal Server Error")
    assert Notification.objects.get().is_read

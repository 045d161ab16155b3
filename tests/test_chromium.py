import pytest

from tests import chromium


def test_finds_the_browser_that_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATUS_BROWSER", "/bin/true")
    assert chromium.find() == "/bin/true"


def test_a_named_browser_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATUS_BROWSER", "/bin/false")
    with pytest.raises(chromium.NoBrowser, match="STATUS_BROWSER=/bin/false"):
        chromium.find_or_install()


def test_without_any_browser_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATUS_BROWSER", raising=False)
    monkeypatch.setattr(chromium, "_candidates", list)
    monkeypatch.setattr(chromium, "_run", lambda *command: None)
    with pytest.raises(chromium.NoBrowser, match="Install Chromium"):
        chromium.find_or_install()
